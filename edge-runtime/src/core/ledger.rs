//! What the site itself decided about each app, in its own rows of the store: the last good
//! revision, the one that was given up, the one that somebody holds, the one that somebody applied
//! here. A decision counts only when it is durable: until then everything goes on as before it.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::app::Revision;
use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_schemas::version::Version;
use serde::{Deserialize, Serialize};

use super::Ticket;
use crate::local::Response;
use crate::reconcile::DesiredApp;
use crate::store::{Entry, Op};

mod rows;
#[cfg(test)]
mod tests;

/// The part of the store in which these rows lie.
const PREFIX: &str = "site/";

/// Everything that was decided.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: BTreeMap<AppName, Record>,
    /// Decided, and not in a commit yet.
    pending: Vec<(AppName, Decision)>,
    /// In the commit that is under way.
    in_flight: Vec<(AppName, Decision)>,
    /// Who is told when what they asked for is durable.
    waiting: Vec<(Ticket, Response)>,
    told_next: Vec<(Ticket, Response)>,
    /// Rows that cannot be read, to be deleted.
    rubble: Vec<Op>,
}

/// What was decided about one app.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    pub(super) good: Option<Good>,
    pub(super) bad: Option<Bad>,
    pub(super) hold: Option<Held>,
    pub(super) local: Option<Local>,
    /// The last run of each scheduled service.
    pub(super) runs: BTreeMap<ServiceName, Run>,
}

/// A run of a scheduled service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// By the node's clock, in seconds since 1970: all times up to here are dealt with.
    pub(super) at: u64,
    /// Whether it was begun; else it is due.
    pub(super) begun: bool,
}

/// The last revision that was good, with the version under which it was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Good {
    pub(super) app: DesiredApp,
    /// The ids of the images that its instances had, by the names that the app gives them.
    pub(super) images: BTreeMap<String, String>,
    /// Whether it was applied at the node.
    pub(super) is_local: bool,
}

/// A revision that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) version: Version,
    pub(super) revision: Revision,
    pub(super) reason: String,
}

/// What somebody holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) app: DesiredApp,
    /// Whether it was applied at the node.
    pub(super) is_local: bool,
}

/// What was applied at the node, over the cloud's version that it is meant to replace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Local {
    /// `None`: the cloud had no such app.
    pub(super) base: Option<Version>,
    pub(super) app: DesiredApp,
}

/// A change of one part of a record; `None` takes it away.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    Good(Option<Good>),
    Bad(Option<Bad>),
    Hold(Option<Held>),
    Local(Option<Local>),
    Runs(BTreeMap<ServiceName, Run>),
}

const NOTHING: &Record =
    &Record { good: None, bad: None, hold: None, local: None, runs: BTreeMap::new() };

impl Ledger {
    /// What was decided about an app.
    pub(super) fn get(&self, app: &AppName) -> &Record {
        self.records.get(app).unwrap_or(NOTHING)
    }

    /// The apps about which anything was decided.
    pub(super) fn apps(&self) -> impl Iterator<Item = &AppName> {
        self.records.keys()
    }

    /// Every record.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Decides; it counts when it is durable. What is so already is no decision.
    pub(super) fn decide(&mut self, app: &AppName, decision: Decision) {
        let mut record = self.get(app).clone();
        let ahead = self.in_flight.iter().chain(&self.pending).filter(|(other, _)| other == app);
        ahead.for_each(|(_, earlier)| record.take(earlier.clone()));
        let mut after = record.clone();
        after.take(decision.clone());
        if after != record {
            self.pending.push((app.clone(), decision));
        }
    }

    /// Answers when all that was decided so far is durable.
    pub(super) fn answer_when_durable(&mut self, ticket: Ticket, response: Response) {
        self.waiting.push((ticket, response));
    }

    /// Whether somebody is to be told although nothing had to be written.
    pub(super) const fn has_answers(&self) -> bool {
        !self.told_next.is_empty()
    }

