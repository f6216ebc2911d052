//! Reading the store, at the start and after a commit that failed.

use std::sync::Arc;

use gnomon_schemas::id::NodeName;
use rand::rngs::StdRng;

use crate::clock::Clock;
use crate::domain::{Domain, DomainConfig, LoadError};
use crate::rows::{self, NodeRecord, ReadRowError};
use crate::store::{self, Pair, SchemaError, Store, StoreError};

/// Why the core could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store is not for this build.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row that lists a node is malformed.
    #[error("the store's list of nodes cannot be read")]
    Nodes(#[from] ReadRowError),
    /// A node's rows are malformed.
    #[error(transparent)]
    Node(#[from] LoadError),
    /// The thread that reads the store has panicked.
    #[error("reading the store ended by a panic")]
    Panicked,
}

/// A node's record and rows, as the store has them.
pub(super) type Stored = (Option<NodeRecord>, Vec<Pair>);

/// Reads everything from the store.
pub async fn load(
    store: Arc<dyn Store>,
    clock: Clock,
    config: DomainConfig,
) -> Result<Domain, StartError> {
    let now = clock.now();
    let load = move || {
        store::check_schema(&*store)?;
        let mut domain = Domain::new(config, rand::make_rng::<StdRng>());
        for (key, value) in store.scan(rows::NODES)? {
            let (name, record) = rows::read_node(&key, &value)?;
            let rows = read_rows(&*store, &name)?;
            domain.load(&name, Some(record), rows, now)?;
        }
        Ok(domain)
    };
    tokio::task::spawn_blocking(load).await.map_err(|_| StartError::Panicked)?
}

/// Reads one node.
pub(super) fn read_node(store: &dyn Store, name: &NodeName) -> Result<Stored, StartError> {
    let key = rows::node(name);
    let Some(value) = store.get(&key)? else { return Ok((None, Vec::new())) };
    let (_, record) = rows::read_node(&key, &value)?;
    Ok((Some(record), read_rows(store, name)?))
}

fn read_rows(store: &dyn Store, name: &NodeName) -> Result<Vec<Pair>, StoreError> {
    let prefix = rows::at(name);
    let mut rows = store.scan(&prefix)?;
    for (key, _) in &mut rows {
        key.drain(..prefix.len());
    }
    Ok(rows)
}
