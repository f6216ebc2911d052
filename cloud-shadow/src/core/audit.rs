//! Who did what, when and to what. The rows are in the commit of the deed itself; they are bounded
//! in number and age, and never hold a secret. One row holds what one commit brought.

use std::collections::{BTreeMap, VecDeque};

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
            Action::Learn { .. } => ("node.learn", name.to_string()),
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

/// The same as it is written.
#[derive(Serialize)]
struct EntryRef<'a> {
    #[serde(rename = "n")]
    number: u64,
    #[serde(rename = "t")]
    at_ms: u64,
    #[serde(rename = "b")]
    by: &'a str,
    #[serde(rename = "a")]
    action: &'a str,
    #[serde(rename = "o")]
    target: &'a str,
    #[serde(rename = "w", skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(rename = "r")]
    outcome: &'a str,
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

/// Whose rows they are; those of an older form may be of several, and are counted as the cloud's.
type Owner = Option<TenantName>;

/// Numbers deeds and forgets old ones. A row is of one tenant, and when there are too many, those go
/// of whoever has the most: nobody pushes out what others did.
#[derive(Debug)]
pub(super) struct AuditLog {
    limits: AuditLimits,
    kept: BTreeMap<Owner, Shelf>,
    entries: usize,
    next: u64,
    /// What the commit under way brings and takes away.
    staged: Option<Staged>,
}

/// The rows of one tenant.
#[derive(Debug, Default)]
struct Shelf {
    /// The oldest first.
    rows: VecDeque<Kept>,
    entries: usize,
}

#[derive(Debug, Default)]
struct Staged {
    rows: Vec<(Owner, Kept)>,
    /// How many rows go from the front.
    gone: BTreeMap<Owner, usize>,
    count: usize,
}

impl AuditLog {
    pub(super) fn open(store: &dyn Store, limits: AuditLimits) -> Result<Self, OpenAuditError> {
        const ROWS: usize = 2048;
        let (kept, staged) = (BTreeMap::<Owner, Shelf>::new(), None);
        let mut log = Self { limits, kept, entries: 0, next: 1, staged };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.page(AUDIT, after.as_deref(), ROWS)?;
            for (key, value) in &page {
                let entries = read_audit(key, value)?;
                let Some(first) = entries.first() else { continue };
                let is_one = entries.iter().all(|entry| entry.tenant == first.tenant);
                let owner = first.tenant.clone().filter(|_| is_one);
                let row = Kept { first: first.number, count: entries.len(), at_ms: first.at_ms };
                let shelf = log.kept.entry(owner).or_default();
                shelf.rows.push_front(row);
                shelf.entries += row.count;
                log.entries += row.count;
                log.next = log.next.max(row.first + row.count as u64);
            }
            let is_last = page.len() < ROWS;
            after = page.into_iter().next_back().map(|(key, _)| key);
            if is_last {
                return Ok(log);
            }
        }
    }

    /// The changes of the store that remember these deeds and forget what is too old or too much;
    /// [`Self::settle`] says what became of them.
    pub(super) fn stage(&mut self, deeds: Vec<Deed>, at_ms: u64) -> Vec<Op> {
        let mut staged = Staged { count: deeds.len(), ..Staged::default() };
        let mut owned: BTreeMap<Owner, Vec<Deed>> = BTreeMap::new();
        for deed in deeds {
            owned.entry(deed.tenant.clone()).or_default().push(deed);
        }
        let (mut ops, mut next) = (Vec::new(), self.next);
        for (owner, deeds) in owned {
            let row = Kept { first: next, count: deeds.len(), at_ms };
            let entries: Vec<_> =
                (next..).zip(&deeds).map(|(number, deed)| entry(number, at_ms, deed)).collect();
            ops.push(crate::rows::put(key_of(row.first), &entries));
            next += row.count as u64;
            staged.rows.push((owner, row));
        }
        let gone = self.surplus(&mut staged, at_ms);
        ops.extend(gone.into_iter().map(|first| Op::Delete { key: key_of(first) }));
        self.staged = Some(staged);
        ops
    }

    /// Which rows go, by their first numbers.
    fn surplus(&self, staged: &mut Staged, at_ms: u64) -> Vec<u64> {
        let mut sizes: BTreeMap<&Owner, usize> =
            self.kept.iter().map(|(owner, shelf)| (owner, shelf.entries)).collect();
        for (owner, row) in &staged.rows {
            *sizes.entry(owner).or_default() += row.count;
        }
        let (mut left, mut gone) = (self.entries + staged.count, Vec::new());
        let mut go = |owner: &Owner, row: &Kept, sizes: &mut BTreeMap<&Owner, usize>| {
            gone.push(row.first);
            *staged.gone.entry(owner.clone()).or_default() += 1;
            if let Some(size) = sizes.get_mut(owner) {
                *size -= row.count;
            }
        };
        let mut taken: BTreeMap<&Owner, usize> = BTreeMap::new();
        for (owner, shelf) in &self.kept {
            let is_old = |row: &&Kept| at_ms.saturating_sub(row.at_ms) > self.limits.age_ms;
            for row in shelf.rows.iter().take_while(is_old) {
                go(owner, row, &mut sizes);
                *taken.entry(owner).or_default() += 1;
                left -= row.count;
            }
        }
        while left > self.limits.entries {
            let Some((&owner, _)) = sizes.iter().max_by_key(|(_, size)| **size) else { break };
            let at = taken.entry(owner).or_default();
            let Some(row) = self.kept.get(owner).and_then(|shelf| shelf.rows.get(*at)) else {
                break;
            };
            *at += 1;
            go(owner, row, &mut sizes);
            left -= row.count;
        }
        gone
    }

    /// What was staged is durable, or is not there at all.
    pub(super) fn settle(&mut self, is_durable: bool) {
        let Some(staged) = self.staged.take().filter(|_| is_durable) else { return };
        for (owner, gone) in staged.gone {
            let Some(own) = self.kept.get_mut(&owner) else { continue };
            for old in own.rows.drain(..gone) {
                own.entries -= old.count;
                self.entries -= old.count;
            }
        }
        for (owner, row) in staged.rows {
            let own = self.kept.entry(owner).or_default();
            own.rows.push_back(row);
            own.entries += row.count;
        }
        self.kept.retain(|_, own| !own.rows.is_empty());
        self.entries += staged.count;
        self.next += staged.count as u64;
    }
}

