//! Several runs as one table of a page in Markdown, between two marks. Pure but for the file.

use std::path::Path;

use super::figures::{bytes, count, date, millis, number, seconds};
use super::{Latency, PhaseReport, Report, ReportError};

/// The line above the table.
pub const BEGIN: &str = "<!-- written by gnomon-sim report table -->";
/// The line below it.
pub const END: &str = "<!-- end -->";

/// Puts the table of these runs between the marks of a page.
pub fn write(at: &Path, reports: &[Report]) -> Result<(), ReportError> {
    let text =
        std::fs::read_to_string(at).map_err(|source| ReportError::Read(at.to_owned(), source))?;
    let no_mark = || ReportError::NoMark { at: at.to_owned(), mark: BEGIN };
    let new = replace(&text, &table(reports)).ok_or_else(no_mark)?;
    std::fs::write(at, new).map_err(|source| ReportError::Write(at.to_owned(), source))
}

fn replace(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

/// A figure of a run, and what it should be at most.
struct Figure {
    value: f64,
    text: String,
    target: Option<f64>,
}

/// The table: one column per run, one row per figure; what a target is missed by is bold. The last
/// row compares the largest fleet with the smallest.
pub fn table(reports: &[Report]) -> String {
    let head: Vec<_> =
        reports.iter().map(|it| format!("{} sites", count(u64::from(it.sites)))).collect();
    let mut out = line("", "target", &head);
    let rule = format!("| --- | ---: |{}\n", " ---: |".repeat(reports.len()));
    out.push_str(&rule);
    let mut add = |what: &str, target: &str, of: &dyn Fn(&Report) -> Option<String>| {
        let cells: Vec<_> =
            reports.iter().map(|it| of(it).unwrap_or_else(|| "–".to_owned())).collect();
        out.push_str(&line(what, target, &cells));
    };
    for (what, of) in facts() {
        add(what, "", &of);
    }
    for (what, target, of) in figures() {
        add(what, target, &|it| of(it).map(Figure::cell));
    }
    for (phase, name) in [
        ("ramp", "start of all"),
        ("write 1", "desired write to all"),
        ("all back", "return after the mass disconnect"),
    ] {
        add(&format!("{name}: site p50 / p99"), "", &|it| took(it.phase(phase)?));
        add(&format!("{name}: broker probe p50 / p99 / max"), "", &|it| {
            it.phase(phase)?.broker.as_ref().map(probe)
        });
        add(&format!("{name}: bytes per site"), "", &|it| {
            Some(bytes(it.phase(phase)?.bytes.total() / u64::from(it.sites.max(1))))
        });
        add(&format!("{name}: CPU of the cloud"), "", &|it| {
            it.phase(phase)?.cloud_cpu_s.map(seconds)
        });
    }
    add("fleet: most memory, all its processes", "", &|it| Some(bytes(it.fleet_peak_bytes())));
    out + &flatness(reports)
}

type Fact = fn(&Report) -> Option<String>;

fn facts() -> [(&'static str, Fact); 4] {
    [
        ("date", |it| Some(date(it.began_unix_s))),
        ("build", |it| {
            Some(
                if it.machine.is_release { "optimised" } else { "without optimisation" }.to_owned(),
            )
        }),
        ("load of the machine before the run", |it| Some(number(it.machine.load_before))),
        ("every phase complete", |it| Some(if it.is_complete() { "yes" } else { "no" }.to_owned())),
    ]
}

type Measure = fn(&Report) -> Option<Figure>;

/// What has a target; the targets are those for 10,000 sites.
fn figures() -> [(&'static str, &'static str, Measure); 8] {
    [
        ("cloud: most memory", "600 MB", |it| {
            let value = it.cloud_peak_bytes()?;
            Some(Figure::new(float(value), bytes(value), Some(600e6)))
        }),
        ("cloud: memory with all connected", "", |it| {
            let value = it.cloud_steady_bytes()?;
            Some(Figure::new(float(value), bytes(value), None))
        }),
        ("cloud: CPU while nothing happens, of a core", "10 %", |it| {
            let steady = it.phase("steady")?;
            let share = steady.cloud_cpu_s? / steady.seconds().max(f64::EPSILON) * 100.0;
            Some(Figure::new(share, format!("{} %", number(share)), Some(10.0)))
        }),
        ("bytes per site and minute while nothing happens", "", |it| {
            let steady = it.phase("steady")?;
            let per_site = float(steady.bytes.total()) / f64::from(it.sites.max(1));
            let value = per_site * 60.0 / steady.seconds().max(f64::EPSILON);
            Some(Figure::new(value, format!("{} B", number(value)), None))
        }),
        ("desired write to all: last site", "5 s", |it| last(it, "write 1", 5.0)),
        ("return after the mass disconnect: last site", "20 s", |it| last(it, "all back", 20.0)),
        ("return: CPU of the cloud, times that of bare handshakes", "1.5", |it| {
            let value = it.times_bare(it.phase("all back")?)?;
            Some(Figure::new(value, number(value), Some(1.5)))
        }),
        ("broker probe: worst p99 of a phase", "100 ms", |it| {
            let all = it.phases.iter().filter_map(|phase| Some(phase.broker.as_ref()?.p99_ms));
            let worst = all.max_by(f64::total_cmp)?;
            Some(Figure::new(worst, millis(worst), Some(100.0)))
        }),
    ]
}

fn last(report: &Report, phase: &str, target: f64) -> Option<Figure> {
    let phase = report.phase(phase)?;
    if let Some(value) = phase.last_came_s() {
        return Some(Figure::new(value, seconds(value), Some(target)));
    }
    let text = format!("{} of {} came", phase.came, phase.awaited);
    Some(Figure::new(f64::INFINITY, text, Some(target)))
}

/// What one site costs in the largest fleet, as a multiple of what it costs in the smallest.
fn flatness(reports: &[Report]) -> String {
    let smallest = reports.iter().min_by_key(|it| it.sites);
    let largest = reports.iter().max_by_key(|it| it.sites);
    let Some((small, large)) = smallest.zip(largest).filter(|(a, b)| a.sites < b.sites) else {
        return String::new();
    };
    let mut lines = String::from("\n");
    let mut add = |what: &str, of: fn(&Report) -> Option<f64>| {
        let Some((a, b)) = of(small).zip(of(large)).filter(|(a, _)| *a > 0.0) else { return };
        let figure = Figure::new(b / a, format!("{:.2}", b / a), Some(1.2));
        let text = format!(
            "- {what}, for one of {} sites as a multiple of that for one of {}: {} (target: 1.2)\n",
            count(u64::from(large.sites)),
            count(u64::from(small.sites)),
            figure.cell(),
        );
        lines.push_str(&text);
    };
    add("CPU of the cloud for a return", |it| {
        Some(it.phase("all back")?.cloud_cpu_s? / f64::from(it.sites))
    });
    add("CPU of the cloud for a desired write and what follows from it", |it| {
        Some(it.write_cpu_s()? / f64::from(it.sites))
    });
    add("memory of the cloud", |it| Some(float(it.cloud_steady_bytes()?) / f64::from(it.sites)));
    lines
}

impl Figure {
    const fn new(value: f64, text: String, target: Option<f64>) -> Self {
        Self { value, text, target }
    }

    fn cell(self) -> String {
        match self.target {
            Some(target) if self.value > target => format!("**{}**", self.text),
            Some(_) | None => self.text,
        }
    }
}

fn took(phase: &PhaseReport) -> Option<String> {
    phase.took.as_ref().map(|it| format!("{} / {}", millis(it.p50_ms), millis(it.p99_ms)))
}

fn probe(it: &Latency) -> String {
    format!("{} / {} / {}", millis(it.p50_ms), millis(it.p99_ms), millis(it.max_ms))
}

fn line(what: &str, target: &str, cells: &[String]) -> String {
    format!("| {what} | {target} | {} |\n", cells.join(" | "))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn float(value: u64) -> f64 {
    value as f64
}

impl Report {
    /// What the cloud's memory was at the end of the quiet phase, else of the ramp.
    pub fn cloud_steady_bytes(&self) -> Option<u64> {
        let phase = self.phase("steady").or_else(|| self.phase("ramp"))?;
        let before = self.samples.iter().filter(|sample| sample.at_s <= phase.end_s);
        before.filter_map(|sample| sample.cloud_bytes).next_back()
    }

    /// The CPU of the cloud for the first write to all: also after the last site had it, as far as
    /// the fleet had a rest then, but for what the cloud uses while nothing happens.
    fn write_cpu_s(&self) -> Option<f64> {
        let at = self.phases.iter().position(|phase| phase.name == "write 1")?;
        let own = self.phases.get(at)?.cloud_cpu_s?;
        let rest = self.phases.get(at + 1).filter(|phase| phase.name == "rest");
        let later = rest.and_then(|rest| {
            let steady = self.phase("steady")?;
            let idle = steady.cloud_cpu_s? / steady.seconds().max(f64::EPSILON);
            Some((rest.cloud_cpu_s? - idle * rest.seconds()).max(0.0))
        });
        Some(own + later.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Sample;

    #[test]
    fn the_table_goes_between_the_marks_and_the_rest_stays() {
        let page = format!("# A\n\n{BEGIN}\nold\n{END}\n\nmore\n");
        let new = replace(&page, "| new |\n").unwrap();
        assert_eq!(new, format!("# A\n\n{BEGIN}\n\n| new |\n\n{END}\n\nmore\n"));
        assert_eq!(replace(&new, "| new |\n").unwrap(), new, "again changes nothing");
        assert_eq!(replace("no marks", ""), None);
    }

    #[test]
    fn a_page_without_marks_is_left_alone_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("page.md");
        std::fs::write(&at, "text").unwrap();
        let error = write(&at, &[]).unwrap_err().to_string();
        assert!(error.contains(BEGIN), "{error}");
        assert_eq!(std::fs::read_to_string(&at).unwrap(), "text");
    }

    #[test]
    fn every_run_is_a_column_and_what_was_not_measured_is_a_dash() {
        let steady = PhaseReport {
            name: "steady".to_owned(),
            begin_s: 10.0,
            end_s: 20.0,
            cloud_cpu_s: Some(0.5),
            ..PhaseReport::default()
        };
        let sample = |at_s, bytes| Sample { at_s, cloud_bytes: Some(bytes), ..Sample::default() };
        let report = Report {
            sites: 1_000,
            phases: vec![steady],
            samples: vec![sample(9.0, 1_000), sample(19.0, 70_000_000), sample(30.0, 90_000_000)],
            ..Report::default()
        };
        let text = table(&[report, Report::default()]);
        assert!(
            text.starts_with(
                "|  | target | 1,000 sites | 0 sites |\n| --- | ---: | ---: | ---: |\n"
            ),
            "{text}"
        );
        assert!(text.contains("| cloud: memory with all connected |  | 70.0 MB | – |"), "{text}");
        assert!(
            text.contains("| cloud: CPU while nothing happens, of a core | 10 % | 5.00 % | – |"),
            "{text}"
        );
    }

    #[test]
    fn what_a_write_costs_holds_what_comes_after_the_last_site_has_it() {
        let phase = |name: &str, begin_s: f64, cpu| PhaseReport {
            name: name.to_owned(),
            begin_s,
            end_s: begin_s + 10.0,
            cloud_cpu_s: Some(cpu),
            ..PhaseReport::default()
        };
        let mut phases = vec![
            phase("rest", 0.0, 7.0),
            phase("steady", 10.0, 1.0),
            phase("write 1", 20.0, 2.0),
            phase("rest", 30.0, 4.0),
        ];
        let report = Report { phases: phases.clone(), ..Report::default() };
        assert_eq!(report.write_cpu_s(), Some(5.0));
        phases.pop();
        assert_eq!(Report { phases, ..Report::default() }.write_cpu_s(), Some(2.0));
    }

    #[test]
    fn a_missed_target_is_bold_and_the_largest_fleet_is_held_against_the_smallest() {
        let run = |sites: u32, last: f64, cpu: f64| {
            let back = PhaseReport {
                name: "all back".to_owned(),
                awaited: 1,
                came: 1,
                curve: vec![(last, 1)],
                connections: 100,
                resumed: 100,
                cloud_cpu_s: Some(cpu),
                ..PhaseReport::default()
            };
            let handshakes =
                Some(crate::report::Handshakes { count: 9, full_us: 1.0, resumed_us: 1e4 });
            let machine = crate::report::Machine { handshakes, ..Default::default() };
            Report { sites, machine, phases: vec![back], ..Report::default() }
        };
        let text = table(&[run(1_000, 9.0, 1.0), run(10_000, 21.0, 20.0)]);
        assert!(text.contains("last site | 20 s | 9.00 s | **21.0 s** |"), "{text}");
        assert!(text.contains("bare handshakes | 1.5 | 1.00 | **20.0** |"), "{text}");
        assert!(text.contains("for one of 1,000: **2.00** (target: 1.2)"), "{text}");
    }
}
