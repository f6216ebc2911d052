//! Bytes on the links, up (from the site) and down (to it).

use std::collections::BTreeMap;
use std::ops::Sub;

use serde::Serialize;

/// Bytes of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Bytes {
    pub(super) up: u64,
    pub(super) down: u64,
}

/// Bytes by site.
pub(super) type BySite = BTreeMap<String, Bytes>;

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        let (up, down) = (self.up.saturating_sub(before.up), self.down.saturating_sub(before.down));
        Self { up, down }
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} B down, {} B up", self.down, self.up)
    }
}

/// What went over each link since `before`.
pub(super) fn since(before: &BySite, now: &BySite) -> BySite {
    let of = |(site, bytes): (&String, &Bytes)| {
        (site.clone(), *bytes - before.get(site).copied().unwrap_or_default())
    };
    now.iter().map(of).collect()
}
