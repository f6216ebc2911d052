//! The two ways out: stdout for data, stderr for talk.

use std::io::{self, Write as _};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

pub(crate) mod age;
pub(crate) mod table;
pub(crate) mod yaml;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// A table with more columns.
    Wide,
    /// JSON, as the API gives it.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Writes data; ends the program quietly when nobody reads any more (`gnomon get nodes | head`).
pub(crate) fn data(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes one line of talk. Talk that nobody can hear is no failure.
pub(crate) fn talk(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Writes one value as JSON with indentation, or as YAML.
pub(crate) fn value<T: Serialize>(value: &T, format: Format) -> anyhow::Result<()> {
    let value = serde_json::to_value(value)?;
    Ok(data(&match format {
        Format::Yaml => yaml::write(&value),
        Format::Json | Format::Table | Format::Wide => serde_json::to_string_pretty(&value)?,
    })?)
}

/// A value on one line, cut when it is long.
pub(crate) fn brief(value: &Value, limit: usize) -> String {
    let text = value.to_string();
    if text.chars().count() <= limit {
        return text;
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// `n word`, with the plural's s where it belongs.
pub(crate) fn count(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}
