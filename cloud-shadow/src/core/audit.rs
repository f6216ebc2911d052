//! Who did what, when and to what. The rows are in the commit of the deed itself; they are bounded
//! in number and age, and never hold a secret. One row holds what one commit brought.

use std::collections::VecDeque;

use gnomon_schemas::id::TenantName;
use serde::{Deserialize, Serialize};

use crate::access::Home;
use crate::domain::{Action, Author, Change, Command, Node};
use crate::rows::ReadRowError;
use crate::store::{Op, Store, StoreError};

/// The prefix of the rows, the newest of which is the first.
pub const AUDIT: &[u8] = b"audit/";

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct AuditLimits {
    /// The most entries.
    pub entries: usize,
    /// The oldest age, in milliseconds.
    pub age_ms: u64,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self { entries: 100_000, age_ms: 90 * 24 * 60 * 60 * 1000 }
    }
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Who.
    pub by: Author,
    /// What, such as `shadow.patch`.
    pub action: &'static str,
    /// To what, such as `site-1/device/pump-7`.
    pub target: String,
    /// Whose that is; `None`: the whole cloud's.
    pub tenant: Option<TenantName>,
    /// How it ended: `done`, or the code of a refusal.
    pub outcome: &'static str,
}

impl Deed {
    /// What is done.
    pub fn done(by: Author, action: &'static str, target: impl Into<String>) -> Self {
        Self { by, action, target: target.into(), tenant: None, outcome: "done" }
    }

    /// The same, as something of this tenant.
    #[must_use]
    pub fn of_tenant(self, tenant: Option<TenantName>) -> Self {
        Self { tenant, ..self }
    }

    /// What a command does, if that is to be remembered: what somebody writes, and not what sites
    /// report or timers bring. `node` is what the command finds.
    pub(super) fn of(command: &Command, node: Option<&Node>) -> Option<Self> {
        let name = &command.node;
        let (action, target) = match &command.action {
            Action::PutNode { .. } => ("node.put", name.to_string()),
            Action::DeleteNode => ("node.delete", name.to_string()),
            Action::AddToken { .. } => ("node.join_token", name.to_string()),
            Action::Enrol { .. } | Action::Join { .. } => ("node.join", name.to_string()),
            Action::Renew { .. } => ("node.renew", name.to_string()),
            Action::Revoke => ("node.revoke", name.to_string()),
            Action::Tag { key, .. } => ("shadow.tag", format!("{name}/{key}")),
            Action::Write(write) => {
                let action = match write.change {
                    Change::Put(_) => "shadow.put",
                    Change::Patch(_) => "shadow.patch",
                    Change::Delete => "shadow.delete",
                };
                (action, format!("{name}/{}", write.key))
            }
            Action::Connected(_)
            | Action::Disconnected(..)
            | Action::Received { .. }
            | Action::Shown { .. }
            | Action::Timeout => return None,
        };
        let tenant = match (node, &command.action) {
            (Some(node), _) => node.home().tenant.clone(),
            (None, Action::PutNode { tenant: Some(tenant), .. }) => tenant.clone(),
            (None, Action::Join { home, .. }) => home.tenant.clone(),
            (None, _) => {
                let scope = command.by.scope();
                scope.and_then(|scope| scope.tenant.clone()).unwrap_or_else(Home::usual_tenant)
            }
        };
        Some(Self::done(command.by.clone(), action, target).of_tenant(Some(tenant)))
    }
}

/// A deed as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counts the entries.
    #[serde(rename = "n")]
    pub number: u64,
    /// When, in milliseconds since 1970.
    #[serde(rename = "t")]
    pub at_ms: u64,
    /// Who.
    #[serde(rename = "b")]
    pub by: String,
    /// What.
    #[serde(rename = "a")]
    pub action: String,
    /// To what.
    #[serde(rename = "o")]
    pub target: String,
    /// Whose that is; `None`: the whole cloud's.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// How it ended.
    #[serde(rename = "r")]
    pub outcome: String,
}

