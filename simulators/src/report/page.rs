//! Several runs as one table of a page in Markdown, between two marks. Pure but for the file.

use std::path::Path;

use super::figures::{bytes, count, millis, number, seconds};
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

/// The table: one column per run, one row per figure.
pub fn table(reports: &[Report]) -> String {
    let head: Vec<_> =
        reports.iter().map(|it| format!("{} sites", count(u64::from(it.sites)))).collect();
    let mut out = line("", &head);
    let rule = format!("| --- |{}\n", " ---: |".repeat(reports.len()));
    out.push_str(&rule);
    let mut add = |what: &str, of: &dyn Fn(&Report) -> Option<String>| {
        let cells: Vec<_> =
            reports.iter().map(|it| of(it).unwrap_or_else(|| "–".to_owned())).collect();
        out.push_str(&line(what, &cells));
    };
    add("load of the machine before the run", &|it| Some(number(it.machine.load_before)));
    add("every phase complete", &|it| Some(if it.is_complete() { "yes" } else { "no" }.to_owned()));
    add("cloud: memory with all connected", &|it| it.cloud_steady_bytes().map(bytes));
    add("cloud: most memory", &|it| it.cloud_peak_bytes().map(bytes));
    add("cloud: CPU while nothing happens", &|it| {
        let steady = it.phase("steady")?;
        let share = steady.cloud_cpu_s? / steady.seconds().max(f64::EPSILON);
        Some(format!("{} % of a core", number(share * 100.0)))
    });
    add("bytes per site and minute while nothing happens", &|it| {
        let steady = it.phase("steady")?;
        let per_site = float(steady.bytes.total()) / f64::from(it.sites.max(1));
        Some(format!("{} B", number(per_site * 60.0 / steady.seconds().max(f64::EPSILON))))
    });
    for (phase, name) in [
        ("ramp", "start of all"),
        ("write 1", "desired write to all"),
        ("all back", "return after the mass disconnect"),
    ] {
        add(&format!("{name}: site p50 / p99"), &|it| took(it.phase(phase)?));
        add(&format!("{name}: last site"), &|it| it.phase(phase)?.last_came_s().map(seconds));
        add(&format!("{name}: broker probe p50 / p99 / max"), &|it| {
            it.phase(phase)?.broker.as_ref().map(probe)
        });
        add(&format!("{name}: bytes per site"), &|it| {
            Some(bytes(it.phase(phase)?.bytes.total() / u64::from(it.sites.max(1))))
        });
        add(&format!("{name}: CPU of the cloud"), &|it| it.phase(phase)?.cloud_cpu_s.map(seconds));
    }
    add("fleet: most memory", &|it| Some(bytes(it.fleet_peak_bytes())));
    out
}

fn took(phase: &PhaseReport) -> Option<String> {
    phase.took.as_ref().map(|it| format!("{} / {}", millis(it.p50_ms), millis(it.p99_ms)))
}

fn probe(it: &Latency) -> String {
    format!("{} / {} / {}", millis(it.p50_ms), millis(it.p99_ms), millis(it.max_ms))
}

fn line(what: &str, cells: &[String]) -> String {
    format!("| {what} | {} |\n", cells.join(" | "))
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
            text.starts_with("|  | 1,000 sites | 0 sites |\n| --- | ---: | ---: |\n"),
            "{text}"
        );
        assert!(text.contains("| cloud: memory with all connected | 70.0 MB | – |"), "{text}");
        assert!(
            text.contains("| cloud: CPU while nothing happens | 5.00 % of a core | – |"),
            "{text}"
        );
    }
}
