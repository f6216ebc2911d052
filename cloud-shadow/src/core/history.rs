//! Looking back: the history is read from the store and unfolded from the present document, away
//! from the core's task.

use std::sync::Arc;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::Half;
use tokio::sync::Semaphore;

use super::handle::{CoreHandle, Refusal};
use crate::domain::{Entry, HalfView, HistoryLimits, Now, Rejection, Revision, ShadowView, unfold};
use crate::rows::{ReadRowError, history};
use crate::store::{Store, StoreError};

/// Why the history could not be read.
#[derive(Debug, thiserror::Error)]
enum LookBackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the history cannot be read")]
    Row(#[from] ReadRowError),
}

/// How many look back at once; further ones wait. All versions of a half are in memory meanwhile.
static TURNS: Semaphore = Semaphore::const_new(8);

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The node.
    pub node: NodeName,
    /// The shadow.
    pub key: ShadowKey,
    /// The half.
    pub half: Half,
}

impl CoreHandle {
    /// Gives the versions of a half, newest first, to `look`, which runs on a thread that may
    /// take its time. Fails if there neither is nor was such a half.
    pub async fn look_back<T: Send + 'static>(
        &self,
        past: Past,
        look: impl FnOnce(&mut dyn Iterator<Item = Revision>) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (name, key) = (past.node.clone(), past.key.clone());
        let read = self.read(move |domain, now| {
            let view = domain.node(&name)?.shadow(&key);
            Some((view, domain.history_limits(), now))
        });
        let unknown = || Rejection::UnknownNode(past.node.clone());
        let (view, limits, now) = read.await?.ok_or_else(unknown)?;
        let turn = TURNS.acquire().await.map_err(|_| Refusal::Stopping)?;
        let (store, place) = (Arc::clone(self.store()), past.clone());
        let work = move || -> Result<Option<T>, LookBackError> {
            let _turn = turn;
            let entries = entries(&*store, &place, &view)?;
            let present = view.half(place.half);
            if entries.is_empty() && present.is_none() {
                return Ok(None);
            }
            Ok(Some(look(&mut revisions(present, entries, limits, now))))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(Some(result))) => Ok(result),
            Ok(Ok(None)) => Err(Rejection::UnknownShadow { node: past.node, key: past.key }.into()),
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, node = %past.node, "the history could not be read");
                Err(Refusal::StoreFailed)
            }
            Err(error) => {
                tracing::error!(%error, "reading the history ended by a panic");
                Err(Refusal::StoreFailed)
            }
        }
    }
}

/// The entries up to what is seen, newest first.
fn entries(store: &dyn Store, past: &Past, seen: &ShadowView) -> Result<Vec<Entry>, LookBackError> {
    let rows = store.scan(&history::of_half(&past.node, &past.key, past.half))?;
    let mut entries = Vec::with_capacity(rows.len());
    for (key, value) in rows.into_iter().rev() {
        let entry = history::read(&key, &value)?;
        if entry.shadow_version <= seen.version {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn revisions(
    present: Option<&HalfView>,
    entries: Vec<Entry>,
    limits: HistoryLimits,
    now: Now,
) -> impl Iterator<Item = Revision> + use<> {
    let oldest = now.unix_ms.saturating_sub(limits.age_ms);
    let newest = entries.first().map(|entry| entry.shadow_version);
    let is_kept = move |revision: &Revision| {
        revision.entry.at_ms >= oldest || Some(revision.entry.shadow_version) == newest
    };
    let present = present.map(|half| Arc::clone(half.document.tree()));
    unfold(present, entries).take(limits.versions).take_while(is_kept)
}
