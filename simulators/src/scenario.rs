//! Scenarios: what happens to a fleet and what must hold, in a file that reads like notes. Reading
//! (`read`), the timetable (`timetable`) and the judgement (`judge`) are pure; the same file is
//! played in the deterministic world (`play_virtual`) or with real programs (`crate::fleet`).

pub mod judge;
pub mod read;
pub mod record;
pub mod timetable;
mod words;

use std::ops::Range;
use std::time::Duration;

use crate::link::Profile;

/// The scenarios that the program brings along, by name.
pub const SHIPPED: [(&str, &str); 10] = [
    ("weak-network", include_str!("../scenarios/weak-network.toml")),
    ("offline-autonomy", include_str!("../scenarios/offline-autonomy.toml")),
    ("scarce-resources", include_str!("../scenarios/scarce-resources.toml")),
    ("mass-return", include_str!("../scenarios/mass-return.toml")),
    ("cloud-killed", include_str!("../scenarios/cloud-killed.toml")),
    ("power-cuts", include_str!("../scenarios/power-cuts.toml")),
    ("days-of-tunnels", include_str!("../scenarios/days-of-tunnels.toml")),
    ("three-days-away", include_str!("../scenarios/three-days-away.toml")),
    ("real-outage", include_str!("../scenarios/real-outage.toml")),
    ("real-cloud-kill", include_str!("../scenarios/real-cloud-kill.toml")),
];

/// A scenario that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it shows, in a sentence or two.
    pub about: String,
    /// Seeds everything that happens by chance.
    pub seed: u64,
    /// The fleets, in the order of their names.
    pub fleets: Vec<Fleet>,
    /// What happens.
    pub steps: Vec<Step>,
    /// What must hold.
    pub expect: Vec<Expected>,
}

/// Sites of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// What it is called; its sites are `NAME-0`, `NAME-1`, ...
    pub name: String,
    /// Its sites, numbered over the whole scenario.
    pub sites: Range<u16>,
    /// How each of their links behaves.
    pub link: Profile,
    /// How many apps each site has.
    pub apps: u8,
}

/// Some sites, by the name that the file gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whom {
    /// As it was written.
    pub name: String,
    /// Which they are.
    pub sites: Range<u16>,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, from the beginning on.
    pub at: Duration,
    /// What.
    pub deed: Deed,
    /// After how long it ends by itself, for what can end.
    pub lasts: Option<Duration>,
    /// As it was written.
    pub text: String,
}

/// What can be done to a fleet.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// They lose their links.
    Cut(Whom),
    /// They get them back.
    Restore(Whom),
    /// Their links behave otherwise from now on.
    Link(Whom, Profile),
    /// So many new desired versions of every app.
    Write(u32, Whom),
    /// So many reports of a device.
    Report(u32, Whom),
    /// The cloud's process is killed; it is started again.
    KillCloud,
    /// The agents are killed; they are started again.
    KillAgents(Whom),
    /// The machines lose their power.
    PowerOff(Whom),
    /// Something that runs there exits.
    KillApps(Whom),
    /// Something that runs there is removed by a person.
    RemoveApps(Whom),
    /// Their disks take nothing more.
    FillDisks(Whom),
    /// The cloud's disk takes nothing more.
    FillCloudDisk,
    /// Their orchestrators do not answer.
    StopOrchestrators(Whom),
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// What.
    pub that: Expectation,
    /// As it was written.
    pub text: String,
}

/// What can be expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    /// They are as desired, and the cloud knows it, within a time of something.
    Converged(Whom, Duration, Since),
    /// What they run is as they know it should be, at a time or all the time between two.
    Run(Whom, Duration, Option<Duration>),
    /// What runs there is started once for each revision.
    NoRestart(Whom),
    /// Each of their links has carried less.
    BytesUnder(Whom, u64),
    /// What the cloud said yes to is there in the end, and no promise of the system was broken.
    NothingLost,
}

/// From when a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The beginning.
    Start,
    /// Every return of a link that a step had cut.
    Reconnect,
    /// Every write.
    Write,
    /// The end of the last step.
    LastStep,
}

impl Scenario {
    /// The scenario that the program brings along under this name.
    pub fn shipped(name: &str) -> Option<&'static str> {
        SHIPPED.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
    }

    /// How many sites there are.
    pub fn sites(&self) -> u16 {
        self.fleets.last().map_or(0, |fleet| fleet.sites.end)
    }

    /// The fleet of a site.
    pub fn fleet_of(&self, site: u16) -> Option<&Fleet> {
        self.fleets.iter().find(|fleet| fleet.sites.contains(&site))
    }

    /// What a site is called.
    pub fn site_name(&self, site: u16) -> String {
        let name = |fleet: &Fleet| format!("{}-{}", fleet.name, site - fleet.sites.start);
        self.fleet_of(site).map_or_else(|| format!("site-{site}"), name)
    }
}

#[cfg(test)]
mod tests;
