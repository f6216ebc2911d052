//! Rule: an app of which everything is as desired needs no plan. Each wanted copy is there once, in
//! the wanted digest, and well; nothing else of it is there. A site is so nearly always, and a look
//! at each instance tells. Law: `what_is_settled_is_told_as_the_whole_plan_would_tell_it`.

use gnomon_schemas::app::{AppSpec, AppState, AppStatus, Revision};
use gnomon_schemas::id::ServiceName;

use super::desired::DesiredApp;
use super::lives::Lives;
use super::model::{Health, Instance, InstanceState};
use super::report;

/// What to report of an app that needs no plan; `instances` by slot, and to be asked of one app after
/// the other by name, so that the lives are walked once.
pub(super) fn status(
    wanted: &DesiredApp,
    spec: &AppSpec,
    instances: &[&Instance],
    lives: &mut Lives<'_>,
) -> Option<AppStatus> {
    let mut status = AppStatus::new(wanted.version, AppState::Running);
    status.revision = wanted.revision();
    let mut rest = instances;
    for ((name, service), digest) in spec.services.iter().zip(wanted.facts().digests.values()) {
        let (copies, others) = rest.split_at_checked(usize::try_from(service.replicas).ok()?)?;
        rest = others;
        let mut numbered = (0..=u16::MAX).zip(copies);
        if !numbered.all(|(replica, it)| is_settled(it, name, replica, *digest)) {
            return None;
        }
        status.services.insert(name.clone(), report::of_settled(service, copies, lives));
    }
    rest.is_empty().then_some(status)
}

fn is_settled(it: &Instance, service: &ServiceName, replica: u16, digest: Revision) -> bool {
    it.service_digest == digest
        && matches!(it.state, InstanceState::Running(Health::Unchecked | Health::Healthy))
        && it.altered.is_none()
        && it.slot.replica == replica
        && it.slot.service == *service
}
