//! Reads a scenario from the text of its file; what is wrong is said with its line and column. Pure,
//! but for link profiles that are files.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::words::{self, Misread, Names};
use super::{Expected, Fleet, Scenario, Step};
use crate::link::{LoadProfileError, Profile};

pub use super::words::Wrong;

/// The most sites of a scenario; a large fleet is a matter of `gnomon-sim fleet`.
pub const MOST_SITES: u16 = 1_000;
/// The most apps of a site.
const MOST_APPS: u8 = 20;

/// Why a text is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not TOML, or with other fields.
    #[error("the scenario cannot be read")]
    Toml(#[from] toml::de::Error),
    /// A sentence or a value is wrong.
    #[error("line {line}, column {column}")]
    At {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        #[source]
        wrong: Wrong,
    },
    /// A fleet's link is none.
    #[error("line {line}, column {column}: the fleet has no usable link")]
    Link {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong with it.
        #[source]
        source: Box<LoadProfileError>,
    },
    /// A fleet's name cannot be part of the names of nodes.
    #[error(
        "{0:?} is no name of a fleet: use lower-case letters, digits and hyphens, at most 40, and not \"all\" or \"cloud\""
    )]
    Name(String),
    /// Nobody is there.
    #[error("the scenario has no fleet: add fleet.NAME = {{ sites = N }}")]
    NoFleet,
    /// Nothing is expected.
    #[error("the scenario expects nothing: add at least one line to `expect`")]
    NoExpectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    about: String,
    #[serde(default = "one")]
    seed: u64,
    #[serde(default)]
    fleet: BTreeMap<String, FleetTable>,
    #[serde(default)]
    steps: Vec<Spanned<String>>,
    #[serde(default)]
    expect: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FleetTable {
    sites: Spanned<u16>,
    link: Option<Spanned<String>>,
    #[serde(default = "one_app")]
    apps: Spanned<u8>,
}

const fn one() -> u64 {
    1
}

fn one_app() -> Spanned<u8> {
    Spanned::new(0..0, 1)
}

/// Reads a scenario.
pub fn scenario(text: &str) -> Result<Scenario, ReadError> {
    let file: File = toml::from_str(text)?;
    let mut fleets = Vec::new();
    let mut next = 0_u16;
    for (name, table) in file.fleet {
        fleets.push(fleet(text, name, &table, next)?);
        next += *table.sites.get_ref();
    }
    if fleets.is_empty() {
        return Err(ReadError::NoFleet);
    }
    if file.expect.is_empty() {
        return Err(ReadError::NoExpectation);
    }
    let names =
        Names(fleets.iter().map(|fleet| (fleet.name.clone(), fleet.sites.clone())).collect());
    let mut steps = Vec::new();
    for sentence in &file.steps {
        let read = words::step(sentence.get_ref(), &names);
        let (at, deed, lasts) = read.map_err(|it| misread(text, sentence, it))?;
        steps.push(Step { at, deed, lasts, text: sentence.get_ref().clone() });
    }
    let mut expect = Vec::new();
    for sentence in &file.expect {
        let read = words::expectation(sentence.get_ref(), &names);
        let that = read.map_err(|it| misread(text, sentence, it))?;
        expect.push(Expected { that, text: sentence.get_ref().clone() });
    }
    let (name, about, seed) = (file.name, file.about, file.seed);
    Ok(Scenario { name, about, seed, fleets, steps, expect })
}

fn fleet(text: &str, name: String, table: &FleetTable, first: u16) -> Result<Fleet, ReadError> {
    let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
    let is_name = (1..=40).contains(&name.len()) && name.chars().all(is_plain);
    if !is_name || name.starts_with('-') || name == "all" || name == "cloud" {
        return Err(ReadError::Name(name));
    }
    let out_of_range = |found: String, range, span: Range<usize>| {
        let (line, column) = place(text, span.start);
        ReadError::At { line, column, wrong: Wrong::Range { found, range } }
    };
    let sites = *table.sites.get_ref();
    let end = first.checked_add(sites).filter(|end| sites > 0 && *end <= MOST_SITES);
    let range = "1 to 1000 sites in all fleets together; `gnomon-sim fleet` runs more";
    let end = end.ok_or_else(|| out_of_range(sites.to_string(), range, table.sites.span()))?;
    let apps = *table.apps.get_ref();
    if !(1..=MOST_APPS).contains(&apps) {
        return Err(out_of_range(apps.to_string(), "1 to 20 apps", table.apps.span()));
    }
    let link = match &table.link {
        None => Profile::perfect(),
        Some(named) => Profile::load(named.get_ref()).map_err(|source| {
            let (line, column) = place(text, named.span().start);
            ReadError::Link { line, column, source: Box::new(source) }
        })?,
    };
    Ok(Fleet { name, sites: first..end, link, apps })
}

/// Where in the file a word of a sentence is: after the opening quote, unless something in the
/// sentence is escaped.
fn misread(text: &str, sentence: &Spanned<String>, it: Misread) -> ReadError {
    let span = sentence.span();
    let raw = text.get(span.clone()).unwrap_or_default();
    let quote = raw.find(sentence.get_ref().as_str());
    let at = quote.map_or(span.start, |quote| span.start + quote + it.at);
    let (line, column) = place(text, at);
    ReadError::At { line, column, wrong: it.wrong }
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}
