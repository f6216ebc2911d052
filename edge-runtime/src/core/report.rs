//! What the site reports: a document per app and one of the node, put only when they change.

use std::collections::BTreeMap;

use gnomon_schemas::app::AppStatus;
use gnomon_schemas::document::Document;
use gnomon_schemas::id::AppName;
use gnomon_schemas::key::ShadowKey;
use gnomon_sync::Moment;
use serde_json::{Value, json};

use super::Core;
use super::watching::Reach;

/// The member of the node's report that is written by hand; see `gnomon-edge report`.
pub(super) const LOCAL: &str = "local";

/// How good the link is.
const LINK: &str = "link";

impl Core {
    /// Puts the statuses that changed; deletes those of apps of which nothing is left.
    pub(super) fn report_apps(&mut self, now: Moment, mut report: BTreeMap<AppName, AppStatus>) {
        for (app, status) in &mut report {
            self.explain(app, status);
        }
        let is_urgent = |app: &AppName, status: &AppStatus| {
            self.may_write(now) || !self.can_wait(now, app, status)
        };
        let urgent: Vec<_> = report.iter().filter(|(app, it)| is_urgent(app, it)).collect();
        if let Some(machines) = &mut self.machines {
            for (app, status) in urgent {
                let (key, before) = (ShadowKey::App(app.clone()), machines.up.head());
                machines.up.put(now, &key, document(app, status));
                if machines.up.head() != before {
                    self.told.insert(app.clone(), now);
                }
            }
            let finished = |key: &ShadowKey| key.app().is_some_and(|app| !report.contains_key(app));
            let gone: Vec<ShadowKey> =
                machines.up.halves().map(|(key, _)| key.clone()).filter(finished).collect();
            for key in gone.iter().filter(|_| self.settled) {
                machines.up.delete(now, key);
            }
        }
        self.told.retain(|app, _| report.contains_key(app));
        self.statuses = report;
    }

    /// Puts the node's own report, once the orchestrator was asked.
    pub(super) fn report_node(&mut self, now: Moment) {
        let Some(orchestrator) = self.orchestrator_report() else { return };
        let mut report = json!({
            "agent": self.agent_report(),
            "orchestrator": orchestrator,
            "platform": { "os": std::env::consts::OS, "arch": std::env::consts::ARCH },
        });
        if let (Some(settings), Some(report)) = (self.settings_report(), report.as_object_mut()) {
            report.insert("settings".to_owned(), settings);
        }
        if let (Some(identity), Some(report)) = (self.identity_report(now), report.as_object_mut())
        {
            report.insert("identity".to_owned(), identity);
        }
        let Some(machines) = &mut self.machines else { return };
        let held = machines.up.get(&ShadowKey::Node).map(|held| held.document.to_value());
        let member = |name: &str| held.as_ref().and_then(|held| held.get(name));
        let link = self.quality.tell(now, member(LINK));
        for (name, value) in [(LOCAL, member(LOCAL).cloned()), (LINK, link)] {
            if let (Some(value), Some(report)) = (value, report.as_object_mut()) {
                report.insert(name.to_owned(), value);
            }
        }
        match Document::from_value(report) {
            Ok(document) => drop(machines.up.put(now, &ShadowKey::Node, document)),
            Err(error) => tracing::error!(%error, "the node's report is not a document"),
        }
    }

    fn agent_report(&self) -> Value {
        let mut report = json!({ "version": env!("CARGO_PKG_VERSION") });
        if let (false, Some(report)) = (self.update.is_null(), report.as_object_mut()) {
            report.insert("update".to_owned(), self.update.clone());
        }
        report
    }

    pub(super) fn orchestrator_report(&self) -> Option<Value> {
        let mut report = json!({ "kind": self.config.capabilities.kind.as_str() });
        let fields = report.as_object_mut()?;
        match self.watching.reach() {
            Reach::Unknown => return None,
            Reach::Ready => fields.insert("state".to_owned(), "ready".into()),
            Reach::Unreachable(reason) => {
                fields.insert("reason".to_owned(), reason.as_str().into());
                fields.insert("state".to_owned(), "unreachable".into())
            }
        };
        if let Some(version) = self.watching.version() {
            fields.insert("version".to_owned(), version.into());
        }
        Some(report)
    }
}

fn document(app: &AppName, status: &AppStatus) -> Document {
    Document::from_value(status.to_value()).unwrap_or_else(|error| {
        tracing::error!(%app, %error, "the status is not a document; a short one is reported");
        let short = AppStatus {
            reason: Some("the status is too large to report; ask the node itself".to_owned()),
            revision: status.revision,
            ..AppStatus::new(status.desired_version, status.state)
        };
        Document::from_value(short.to_value()).unwrap_or_default()
    })
}
