//! Reading the store, at the start and after a commit that failed.

use std::num::NonZeroUsize;
use std::sync::Arc;

use gnomon_schemas::id::NodeName;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::migrate;
use crate::clock::Clock;
use crate::domain::{Domain, DomainConfig, LoadError, Node, Now};
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
    #[error("the store's list of nodes cannot be read; {}", store::WAY_BACK)]
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
    if let Some(value) = store.get(rows::WINDOWS)? {
        domain.open_windows(rows::record(rows::WINDOWS, &value)?);
    }
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.page(rows::NODES, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(domain) };
        after = Some(last.clone());
        let seeded: Vec<_> = page.iter().map(|row| (domain.seed(), row)).collect();
        for node in restore(store, &config, &seeded)? {
            domain.take_over(node, now);
        }
    }
}

/// How many nodes are read before any of them is taken over.
const PAGE: usize = 1024;

/// A row that lists a node, and what its dice begin with.
type Seeded<'a> = (u64, &'a Pair);

/// Restores nodes, on every core: to a cloud that starts, nothing else matters.
fn restore(
    store: &dyn Store,
    config: &DomainConfig,
    listed: &[Seeded<'_>],
) -> Result<Vec<Node>, StartError> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = listed.len().div_ceil(cores).max(1);
    let restore_one = |&(seed, (key, value)): &Seeded<'_>| -> Result<Node, StartError> {
        let (name, record) = rows::read_node(key, value)?;
        let rows = read_rows(store, &name)?;
        Ok(Node::restore(config, StdRng::seed_from_u64(seed), &name, record, &rows)?)
    };
    let restore_share = |share: &[Seeded<'_>]| share.iter().map(restore_one).collect();
    std::thread::scope(|scope| {
        let threads = listed.chunks(share).map(|share| scope.spawn(move || restore_share(share)));
        let threads: Vec<_> = threads.collect();
        let mut nodes = Vec::with_capacity(listed.len());
        for thread in threads {
            let restored: Result<Vec<Node>, _> = thread.join().map_err(|_| StartError::Panicked)?;
            nodes.extend(restored?);
        }
        Ok(nodes)
    })
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
