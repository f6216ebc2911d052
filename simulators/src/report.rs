//! What a run of a fleet was like: the report as data, and its forms for people.

pub mod compare;
pub mod figures;
pub mod html;
pub mod page;
mod svg;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The version of this form of a report.
pub const FORM: u32 = 1;

/// Everything of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORM`].
    pub form: u32,
    /// The program and its version.
    pub program: String,
    /// When the run began, in seconds since 1970.
    pub began_unix_s: u64,
    /// How long it took, from the first start of a site on.
    pub seconds: f64,
    /// How it ended: `done`, `out of time` or `stopped`.
    pub ended: String,
    /// How many sites.
    pub sites: u32,
    /// What was asked for.
    pub settings: BTreeMap<String, String>,
    /// Where it ran.
    pub machine: Machine,
    /// How long making the identities took, and how many were made.
    pub enrolment: Enrolment,
    /// What the cloud itself says at the end; none if it did not answer.
    pub cloud_says: Option<CloudSays>,
    /// The parts of the run.
    pub phases: Vec<PhaseReport>,
    /// What was seen at regular times.
    pub samples: Vec<Sample>,
    /// How often each reason was given for a lost link or a failed attempt.
    pub reasons: BTreeMap<String, u64>,
    /// What went wrong in the run itself.
    pub troubles: Vec<String>,
}

/// Where a run took place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many cores this program may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// All memory.
    pub memory_bytes: u64,
    /// How many processes wanted a core before the run: what else ran is in the figures too.
    pub load_before: f64,
    /// Whether the cloud ran on the same machine.
    pub is_shared: bool,
    /// Whether the program was built with optimisation.
    pub is_release: bool,
    /// What TLS handshakes alone cost a server on it; none if that was not measured.
    #[serde(default)]
    pub handshakes: Option<Handshakes>,
}

/// The CPU that a bare server spends on a handshake with certificates on both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Over how many of each.
    pub count: u32,
    /// In full, in microseconds.
    pub full_us: f64,
    /// Resumed, in microseconds.
    pub resumed_us: f64,
}

/// How the sites got their identities.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Made in this run.
    pub made: u32,
    /// Read from the folder.
    pub reused: u32,
    /// How long it took.
    pub seconds: f64,
}

/// What the cloud's metrics say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudSays {
    /// Connected nodes.
    pub online: u64,
    /// Nodes that are known to hold every desired document.
    pub in_sync: u64,
}

/// A part of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// What it is called.
    pub name: String,
    /// When it began, in seconds of the run.
    pub begin_s: f64,
    /// When it ended.
    pub end_s: f64,
    /// Whether the fleet did what was waited for, in time.
    pub complete: bool,
    /// Sites that were waited for.
    pub awaited: u32,
    /// Those of them that came.
    pub came: u32,
    /// How long a site took.
    pub took: Option<Latency>,
    /// Seconds since the phase began, and how many sites had come by then.
    pub curve: Vec<(f64, u32)>,
    /// The broker's answers to a probe.
    pub broker: Option<Latency>,
    /// The API's answers to a probe.
    pub api: Option<Latency>,
    /// The API's answers to batches of writes.
    pub writes: Option<Latency>,
    /// Probes without an answer.
    pub probes_lost: u64,
    /// Links that were up and were lost.
    pub drops: u64,
    /// Attempts to connect that failed.
    pub failed_attempts: u64,
    /// Things that came and were no messages.
    pub malformed: u64,
    /// New connections, and how many of them with a short handshake.
    pub connections: u64,
    /// Those with a short handshake.
    pub resumed: u64,
    /// What the links of all sites carried.
    pub bytes: Bytes,
    /// CPU time of the cloud, in seconds; none if its process is not known.
    pub cloud_cpu_s: Option<f64>,
    /// CPU time of this program, with all its processes.
    pub fleet_cpu_s: f64,
}

/// What links carried, in bytes as a metered link counts them, but for TCP's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// To the sites.
    pub received: u64,
    /// From the sites.
    pub sent: u64,
    /// Of these, messages about what is desired, both ways.
    pub desired: u64,
    /// Of these, messages about what is reported, both ways.
    pub reported: u64,
}

/// How long something took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How often it was measured.
    pub count: u64,
    /// The mean.
    pub mean_ms: f64,
    /// Half took no longer.
    pub p50_ms: f64,
    /// Nine of ten took no longer.
    pub p90_ms: f64,
    /// All but one of a hundred took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// How many took no longer than so many milliseconds, and longer than the one before.
    pub buckets: Vec<(f64, u64)>,
}

