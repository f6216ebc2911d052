//! Rules for an app whose desired state may be older than what runs of it, since the site's store
//! went back: until the cloud has spoken, nothing that runs is replaced or given up for it. What has
//! ended is started again as it was, what is unhealthy is restarted, and what is missing is made as
//! the store says, but not beside something of the app that the store does not know. If the cloud
//! never speaks, that is how it goes on. Tests: `reconcile::tests::doubt`.

use gnomon_schemas::app::ServiceState;

use super::model::{Instance, InstanceState};
use super::verdict::{Standing, Verdict};
use super::view::{App, Copy, Service};
use super::{create, keep};

pub(super) const WAITS_FOR_THE_CLOUD: &str =
    "the store has lost its last commits; what runs stays until the cloud says what is desired";

/// The one instance of a slot that counts: the best that runs, else the best.
pub(super) fn stays<'a>(copy: &Copy<'a>) -> Option<&'a Instance> {
    let all = || copy.current.into_iter().chain(copy.others.iter().copied());
    all().find(|it| it.state.is_running()).or_else(|| all().next())
}

pub(super) fn judge(app: &App<'_>, service: &Service<'_>, copy: &Copy<'_>) -> Verdict {
    let Some(stays) = stays(copy) else { return create::judge(app, service, &copy.slot) };
    let is_alone = copy.current.is_some() && copy.others.is_empty();
    let wait = Verdict::new(Standing::Moving, ServiceState::Pending).because(WAITS_FOR_THE_CLOUD);
    if !is_alone && stays.state == InstanceState::Stuck {
        return wait;
    }
    let kept = keep::judge(app, service, &copy.slot, stays);
    if is_alone { kept } else { wait.with(kept) }
}
