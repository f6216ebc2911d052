//! The integrity check: is every page of the store as it was written, can every row be read, and
//! does the history lead back from what is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::Half;

use crate::backup::STORE;
use crate::chain;
use crate::clock::Clock;
use crate::core::{self, StartError};
use crate::domain::{Domain, DomainConfig, Entry, Node, unfold};
use crate::rows::{ReadRowError, history, session};
use crate::server::{DataLock, LockError};
use crate::store::{JournaledStore, Pair, Store, StoreError, check_schema};

#[cfg(test)]
mod tests;
mod things;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// The schema of the store.
    pub schema: u32,
    /// How many nodes.
    pub nodes: usize,
    /// How many shadows.
    pub shadows: usize,
    /// How many versions in the history.
    pub versions: usize,
    /// How many sessions.
    pub sessions: usize,
    /// How many things.
    pub things: usize,
    /// How many shadows of things, also deleted ones that are remembered.
    pub thing_shadows: usize,
    /// How many versions in the history of things.
    pub thing_versions: usize,
    /// How many certificates of things.
    pub thing_certificates: usize,
    /// What is wrong, in sentences; at most [`PROBLEMS`] of them.
    pub problems: Vec<String>,
}

/// The schema since which there is a history.
const HISTORY: u32 = 2;

/// The most problems that a report names.
pub const PROBLEMS: usize = 100;

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The data folder cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no store.
    #[error("there is no store {path}; say where the data is: --data DIR")]
    NoStore {
        /// Where it should be.
        path: PathBuf,
    },
    /// The store is damaged or for another build.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl CheckError {
    /// Whether the store's files are damaged, or not those that belong together.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Start(StartError::Store(error)) if error.is_damage())
    }
}

impl From<StoreError> for CheckError {
    fn from(error: StoreError) -> Self {
        Self::Start(error.into())
    }
}

/// Checks the store of a data folder that no cloud uses.
pub fn check(data: &Path) -> Result<CheckReport, CheckError> {
    let path = data.join(STORE);
    if !path.exists() && !JournaledStore::journal_of(&path).exists() {
        return Err(CheckError::NoStore { path });
    }
    let _lock = DataLock::take(data)?;
    let store: Arc<dyn Store> = Arc::new(JournaledStore::verify(&path)?);
    check_store(&store)
}

/// Checks the rows of a store; changes nothing.
fn check_store(store: &Arc<dyn Store>) -> Result<CheckReport, CheckError> {
    let schema = check_schema(&**store).map_err(StartError::from)?;
    let (now, rng) = (Clock::start().now(), rand::make_rng());
    let domain = core::read_nodes(&**store, now, DomainConfig::default(), rng)?;
    let mut report = CheckReport { schema, ..CheckReport::default() };
    for node in domain.nodes() {
        report.nodes += 1;
        report.shadows += node.shadows().count();
        report.sessions(&**store, node)?;
    }
    if schema >= HISTORY {
        report.history(&**store, &domain)?;
    }
    report.things(&**store, schema)?;
    Ok(report)
}

impl CheckReport {
    fn complain(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn sessions(&mut self, store: &dyn Store, node: &Node) -> Result<(), StoreError> {
        for (key, value) in store.scan(&session::of_node(node.name()))? {
            self.sessions += 1;
            if let Err(error) = session::read(&key, &value) {
                self.complain(chain(&error));
            }
        }
        Ok(())
    }

    /// Goes through the history page by page, half by half.
    fn history(&mut self, store: &dyn Store, domain: &Domain) -> Result<(), StoreError> {
        const ROWS: usize = 2048;
        let (mut after, mut half): (Option<Vec<u8>>, Vec<Pair>) = (None, Vec::new());
        loop {
            let page = store.page(history::PAST, after.as_deref(), ROWS)?;
            let is_last = page.len() < ROWS;
            after = page.last().map(|(key, _)| key.clone());
            for row in page {
                let is_other = half
                    .first()
                    .is_some_and(|(key, _)| history::half_of(key) != history::half_of(&row.0));
                if is_other {
                    self.half(domain, &std::mem::take(&mut half));
                }
                half.push(row);
            }
            if is_last {
                self.half(domain, &half);
                return Ok(());
            }
        }
    }

    /// Checks the versions of one half, which are in their order.
    fn half(&mut self, domain: &Domain, rows: &[Pair]) {
        let Some((first, _)) = rows.first() else { return };
        self.versions += rows.len();
        let first = first.clone();
        let entries: Result<Vec<Entry>, ReadRowError> =
            rows.iter().rev().map(|(key, value)| history::read(key, value)).collect();
        let (place, entries) = match (history::place_of(&first), entries) {
            (Ok(place), Ok(entries)) => (place, entries),
            (Err(error), _) | (_, Err(error)) => return self.complain(chain(&error)),
        };
        let (node, key, half): (NodeName, ShadowKey, Half) = place;
        let Some(found) = domain.node(&node) else {
            return self.complain(format!("there is history of {key} at {node}, but no such node"));
        };
        let view = found.shadow(&key);
        let present = view.half(half).map(|half| Arc::clone(half.document.tree()));
        let count = entries.len();
        let told = unfold(present, entries).count();
        if told < count {
            let lost = count - told;
            self.complain(format!(
                "the history of {half} of {key} at {node} does not lead back: {lost} of {count} \
                 versions cannot be shown"
            ));
        }
    }
}
