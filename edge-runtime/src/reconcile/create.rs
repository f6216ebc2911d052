//! Rules for a copy that is missing: it is made at once, also when somebody removed it; but not
//! before its image is here, the services it depends on are there, everything surplus has
//! stopped (which may hold its port or volume), and, if it is new in a revision that replaces
//! another, that one may begin. A copy that vanished before its update is made as that wants it:
//! better early than not at all. Tests: `a_missing_copy_is_made_at_once`,
//! `a_copy_that_is_removed_over_and_over_is_made_ever_later`,
//! `a_renamed_service_waits_until_the_old_one_has_stopped`,
//! `drift_is_repaired_while_the_images_of_an_update_are_fetched`,
//! `a_copy_that_vanishes_before_its_update_is_made_as_the_update_wants_it`.

use std::sync::Arc;

use gnomon_schemas::app::ServiceState;

use super::attempts::{SlotLife, StepKey};
use super::keep::{RESTART_IS_DUE, in_a_row, trouble};
use super::model::{Slot, Step};
use super::verdict::{Standing, Verdict};
use super::view::{App, Service};
use super::{doubt, retire, update};

pub(super) fn judge(app: &App<'_>, service: &Service<'_>, slot: &Slot) -> Verdict {
    let step = Step::Create { slot: slot.clone(), spec: Arc::clone(app.spec) };
    let offer = app.memory.offer(step, ServiceState::Starting, "creating");
    // A failure that is being waited out is the better news, also while the image that it made
    // the memory forget is looked for again.
    if offer.step.is_none() {
        return offer;
    }
    blocked(app, service, slot).unwrap_or(offer)
}

/// Whether the last attempt to make the copy failed.
pub(super) fn has_failed(app: &App<'_>, service: &Service<'_>, slot: &Slot) -> bool {
    app.memory.failure(&StepKey::Create(slot.clone(), Some(service.digest))).is_some()
}

/// Why the copy may not be made now.
pub(super) fn blocked(app: &App<'_>, service: &Service<'_>, slot: &Slot) -> Option<Verdict> {
    let pending = |why: String| Verdict::new(Standing::Moving, ServiceState::Pending).because(why);
    let life = app.memory.life(slot, service.digest);
    if app.is_doubted && retire::still_running(app).is_some() {
        return Some(pending(doubt::WAITS_FOR_THE_CLOUD.to_owned()));
    }
    if let Some(wait) = app.images.wait(service) {
        return Some(wait);
    }
    if !app.memory.has_lived(slot) && update::has_not_begun(app) {
        return Some(pending(app.waits_for()));
    }
    if app.may_replace()
        && let Some(old) = retire::still_running(app)
    {
        return Some(pending(format!("waits for the surplus {old} to stop")));
    }
    if let Some(why) = app.unmet.get(service.name) {
        return Some(pending(why.clone()));
    }
    let not_due = |life: &&SlotLife| !app.memory.is_due(life.retry_at);
    let life = life.filter(not_due)?;
    let why = format!("its instance is gone{}; making it anew", in_a_row(Some(life)));
    let news = Verdict::new(trouble(Some(life)), ServiceState::Waiting).because(why);
    Some(news.until(life.retry_at, RESTART_IS_DUE))
}
