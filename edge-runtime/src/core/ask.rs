//! Answers to those who ask at the node itself.

use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::Seq;
use gnomon_sync::{Held, Moment};

use super::{Core, Effect, Ticket, redact};
use crate::local::{
    AppReport, Half, LinkReport, Refusal, RefusalCode, Request, Response, Shadow, Status,
    StoreReport, StreamReport,
};
use crate::reconcile::model::Slot;

impl Core {
    pub(super) fn on_asked(&mut self, now: Moment, ticket: Ticket, request: Request) {
        let answer = match request {
            Request::Status => Ok(Response::Status(Box::new(self.status(now)))),
            Request::Shadow { key } => self.shadow(now, &key),
            Request::Diag => Ok(Response::Diag(self.diagnosis(now))),
            Request::Logs { app, service, tail } => match self.slots_of(&app, service.as_ref()) {
                Ok(slots) => return self.effects.push_back(Effect::Logs { ticket, slots, tail }),
                Err(refusal) => Err(refusal),
            },
            order @ (Request::Hold { .. }
            | Request::Release { .. }
            | Request::Restart { .. }
            | Request::Exec { .. }
            | Request::Apply { .. }
            | Request::Discard { .. }
            | Request::RemoveVolumes { .. }
            | Request::Pull { .. }
            | Request::Report { .. }) => match self.on_order(now, ticket, order) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
        };
        let answer = answer.unwrap_or_else(Response::Refused);
        self.effects.push_back(Effect::Answer(ticket, answer));
    }

    pub(super) fn status(&self, now: Moment) -> Status {
        let streams = self.machines.as_ref();
        Status {
            node: self.config.node.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            link: LinkReport {
                up: self.link.up,
                for_s: now.saturating_since(self.link.since).as_secs(),
                reason: self.link.reason.clone(),
                bytes_in: 0,
                bytes_out: 0,
                desired: 0,
                reported: 0,
                quality: self.quality.quality,
            },
            orchestrator: self.orchestrator_report().unwrap_or_default(),
            store: StoreReport {
                state: if self.gate.trouble().is_some() { "failing" } else { "ok" }.to_owned(),
                reason: self.gate.trouble().map(|trouble| trouble.reason.clone()),
            },
            desired_complete: self.settled,
            pending: self.pending(now),
            budget: self.budget_report(now),
            down: streams.map(|it| StreamReport {
                epoch: it.down.epoch().to_string(),
                seq: it.down.seq(),
                acked: None,
                in_sync: self.link.up && !it.down.is_incomplete(),
            }),
            up: streams.map(|it| StreamReport {
                epoch: it.up.epoch().to_string(),
                seq: it.up.head(),
                acked: it.up.acked(),
                in_sync: it.up.is_in_sync() && !self.pace.is_waiting(),
            }),
            apps: self.apps(),
        }
    }

    /// The shadows whose reports the cloud is not known to hold.
    fn pending(&self, now: Moment) -> Vec<ShadowKey> {
        let Some(machines) = &self.machines else { return Vec::new() };
        let acked = machines.up.acked().unwrap_or(Seq::ZERO);
        let late = machines.up.halves().filter(|(_, half)| half.seq > acked);
        let mut pending = self.unreported(now);
        pending.extend(late.map(|(key, _)| key.clone()));
        pending.into_iter().collect()
    }

    fn shadow(&self, now: Moment, key: &ShadowKey) -> Result<Response, Refusal> {
        let machines = self.machines.as_ref().ok_or_else(|| {
            Refusal::new(RefusalCode::Unavailable, "the store cannot be read at the moment")
        })?;
        let half = |held: Held<'_>| Half {
            version: held.version,
            document: redact::document(key, held.document),
        };
        let (desired, reported) = (machines.down.get(key), machines.up.get(key));
        if desired.is_none() && reported.is_none() {
            let message = format!("this node knows nothing of `{key}`");
            return Err(Refusal::new(RefusalCode::UnknownShadow, message));
        }
        let acked = machines.up.acked().unwrap_or(Seq::ZERO);
        Ok(Response::Shadow(Box::new(Shadow {
            key: key.clone(),
            reported_in_sync: reported.is_none_or(|held| held.seq <= acked)
                && !self.unreported(now).contains(key),
            desired: desired.map(half),
            reported: reported.map(half),
        })))
    }

    fn apps(&self) -> Vec<AppReport> {
        let mut names: Vec<&AppName> =
            self.desired.apps.keys().chain(self.statuses.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let report = |app: &AppName| AppReport {
            app: app.clone(),
            desired_version: self.desired.apps.get(app).map(|desired| desired.version),
            status: self.statuses.get(app).cloned(),
            busy: self.work.is_busy(app) || self.pulls.are_for(app),
            reported_version: self
                .machines
                .as_ref()
                .and_then(|it| Some(it.up.get(&ShadowKey::App(app.clone()))?.version)),
        };
        names.into_iter().map(report).collect()
    }

    /// The slots of an app, or of one of its services.
    pub(super) fn slots_of(
        &self,
        app: &AppName,
        service: Option<&ServiceName>,
    ) -> Result<Vec<Slot>, Refusal> {
        let known = self.desired.apps.get(app).and_then(|desired| desired.spec.as_ref().ok());
        let Some(spec) = known else {
            let names: Vec<_> = self.desired.apps.keys().map(ToString::to_string).collect();
            return Err(Refusal {
                code: RefusalCode::UnknownApp,
                message: format!(
                    "this node has no app `{app}` that can run; it has: {}",
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                ),
            });
        };
        let chosen = spec.services.iter().filter(|(name, _)| service.is_none_or(|it| it == *name));
        let slots: Vec<Slot> = chosen
            .flat_map(|(name, spec)| {
                let replicas = u16::try_from(spec.replicas).unwrap_or(u16::MAX);
                let slot = |replica| Slot { app: app.clone(), service: name.clone(), replica };
                (0..replicas).map(slot).collect::<Vec<_>>()
            })
            .collect();
        if slots.is_empty() {
            let names: Vec<_> = spec.services.keys().map(ToString::to_string).collect();
            return Err(Refusal {
                code: RefusalCode::UnknownService,
                message: format!(
                    "the app `{app}` has no such service; it has: {}",
                    names.join(", ")
                ),
            });
        }
        Ok(slots)
    }
}