/// What was seen at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When, in seconds of the run.
    pub at_s: f64,
    /// Sites whose link was up.
    pub up: u32,
    /// Sites in sync.
    pub in_sync: u32,
    /// Resident memory of the cloud.
    pub cloud_bytes: Option<u64>,
    /// Resident memory of this program, with all its processes.
    pub fleet_bytes: u64,
    /// Cores that the cloud used since the last sample.
    pub cloud_cores: Option<f64>,
    /// Cores that this program used since the last sample.
    pub fleet_cores: f64,
    /// The slowest answer of the broker since the last sample.
    pub probe_ms: Option<f64>,
}

/// Why a report cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be read.
    #[error("the report {} cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error("{} is no report of gnomon-sim", .0.display())]
    Parse(PathBuf, #[source] serde_json::Error),
    /// The report has another form.
    #[error("the report {} has form {form}, this program reads form {FORM}: make it again", at.display())]
    Form {
        /// The file.
        at: PathBuf,
        /// Its form.
        form: u32,
    },
    /// The file cannot be written.
    #[error("{} cannot be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// The page has no place for the table.
    #[error("{} has no line `{mark}`: put it where the table shall stand, and `{end}` below", at.display(), end = page::END)]
    NoMark {
        /// The page.
        at: PathBuf,
        /// The line.
        mark: &'static str,
    },
}

impl Bytes {
    /// Both ways.
    pub const fn total(&self) -> u64 {
        self.received.saturating_add(self.sent)
    }

    /// What is neither about desired nor reported: handshakes, MQTT, signs of life.
    pub const fn overhead(&self) -> u64 {
        self.total().saturating_sub(self.desired).saturating_sub(self.reported)
    }

    /// What came since an earlier look.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
            desired: self.desired.saturating_sub(earlier.desired),
            reported: self.reported.saturating_sub(earlier.reported),
        }
    }
}

impl PhaseReport {
    /// How long it took.
    pub fn seconds(&self) -> f64 {
        self.end_s - self.begin_s
    }

    /// When the last site had come that was waited for, in seconds of the phase; none unless all
    /// came.
    pub fn last_came_s(&self) -> Option<f64> {
        let all = self.awaited > 0 && self.came >= self.awaited;
        self.curve.last().filter(|_| all).map(|(at, _)| *at)
    }
}

impl Report {
    /// Reads a report.
    pub fn read(at: &Path) -> Result<Self, ReportError> {
        let text = std::fs::read(at).map_err(|source| ReportError::Read(at.to_owned(), source))?;
        let report: Self = serde_json::from_slice(&text)
            .map_err(|source| ReportError::Parse(at.to_owned(), source))?;
        if report.form != FORM {
            return Err(ReportError::Form { at: at.to_owned(), form: report.form });
        }
        Ok(report)
    }

    /// Writes the report as JSON and, beside it, as a page: `NAME.json` and `NAME.html`.
    pub fn write(&self, json: &Path) -> Result<(), ReportError> {
        let wrong = |at: &Path| {
            let at = at.to_owned();
            move |source| ReportError::Write(at, source)
        };
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| ReportError::Parse(json.to_owned(), source))?;
        std::fs::write(json, text).map_err(wrong(json))?;
        let page = json.with_extension("html");
        std::fs::write(&page, html::page(self)).map_err(wrong(&page))
    }

    /// Whether every phase was gone through and the fleet did what was waited for.
    pub fn is_complete(&self) -> bool {
        self.ended == "done" && self.phases.iter().all(|phase| phase.complete)
    }

    /// The most memory that the cloud was seen with.
    pub fn cloud_peak_bytes(&self) -> Option<u64> {
        self.samples.iter().filter_map(|sample| sample.cloud_bytes).max()
    }

    /// The most memory that this program was seen with.
    pub fn fleet_peak_bytes(&self) -> u64 {
        self.samples.iter().map(|sample| sample.fleet_bytes).max().unwrap_or_default()
    }

    /// How many times the CPU of bare handshakes the cloud used in a phase; none if either was not
    /// measured.
    pub fn times_bare(&self, phase: &PhaseReport) -> Option<f64> {
        let bare = self.machine.handshakes?;
        let count = |value: u64| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
        let (resumed, all) = (count(phase.resumed), count(phase.connections));
        let seconds = (resumed * bare.resumed_us + (all - resumed) * bare.full_us) / 1e6;
        phase.cloud_cpu_s.filter(|_| seconds > 0.0).map(|cpu| cpu / seconds)
    }

    /// The phase of this name.
    pub fn phase(&self, name: &str) -> Option<&PhaseReport> {
        self.phases.iter().find(|phase| phase.name == name)
    }
}
