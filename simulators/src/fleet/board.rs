//! Keeps count of a run: what each site is known to be, how long each took, what the probes
//! measured. Pure: it is told the time of everything.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::plan::{Phase, Seen};
use crate::report::{Latency, PhaseReport};

#[cfg(test)]
mod tests;

/// The most different reasons that are told apart.
const REASONS: usize = 32;
/// The most points of a curve.
const POINTS: usize = 200;
/// Longer than any phase.
const LONGEST_US: u64 = 24 * 3_600 * 1_000_000;

/// What a site tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Its link came up.
    Up,
    /// It has none, or an attempt failed again.
    Down(String),
    /// Something came that is no message of the protocol.
    Malformed(String),
    /// How it stands now.
    State {
        /// Both streams are known to be equal at both ends.
        in_sync: bool,
        /// The version of its app that it holds.
        version: u64,
    },
}

/// What a probe measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The broker took so long to answer a subscription.
    Broker(Duration),
    /// The API took so long to answer a question.
    Api(Duration),
    /// The API took so long to answer a batch of writes.
    Write(Duration),
    /// No answer came.
    Lost,
}

/// The state of a run.
#[derive(Debug)]
pub struct Board {
    sites: Vec<Site>,
    in_sync: u32,
    up: u32,
    running: Option<Running>,
    reasons: BTreeMap<String, u64>,
    /// The slowest answer of the broker since it was last asked for.
    slowest: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
struct Site {
    is_up: bool,
    in_sync: bool,
    version: u64,
    version_at: Duration,
    /// The version that the present write to all gave it.
    wanted: Option<u64>,
    /// Since when it is waited for.
    origin: Option<Duration>,
}

#[derive(Debug)]
struct Running {
    phase: Phase,
    since: Duration,
    /// Sites that are, or were, waited for.
    awaited: u32,
    /// When each came, since the phase began.
    came: Vec<Duration>,
    took: Histogram<u64>,
    broker: Histogram<u64>,
    api: Histogram<u64>,
    writes: Histogram<u64>,
    lost: u64,
    drops: u64,
    failed: u64,
    malformed: u64,
}

impl Board {
    /// A board for so many sites, none of which has started.
    pub fn new(sites: u32) -> Self {
        let sites = vec![Site::default(); usize::try_from(sites).unwrap_or(usize::MAX)];
        let (running, reasons, slowest) = (None, BTreeMap::new(), None);
        Self { sites, in_sync: 0, up: 0, running, reasons, slowest }
    }

    /// A phase begins. In a write, every site is waited for from now on.
    pub fn enter(&mut self, now: Duration, phase: Phase) {
        let is_write = matches!(phase, Phase::Write(_));
        for site in &mut self.sites {
            site.wanted = None;
            site.origin = is_write.then_some(now);
        }
        self.running = Some(Running::new(phase, now));
        if is_write && let Some(running) = &mut self.running {
            running.awaited = u32::try_from(self.sites.len()).unwrap_or(u32::MAX);
        }
    }

    /// The present phase ends; what it was, without what is measured outside.
    pub fn leave(&mut self, now: Duration, complete: bool) -> Option<PhaseReport> {
        Some(self.running.take()?.report(now, complete))
    }

    /// A site is waited for from now on: it was started, or has its link back.
    pub fn awaits(&mut self, now: Duration, site: u32) {
        if let (Some(site), Some(running)) = (at(&mut self.sites, site), &mut self.running) {
            site.origin = Some(now);
            running.awaited += 1;
        }
    }

    /// The present write to all gave a site this version.
    pub fn wrote(&mut self, site: u32, version: u64) {
        if let Some(site) = at(&mut self.sites, site) {
            site.wanted = Some(version);
            if let Some(running) = &mut self.running {
                running.look(site);
            }
        }
    }

    /// A site tells something.
    pub fn told(&mut self, now: Duration, number: u32, what: What) {
        let Some(site) = at(&mut self.sites, number) else { return };
        match what {
            What::Up => {
                self.up += u32::from(!site.is_up);
                site.is_up = true;
            }
            What::Down(reason) => {
                self.up -= u32::from(site.is_up);
                if let Some(running) = &mut self.running {
                    running.drops += u64::from(site.is_up);
                    running.failed += u64::from(!site.is_up);
                }
                site.is_up = false;
                count(&mut self.reasons, reason);
            }
            What::Malformed(reason) => {
                if let Some(running) = &mut self.running {
                    running.malformed += 1;
                }
                count(&mut self.reasons, reason);
            }
            What::State { in_sync, version } => {
                self.in_sync += u32::from(in_sync && !site.in_sync);
                self.in_sync -= u32::from(!in_sync && site.in_sync);
                let has_come = in_sync && !site.in_sync;
                site.in_sync = in_sync;
                if version != site.version {
                    site.version = version;
                    site.version_at = now;
                }
                if let Some(running) = &mut self.running {
                    if running.phase.is_for_sync() && has_come {
                        running.came(site, now);
                    }
                    running.look(site);
                }
            }
        }
    }

