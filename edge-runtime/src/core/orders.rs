//! What people at the node may order. Each order is answered when it is durable, or refused with
//! what to do about it. What was ordered here lives with the cloud by one rule each: a hold lasts
//! until it is released, an applied app until the cloud's next version of that app, a reported
//! value until the next one.

use std::sync::Arc;
use std::time::Duration;

use gnomon_schemas::app::{AppSpec, ServiceSpec};
use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::id::AppName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::Version;
use gnomon_sync::Moment;
use serde_json::{Value, json};

use super::budget::Fate;
use super::ledger::{Decision, Held, Local};
use super::report::LOCAL;
use super::{Core, Effect, Ticket};
use crate::local::{Refusal, RefusalCode, Request, Response};
use crate::reconcile::DesiredApp;
use crate::reconcile::model::{Observed, Slot, Step};

/// A command that is run at the node gets no longer.
const LONGEST_COMMAND: Duration = Duration::from_hours(1);

impl Core {
    pub(super) fn on_order(
        &mut self,
        now: Moment,
        ticket: Ticket,
        order: Request,
    ) -> Result<(), Refusal> {
        if let Request::Exec { app, service, replica, command, timeout_s } = order {
            let slots = self.slots_of(&app, Some(&service))?;
            let slot = slots.into_iter().find(|slot| slot.replica == replica);
            let slot = slot.ok_or_else(|| no_replica(&app, replica))?;
            if command.is_empty() {
                return Err(invalid("a command is needed: exec APP SERVICE -- CMD [ARG...]"));
            }
            let timeout = Duration::from_secs(timeout_s).min(LONGEST_COMMAND);
            self.effects.push_back(Effect::Exec { ticket, slot, command, timeout });
            return Ok(());
        }
        if let Request::RemoveVolumes { app } = order {
            return self.remove_volumes(ticket, app);
        }
        if self.machines.is_none() {
            let why = self.gate.trouble().map_or("it is being read", |trouble| &trouble.reason);
            let message = format!("the store takes no changes at the moment: {why}");
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
        let told = match order {
            Request::Hold { app } => self.hold(&app)?,
            Request::Release { app } => self.release(now, &app)?,
            Request::Restart { app, service } => {
                let slots = self.slots_of(&app, service.as_ref())?;
                if slots.iter().any(|slot| self.has_manifests(slot)) {
                    return Err(conflict(format!(
                        "`{app}` consists of Kubernetes manifests; `kubectl rollout restart` restarts what of it has pods"
                    )));
                }
                self.restart(now, slots)
            }
            Request::Pull { app } => self.pull_now(&app)?,
            Request::Apply { app, spec } => self.apply_here(&app, &spec)?,
            Request::Discard { app } => self.discard(&app)?,
            Request::Report { key, value } => self.report_value(now, &key, value)?,
            Request::Status
            | Request::Logs { .. }
            | Request::Shadow { .. }
            | Request::Diag
            | Request::RemoveVolumes { .. }
            | Request::Exec { .. } => return Err(invalid("this is a question and no order")),
        };
        self.ledger.answer_when_durable(ticket, Response::Done(told));
        Ok(())
    }

    /// To stop it would be to remove its objects.
    fn has_manifests(&self, slot: &Slot) -> bool {
        let spec = self.desired.apps.get(&slot.app).and_then(|app| app.spec.as_ref().ok());
        let service = spec.and_then(|spec| spec.services.get(&slot.service));
        service.is_some_and(ServiceSpec::has_manifests)
    }

    /// Only of an app that is known not to be desired, and of which nothing runs.
    fn remove_volumes(&mut self, ticket: Ticket, app: AppName) -> Result<(), Refusal> {
        if !self.settled {
            let message = "what is desired is not known yet; the volumes may be needed";
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
        if self.desired.apps.contains_key(&app) || self.statuses.contains_key(&app) {
            return Err(conflict(format!("`{app}` is still desired, or not gone yet")));
        }
        self.effects.push_back(Effect::RemoveVolumes { ticket, app });
        Ok(())
    }

    fn hold(&mut self, app: &AppName) -> Result<String, Refusal> {
        self.slots_of(app, None)?;
        let running = self.desired.apps.get(app).cloned();
        let running = running.ok_or_else(|| invalid("there is no such app"))?;
        if self.desired.is_doubted(app) {
            let message = "the store has lost its last commits and does not know what runs; that \
                           stays in any case until the cloud has said what is desired";
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
        if self.ledger.get(app).hold.is_some() {
            return Err(conflict(format!("`{app}` is held already; `release {app}` ends it")));
        }
        // What is rolled back to is held as the version that it was, not as the one that was bad.
        let wanted = self.wanted(app).and_then(DesiredApp::revision);
        let good = self.ledger.get(app).good.as_ref();
        let held = match good.filter(|good| wanted != good.app.revision()) {
            Some(good) if good.app.revision() == running.revision() => {
                Held { app: good.app.clone(), is_local: good.is_local }
            }
            Some(_) | None => Held { app: running, is_local: self.is_overridden(app) },
        };
        let version = held.app.version;
        self.ledger.decide(app, Decision::Hold(Some(held)));
        Ok(format!("`{app}` stays at version {version} until `release {app}`"))
    }

    fn release(&mut self, now: Moment, app: &AppName) -> Result<String, Refusal> {
        let record = self.ledger.get(app);
        let (held, bad) = (record.hold.is_some(), record.bad.is_some());
        let revision = self.desired.apps.get(app).and_then(DesiredApp::revision);
        let waits = revision.filter(|_| !held && !bad && self.desired.is_postponed(app));
        if let Some(revision) = waits {
            self.opened.open(app, revision);
            self.watching.want(now, "somebody wants an update now");
            return Ok(format!("`{app}` is updated now, whatever its window of updates is"));
        }
        if !held && !bad {
            return Err(conflict(format!("`{app}` is neither held nor rolled back")));
        }
        self.ledger.decide(app, Decision::Hold(None));
        self.ledger.decide(app, Decision::Bad(None));
        self.attempts.ask_again(app, now);
        let again = if bad { "; the revision that was rolled back is tried again" } else { "" };
        Ok(format!("`{app}` follows what is desired{again}"))
    }

    fn pull_now(&mut self, app: &AppName) -> Result<String, Refusal> {
        if !self.pulls.are_for(app) {
            return Err(conflict(format!("no image of `{app}` is to be fetched")));
        }
        self.pulls.hurry(app.clone());
        self.fetch();
        Ok(format!("the images of `{app}` are fetched now, whatever the time of the day"))
    }

    fn restart(&mut self, now: Moment, slots: Vec<Slot>) -> String {
        let names: Vec<_> = slots.iter().map(ToString::to_string).collect();
        if let Some(slot) = slots.first() {
            self.attempts.ask_again(&slot.app, now);
        }
        for slot in &slots {
            self.attempts.ask_to_start(slot);
        }
        self.restarts.extend(slots);
        self.watching.want(now, "somebody asked for a restart");
        format!("restarting {}", names.join(", "))
    }

    /// The stops that begin the restarts that were asked for.
    pub(super) fn restart_steps(&mut self, seen: &Observed, planned: &[Step]) -> Vec<Step> {
        let mut steps = Vec::new();
        for slot in std::mem::take(&mut self.restarts) {
            let is_planned = planned.iter().any(|step| step.slot() == Some(&slot));
            let spec = self.desired.apps.get(&slot.app).and_then(|app| app.spec.as_ref().ok());
            let service = spec.and_then(|spec| spec.services.get(&slot.service));
            let mut own = seen.instances.values().filter(|it| it.slot == slot);
            let running = own.find(|it| it.state.is_running());
            let (Some(service), Some(it), false) = (service, running, is_planned) else { continue };
            let grace = Duration::from_millis(service.stop_grace_period_ms);
            let step = Step::Stop { id: it.id.clone(), slot: slot.clone(), grace };
            if self.work.is_free(&step) {
                steps.push(step);
            } else {
                self.restarts.insert(slot);
            }
        }
        steps
    }

    fn apply_here(&mut self, app: &AppName, spec: &Value) -> Result<String, Refusal> {
        let spec = AppSpec::from_document(spec).map_err(|error| invalid(error.to_string()))?;
        Document::from_value(spec.to_value()).map_err(|error| invalid(error.to_string()))?;
        self.config.capabilities.check(&spec).map_err(|error| invalid(error.to_string()))?;
        if self.ledger.get(app).hold.is_some() {
            return Err(conflict(format!("`{app}` is held; `release {app}` first")));
        }
        let base = self.cloud.get(app).map(|cloud| cloud.version);
        let local = DesiredApp::new(base.unwrap_or(Version::ZERO), Arc::new(spec));
        self.ledger.decide(app, Decision::Local(Some(Local { base, app: local })));
        self.spoken.say(app);
        Ok(match base {
            Some(version) => format!(
                "`{app}` runs what was applied here, over version {version}, until the cloud's \
                 next version or `apply --discard {app}`"
            ),
            None => format!(
                "`{app}` runs what was applied here until the cloud has an app of that name or \
                 `apply --discard {app}`"
            ),
        })
    }

    fn discard(&mut self, app: &AppName) -> Result<String, Refusal> {
        if self.ledger.get(app).local.is_none() {
            return Err(conflict(format!("nothing of `{app}` was applied here")));
        }
        if self.cloud.contains_key(app) {
            self.ledger.decide(app, Decision::Local(None));
            Ok(format!("`{app}` runs what the cloud desires"))
        } else {
            self.ledger.forget(app);
            Ok(format!("`{app}` is removed; its volumes stay"))
        }
    }

    fn report_value(
        &mut self,
        now: Moment,
        key: &ShadowKey,
        value: Value,
    ) -> Result<String, Refusal> {
        if !value.is_object() {
            return Err(invalid("the value must be a JSON object, such as {\"level\": 3}"));
        }
        let patch = match key {
            ShadowKey::Node => json!({ LOCAL: value }),
            ShadowKey::Device(..) => value,
            ShadowKey::App(_) => {
                return Err(invalid(
                    "what is reported of an app is the agent's; use `node` or `device/<id>`",
                ));
            }
        };
        let patch = Patch::from_value(patch).map_err(|error| invalid(error.to_string()))?;
        let told = self.machines.as_ref().and_then(|it| it.up.get(key));
        let told = told.map(|held| held.document.unpack());
        let held = self.measured.get(key).cloned().or(told).unwrap_or_default();
        let document = held.apply(&patch).map_err(|error| invalid(error.to_string()))?;
        Ok(match self.measure(now, key, document) {
            Fate::Goes => format!("reported of `{key}`"),
            Fate::NoNews => format!("`{key}` is reported so already, within its dead-bands"),
            Fate::Waits => format!(
                "held back: what may be written in an hour, or sent, is used up; the newest value \
                 of `{key}` goes when there is room, unless the agent ends before"
            ),
        })
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Invalid, message)
}

fn conflict(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Conflict, message)
}

fn no_replica(app: &AppName, replica: u16) -> Refusal {
    let message = format!("`{app}` has no copy {replica} of this service; copies count from 0");
    Refusal::new(RefusalCode::UnknownService, message)
}
