//! The link emulator: a TCP proxy that delays, paces, stalls, resets, cuts and forgets, like the
//! link of a site on mobile data. It needs no privileges. `schedule` decides; the rest moves bytes.

mod acceptor;
mod connection;
pub mod control;
mod counters;
mod engine;
mod gate;
mod modem;
mod outage;
pub mod packet;
mod profile;
pub mod replay;
mod schedule;
pub mod tap;
pub mod trace;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub use counters::Counters;
pub(crate) use outage::Outage;
pub use profile::{
    InvalidProfile, LoadProfileError, OutageConnect, ParseProfileError, Profile, SHIPPED_PROFILES,
};
pub(crate) use schedule::draw_reset;
pub use schedule::{
    Chunk, ConnectionState, DirectionState, Fate, SEGMENT_BYTES, burst_bytes, schedule,
};

/// Which way through the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client that connected to the target.
    Up,
    /// From the target back to the client.
    Down,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What a link needs to start.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Where clients connect; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where the connections go.
    pub target: SocketAddr,
    /// How the link behaves at first.
    pub profile: Profile,
    /// Seeds everything that happens by chance.
    pub seed: u64,
}

/// An emulated link that is running. Dropping it stops it.
///
/// Two liberties a proxy must take: the kernel has accepted a connection before the link can say
/// no, so that a refusal is a reset and a black hole a connection on which nothing happens; and a
/// link that comes back delivers at once what it held, without waiting for a retransmission.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    target: SocketAddr,
    settings: watch::Sender<Settings>,
    tally: Arc<counters::Tally>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Clone, Debug)]
struct Settings {
    profile: Profile,
    down: bool,
}

/// Why a link did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartLinkError {
    /// The profile makes no link.
    #[error("the link's profile has a wrong value")]
    Profile(#[from] InvalidProfile),
    /// The listening address is not to be had.
    #[error("cannot listen on {address} for the link: choose a free port, or 0 for any")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no async runtime to run it on.
    #[error("a link must be started inside a tokio runtime")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
}

impl Link {
    /// Starts a link; it accepts connections when this returns.
    pub fn start(config: LinkConfig) -> Result<Self, StartLinkError> {
        let LinkConfig { listen, target, profile, seed } = config;
        profile.check()?;
        let runtime = tokio::runtime::Handle::try_current()?;
        let failed = |source| StartLinkError::Listen { address: listen, source };
        let listener = acceptor::bind(listen).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;

        let (settings, settings_seen) = watch::channel(Settings { profile, down: false });
        let (air, air_seen) = watch::channel(true);
        let (commands, commands_in) = mpsc::channel(64);
        let (up, up_in) = mpsc::channel(1);
        let (down, down_in) = mpsc::channel(1);
        let (tally, stop, tasks) =
            (Arc::<counters::Tally>::default(), CancellationToken::new(), TaskTracker::new());
        let engine = engine::Engine {
            settings: settings_seen.clone(),
            commands: commands_in,
            up: up_in,
            down: down_in,
            air,
            tally: tally.clone(),
            stop: stop.clone(),
        };
        let shared = connection::Shared {
            target,
            gate: gate::Gate { settings: settings_seen, air: air_seen },
            commands,
            up,
            down,
            tally: tally.clone(),
            stop: stop.clone(),
        };
        let span = tracing::info_span!("link", %addr);
        tasks.spawn_on(engine.run(seed).instrument(span.clone()), &runtime);
        let accepting = acceptor::run(listener, shared, tasks.clone());
        tasks.spawn_on(accepting.instrument(span), &runtime);
        Ok(Self { addr, target, settings, tally, stop, tasks })
    }

    /// Where the link listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it leads.
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// The profile in force.
    pub fn profile(&self) -> Profile {
        self.settings.borrow().profile.clone()
    }

    /// Changes how the link behaves, for open connections too. What is on its way arrives as it
    /// was going to.
    pub fn set_profile(&self, profile: Profile) -> Result<(), InvalidProfile> {
        profile.check()?;
        self.settings.send_modify(|settings| settings.profile = profile);
        Ok(())
    }

    /// Takes the link down: nothing passes until `up`.
    pub fn down(&self) {
        self.settings.send_modify(|settings| settings.down = true);
    }

    /// Ends an outage that was ordered; one of the profile's own lasts as long as it does.
    pub fn up(&self) {
        self.settings.send_modify(|settings| settings.down = false);
    }

    /// Whether it has been taken down.
    pub fn is_down(&self) -> bool {
        self.settings.borrow().down
    }

    /// What it has counted so far.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// Stops listening and resets what is open; returns when nothing is left.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
