//! Which revision of an app runs: the one that is held, else the wanted one, else the last good
//! one where the wanted one is bad or cannot run here. Wanted is what the cloud says, or what was
//! applied here since. Nothing acts on a decision before it is durable, so a crash at any instant
//! leaves the old choice or the new one.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::app::{AppSpec, AppState, AppStatus};
use gnomon_schemas::id::AppName;
use gnomon_sync::Moment;

use super::Core;
use super::ledger::{Bad, Decision, Good, Local};
use crate::reconcile::model::Observed;
use crate::reconcile::{Case, DesiredApp, Outcome};

impl Core {
    /// What should run as an app, whatever becomes of it.
    pub(super) fn wanted(&self, app: &AppName) -> Option<&DesiredApp> {
        self.overriding(app).map(|local| &local.app).or_else(|| self.cloud.get(app))
    }

    /// Whether what was applied here goes over what the cloud says.
    pub(super) fn is_overridden(&self, app: &AppName) -> bool {
        self.overriding(app).is_some()
    }

    fn overriding(&self, app: &AppName) -> Option<&Local> {
        let version = self.cloud.get(app).map(|cloud| cloud.version);
        self.ledger.get(app).local.as_ref().filter(|local| local.base == version)
    }

    /// Chooses again for one app.
    pub(super) fn choose(&mut self, app: &AppName) {
        let record = self.ledger.get(app);
        let wanted = self.wanted(app);
        if let (Some(_), Some(wanted)) = (&record.bad, wanted)
            && record.gave_up(wanted).is_none()
        {
            self.ledger.decide(app, Decision::Bad(None));
        }
        match self.chosen(app) {
            Some(chosen) if self.desired.apps.get(app) == Some(&chosen) => {}
            Some(chosen) => {
                self.work.forget_waiting(app);
                self.desired.put(app.clone(), chosen);
            }
            None => {
                self.work.forget_waiting(app);
                self.trials.end(app);
                self.desired.remove(app);
                if self.settled {
                    self.ledger.forget(app);
                }
            }
        }
    }

    fn chosen(&self, app: &AppName) -> Option<DesiredApp> {
        let record = self.ledger.get(app);
        if let Some(held) = &record.hold {
            return Some(held.app.clone());
        }
        let wanted = self.wanted(app)?;
        let fallback = record.good.as_ref().filter(|good| self.can_run(&good.app));
        match fallback {
            Some(good) if record.gave_up(wanted).is_some() || !self.can_run(wanted) => {
                Some(good.app.at(wanted.version))
            }
            Some(_) | None => Some(wanted.clone()),
        }
    }

    /// Why the app cannot run here, if so.
    fn refusal(&self, app: &DesiredApp) -> Option<String> {
        let check = |spec: &AppSpec| self.config.capabilities.check(spec);
        match &app.spec {
            Ok(spec) => check(spec).err().map(|why| why.to_string()),
            Err(why) => Some(why.clone()),
        }
    }

    fn can_run(&self, app: &DesiredApp) -> bool {
        self.refusal(app).is_none()
    }

    /// Judges every revision that has not shown yet that it is good; gives back the apps whose
    /// revision is given up, of which nothing more is to be done before that is durable.
    pub(super) fn judge(
        &mut self,
        now: Moment,
        observed: &Observed,
        report: &BTreeMap<AppName, AppStatus>,
    ) -> BTreeSet<AppName> {
        let mut given_up = BTreeSet::new();
        if self.machines.is_none() {
            return given_up;
        }
        for (app, status) in report {
            let Some(wanted) = self.desired.apps.get(app) else { continue };
            let record = self.ledger.get(app);
            if record.good_revision() == wanted.revision() || self.desired.is_doubted(app) {
                self.trials.end(app);
                continue;
            }
            let attempts = &self.attempts;
            let is_linked = self.link.up;
            match self.trials.judge(Case {
                app,
                wanted,
                status,
                observed,
                attempts,
                is_linked,
                now,
            }) {
                Outcome::Open(None) => {}
                Outcome::Open(Some((at, why))) => self.watching.want(at.max(now), why),
                Outcome::Good => {
                    let images = images(app, wanted, observed);
                    let is_local = match &record.hold {
                        Some(held) => held.is_local,
                        None => self.is_overridden(app),
                    };
                    let good = Good { app: wanted.clone(), images, is_local };
                    tracing::info!(%app, version = %wanted.version, "the revision is good");
                    self.ledger.decide(app, Decision::Good(Some(good)));
                }
                Outcome::Bad(reason) => {
                    if let Some(bad) = self.verdict(app, reason) {
                        tracing::warn!(%app, version = %bad.version, reason = %bad.reason,
                            "the revision is bad and is rolled back to the last good one");
                        self.ledger.decide(app, Decision::Bad(Some(bad)));
                        self.work.forget_waiting(app);
                        given_up.insert(app.clone());
                    }
                }
            }
        }
        given_up
    }

