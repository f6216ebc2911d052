//! What is kept of a run, and the table of all of them in docs/reliability.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::RunArgs;
use crate::check::Violation;
use crate::fault::{ALL, Fault};
use crate::schedule::Burst;

/// A run, as its file has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) minutes: f64,
    /// What repeats it.
    pub(crate) command: String,
    pub(crate) bursts: u32,
    pub(crate) faults: BTreeMap<Fault, Tally>,
    /// Events by kind.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Lines at ERROR in the logs, by kind.
    #[serde(default)]
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) violations: Vec<Violation>,
}

/// Of one fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) injected: u64,
    /// Until all was as it should be after the burst, at most.
    pub(crate) longest_ms: u64,
    /// In which burst that was.
    pub(crate) longest_burst: u32,
    /// The bursts with it in which a promise was broken.
    pub(crate) broken: Vec<u32>,
}

/// How a burst ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Struck {
    pub(crate) after: Duration,
    pub(crate) is_broken: bool,
}

impl Run {
    pub(crate) fn new(args: &RunArgs) -> Self {
        let only: Vec<_> = args.only.iter().map(|fault| fault.name()).collect();
        let only =
            if only.is_empty() { String::new() } else { format!(" ONLY={}", only.join(",")) };
        Self {
            seed: args.seed,
            minutes: args.minutes,
            command: format!("make faults MINUTES={} SEED={}{only}", args.minutes, args.seed),
            bursts: 0,
            faults: BTreeMap::new(),
            counts: BTreeMap::new(),
            errors: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// Adds a burst.
    pub(crate) fn struck(&mut self, burst: &Burst, struck: Struck) {
        self.bursts += u32::from(!burst.faults.is_empty());
        let after = struck.after.as_millis().try_into().unwrap_or(u64::MAX);
        for planned in &burst.faults {
            let tally = self.faults.entry(planned.fault).or_default();
            tally.injected += 1;
            if after > tally.longest_ms {
                (tally.longest_ms, tally.longest_burst) = (after, burst.number);
            }
            if struck.is_broken && tally.broken.last() != Some(&burst.number) {
                tally.broken.push(burst.number);
            }
        }
    }

    pub(crate) fn injected(&self) -> u64 {
        self.faults.values().map(|tally| tally.injected).sum()
    }
}

/// Writes the table of all runs of a folder between its marks in a page.
pub(crate) fn table(folder: &Path, into: &Path) -> Result<()> {
    let runs = read(folder)?;
    ensure!(!runs.is_empty(), "{} holds no run; make some with `make faults`", folder.display());
    let page =
        std::fs::read_to_string(into).with_context(|| format!("reading {}", into.display()))?;
    let page = between(&page, "faults", &rows(&runs)).with_context(|| {
        format!("{} lacks the marks <!-- faults:begin --> and <!-- faults:end -->", into.display())
    })?;
    std::fs::write(into, page).with_context(|| format!("writing {}", into.display()))
}

fn read(folder: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "json") {
            let text = std::fs::read(&path)?;
            let run = serde_json::from_slice(&text);
            runs.push(run.with_context(|| format!("{} is no run", path.display()))?);
        }
    }
    runs.sort_by_key(|run: &Run| run.seed);
    Ok(runs)
}

/// The page with these rows between the marks of that name.
pub(crate) fn between(page: &str, name: &str, rows: &str) -> Option<String> {
    let [begin, end] = ["begin", "end"].map(|it| format!("<!-- {name}:{it} -->"));
    let (before, rest) = page.split_once(&format!("{begin}\n"))?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{rows}{end}{after}"))
}

