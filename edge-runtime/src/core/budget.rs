//! What may be written to flash and sent over the link, and what waits. State always goes: what is
//! desired, what was decided, how apps are. While the hour's writes are used up, counters of
//! restarts, reasons and measured values wait, and so does an app that goes up and down for some
//! minutes; measured values also while their share of the link is used up.

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_schemas::app::{AppState, AppStatus};
use gnomon_schemas::document::Document;
use gnomon_schemas::id::AppName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::{Batch, Hello, Message};
use gnomon_sync::Moment;

use super::allowance::{Limits, Purpose, Spent};
use super::machines::After;
use super::measured;
use super::{Core, Machines};
use crate::local::BudgetReport;
use crate::store::{Entry, Op};

/// While writes wait, an app that goes up and down is told of no more often.
const FLAPPING: Duration = Duration::from_mins(5);
/// How often the cloud hears where this site stands, while reports wait.
const HEARTBEAT: Duration = Duration::from_hours(1);
/// The row that holds what of the link's allowance is used.
const SPENT: &[u8] = b"link/spent";

/// What an operator allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Budgets {
    /// Bytes given to the store in an hour, before what can wait does.
    pub write_bytes_per_hour: u64,
    /// Bytes that the link may carry.
    pub link: Limits,
    /// By how much measured values may differ without being news.
    pub dead_bands: BTreeMap<String, f64>,
}

impl Default for Budgets {
    fn default() -> Self {
        let link = Limits { day: None, month: None };
        Self { write_bytes_per_hour: 512 * 1024, link, dead_bands: BTreeMap::new() }
    }
}

/// What became of a measured value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    NoNews,
    Waits,
    Goes,
}

impl Core {
    /// The link has carried so many bytes by now, and the clock says so.
    pub(super) fn on_carried(&mut self, now: Moment, bytes: u64, wall_s: u64) {
        self.allowance.count(wall_s, bytes);
        self.mute(now);
        if !self.measured.is_empty() && self.may_measure(now) {
            let measured = self.measured.take().into_iter();
            if let Some(machines) = &mut self.machines {
                let all = measured.map(|(key, document)| (key, Some(document.into())));
                machines.up.change_all(now, all);
            }
        }
    }

    /// Lets reports wait while the link's allowance is spent, as if there were no link for them.
    fn mute(&mut self, now: Moment) {
        let is_spent = !self.allowance.permits(Purpose::Status);
        if is_spent == self.muted {
            return;
        }
        self.muted = is_spent;
        tracing::warn!(is_spent, "the allowance of the link; what is desired flows all the same");
        let Some(machines) = self.machines.as_mut().filter(|_| self.link.up) else { return };
        self.heartbeat = is_spent.then_some(now);
        if is_spent {
            machines.up.link_down();
        } else {
            machines.up.link_up(now);
        }
    }

    /// The link is up: for reports only if it may carry them.
    pub(super) fn open_link(machines: &mut Machines, now: Moment, is_muted: bool) {
        machines.down.link_up(now);
        if !is_muted {
            machines.up.link_up(now);
        }
    }

    pub(super) fn may_write(&self, now: Moment) -> bool {
        self.meter.room_at(now, self.config.budgets.write_bytes_per_hour).is_none()
    }

    fn may_measure(&self, now: Moment) -> bool {
        self.machines.is_some() && self.may_write(now) && self.allowance.permits(Purpose::Metrics)
    }

    /// Reports a measured value, or lets it wait.
    pub(super) fn measure(&mut self, now: Moment, key: &ShadowKey, document: Document) -> Fate {
        let goes = self.may_measure(now);
        let Some(machines) = &mut self.machines else { return Fate::Waits };
        let held = machines.up.get(key).map(|held| held.document.to_value());
        let bands = &self.config.budgets.dead_bands;
        let waits = self.measured.get(key).is_some();
        if !waits && held.is_some_and(|held| measured::is_no_news(&held, &document, bands)) {
            return Fate::NoNews;
        }
        if goes {
            machines.up.put(now, key, document);
            self.measured.forget(key);
            return Fate::Goes;
        }
        self.measured.hold(key.clone(), document);
        Fate::Waits
    }

