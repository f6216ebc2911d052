//! Forgetting what is too old, also of shadows that nobody writes any more: now and then the whole
//! history is paged through.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::graves;
use super::handle::CoreHandle;
use crate::aws::domain::{THING_PAST, past_age, past_half};
use crate::clock::Clock;
use crate::domain::HistoryLimits;
use crate::rows::{ReadRowError, history};
use crate::store::{Op, Pair, StoreError};

/// A history: where its rows are, what those of one half begin with, how old one is and whether it
/// is the end of what it tells of.
#[derive(Clone, Copy)]
struct Kind {
    prefix: &'static [u8],
    half_of: fn(&[u8]) -> &[u8],
    age_of: AgeOf,
}

type AgeOf = fn(&[u8], &[u8]) -> Result<(u64, bool), ReadRowError>;

const OF_NODES: Kind =
    Kind { prefix: history::PAST, half_of: history::half_of, age_of: history::age_of };
const OF_THINGS: Kind = Kind { prefix: THING_PAST, half_of: past_half, age_of: past_age };

/// How often, and how many rows at once.
const EVERY: Duration = Duration::from_hours(1);
const ROWS: usize = 2048;

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the history cannot be read")]
    Row(#[from] ReadRowError),
    #[error("reading the history ended by a panic")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Sweeps now and then until `stop`.
pub(super) async fn run(
    core: CoreHandle,
    limits: HistoryLimits,
    clock: Clock,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let oldest = clock.now().unix_ms.saturating_sub(limits.age_ms);
        for past in [OF_NODES, OF_THINGS] {
            if let Err(error) = sweep(&core, past, oldest).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "old versions could not be forgotten");
            }
        }
        if let Err(error) = graves::forget(&core, clock.now().unix_ms / 1000).await {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "deleted shadows of things could not be forgotten");
        }
    }
}

/// Forgets what was accepted before `oldest`.
async fn sweep(core: &CoreHandle, past: Kind, oldest: u64) -> Result<(), SweepError> {
    let mut broom = Broom::new(past, oldest);
    loop {
        let (store, after) = (Arc::clone(core.store()), broom.last.clone());
        let page = move || store.page(past.prefix, after.as_deref(), ROWS);
        let rows = tokio::task::spawn_blocking(page).await??;
        let is_last = rows.len() < ROWS;
        let ops = broom.pass(rows, is_last)?;
        if !ops.is_empty() && core.forget(ops).await.is_err() || is_last {
            return Ok(());
        }
    }
}

/// Goes over the rows of the history in their order.
struct Broom {
    past: Kind,
    oldest: u64,
    last: Option<Vec<u8>>,
    /// A row that goes if another one of its half follows.
    held: Option<Vec<u8>>,
    /// The half of which something stays: what follows stays too.
    kept: Option<Vec<u8>>,
}

impl Broom {
    const fn new(past: Kind, oldest: u64) -> Self {
        Self { past, oldest, last: None, held: None, kept: None }
    }

    fn pass(&mut self, rows: Vec<Pair>, is_last: bool) -> Result<Vec<Op>, ReadRowError> {
        let mut ops = Vec::new();
        for (key, value) in rows {
            let half = (self.past.half_of)(&key);
            if let Some(held) = self.held.take()
                && (self.past.half_of)(&held) == half
            {
                ops.push(Op::Delete { key: held });
            }
            let (at_ms, is_gone) = (self.past.age_of)(&key, &value)?;
            if at_ms >= self.oldest && self.kept.as_deref() != Some(half) {
                self.kept = Some(half.to_vec());
            }
            if self.kept.as_deref() != Some(half) {
                if is_gone {
                    ops.push(Op::Delete { key: key.clone() });
                } else {
                    self.held = Some(key.clone());
                }
            }
            self.last = Some(key);
        }
        if is_last {
            self.held = None;
        }
        Ok(ops)
    }
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::document::Document;
    use gnomon_schemas::version::{Half, Version};

    use super::*;
    use crate::domain::{Author, Entry};

    fn row(key: &str, version: u64, at_ms: u64, is_gone: bool) -> Pair {
        let entry = Entry {
            shadow_version: Version(version),
            version: Version(version),
            at_ms,
            by: Author::new("admin"),
            digest: (!is_gone).then(|| Document::new().digest()),
            undo: None,
        };
        let node = "site-1".parse().unwrap();
        let put = history::put(&node, &key.parse().unwrap(), Half::Desired, &entry);
        let Op::Put { key, value } = put else { panic!("not a put") };
        (key, value)
    }

    #[test]
    fn of_a_things_shadow_the_newest_version_stays_however_old_and_a_deleted_one_goes() {
        let row = |shadow: &str, version: u64, is_end: bool, at_ms: u64| {
            let tail = [version.to_be_bytes().as_slice(), &[u8::from(is_end)]].concat();
            let key = [b"aws/h/pump/", shadow.as_bytes(), b"\0", &tail].concat();
            (key, format!("{{\"t\":{at_ms},\"b\":\"admin\"}}").into_bytes())
        };
        let rows = vec![
            row("", 1, false, 10),
            row("", 2, false, 20),
            row("gone", 1, false, 10),
            row("gone", 1, true, 20),
            row("new", 1, false, 10),
            row("new", 2, false, 90),
        ];
        let ops = Broom::new(OF_THINGS, 50).pass(rows.clone(), true).unwrap();
        let expected: Vec<_> =
            [0, 2, 3, 4].map(|n: usize| Op::Delete { key: rows[n].0.clone() }).into();
        assert_eq!(ops, expected);
    }

    #[test]
    fn what_is_too_old_goes_and_the_last_word_on_a_present_half_stays() {
        let rows = [
            row("device/a", 1, 10, false),
            row("device/a", 2, 20, false),
            row("device/a", 3, 90, false),
            row("device/b", 1, 10, false),
            row("device/b", 2, 20, false),
            row("device/c", 1, 10, false),
            row("device/c", 2, 20, true),
            row("device/d", 1, 95, false),
            row("device/d", 2, 5, false),
        ];
        for size in 1..=rows.len() + 1 {
            let mut broom = Broom::new(OF_NODES, 50);
            let mut gone = Vec::new();
            for page in rows.chunks(size) {
                gone.extend(broom.pass(page.to_vec(), false).unwrap());
            }
            broom.pass(Vec::new(), true).unwrap();
            let expected: Vec<_> =
                [0, 1, 3, 5, 6].map(|n| Op::Delete { key: rows[n].0.clone() }).into();
            assert_eq!(gone, expected, "pages of {size}");
        }
    }
}