    /// A probe came back, or did not.
    pub fn probed(&mut self, probe: Probe) {
        if let Probe::Broker(took) = probe {
            self.slowest = self.slowest.max(Some(took));
        }
        let Some(running) = &mut self.running else { return };
        match probe {
            Probe::Broker(took) => record(&mut running.broker, took),
            Probe::Api(took) => record(&mut running.api, took),
            Probe::Write(took) => record(&mut running.writes, took),
            Probe::Lost => running.lost += 1,
        }
    }

    /// What the plan wants to know.
    pub fn seen(&self) -> Seen {
        let running = self.running.as_ref().filter(|it| matches!(it.phase, Phase::Write(_)));
        let reached = running.map_or(0, |it| u32::try_from(it.came.len()).unwrap_or(u32::MAX));
        Seen { in_sync: self.in_sync, reached }
    }

    /// Sites whose link is up.
    pub const fn up(&self) -> u32 {
        self.up
    }

    /// The slowest answer of the broker since the last call.
    pub fn take_slowest(&mut self) -> Option<Duration> {
        self.slowest.take()
    }

    /// How often each reason was given for a lost link or a failed attempt.
    pub const fn reasons(&self) -> &BTreeMap<String, u64> {
        &self.reasons
    }
}

impl Running {
    fn new(phase: Phase, since: Duration) -> Self {
        let (took, broker, api, writes) = (histogram(), histogram(), histogram(), histogram());
        let (awaited, came) = (0, Vec::new());
        let (lost, drops, failed, malformed) = (0, 0, 0, 0);
        Self {
            phase,
            since,
            awaited,
            came,
            took,
            broker,
            api,
            writes,
            lost,
            drops,
            failed,
            malformed,
        }
    }

    /// A site that is waited for has come.
    fn came(&mut self, site: &mut Site, at: Duration) {
        if let Some(origin) = site.origin.take() {
            record(&mut self.took, at.saturating_sub(origin));
            self.came.push(at.saturating_sub(self.since));
        }
    }

    /// In a write: whether the site holds what it should. It may have got it before the answer to
    /// the write was here.
    fn look(&mut self, site: &mut Site) {
        if site.wanted.is_some_and(|wanted| site.version >= wanted) {
            self.came(site, site.version_at);
        }
    }

    fn report(mut self, now: Duration, complete: bool) -> PhaseReport {
        self.came.sort_unstable();
        PhaseReport {
            name: self.phase.to_string(),
            begin_s: self.since.as_secs_f64(),
            end_s: now.as_secs_f64(),
            complete,
            awaited: self.awaited,
            came: u32::try_from(self.came.len()).unwrap_or(u32::MAX),
            took: latency(&self.took),
            curve: curve(&self.came),
            broker: latency(&self.broker),
            api: latency(&self.api),
            writes: latency(&self.writes),
            probes_lost: self.lost,
            drops: self.drops,
            failed_attempts: self.failed,
            malformed: self.malformed,
            ..PhaseReport::default()
        }
    }
}

fn at(sites: &mut [Site], number: u32) -> Option<&mut Site> {
    sites.get_mut(usize::try_from(number).ok()?)
}

/// Reasons that hold numbers of ports and the like are told apart only up to a bound.
fn count(reasons: &mut BTreeMap<String, u64>, reason: String) {
    if reasons.len() < REASONS || reasons.contains_key(&reason) {
        *reasons.entry(reason).or_default() += 1;
    } else {
        *reasons.entry("other reasons".to_owned()).or_default() += 1;
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are well-formed")
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US);
    histogram.saturating_record(micros.max(1));
}

/// What a report says of a histogram; none if nothing was measured.
fn latency(histogram: &Histogram<u64>) -> Option<Latency> {
    if histogram.is_empty() {
        return None;
    }
    let at = |quantile| millis(histogram.value_at_quantile(quantile));
    // Buckets that double: enough to see the shape on a phone.
    let buckets = histogram
        .iter_log(250, 2.0)
        .map(|step| (millis(step.value_iterated_to() + 1), step.count_since_last_iteration()));
    Some(Latency {
        count: histogram.len(),
        mean_ms: histogram.mean() / 1_000.0,
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        max_ms: millis(histogram.max()),
        buckets: buckets.skip_while(|(_, count)| *count == 0).collect(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a day in microseconds is exact")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// How many had come by when, in at most so many points.
fn curve(came: &[Duration]) -> Vec<(f64, u32)> {
    let step = came.len().div_ceil(POINTS).max(1);
    let last = came.len().saturating_sub(1);
    let points = came.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
    points
        .map(|(at, came)| (came.as_secs_f64(), u32::try_from(at + 1).unwrap_or(u32::MAX)))
        .collect()
}