    /// Whether a status can wait for room: it says nothing but counters and reasons beside what is
    /// reported already, or an app only goes up and down and was told of a moment ago.
    pub(super) fn can_wait(&self, now: Moment, app: &AppName, status: &AppStatus) -> bool {
        let key = ShadowKey::App(app.clone());
        let held = self.machines.as_ref().and_then(|it| it.up.get(&key));
        let held = held.and_then(|it| AppStatus::from_document(&it.document.to_value()).ok());
        let Some(held) = held else { return false };
        let is_fresh = |told: &Moment| now.saturating_since(*told) < FLAPPING;
        let (held, new) = (essence(held), essence(status.clone()));
        held == new || (self.told.get(app).is_some_and(is_fresh) && fate(&held) == fate(&new))
    }

    /// The changes of a commit: what it writes is counted when it is durable.
    pub(super) fn weigh(&mut self, ops: &mut Vec<Op>) {
        if let Some(spent) = self.allowance.take_unstored() {
            ops.extend(serde_json::to_vec(&spent).ok().map(|row| (SPENT.to_vec(), Some(row))));
        }
        let bytes = ops.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        self.writing = u64::try_from(bytes.sum::<usize>()).unwrap_or(u64::MAX);
    }

    /// What an earlier run of the agent used of the link.
    pub(super) fn load_spent(&mut self, entries: &[Entry]) {
        let row = entries.iter().find(|(key, _)| key == SPENT);
        let spent = row.and_then(|(_, value)| serde_json::from_slice::<Spent>(value).ok());
        if let Some(spent) = spent.filter(|_| self.allowance.spent() == Spent::default()) {
            self.allowance.resume(spent);
        }
    }

    /// For those who ask at the node.
    pub(super) fn budget_report(&self, now: Moment) -> BudgetReport {
        let (limits, spent) = (self.allowance.limits(), self.allowance.spent());
        BudgetReport {
            written: self.meter.total(),
            written_last_hour: self.meter.last_hour(now),
            write_limit_per_hour: self.config.budgets.write_bytes_per_hour,
            link_today: spent.day,
            link_this_month: spent.month,
            link_limit_per_day: limits.day,
            link_limit_per_month: limits.month,
            reports_wait: self.muted || !self.measured.is_empty(),
        }
    }
}

/// While reports wait, what is sent of them now and then: which of the cloud's changes this site
/// holds, and where its own stand. A position in a history stands for every document at it, so
/// both together are a digest of the whole site in some hundred bytes.
pub(super) fn beat(due: &mut Option<Moment>, now: Moment, machines: &Machines) -> Vec<After> {
    if due.is_none_or(|due| due > now) {
        return Vec::new();
    }
    *due = Some(now + HEARTBEAT);
    let (down, up) = (&machines.down, &machines.up);
    let head = up.head();
    let probe = Batch { epoch: up.epoch(), seq: head, after: head, changes: Vec::new() };
    let mut beat = vec![After::Send(Stream::Up, Message::Batch(probe))];
    // What is incomplete is asked for, not claimed.
    if !down.is_incomplete() && down.epoch() != Epoch::NONE {
        let hello = Hello { epoch: down.epoch(), seq: down.seq(), window: 1 };
        beat.push(After::Send(Stream::Down, Message::Hello(hello)));
    }
    beat
}

/// What no up and down changes.
fn fate(status: &AppStatus) -> impl PartialEq {
    let AppStatus {
        desired_version, revision, wanted, rolled_back_from, good, held, local, ..
    } = status;
    (*desired_version, *revision, *wanted, *rolled_back_from, (*good, *held, *local))
}

/// A status without what may change often.
fn essence(mut status: AppStatus) -> AppStatus {
    let is_up = status.state == AppState::Running;
    status.reason = status.reason.filter(|_| is_up);
    for service in status.services.values_mut() {
        service.restarts = 0;
        service.exit_code = None;
        service.reason = None;
    }
    status
}