fn entry(number: u64, at_ms: u64, deed: &Deed) -> EntryRef<'_> {
    EntryRef {
        number,
        at_ms,
        by: deed.by.as_str(),
        action: deed.action,
        target: &deed.target,
        tenant: deed.tenant.as_ref().map(TenantName::as_str),
        outcome: deed.outcome,
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

    #[test]
    fn a_busy_tenant_pushes_out_its_own_entries_and_not_those_of_another() {
        let store = MemoryStore::new();
        let limits = AuditLimits { entries: 6, age_ms: 1000 };
        let mut log = AuditLog::open(&store, limits).unwrap();
        let of = |tenant: &str| {
            let deed = Deed::done(Author::new("admin"), "node.put", "site-1");
            deed.of_tenant(Some(tenant.parse().unwrap()))
        };
        let whose = |store: &MemoryStore| {
            let rows = store.scan(AUDIT).unwrap();
            let entries = rows.iter().flat_map(|(key, value)| read_audit(key, value).unwrap());
            entries.map(|entry| entry.tenant.unwrap().to_string()).collect::<Vec<_>>().join(" ")
        };
        store.commit(&log.stage(vec![of("quiet"), of("quiet"), of("busy")], 10)).unwrap();
        log.settle(true);
        for _ in 0..5 {
            store.commit(&log.stage(vec![of("busy"), of("busy")], 20)).unwrap();
            log.settle(true);
        }
        assert_eq!(whose(&store), "busy busy busy busy quiet quiet");
        let mut log = AuditLog::open(&store, limits).unwrap();
        store.commit(&log.stage(vec![of("quiet"), of("busy")], 30)).unwrap();
        log.settle(true);
        assert_eq!(whose(&store), "quiet busy busy busy quiet quiet");
        store.commit(&log.stage(vec![of("quiet")], 1015)).unwrap();
        log.settle(true);
        assert_eq!(whose(&store), "quiet quiet busy busy busy", "what is too old goes first");
    }
}
