//! Apps that are Kubernetes manifests: their objects are applied as they are written, followed, set
//! right when somebody changes them, and removed when they leave their app. What an app has is written
//! down in the cluster before it is made ([`inventory`]); objects without its label are never touched.

mod apply;
mod calls;
mod discovery;
mod fields;
mod inventory;
mod seen;
mod sights;
mod status;
mod wishes;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gnomon_schemas::app::{AppSpec, ServiceSpec};
use kube::api::DeleteParams;

use super::mirror::{Cache, Kind};
use super::{K3s, K3sError};
use crate::reconcile::model::{Health, Instance, InstanceId, InstanceState, Slot};
use discovery::Discovery;
use inventory::{Phase, Record, Target};
use sights::Sights;
use witness::Witness;

/// What has been on the way for so long, in milliseconds, does not arrive.
const LATE: i64 = 10 * 60 * 1000;

/// Where manifests may go beside the node's own namespace; see [`super::Settings::manifests`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permitted {
    /// Other namespaces.
    pub namespaces: BTreeSet<String>,
    /// Kinds that belong to the whole cluster, such as `Namespace` or
    /// `CustomResourceDefinition.apiextensions.k8s.io`.
    pub kinds: BTreeSet<String>,
}

/// What is known of the cluster for the sake of manifests.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    sights: Sights,
    discovery: Discovery,
    witness: Witness,
    /// Since when apps are on the way, by their records. Touched for moments.
    waiting: Mutex<BTreeMap<InstanceId, i64>>,
}

/// Whether an instance is one of manifests.
pub(super) fn is(id: &InstanceId) -> bool {
    Record::of(id).is_some()
}

/// The instances that apps of manifests are; begins to follow their objects. `unix_ms`: the time.
pub(super) fn observe(k3s: &K3s, cache: &Cache, unix_ms: i64) -> Vec<Instance> {
    let records = records(k3s, cache);
    let targets = records.iter().flat_map(Record::targets).collect();
    let Manifests { sights, waiting, witness, .. } = &*k3s.manifests;
    witness.attend(k3s, &records);
    sights.follow(k3s, &targets);
    let mut found: Vec<_> = sights.see(|shelves| {
        let look = |record: &Record| seen::instance(record, |of| shelves.get(&of.target));
        records.iter().map(look).collect()
    });
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.retain(|id, _| found.iter().any(|it| it.id == *id));
    for instance in &mut found {
        if instance.state != InstanceState::Running(Health::Starting) || instance.altered.is_some()
        {
            waiting.remove(&instance.id);
            continue;
        }
        let since = *waiting.entry(instance.id.clone()).or_insert(unix_ms);
        if unix_ms > since.saturating_add(LATE) {
            instance.state = InstanceState::Running(Health::Unhealthy);
        }
    }
    found
}

fn records(k3s: &K3s, cache: &Cache) -> Vec<Record> {
    let node = &k3s.settings.node;
    cache.all(Kind::ConfigMap).filter_map(|it| Record::read(node, it)).collect()
}

/// The record of an instance or a slot, if it is there and that of this slot.
async fn record(k3s: &K3s, name: &str, slot: &Slot) -> Result<Option<Record>, K3sError> {
    let cache = k3s.mirror().look().await?;
    let Some(found) = cache.get(Kind::ConfigMap, name) else { return Ok(None) };
    match Record::read(&k3s.settings.node, found) {
        Some(record) if record.slot == *slot => Ok(Some(record)),
        Some(record) => Err(K3sError::AnotherSlot(record.id())),
        None => Err(K3sError::Foreign(format!("ConfigMap {name}"))),
    }
}

async fn write(k3s: &K3s, record: &Record) -> Result<(), K3sError> {
    k3s.put(&record.to_object(&k3s.settings.node), true).await.map(drop)
}

/// Makes the cluster have the objects of an app, and not those that left it.
pub(super) async fn create(
    k3s: &K3s,
    slot: &Slot,
    app: &AppSpec,
    service: &ServiceSpec,
) -> Result<(), K3sError> {
    let wishes = wishes::of(k3s, slot, app, service).await?;
    apply::all(k3s, slot, service.digest(app), wishes).await?;
    forget(k3s).await
}

/// Removes the objects of an app, but for those that are kept.
pub(super) async fn stop(
    k3s: &K3s,
    id: &InstanceId,
    slot: &Slot,
    grace: Duration,
) -> Result<(), K3sError> {
    let Some(name) = Record::of(id) else { return Ok(()) };
    let Some(mut record) = record(k3s, name, slot).await? else { return Ok(()) };
    if record.phase == Phase::Removed {
        return Ok(());
    }
    record.phase = Phase::Removing;
    write(k3s, &record).await?;
    apply::prune(k3s, &record, &record.surplus(&[]), grace).await?;
    record.phase = Phase::Removed;
    record.refs.clear();
    write(k3s, &record).await?;
    forget(k3s).await
}

/// Removes what was written down of an app that has no objects any more.
pub(super) async fn remove(k3s: &K3s, id: &InstanceId, slot: &Slot) -> Result<(), K3sError> {
    let Some(name) = Record::of(id) else { return Ok(()) };
    let Some(record) = record(k3s, name, slot).await? else { return Ok(()) };
    if record.phase != Phase::Removed {
        return Err(K3sError::StillRuns(id.clone()));
    }
    k3s.delete("v1", "ConfigMap", name, &DeleteParams::default()).await?;
    let is_gone = |cache: &Cache| cache.get(Kind::ConfigMap, name).is_none().then_some(());
    let gone = k3s.mirror().until(super::WORK, is_gone).await?;
    gone.ok_or_else(|| K3sError::NotGone(format!("ConfigMap {name}")))
}

/// Ends to follow kinds of which no app has anything.
async fn forget(k3s: &K3s) -> Result<(), K3sError> {
    let cache = k3s.mirror().look().await?;
    let targets: BTreeSet<Target> = records(k3s, &cache).iter().flat_map(Record::targets).collect();
    k3s.manifests.sights.only(&targets);
    Ok(())
}

impl K3s {
    /// The same for a task that this one holds, and which must not hold it in turn.
    pub(super) fn alone(&self) -> Self {
        Self { mirror: Arc::default(), manifests: Arc::default(), ..self.clone() }
    }
}
