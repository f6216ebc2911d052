//! Writes of desired state over the API, in batches, a few at a time.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use gnomon_schemas::id::NodeName;
use tokio::sync::mpsc;

use super::api::Api;
use super::board::Probe;

/// The writes of one request.
const BATCH: usize = 250;
/// Requests under way at the same time.
const AT_ONCE: usize = 4;

/// What became of writes.
#[derive(Debug)]
pub(super) enum Wrote {
    /// A site's app has this version now.
    Site(u32, u64),
    /// A batch took so long.
    Took(Probe),
    /// A write did not happen.
    Failed(String),
}

/// Writes a round to these sites, and tells what became of it.
pub(super) async fn write(
    api: Api,
    names: Arc<Vec<NodeName>>,
    sites: Vec<u32>,
    round: String,
    whole: bool,
    wrote: mpsc::Sender<Wrote>,
) {
    let batches = futures_util::stream::iter(sites.chunks(BATCH));
    batches
        .for_each_concurrent(AT_ONCE, |batch| one(&api, &names, batch, &round, whole, &wrote))
        .await;
}

async fn one(
    api: &Api,
    names: &[NodeName],
    batch: &[u32],
    round: &str,
    whole: bool,
    wrote: &mpsc::Sender<Wrote>,
) {
    let name = |site: &u32| Some((*site, names.get(usize::try_from(*site).ok()?)?.clone()));
    let (sites, nodes): (Vec<_>, Vec<_>) = batch.iter().filter_map(name).unzip();
    let began = Instant::now();
    let answer = api.write(&nodes, round, whole).await;
    // Where nobody listens any more, the run is over.
    drop(wrote.send(Wrote::Took(Probe::Write(began.elapsed()))).await);
    match answer {
        Ok(results) => {
            for (site, result) in sites.into_iter().zip(results) {
                let told = match result {
                    Ok(version) => Wrote::Site(site, version),
                    Err(reason) => Wrote::Failed(format!("a write was refused: {reason}")),
                };
                drop(wrote.send(told).await);
            }
        }
        Err(error) => drop(wrote.send(Wrote::Failed(gnomon_edge::chain(&error))).await),
    }
}
