//! The results: as JSON, as a table on the terminal, as a section of docs/performance.md.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// At most so many times the peer's.
    AtMostPeerTimes(f64),
    /// At least so many times the peer's.
    AtLeastPeerTimes(f64),
    /// Less than this, whatever the peer's is.
    Under(f64),
    /// More than this, whatever the peer's is.
    Over(f64),
    /// For information.
    None,
}

/// One figure of ours and of the peer.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) peer: Option<f64>,
    pub(crate) target: Target,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.peer.map(|peer| self.ours / peer)
    }

    /// `None` if it cannot be said.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::AtMostPeerTimes(most) => self.ratio().map(|ratio| ratio <= most),
            Target::AtLeastPeerTimes(least) => self.ratio().map(|ratio| ratio >= least),
            Target::Under(limit) => Some(self.ours < limit),
            Target::Over(limit) => Some(self.ours > limit),
            Target::None => None,
        }
    }

    fn target(&self) -> String {
        match self.target {
            Target::AtMostPeerTimes(most) => format!("at most {most} x"),
            Target::AtLeastPeerTimes(least) => format!("at least {least} x"),
            Target::Under(limit) => format!("under {}", figure(limit)),
            Target::Over(limit) => format!("over {}", figure(limit)),
            Target::None => String::new(),
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.target, self.is_met()) {
            (Target::None, _) => "",
            (_, Some(true)) => "met",
            (_, Some(false)) => "missed",
            (_, None) => "no peer",
        }
    }

    fn json(&self, peer: &str) -> Value {
        json!({
            "what": self.what, "unit": self.unit, "ours": self.ours, peer: self.peer,
            "ratio": self.ratio(), "target": self.target(), "met": self.is_met(),
        })
    }

    fn cells(&self) -> [String; 7] {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), figure);
        let ratio = self.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        [
            self.what.clone(),
            self.unit.to_owned(),
            figure(self.ours),
            number(self.peer),
            ratio,
            self.target(),
            self.verdict().to_owned(),
        ]
    }
}

const fn header(peer: &str) -> [&str; 7] {
    ["what", "unit", "ours", peer, "ratio", "target", ""]
}

/// With as many digits as people read.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

/// Everything of one run.
pub(crate) struct Report {
    /// The name of the benchmark, as `make bench` has it.
    pub(crate) bench: &'static str,
    /// What the peer is called.
    pub(crate) peer: &'static str,
    pub(crate) rows: Vec<Row>,
    /// Where the figures come from.
    pub(crate) facts: Map<String, Value>,
    pub(crate) is_short: bool,
}

/// Whether the run is to show that everything works, and not what it costs.
pub(crate) fn is_short() -> bool {
    std::env::var("GNOMON_BENCH").is_ok_and(|mode| mode == "short")
}

impl Report {
    /// Writes target/bench and, if the figures are whole, the page; shows the table.
    pub(crate) fn publish(&self, root: &Path, is_whole: bool) -> anyhow::Result<()> {
        let out = root.join("target/bench");
        fs::create_dir_all(&out)?;
        let file = format!("{}.json", self.bench);
        let json = serde_json::to_string_pretty(&self.json())?;
        fs::write(out.join(&file), json).context("writing the report")?;
        println!("{}", self.table());
        println!("report: target/bench/{file}");
        if is_whole {
            self.write_page(&root.join("docs/performance.md"))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(|row| row.json(self.peer)).collect();
        json!({ "machine": self.facts, "short": self.is_short, "rows": rows })
    }

    /// The table for the terminal.
    fn table(&self) -> String {
        let mut out = String::new();
        let longest = self.rows.iter().map(|row| row.what.len()).max().unwrap_or_default();
        let lines = self.rows.iter().map(Row::cells);
        for cells in std::iter::once(header(self.peer).map(str::to_owned)).chain(lines) {
            let [what, unit, ours, peer, ratio, target, verdict] = cells;
            let line = format!(
                "{what:<longest$}  {unit:<10}{ours:>11}{peer:>11}{ratio:>8}  {target:<16}{verdict}"
            );
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Replaces the section of the page between its marks.
    fn write_page(&self, page: &Path) -> anyhow::Result<()> {
        const END: &str = "<!-- end -->\n";
        let begin = format!("<!-- written by make bench BENCH={} -->\n", self.bench);
        let text = fs::read_to_string(page).context("reading docs/performance.md")?;
        let parts = text
            .split_once(&begin)
            .and_then(|(before, rest)| rest.split_once(END).map(|(_, after)| (before, after)));
        let (before, after) = parts.context("docs/performance.md has no marks")?;
        let section = self.markdown();
        fs::write(page, format!("{before}{begin}{section}{END}{after}"))?;
        Ok(())
    }

    fn markdown(&self) -> String {
        let fact = |(name, fact): (&String, &Value)| {
            let fact = fact.as_str().map_or_else(|| fact.to_string(), str::to_owned);
            format!("- {name}: {fact}")
        };
        let facts: Vec<_> = self.facts.iter().map(fact).collect();
        let mut out = format!("\n{}\n", facts.join("\n"));
        let line = |cells: &[String; 7]| format!("| {} |\n", cells.join(" | "));
        out.push('\n');
        out.push_str(&line(&header(self.peer).map(str::to_owned)));
        out.push_str("| --- | --- | ---: | ---: | ---: | --- | --- |\n");
        for row in &self.rows {
            out.push_str(&line(&row.cells()));
        }
        out.push('\n');
        out
    }
}
