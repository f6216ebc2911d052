//! Reading the store, at the start and after a commit that failed.

use std::sync::Arc;

use gnomon_schemas::id::NodeName;
use rand::rngs::StdRng;

use super::migrate;
use crate::clock::Clock;
use crate::domain::{Domain, DomainConfig, LoadError, Now};
use crate::rows::{self, NodeRecord, ReadRowError};
use crate::store::{self, Op, Pair, SchemaError, Store, StoreError};

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
    #[error("the store's list of nodes cannot be read; put back a backup: gnomon-cloud restore")]
    Nodes(#[from] ReadRowError),
    /// A node's rows are malformed.
    #[error(transparent)]
    Node(#[from] LoadError),
    /// The thread that reads the store has panicked.
    #[error("reading the store ended by a panic")]
    Panicked,
}

/// A node's record and rows, as the store has them.
pub type Stored = (Option<NodeRecord>, Vec<Pair>);

/// Reads everything from the store.
pub async fn load(
    store: Arc<dyn Store>,
    clock: Clock,
    config: DomainConfig,
) -> Result<Domain, StartError> {
    let now = clock.now();
    let load = move || read_all(&*store, now, config, rand::make_rng());
    tokio::task::spawn_blocking(load).await.map_err(|_| StartError::Panicked)?
}

/// Reads everything from the store, in the caller's thread; brings it to this build's schema, and
/// begins anew what a backup has taken back.
pub fn read_all(
    store: &dyn Store,
    now: Now,
    config: DomainConfig,
    rng: StdRng,
) -> Result<Domain, StartError> {
    let found = store::check_schema(store)?;
    let mut domain = read_nodes(store, now, config, rng)?;
    migrate::migrate(store, &mut domain, found, now)?;
    if store.get(rows::RESTORED)?.is_some() {
        begin_anew(store, &mut domain, now)?;
    }
    Ok(domain)
}

/// Reads all nodes as they are, and changes nothing.
pub(crate) fn read_nodes(
    store: &dyn Store,
    now: Now,
    config: DomainConfig,
    rng: StdRng,
) -> Result<Domain, StartError> {
    let mut domain = Domain::new(config, rng);
    for (key, value) in store.scan(rows::NODES)? {
        let (name, record) = rows::read_node(&key, &value)?;
        let rows = read_rows(store, &name)?;
        domain.load(&name, Some(record), rows, now)?;
    }
    Ok(domain)
}

/// What was promised to the sites since the backup was taken is void: each stream gets a new
/// history, so that both ends say what they hold. Cut short, it begins again.
fn begin_anew(store: &dyn Store, domain: &mut Domain, now: Now) -> Result<(), StartError> {
    let names: Vec<NodeName> = domain.nodes().map(|node| node.name().clone()).collect();
    tracing::info!(nodes = names.len(), "a backup was put back: every stream begins a new epoch");
    for name in names {
        store.commit(&domain.begin_epoch(&name, now))?;
    }
    Ok(store.commit(&[Op::Delete { key: rows::RESTORED.to_vec() }])?)
}

/// Reads one node.
pub fn read_node(store: &dyn Store, name: &NodeName) -> Result<Stored, StartError> {
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
