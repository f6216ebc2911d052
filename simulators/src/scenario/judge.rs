//! Whether what was expected of a scenario held. Pure: from the file, its timetable and the record.

use std::time::Duration;

use serde::Serialize;

use super::record::{Record, SiteRecord};
use super::timetable::Timetable;
use super::{Expectation, Scenario, Since, Whom};

/// The most sites that a verdict names.
const NAMED: usize = 3;

/// What became of one expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// As it was written.
    pub expected: String,
    /// Whether it held.
    pub held: bool,
    /// By how much, or why not.
    pub why: String,
}

/// Judges every expectation.
pub fn judge(scenario: &Scenario, timetable: &Timetable, record: &Record) -> Vec<Verdict> {
    let court = Court { scenario, timetable, record };
    let judge = |it: &super::Expected| {
        let judged = match &it.that {
            Expectation::Converged(whom, within, since) => court.converged(whom, *within, *since),
            Expectation::Run(whom, from, to) => court.runs(whom, *from, *to),
            Expectation::NoRestart(whom) => court.no_restart(whom),
            Expectation::BytesUnder(whom, bytes) => court.bytes(whom, *bytes),
            Expectation::NothingLost => nothing_lost(record),
        };
        let (held, why) = match judged {
            Ok(why) => (true, why),
            Err(why) => (false, why),
        };
        Verdict { expected: it.text.clone(), held, why }
    };
    scenario.expect.iter().map(judge).collect()
}

/// Until when a scenario must be played at least, and at most.
pub fn length(scenario: &Scenario, timetable: &Timetable) -> (Duration, Duration) {
    let (mut least, mut most) = (timetable.end(), timetable.end());
    for expected in &scenario.expect {
        match &expected.that {
            Expectation::Converged(whom, within, since) => {
                for site in whom.sites.clone() {
                    let newest = timetable.since(*since, site).into_iter().max();
                    most = most.max(newest.unwrap_or_default() + *within);
                }
            }
            Expectation::Run(_, from, to) => least = least.max(to.unwrap_or(*from)),
            Expectation::NoRestart(_) | Expectation::BytesUnder(..) | Expectation::NothingLost => {}
        }
    }
    (least, most.max(least) + Duration::from_secs(1))
}

struct Court<'a> {
    scenario: &'a Scenario,
    timetable: &'a Timetable,
    record: &'a Record,
}

type Judged = Result<String, String>;

impl Court<'_> {
    fn of(&self, whom: &Whom) -> impl Iterator<Item = (u16, &SiteRecord)> {
        let all = (0..).zip(&self.record.sites);
        let sites = whom.sites.clone();
        all.filter(move |(site, _)| sites.contains(site))
    }

    /// From each of the times on, each site is converged in time, unless the scenario itself does
    /// something to it before.
    fn converged(&self, whom: &Whom, within: Duration, since: Since) -> Judged {
        let (mut late, mut slowest, mut count) = (Vec::new(), Duration::ZERO, 0);
        for (site, record) in self.of(whom) {
            for from in self.timetable.since(since, site) {
                let until = from + within;
                let disturbed = self.timetable.disturbed_after(site, from);
                if disturbed.is_some_and(|at| at <= until) {
                    continue;
                }
                count += 1;
                match record.converged.first_on(from).filter(|at| *at <= until) {
                    Some(at) => slowest = slowest.max(at.saturating_sub(from)),
                    None => late.push((site, from, record.ill.clone())),
                }
            }
        }
        if count == 0 {
            return Err("nothing that this counts from happened to them undisturbed".to_owned());
        }
        let name = |(site, from, ill): &(u16, Duration, Option<String>)| {
            let ill = ill.as_ref().map(|ill| format!(" ({ill})")).unwrap_or_default();
            format!("{} from {} on{ill}", self.scenario.site_name(*site), time(*from))
        };
        verdict(&late, name, format!("the slowest took {}", time(slowest)))
    }

    fn runs(&self, whom: &Whom, from: Duration, to: Option<Duration>) -> Judged {
        let mut stopped = Vec::new();
        for (site, record) in self.of(whom) {
            let off = record.runs.first_off(from);
            if let Some(at) = off.filter(|at| *at <= to.unwrap_or(from)) {
                stopped.push((site, at));
            }
        }
        let name = |(site, at): &(u16, Duration)| {
            format!("{} did not at {}", self.scenario.site_name(*site), time(*at))
        };
        verdict(&stopped, name, "all did".to_owned())
    }

    fn no_restart(&self, whom: &Whom) -> Judged {
        let all = self.of(whom);
        let restarted: Vec<_> =
            all.flat_map(|(site, it)| it.restarts.iter().map(move |what| (site, what))).collect();
        let name = |(site, what): &(u16, &String)| {
            format!("{} of {}", what, self.scenario.site_name(*site))
        };
        verdict(&restarted, name, "none was".to_owned())
    }

    fn bytes(&self, whom: &Whom, under: u64) -> Judged {
        let most = self.of(whom).map(|(_, it)| it.bytes).max().unwrap_or_default();
        let over: Vec<_> = self.of(whom).filter(|(_, it)| it.bytes >= under).collect();
        let name = |(site, it): &(u16, &SiteRecord)| {
            format!("{} had {} bytes", self.scenario.site_name(*site), it.bytes)
        };
        verdict(&over, name, format!("the most was {most} bytes"))
    }
}

fn nothing_lost(record: &Record) -> Judged {
    verdict(&record.broken, String::clone, "every answered write is there".to_owned())
}

fn verdict<T>(against: &[T], name: impl Fn(&T) -> String, well: String) -> Judged {
    if against.is_empty() {
        return Ok(well);
    }
    let named: Vec<_> = against.iter().take(NAMED).map(name).collect();
    let more = against.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    Err(format!("{}{more}", named.join("; ")))
}

/// A time as the file has it.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..120.0 => format!("{} s", (seconds * 10.0).round() / 10.0),
        120.0..7_200.0 => format!("{} min", (seconds / 6.0).round() / 10.0),
        7_200.0..172_800.0 => format!("{} h", (seconds / 360.0).round() / 10.0),
        _ => format!("{} days", (seconds / 8_640.0).round() / 10.0),
    }
}
