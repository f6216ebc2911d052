//! Two runs beside each other. Pure.

use serde::Serialize;

use super::figures;
use super::{PhaseReport, Report};

/// A figure of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What it is.
    pub what: String,
    /// Its unit.
    pub unit: &'static str,
    /// In the first run.
    pub first: Option<f64>,
    /// In the second run.
    pub second: Option<f64>,
    /// How many times the first the second is.
    pub ratio: Option<f64>,
}

impl Row {
    fn new(what: String, unit: &'static str, first: Option<f64>, second: Option<f64>) -> Self {
        let ratio = first.zip(second).filter(|(first, _)| *first > 0.0).map(|(a, b)| b / a);
        Self { what, unit, first, second, ratio }
    }
}

/// The figures that two runs have in common, and those of phases that only one of them has.
pub fn rows(first: &Report, second: &Report) -> Vec<Row> {
    let row = |what: &str, unit, of: fn(&Report) -> Option<f64>| {
        Row::new(what.to_owned(), unit, of(first), of(second))
    };
    let mut rows = vec![
        row("sites", "", |it| Some(f64::from(it.sites))),
        row("load before the run", "", |it| Some(it.machine.load_before)),
        row("cloud: most memory", "MB", |it| it.cloud_peak_bytes().map(megabytes)),
        row("fleet: most memory", "MB", |it| Some(megabytes(it.fleet_peak_bytes()))),
    ];
    let names = first.phases.iter().map(|phase| &phase.name);
    let more = second.phases.iter().map(|phase| &phase.name);
    let more = more.filter(|name| first.phase(name).is_none());
    for name in names.chain(more) {
        let (a, b) = (first.phase(name), second.phase(name));
        let mut add = |what: &str, unit, of: fn(&PhaseReport) -> Option<f64>| {
            let row = Row::new(format!("{name}: {what}"), unit, a.and_then(of), b.and_then(of));
            if row.first.is_some() || row.second.is_some() {
                rows.push(row);
            }
        };
        add("last site", "s", PhaseReport::last_came_s);
        add("site p50", "ms", |it| Some(it.took.as_ref()?.p50_ms));
        add("site p99", "ms", |it| Some(it.took.as_ref()?.p99_ms));
        add("broker p99", "ms", |it| Some(it.broker.as_ref()?.p99_ms));
        add("API p99", "ms", |it| Some(it.api.as_ref()?.p99_ms));
        add("cloud CPU", "s", |it| it.cloud_cpu_s);
        add("fleet CPU", "s", |it| Some(it.fleet_cpu_s));
        add("bytes", "KB", |it| Some(megabytes(it.bytes.total()) * 1_000.0));
        add("lost links", "", |it| Some(f64::from(u32::try_from(it.drops).unwrap_or(u32::MAX))));
    }
    rows
}

/// The rows as a table for a terminal.
pub fn table(rows: &[Row]) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figures::number);
    let mut out =
        format!("{:<36}{:<5}{:>12}{:>12}{:>9}\n", "what", "unit", "first", "second", "ratio");
    for Row { what, unit, first, second, ratio } in rows {
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let (first, second) = (number(*first), number(*second));
        let row = format!("{what:<36}{unit:<5}{first:>12}{second:>12}{ratio:>9}\n");
        out.push_str(&row);
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, last: f64, cpu: Option<f64>) -> Report {
        let phase = PhaseReport {
            name: name.to_owned(),
            awaited: 2,
            came: 2,
            curve: vec![(last, 2)],
            cloud_cpu_s: cpu,
            ..PhaseReport::default()
        };
        Report { sites: 2, phases: vec![phase], ..Report::default() }
    }

    fn find<'a>(rows: &'a [Row], what: &str) -> &'a Row {
        rows.iter()
            .find(|row| row.what == what)
            .unwrap_or_else(|| panic!("no row {what}: {rows:?}"))
    }

    #[test]
    fn the_same_phases_are_set_side_by_side_with_their_ratio() {
        let rows = rows(&report("ramp", 2.0, Some(1.0)), &report("ramp", 3.0, None));
        assert_eq!(find(&rows, "ramp: last site").ratio, Some(1.5));
        let cpu = find(&rows, "ramp: cloud CPU");
        assert_eq!((cpu.first, cpu.second, cpu.ratio), (Some(1.0), None, None));
        assert!(rows.iter().all(|row| row.what != "ramp: broker p99"), "nobody measured it");
    }

    #[test]
    fn a_phase_of_one_run_alone_is_shown_and_has_no_ratio() {
        let rows = rows(&report("ramp", 2.0, None), &report("all back", 3.0, None));
        assert_eq!(find(&rows, "ramp: last site").second, None);
        assert_eq!(find(&rows, "all back: last site").second, Some(3.0));
        assert!(table(&rows).contains("all back: last site"));
    }
}