fn rows(runs: &[Run]) -> String {
    let mut text = String::new();
    let mut line = |row: String| writeln!(text, "{row}").expect("a text takes everything");
    line("| fault | times | promise | held | longest way back | the burst of it |".to_owned());
    line("| --- | ---: | --- | --- | ---: | --- |".to_owned());
    for facts in ALL {
        let of = |run: &Run| Some((run.seed, run.faults.get(&facts.fault)?.clone()));
        let all: Vec<_> = runs.iter().filter_map(of).collect();
        let injected: u64 = all.iter().map(|(_, tally)| tally.injected).sum();
        let broken: usize = all.iter().map(|(_, tally)| tally.broken.len()).sum();
        let held = match (injected, broken) {
            (0, _) => "not tried".to_owned(),
            (_, 0) => "always".to_owned(),
            _ => format!("not in {broken} bursts"),
        };
        let longest = all.iter().max_by_key(|(_, tally)| tally.longest_ms);
        let (time, repeat) = longest.map_or((String::new(), String::new()), |(seed, tally)| {
            let (ms, burst) = (tally.longest_ms, tally.longest_burst);
            let time = format!("{}.{} s", ms / 1000, ms % 1000 / 100);
            (time, format!("`make faults SEED={seed} BURST={burst}`"))
        });
        let (name, promise) = (facts.name, facts.promise);
        line(format!("| {name} | {injected} | {promise} | {held} | {time} | {repeat} |"));
    }
    line(String::new());
    line("| run | bursts | faults | writes answered | reports | promises |".to_owned());
    line("| --- | ---: | ---: | ---: | ---: | --- |".to_owned());
    for run in runs {
        let count = |name: &str| run.counts.get(name).copied().unwrap_or(0);
        let verdict = if run.violations.is_empty() { "kept" } else { "**broken**" };
        let (command, bursts, faults) = (&run.command, run.bursts, run.injected());
        let (writes, reports) = (count("wrote answered"), count("given"));
        line(format!("| `{command}` | {bursts} | {faults} | {writes} | {reports} | {verdict} |"));
    }
    let all: u64 = runs.iter().map(Run::injected).sum();
    line(String::new());
    line(format!("{} runs, {all} faults.", runs.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Promise;
    use crate::schedule::{Planned, Target};

    fn run() -> Run {
        let mut run = Run {
            seed: 7,
            minutes: 3.0,
            command: "make faults MINUTES=3 SEED=7".to_owned(),
            bursts: 0,
            faults: BTreeMap::new(),
            counts: BTreeMap::from([("wrote answered".to_owned(), 40)]),
            errors: BTreeMap::new(),
            violations: Vec::new(),
        };
        let planned = |fault| Planned {
            fault,
            target: Target::Cloud,
            at: Duration::ZERO,
            lasts: Duration::ZERO,
            chance: 0,
        };
        for (number, after) in [(1, 2_500), (2, 1_000)] {
            let faults = vec![planned(Fault::CloudKilled), planned(Fault::CloudKilled)];
            let after = Duration::from_millis(after);
            run.struck(&Burst { number, faults }, Struck { after, is_broken: number == 2 });
        }
        run
    }

    #[test]
    fn the_table_counts_what_was_injected_and_says_what_was_broken_and_how_to_repeat_it() {
        let mut run = run();
        let what = "lost".to_owned();
        run.violations.push(Violation { promise: Promise::NothingLost, at_ms: 1, what });
        let text = rows(&[run]);
        let row = text.lines().find(|line| line.starts_with("| cloud-killed")).unwrap();
        assert!(row.contains("| 4 |") && row.contains("not in 1 bursts"), "{row}");
        assert!(row.contains("2.5 s | `make faults SEED=7 BURST=1`"), "{row}");
        assert!(text.contains("| link-out | 0 |") && text.contains("not tried"));
        assert!(text.contains("SEED=7` | 2 | 4 | 40 | 0 | **broken** |"), "{text}");
    }

    #[test]
    fn only_what_is_between_the_marks_of_a_page_is_replaced() {
        let page = "a\n<!-- soak:begin -->\nold\n<!-- soak:end -->\nb\n";
        let new = "a\n<!-- soak:begin -->\nnew\n<!-- soak:end -->\nb\n";
        assert_eq!(between(page, "soak", "new\n").as_deref(), Some(new));
        assert_eq!(between(page, "faults", "new\n"), None);
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let run = run();
        let text = serde_json::to_string(&run).unwrap();
        let read: Run = serde_json::from_str(&text).unwrap();
        assert_eq!((read.faults, read.command), (run.faults, run.command));
    }
}