    /// A bad revision is given up if there is a good one to go back to, the app does not forbid
    /// it, and nobody holds it.
    fn verdict(&self, app: &AppName, reason: String) -> Option<Bad> {
        let record = self.ledger.get(app);
        let running = self.desired.apps.get(app)?;
        let is_free = record.hold.is_none() && self.wanted(app)?.revision() == running.revision();
        let goes_back = running.spec.as_ref().is_ok_and(|spec| spec.trial.rollback);
        record.good.as_ref().filter(|good| is_free && goes_back && self.can_run(&good.app))?;
        Some(Bad { version: running.version, revision: running.revision()?, reason })
    }

    /// Adds to a plan's report what the planner does not know: that another revision is wanted
    /// than the one it was given, and why that one runs.
    pub(super) fn explain(&self, app: &AppName, status: &mut AppStatus) {
        let Some(running) = self.desired.apps.get(app) else { return };
        self.explain_pulls(app, status);
        let record = self.ledger.get(app);
        let (wanted, cloud) = (self.wanted(app), self.cloud.get(app));
        status.good = status.revision.is_some() && record.good_revision() == status.revision;
        status.held = record.hold.is_some();
        let runs_as_wanted = wanted.is_some_and(|it| it.revision() == running.revision());
        let is_local_fallback = record.good.as_ref().is_some_and(|good| good.is_local);
        status.local = match &record.hold {
            Some(held) => held.is_local,
            None => self.is_overridden(app) || (!runs_as_wanted && is_local_fallback),
        };
        let goal = if runs_as_wanted { cloud } else { wanted };
        status.wanted =
            goal.and_then(DesiredApp::revision).filter(|it| Some(*it) != status.revision);
        let Some(wanted) = wanted.filter(|_| !status.held && !runs_as_wanted) else { return };
        if let Some(bad) = record.gave_up(wanted) {
            status.state = AppState::Failed;
            status.rolled_back_from = Some(bad.revision);
            let why = format!("rolled back from {}: {}", bad.revision.short(), bad.reason);
            status.reason = Some(joined(&why, status.reason.take()));
        } else if let Some(why) = self.refusal(wanted) {
            status.state = AppState::Refused;
            let why = format!("{why} (the last good revision goes on)");
            status.reason = Some(joined(&why, status.reason.take()));
        }
    }

    /// The names and ids of all images that some revision may need again: none of them is to be
    /// removed from the node.
    pub fn needed_images(&self) -> BTreeSet<String> {
        let kept = self.ledger.records().flat_map(|record| {
            let local = record.local.as_ref().map(|local| &local.app);
            let good = record.good.as_ref().map(|good| &good.app);
            let held = record.hold.as_ref().map(|held| &held.app);
            [good, held, local].into_iter().flatten()
        });
        let specs = self.cloud.values().chain(self.desired.apps.values()).chain(kept);
        let specs = specs.filter_map(|app| app.spec.as_ref().ok());
        let services = specs.flat_map(|spec| spec.services.values());
        let names = services.filter_map(|service| service.image.clone());
        let goods = self.ledger.records().filter_map(|record| record.good.as_ref());
        names.chain(goods.flat_map(|good| good.images.values().cloned())).collect()
    }
}

fn joined(first: &str, then: Option<String>) -> String {
    then.map_or_else(|| first.to_owned(), |then| format!("{first}; {then}"))
}

/// The ids of the images that run.
fn images(app: &AppName, wanted: &DesiredApp, observed: &Observed) -> BTreeMap<String, String> {
    let mine = observed.instances.values().filter(|it| it.slot.app == *app);
    let named = mine.filter_map(|it| {
        let spec = wanted.spec.as_ref().ok()?;
        let name = spec.services.get(&it.slot.service)?.image.clone()?;
        let is_current = wanted.digest(&it.slot.service) == Some(it.service_digest);
        is_current.then_some((name, it.image.as_ref()?.to_string()))
    });
    named.collect()
}