    /// Forgets an app whose shadow was deleted. A hold stays: it is the node's own.
    pub(super) fn forget(&mut self, app: &AppName) {
        self.decide(app, Decision::Good(None));
        self.decide(app, Decision::Bad(None));
        self.decide(app, Decision::Local(None));
        self.decide(app, Decision::Runs(BTreeMap::new()));
    }

    /// The rows to commit.
    pub(super) fn take(&mut self) -> Vec<Op> {
        let mut ops = std::mem::take(&mut self.rubble);
        self.in_flight = std::mem::take(&mut self.pending);
        self.told_next = std::mem::take(&mut self.waiting);
        ops.extend(self.in_flight.iter().map(|(app, decision)| rows::write(app, decision)));
        ops
    }

    /// What was in the commit is durable: gives back the apps it was about and who is told.
    pub(super) fn committed(&mut self) -> (BTreeSet<AppName>, Vec<(Ticket, Response)>) {
        let mut apps = BTreeSet::new();
        for (app, decision) in std::mem::take(&mut self.in_flight) {
            let record = self.records.entry(app.clone()).or_default();
            record.take(decision);
            if record == NOTHING {
                self.records.remove(&app);
            }
            apps.insert(app);
        }
        (apps, std::mem::take(&mut self.told_next))
    }

    /// The store refused: nothing was decided. Gives back who asked for it.
    pub(super) fn failed(&mut self) -> Vec<Ticket> {
        self.pending.clear();
        self.in_flight.clear();
        let waiting = std::mem::take(&mut self.told_next).into_iter().chain(self.waiting.drain(..));
        waiting.map(|(ticket, _)| ticket).collect()
    }

    /// Takes what the store says. What it has lost and is still known here is decided again: a
    /// store that was replaced must not forget the last good revisions.
    pub(super) fn load(&mut self, entries: &[Entry]) {
        let known = std::mem::take(&mut self.records);
        for (key, value) in entries.iter().filter(|(key, _)| key.starts_with(PREFIX.as_bytes())) {
            match rows::read(key, value) {
                Ok((app, decision)) => self.records.entry(app).or_default().take(decision),
                Err(reason) => {
                    let row = String::from_utf8_lossy(key);
                    tracing::error!(%row, %reason, "a row of the site's own decisions cannot be \
                        read; it is deleted");
                    self.rubble.push((key.clone(), None));
                }
            }
        }
        for (app, record) in known.into_iter().filter(|(app, _)| !self.records.contains_key(app)) {
            self.pending.extend(record.decisions().map(|decision| (app.clone(), decision)));
        }
    }
}

impl Record {
    fn take(&mut self, decision: Decision) {
        match decision {
            Decision::Good(good) => self.good = good,
            Decision::Bad(bad) => self.bad = bad,
            Decision::Hold(hold) => self.hold = hold,
            Decision::Local(local) => self.local = local,
            Decision::Runs(runs) => self.runs = runs,
        }
    }

    fn decisions(self) -> impl Iterator<Item = Decision> {
        let Self { good, bad, hold, local, runs } = self;
        let parts = [
            good.map(|it| Decision::Good(Some(it))),
            bad.map(|it| Decision::Bad(Some(it))),
            hold.map(|it| Decision::Hold(Some(it))),
            local.map(|it| Decision::Local(Some(it))),
            (!runs.is_empty()).then_some(Decision::Runs(runs)),
        ];
        parts.into_iter().flatten()
    }

    /// The revision that was good.
    pub(super) fn good_revision(&self) -> Option<Revision> {
        self.good.as_ref().and_then(|good| good.app.revision())
    }

    /// Why this revision was given up, if it was.
    pub(super) fn gave_up(&self, wanted: &DesiredApp) -> Option<&Bad> {
        let bad = self.bad.as_ref()?;
        let is_same = bad.version == wanted.version && Some(bad.revision) == wanted.revision();
        is_same.then_some(bad)
    }
}
