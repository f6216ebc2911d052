//! What can be broken, what is promised for it, and how long the way back may take. Pure: how a
//! thing is broken is in `nemesis`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One way to break something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    CloudKilled,
    CloudStorm,
    CloudFrozen,
    CloudPowerCut,
    CloudDiskFull,
    CloudRestored,
    LinkOut,
    LinkReset,
    LinkFlaps,
    LinkSlow,
    LinkLate,
    LinkStalls,
    PacketsLost,
    UpLost,
    DownLost,
    CablePulled,
    AgentKilled,
    AgentFrozen,
    SitePowerCut,
    DaemonKilled,
    DaemonFrozen,
    SiteDiskFull,
    InstanceKilled,
    ContainerRemoved,
    ContainerStopped,
    StoreFlipped,
    StoreTorn,
    StoreDeleted,
    #[serde(rename = "clock-1970")]
    Clock1970,
    #[serde(rename = "clock-2038")]
    Clock2038,
    Revoked,
    Cloned,
}

/// Where a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Cloud,
    /// The emulated link of any site.
    Link,
    /// The cable of a site in a box: its packets.
    Cable,
    /// Any site.
    Site,
    /// A site in a box, with a Docker daemon of its own.
    Box,
    /// A site on host processes.
    Host,
}

/// Which services a fault gives a reason to start again, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restarts {
    Nothing,
    OneService,
    All,
}

/// What is known of a fault.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) fault: Fault,
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) restarts: Restarts,
    /// Shortest and longest, in milliseconds.
    lasts_ms: (u64, u64),
    /// Until all is as it should be, on a machine that is not busy, in seconds.
    bound_s: u64,
    /// What is promised, besides what holds always.
    pub(crate) promise: &'static str,
}