/// A row that is there: its first entry's number, how many it has, when it was written.
#[derive(Debug, Clone, Copy)]
struct Kept {
    first: u64,
    count: usize,
    at_ms: u64,
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenAuditError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a row of the audit log is malformed")]
    Row(#[from] ReadRowError),
}

/// Numbers deeds and forgets old ones.
#[derive(Debug)]
pub(super) struct AuditLog {
    limits: AuditLimits,
    /// The oldest first.
    kept: VecDeque<Kept>,
    entries: usize,
    next: u64,
    /// What the commit under way brings, and how many rows it takes from the front.
    staged: Option<(Kept, usize)>,
}

impl AuditLog {
    pub(super) fn open(store: &dyn Store, limits: AuditLimits) -> Result<Self, OpenAuditError> {
        const ROWS: usize = 2048;
        let (mut kept, mut after): (VecDeque<Kept>, Option<Vec<u8>>) = (VecDeque::new(), None);
        loop {
            let page = store.page(AUDIT, after.as_deref(), ROWS)?;
            for (key, value) in &page {
                let entries = read_audit(key, value)?;
                if let Some(first) = entries.first() {
                    let (first, at_ms) = (first.number, first.at_ms);
                    kept.push_front(Kept { first, count: entries.len(), at_ms });
                }
            }
            let is_last = page.len() < ROWS;
            after = page.into_iter().next_back().map(|(key, _)| key);
            if is_last {
                break;
            }
        }
        let entries = kept.iter().map(|row| row.count).sum();
        let next = kept.back().map_or(1, |row| row.first + row.count as u64);
        Ok(Self { limits, kept, entries, next, staged: None })
    }

    /// The changes of the store that remember these deeds and forget what is too old or too much;
    /// [`Self::settle`] says what became of them.
    pub(super) fn stage(&mut self, deeds: Vec<Deed>, at_ms: u64) -> Vec<Op> {
        let row = Kept { first: self.next, count: deeds.len(), at_ms };
        let entries: Vec<AuditEntry> = (self.next..)
            .zip(deeds)
            .map(|(number, deed)| AuditEntry {
                number,
                at_ms,
                by: deed.by.to_string(),
                action: deed.action.to_owned(),
                target: deed.target,
                tenant: deed.tenant,
                outcome: deed.outcome.to_owned(),
            })
            .collect();
        let mut ops = vec![crate::rows::put(key_of(row.first), &entries)];
        let (mut left, mut gone) = (self.entries + row.count, 0);
        for old in &self.kept {
            let is_old = at_ms.saturating_sub(old.at_ms) > self.limits.age_ms;
            if left <= self.limits.entries && !is_old {
                break;
            }
            ops.push(Op::Delete { key: key_of(old.first) });
            left -= old.count;
            gone += 1;
        }
        self.staged = Some((row, gone));
        ops
    }

    /// What was staged is durable, or is not there at all.
    pub(super) fn settle(&mut self, is_durable: bool) {
        let Some((row, gone)) = self.staged.take().filter(|_| is_durable) else { return };
        for old in self.kept.drain(..gone) {
            self.entries -= old.count;
        }
        self.entries += row.count;
        self.next += row.count as u64;
        self.kept.push_back(row);
    }
}

/// The key behind which everything is older than an entry.
pub fn key_of(number: u64) -> Vec<u8> {
    [AUDIT, format!("{:016x}", u64::MAX - number).as_bytes()].concat()
}

/// The entries of a row, the oldest first.
pub fn read_audit(key: &[u8], value: &[u8]) -> Result<Vec<AuditEntry>, ReadRowError> {
    crate::rows::record(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn deeds(count: usize) -> Vec<Deed> {
        vec![Deed::done(Author::new("admin"), "node.put", "site-1"); count]
    }

    fn numbers(store: &MemoryStore) -> Vec<u64> {
        let rows = store.scan(AUDIT).unwrap();
        let entries = rows.iter().flat_map(|(key, value)| {
            let mut entries = read_audit(key, value).unwrap();
            entries.reverse();
            entries
        });
        entries.map(|entry| entry.number).collect()
    }

    #[test]
    fn the_newest_are_kept_across_restarts_and_a_lost_commit_leaves_no_gap() {
        let store = MemoryStore::new();
        let limits = AuditLimits { entries: 4, age_ms: 1000 };
        let mut log = AuditLog::open(&store, limits).unwrap();
        for (count, is_durable) in [(2, true), (1, false), (1, true)] {
            let ops = log.stage(deeds(count), 10);
            if is_durable {
                store.commit(&ops).unwrap();
            }
            log.settle(is_durable);
        }
        assert_eq!(numbers(&store), [3, 2, 1]);
        let mut log = AuditLog::open(&store, limits).unwrap();
        store.commit(&log.stage(deeds(2), 20)).unwrap();
        log.settle(true);
        assert_eq!(numbers(&store), [5, 4, 3], "a row goes as a whole");
        store.commit(&log.stage(deeds(1), 2000)).unwrap();
        log.settle(true);
        assert_eq!(numbers(&store), [6], "the others are too old");
    }

    #[test]
    fn one_commit_may_bring_more_than_is_kept() {
        let store = MemoryStore::new();
        let limits = AuditLimits { entries: 2, age_ms: 1000 };
        let mut log = AuditLog::open(&store, limits).unwrap();
        for _ in 0..3 {
            store.commit(&log.stage(deeds(5), 10)).unwrap();
            log.settle(true);
        }
        assert_eq!(numbers(&store), [15, 14, 13, 12, 11]);
    }
}
