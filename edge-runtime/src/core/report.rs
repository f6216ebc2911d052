//! What the site reports: a document per app and one of the node. What differs from what was
//! reported last goes when its turn has come (`pace`), and only that.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::app::AppStatus;
use gnomon_schemas::document::{Document, Packed};
use gnomon_schemas::id::AppName;
use gnomon_schemas::key::ShadowKey;
use gnomon_sync::Moment;
use serde_json::{Value, json};

use super::watching::Reach;
use super::{Core, Machines};

/// The member of the node's report that is written by hand; see `gnomon-edge report`.
pub(super) const LOCAL: &str = "local";

/// How good the link is.
const LINK: &str = "link";

/// A half that is to be reported; without a document: it is to be deleted.
type News = (ShadowKey, Option<Packed>);

impl Core {
    /// Takes how the apps are.
    pub(super) fn take_statuses(&mut self, now: Moment, mut report: BTreeMap<AppName, AppStatus>) {
        for (app, status) in &mut report {
            self.explain(app, status);
        }
        self.told.retain(|app, _| report.contains_key(app));
        self.statuses = report;
        self.are_all_known = self.settled;
        self.report_soon(now);
    }

    /// Has what is news reported when its turn has come.
    pub(super) fn report_soon(&mut self, now: Moment) {
        if !self.pace.is_waiting() && !self.news(now).is_empty() {
            self.pace.want(now);
        }
    }

    /// Reports what is news by now, if its turn has come.
    pub(super) fn report_if_due(&mut self, now: Moment) {
        if !self.pace.begin(now) {
            return;
        }
        let news = self.news(now);
        let Some(machines) = self.machines.as_mut().filter(|_| !news.is_empty()) else { return };
        self.pace.went(now);
        for (key, document) in &news {
            let Some(document) = document else { continue };
            if *key == ShadowKey::Node {
                let (held, new) = (member(machines, LINK), member_of(document, LINK));
                self.quality.reported(now, held.as_ref(), new.as_ref());
            }
            if let Some(app) = key.app() {
                self.told.insert(app.clone(), now);
            }
        }
        machines.up.change_all(now, news);
    }

    /// The shadows of which there is something that waits for its turn.
    pub(super) fn unreported(&self, now: Moment) -> BTreeSet<ShadowKey> {
        if !self.pace.is_waiting() {
            return BTreeSet::new();
        }
        self.news(now).into_iter().map(|(key, _)| key).collect()
    }

    /// What differs from what was reported last, but for what can wait while the hour's writes are
    /// used up. Reports of apps of which nothing is left are deleted.
    fn news(&self, now: Moment) -> Vec<News> {
        let Some(machines) = &self.machines else { return Vec::new() };
        let is_news = |key: &ShadowKey, new: &Packed| {
            machines.up.get(key).is_none_or(|held| held.document != new)
        };
        let may_write = self.may_write(now);
        let mut news = Vec::new();
        for (app, status) in &self.statuses {
            let (key, document) = (ShadowKey::App(app.clone()), document(app, status).into());
            if is_news(&key, &document) && (may_write || !self.can_wait(now, app, status)) {
                news.push((key, Some(document)));
            }
        }
        if self.are_all_known && self.settled {
            let is_gone = |app: &AppName| !self.statuses.contains_key(app);
            let halves = machines.up.halves().map(|(key, _)| key);
            let gone = halves.filter(|key| key.app().is_some_and(is_gone));
            news.extend(gone.map(|key| (key.clone(), None)));
        }
        let node = self.node_report(now, machines).map(Packed::from);
        let node = node.filter(|document| is_news(&ShadowKey::Node, document));
        news.extend(node.map(|document| (ShadowKey::Node, Some(document))));
        news
    }

    /// The node's own report, once the orchestrator was asked.
    fn node_report(&self, now: Moment, machines: &Machines) -> Option<Document> {
        let mut report = json!({
            "agent": self.agent_report(),
            "orchestrator": self.orchestrator_report()?,
            "platform": { "os": std::env::consts::OS, "arch": std::env::consts::ARCH },
        });
        let fields = report.as_object_mut()?;
        let link = self.quality.tell(now, member(machines, LINK).as_ref());
        for (name, value) in [
            ("settings", self.settings_report()),
            ("identity", self.identity_report(now)),
            (LOCAL, member(machines, LOCAL)),
            (LINK, link),
        ] {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        }
        Document::from_value(report)
            .inspect_err(|error| tracing::error!(%error, "the node's report is not a document"))
            .ok()
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

/// A member of the node's report as it was reported last.
fn member(machines: &Machines, name: &str) -> Option<Value> {
    member_of(machines.up.get(&ShadowKey::Node)?.document, name)
}

fn member_of(report: &Packed, name: &str) -> Option<Value> {
    report.find(&[name.to_owned()])
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
