//! The one task that owns the domain. It takes what has come in, lets the domain decide, writes
//! all of it in one commit, and only then answers, sends and tells. It decides nothing itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod asker;
mod audit;
mod breath;
mod graves;
mod handle;
mod history;
mod migrate;
mod round;
mod sessions;
mod start;
mod sweep;
#[cfg(test)]
mod tests;
mod things;
mod watch;

pub use audit::{AUDIT, AuditEntry, AuditLimits, Deed, key_of as audit_key, read_audit};
pub use handle::{CoreHandle, Refusal};
pub use history::Past;
pub(crate) use start::read_nodes;
pub use start::{StartError, Stored, load, read_all, read_node};
pub use watch::{
    ParsePositionError, Placed, Position, WatchEvent, WatchFilter, WatchStart, Watching,
};

use self::handle::Arrived;
use self::round::Rounds;
use self::watch::Watchers;
use crate::clock::Clock;
use crate::domain::{Domain, DomainConfig};
use crate::link::Link;
use crate::metrics::Metrics;
use crate::store::Store;

/// What the core may be tuned with.
#[derive(Debug, Clone, Copy)]
pub struct CoreConfig {
    /// The domain's part.
    pub domain: DomainConfig,
    /// How much of who did what is kept.
    pub audit: AuditLimits,
    /// The bounds of things.
    pub things: crate::aws::domain::Limits,
    /// The most watch streams.
    pub watchers: usize,
    /// The most changes that may wait for one watcher before it is cut off.
    pub watch_queue: usize,
    /// The most changes that are remembered for watchers that come back.
    pub watch_memory: usize,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            domain: DomainConfig::default(),
            audit: AuditLimits::default(),
            things: crate::aws::domain::Limits::default(),
            watchers: 1000,
            watch_queue: 4 * ROUND,
            watch_memory: 16 * ROUND,
        }
    }
}

/// What the core works with.
pub struct CoreParts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The way to the nodes.
    pub link: Arc<dyn Link>,
    /// What is counted.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

/// A running core.
pub struct Core {
    handle: CoreHandle,
    task: JoinHandle<()>,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// How many inputs may wait, and how many one commit may take together.
const INPUTS: usize = 4096;
const ROUND: usize = 1024;

/// How long to wait before reading nodes again that a broken store did not give back.
const RELOAD: Duration = Duration::from_secs(1);

impl Core {
    /// Starts the owner task of a domain that [`load`] has read from the same store.
    pub fn start(domain: Domain, parts: CoreParts, mut config: CoreConfig) -> Self {
        config.things.versions = config.domain.history.versions;
        let (sender, inputs) = mpsc::channel(INPUTS);
        let watchers = Watchers::new(&config, rand::random());
        let stop = CancellationToken::new();
        let handle = CoreHandle::new(sender, Arc::clone(&parts.store));
        let sweep = sweep::run(handle.clone(), config.domain.history, parts.clock, stop.clone());
        drop(tokio::spawn(sweep));
        let rounds = Rounds::new(domain, watchers, parts, &config);
        let ended = CancellationToken::new();
        let (running, stopping) = (ended.clone().drop_guard(), stop.clone());
        let task = tokio::spawn(async move {
            run(rounds, inputs, stopping).await;
            drop(running);
        });
        Self { handle, task, stop, ended }
    }

    /// The way to talk to the core.
    pub fn handle(&self) -> CoreHandle {
        self.handle.clone()
    }

    /// Returns when the core has ended, which without [`Self::stop`] it only does by a panic.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Answers what has come in, ends the watch streams, and stops.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the core ended by a panic");
        }
    }
}

async fn run(mut rounds: Rounds, mut inputs: mpsc::Receiver<Arrived>, stop: CancellationToken) {
    let mut buffer = Vec::with_capacity(ROUND);
    loop {
        tokio::select! {
            count = inputs.recv_many(&mut buffer, ROUND) => if count == 0 { break },
            () = rounds.wake() => {}
            () = stop.cancelled(), if !inputs.is_closed() => {
                inputs.close();
                rounds.end_watching();
            }
        }
        loop {
            let count = size_of_round(&buffer);
            rounds.note_wait(buffer.first(), buffer.len() - count + inputs.len());
            rounds.run(buffer.drain(..count).map(|arrived| arrived.input)).await;
            if buffer.is_empty() {
                break;
            }
        }
    }
}

/// How many of the inputs one commit takes together.
fn size_of_round(inputs: &[Arrived]) -> usize {
    let mut left = ROUND;
    let fits = |arrived: &&Arrived| {
        let is_first = left == ROUND;
        let weight = arrived.weight();
        let fits = is_first || weight <= left;
        left = left.saturating_sub(weight);
        fits
    };
    inputs.iter().take_while(fits).count()
}