const fn facts(
    (fault, name): (Fault, &'static str),
    (place, restarts): (Place, Restarts),
    (lasts_ms, bound_s): ((u64, u64), u64),
    promise: &'static str,
) -> Facts {
    Facts { fault, name, place, restarts, lasts_ms, bound_s, promise }
}

/// Shortly, for the machine: nothing of it needs time of its own.
const AT_ONCE: (u64, u64) = (0, 1);
/// A backed-off agent may wait this long before it looks for the cloud again, and then deploys.
const BOUND: u64 = 60;

/// Every fault.
pub(crate) const ALL: &[Facts] = {
    use Fault as F;
    use Place::{Box, Cable, Cloud, Host, Link, Site};
    use Restarts::{All, Nothing, OneService};
    &[
        facts(
            (F::CloudKilled, "cloud-killed"),
            (Cloud, Nothing),
            ((0, 2_000), BOUND),
            "kill -9: every answered write is there; sites come back by themselves",
        ),
        facts(
            (F::CloudStorm, "cloud-storm"),
            (Cloud, Nothing),
            ((1_500, 4_000), BOUND),
            "killed again and again while all sites reconnect: the same",
        ),
        facts(
            (F::CloudFrozen, "cloud-frozen"),
            (Cloud, Nothing),
            ((500, 5_000), BOUND),
            "SIGSTOP, SIGCONT: late answers are true answers",
        ),
        facts(
            (F::CloudPowerCut, "cloud-power-cut"),
            (Cloud, Nothing),
            ((0, 2_000), BOUND),
            "its disk forgets what was not synced, and tears what was under way: every answered write is there",
        ),
        facts(
            (F::CloudDiskFull, "cloud-disk-full"),
            (Cloud, Nothing),
            ((1_000, 5_000), BOUND),
            "writes are refused with 507, reads go on, also after kill -9 and a start; service resumes by itself",
        ),
        facts(
            (F::CloudRestored, "cloud-restored"),
            (Cloud, Nothing),
            ((0, 500), BOUND),
            "an old backup is what counts: sites go back to it, and report again what it lacks; who renewed since is let in",
        ),
        facts(
            (F::LinkOut, "link-out"),
            (Link, Nothing),
            ((500, 8_000), BOUND),
            "apps go on; changes of both sides meet when it is back",
        ),
        facts(
            (F::LinkReset, "link-reset"),
            (Link, Nothing),
            (AT_ONCE, BOUND),
            "nothing is lost or done twice",
        ),
        facts(
            (F::LinkFlaps, "link-flaps"),
            (Link, Nothing),
            ((3_000, 8_000), BOUND),
            "up and down every few hundred milliseconds: the same",
        ),
        facts(
            (F::LinkSlow, "link-slow"),
            (Link, Nothing),
            ((2_000, 8_000), BOUND),
            "16 kbit/s: everything arrives, later",
        ),
        facts(
            (F::LinkLate, "link-late"),
            (Link, Nothing),
            ((2_000, 8_000), BOUND),
            "up to 3 s each way: everything arrives, later",
        ),
        facts(
            (F::LinkStalls, "link-stalls"),
            (Link, Nothing),
            ((2_000, 8_000), BOUND),
            "segments are lost and sent again for seconds: everything arrives, later",
        ),
        facts(
            (F::PacketsLost, "packets-lost"),
            (Cable, Nothing),
            ((2_000, 8_000), BOUND),
            "5 to 40 % of the IP packets: everything arrives, later",
        ),
        facts(
            (F::UpLost, "up-lost"),
            (Cable, Nothing),
            ((1_000, 8_000), BOUND),
            "one-way partition, the site's packets are lost: noticed and made anew",
        ),
        facts(
            (F::DownLost, "down-lost"),
            (Cable, Nothing),
            ((1_000, 8_000), BOUND),
            "one-way partition, the cloud's packets are lost: noticed and made anew",
        ),
        facts(
            (F::CablePulled, "cable-pulled"),
            (Cable, Nothing),
            ((1_000, 12_000), BOUND),
            "half-open at both ends, neither is told: noticed by the keep-alive and made anew",
        ),
        facts(
            (F::AgentKilled, "agent-killed"),
            (Site, Nothing),
            ((0, 3_000), BOUND),
            "kill -9: no instance is restarted, no report that was taken is lost",
        ),
        facts(
            (F::AgentFrozen, "agent-frozen"),
            (Site, Nothing),
            ((500, 6_000), BOUND),
            "SIGSTOP, SIGCONT: the same",
        ),
        facts(
            (F::SitePowerCut, "site-power-cut"),
            (Site, All),
            ((0, 3_000), 90),
            "everything dies, the disk forgets what was not synced: all apps back without a link, each once",
        ),
        facts(
            (F::DaemonKilled, "daemon-killed"),
            (Box, All),
            (AT_ONCE, 90),
            "kill -9 of dockerd: what died with it is started once, nothing beside it",
        ),
        facts(
            (F::DaemonFrozen, "daemon-frozen"),
            (Box, Nothing),
            ((500, 6_000), 90),
            "SIGSTOP, SIGCONT of dockerd: a state, not a reason to restart anything",
        ),
        facts(
            (F::SiteDiskFull, "site-disk-full"),
            (Site, Nothing),
            ((1_000, 6_000), BOUND),
            "apps go on, what was taken stays, changes are taken again when there is room",
        ),
        facts(
            (F::InstanceKilled, "instance-killed"),
            (Host, OneService),
            (AT_ONCE, BOUND),
            "the one service starts again, no other",
        ),
        facts(
            (F::ContainerRemoved, "container-removed"),
            (Box, OneService),
            (AT_ONCE, BOUND),
            "made again by the site alone, once",
        ),
        facts(
            (F::ContainerStopped, "container-stopped"),
            (Box, OneService),
            (AT_ONCE, BOUND),
            "started again by the site alone, once",
        ),
        facts(
            (F::StoreFlipped, "store-flipped"),
            (Site, Nothing),
            ((0, 500), BOUND),
            "flipped bytes: found; what runs stays as it is until the cloud has healed it",
        ),
        facts(
            (F::StoreTorn, "store-torn"),
            (Site, Nothing),
            ((0, 500), BOUND),
            "the file ends early: the same",
        ),
        facts(
            (F::StoreDeleted, "store-deleted"),
            (Site, Nothing),
            ((0, 500), BOUND),
            "a fresh one, filled by the cloud; apps go on",
        ),
        facts(
            (F::Clock1970, "clock-1970"),
            (Site, Nothing),
            ((2_000, 6_000), BOUND),
            "the link and the apps work all the same",
        ),
        facts(
            (F::Clock2038, "clock-2038"),
            (Site, Nothing),
            ((2_000, 6_000), BOUND),
            "the apps go on; the link waits for the right time",
        ),
        facts(
            (F::Revoked, "revoked"),
            (Site, Nothing),
            ((500, 4_000), BOUND),
            "out at once, apps go on; after joining again as before",
        ),
        facts(
            (F::Cloned, "cloned"),
            (Host, Nothing),
            ((2_000, 6_000), BOUND),
            "two agents with one identity take the link from each other, and say so; equal again when one is left",
        ),
    ]
};

impl Fault {
    pub(crate) fn facts(self) -> &'static Facts {
        ALL.iter().find(|facts| facts.fault == self).expect("a test looks for each fault")
    }

    pub(crate) fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether what a site knows of what is desired may be of before: what does not run then is
    /// started as it was desired before.
    pub(crate) const fn may_go_back(self) -> bool {
        matches!(self, Self::StoreFlipped | Self::StoreTorn)
    }
}

impl Facts {
    pub(crate) const fn shortest(&self) -> Duration {
        Duration::from_millis(self.lasts_ms.0)
    }

    pub(crate) const fn longest(&self) -> Duration {
        Duration::from_millis(self.lasts_ms.1)
    }

    pub(crate) const fn bound(&self) -> Duration {
        Duration::from_secs(self.bound_s)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault is called {0:?}; there are: {all}", all = ALL.iter().map(|it| it.name).collect::<Vec<_>>().join(", "))]
pub(crate) struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let found = ALL.iter().find(|facts| facts.name == text);
        found.map(|facts| facts.fault).ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_one_row_and_is_written_by_its_name() {
        for facts in ALL {
            let name = facts.name;
            assert_eq!(ALL.iter().filter(|it| it.fault == facts.fault).count(), 1, "{name}");
            assert_eq!(name.parse(), Ok(facts.fault));
            assert_eq!(serde_json::to_value(facts.fault).unwrap(), name);
        }
        assert!("link-outt".parse::<Fault>().unwrap_err().to_string().contains("link-out"));
    }
}
