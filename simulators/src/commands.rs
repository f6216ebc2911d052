//! The commands of `gnomon-sim`, one file each. Data goes to stdout, talk to stderr.

pub(crate) mod explore;
pub(crate) mod fleet;
pub(crate) mod link;
pub(crate) mod link_control;
pub(crate) mod link_record;
pub(crate) mod report;
pub(crate) mod scenario;
pub(crate) mod sim;

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

/// Prints one line of JSON, at once.
fn print_line(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value).context("cannot write the answer as JSON")?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).context("cannot write to stdout")
}

/// Prints a text that ends its own lines, at once.
fn print_text(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
}
