//! The sentences of a scenario: steps and expectations, word by word, with the place of each word.
//! Pure.

use std::ops::Range;
use std::time::Duration;

use super::{Deed, Expectation, Since, Whom};
use crate::link::{LoadProfileError, Profile, SHIPPED_PROFILES};

/// Longer scenarios make no sense even in a simulated world.
const LONGEST: Duration = Duration::from_hours(24 * 366);
/// The most of anything that one step may ask for.
const MOST: u64 = 10_000;

/// What is wrong with a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// Another word belongs here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What belongs here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
    /// Nobody is called that.
    #[error("there is no fleet and no site {name:?}; there is {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// There is no such link.
    #[error("{name:?} is no link: use {}, or the path of a TOML file", SHIPPED_PROFILES.join(", "))]
    Link {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: Box<LoadProfileError>,
    },
    /// A number that is too large, or zero.
    #[error("{found} is out of range: use {range}")]
    Range {
        /// The number.
        found: String,
        /// What is possible.
        range: &'static str,
    },
    /// It goes on after its end.
    #[error("the sentence ends before {0:?}")]
    Leftover(String),
    /// What does not last cannot end.
    #[error("this happens at once: leave out \"for\"")]
    Lasts,
    /// The end comes before the beginning.
    #[error("this time is before the one it counts from")]
    Backwards,
}

/// What is wrong, and at which byte of the sentence.
#[derive(Debug)]
pub(super) struct Misread {
    pub(super) at: usize,
    pub(super) wrong: Wrong,
}

type Read<T> = Result<T, Misread>;

/// Who can be named.
pub(super) struct Names(pub(super) Vec<(String, Range<u16>)>);

/// A step: when, what, for how long.
pub(super) fn step(text: &str, names: &Names) -> Read<(Duration, Deed, Option<Duration>)> {
    let mut words = Words::new(text, names);
    words.word("at", "\"at\" and a time, such as \"at 30 s\"")?;
    let at = words.time()?;
    let deed = deed(&mut words)?;
    let ends = matches!(
        deed,
        Deed::Cut(_)
            | Deed::KillCloud
            | Deed::PowerOff(_)
            | Deed::FillDisks(_)
            | Deed::FillCloudDisk
            | Deed::StopOrchestrators(_)
    );
    let begins = words.at();
    let lasts = if words.take("for") { Some(words.time()?) } else { None };
    if lasts.is_some() && !ends {
        return Err(Misread { at: begins, wrong: Wrong::Lasts });
    }
    words.end()?;
    Ok((at, deed, lasts))
}

fn deed(words: &mut Words<'_>) -> Read<Deed> {
    const VERBS: &str = "cut, restore, link, write, report, kill, power, remove, fill or stop";
    let begins = words.at();
    let verb = words.next(VERBS)?;
    Ok(match verb {
        "cut" => Deed::Cut(words.whom()?),
        "restore" => Deed::Restore(words.whom()?),
        "link" => {
            let whom = words.whom()?;
            Deed::Link(whom, words.link()?)
        }
        "write" => {
            let count = words.number()?;
            words.word("desired", "\"desired versions\"")?;
            words.either("version", "versions", "\"versions\"")?;
            let whom = if words.take("to") { words.whom()? } else { words.all() };
            Deed::Write(count, whom)
        }
        "report" => {
            let count = words.number()?;
            words.either("change", "changes", "\"changes\"")?;
            let whom = if words.take("of") { words.whom()? } else { words.all() };
            Deed::Report(count, whom)
        }
        "kill" => kill(words)?,
        "power" => {
            words.word("off", "\"off\"")?;
            Deed::PowerOff(words.whom()?)
        }
        "remove" => {
            words.either("app", "apps", "\"an app\": remove app of WHOM")?;
            words.word("of", "\"of\"")?;
            Deed::RemoveApps(words.whom()?)
        }
        "fill" => {
            words.either("disk", "disks", "\"disk of\"")?;
            words.word("of", "\"of\"")?;
            if words.take("cloud") { Deed::FillCloudDisk } else { Deed::FillDisks(words.whom()?) }
        }
        "stop" => {
            words.either("orchestrator", "orchestrators", "\"orchestrator of\"")?;
            words.word("of", "\"of\"")?;
            Deed::StopOrchestrators(words.whom()?)
        }
        other => {
            let wrong = Wrong::Expected { expected: VERBS, found: format!("{other:?}") };
            return Err(Misread { at: begins, wrong });
        }
    })
}

fn kill(words: &mut Words<'_>) -> Read<Deed> {
    // As one writes it on a command line.
    words.take("-9");
    if words.take("cloud") {
        return Ok(Deed::KillCloud);
    }
    let is_agent = words.take("agent") || words.take("agents");
    if !is_agent {
        words.either("app", "apps", "\"cloud\", \"agent of\" or \"app of\"")?;
    }
    words.word("of", "\"of\"")?;
    let whom = words.whom()?;
    Ok(if is_agent { Deed::KillAgents(whom) } else { Deed::KillApps(whom) })
}

/// An expectation.
pub(super) fn expectation(text: &str, names: &Names) -> Read<Expectation> {
    let mut words = Words::new(text, names);
    let that = if words.take("nothing") {
        words.word("lost", "\"lost\"")?;
        Expectation::NothingLost
    } else if words.take("no") {
        words.word("app", "\"app restarted\"")?;
        words.word("restarted", "\"restarted\"")?;
        Expectation::NoRestart(words.of_whom("of")?)
    } else if words.take("bytes") {
        words.word("per", "\"per site under\"")?;
        words.word("site", "\"site\"")?;
        words.word("under", "\"under\"")?;
        let bytes = words.size()?;
        Expectation::BytesUnder(words.of_whom("of")?, bytes)
    } else if words.take("apps") {
        run(&mut words)?
    } else {
        converged(&mut words)?
    };
    words.end()?;
    Ok(that)
}

fn run(words: &mut Words<'_>) -> Read<Expectation> {
    let whom = words.of_whom("of")?;
    words.word("run", "\"run at\" or \"run from\"")?;
    if words.take("at") {
        return Ok(Expectation::Run(whom, words.time()?, None));
    }
    words.word("from", "\"at\" or \"from\"")?;
    let from = words.time()?;
    words.word("to", "\"to\"")?;
    let at = words.at();
    let to = words.time()?;
    if to < from {
        return Err(Misread { at, wrong: Wrong::Backwards });
    }
    Ok(Expectation::Run(whom, from, Some(to)))
}

fn converged(words: &mut Words<'_>) -> Read<Expectation> {
    const SINCE: &str = "\"start\", \"reconnect\", \"every write\" or \"the last step\"";
    let whom = words.whom()?;
    words.word("converged", "\"converged within\"")?;
    words.word("within", "\"within\"")?;
    let within = words.time()?;
    words
        .word("of", "\"of start\", \"of reconnect\", \"of every write\" or \"of the last step\"")?;
    words.take("the");
    words.take("every");
    let begins = words.at();
    let since = match words.next(SINCE)? {
        "start" => Since::Start,
        "reconnect" => Since::Reconnect,
        "write" => Since::Write,
        "last" => {
            words.word("step", "\"step\"")?;
            Since::LastStep
        }
        other => {
            let wrong = Wrong::Expected { expected: SINCE, found: format!("{other:?}") };
            return Err(Misread { at: begins, wrong });
        }
    };
    Ok(Expectation::Converged(whom, within, since))
}

/// The words of a sentence and where each begins.
struct Words<'a> {
    text: &'a str,
    left: std::iter::Peekable<std::vec::IntoIter<(usize, &'a str)>>,
    names: &'a Names,
}

impl<'a> Words<'a> {
    fn new(text: &'a str, names: &'a Names) -> Self {
        let start = text.as_ptr() as usize;
        let word = |word: &'a str| ((word.as_ptr() as usize).saturating_sub(start), word);
        let words: Vec<_> = text.split_whitespace().map(word).collect();
        Self { text, left: words.into_iter().peekable(), names }
    }

    fn at(&mut self) -> usize {
        self.left.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn next(&mut self, expected: &'static str) -> Read<&'a str> {
        let end = self.text.len();
        let missing = || Wrong::Expected { expected, found: "the end".to_owned() };
        let found = self.left.next().map(|(_, word)| word);
        found.ok_or_else(|| Misread { at: end, wrong: missing() })
    }

    fn take(&mut self, word: &str) -> bool {
        self.left.next_if(|(_, next)| *next == word).is_some()
    }

    fn word(&mut self, word: &'static str, expected: &'static str) -> Read<()> {
        self.either(word, word, expected)
    }

    fn either(&mut self, one: &str, other: &str, expected: &'static str) -> Read<()> {
        let at = self.at();
        let found = self.next(expected)?;
        if found == one || found == other {
            return Ok(());
        }
        Err(Misread { at, wrong: Wrong::Expected { expected, found: format!("{found:?}") } })
    }

    fn number(&mut self) -> Read<u32> {
        let at = self.at();
        let found = self.next("a number")?;
        let value = found.parse().ok().filter(|value| (1..=MOST).contains(value));
        let value = value.and_then(|value| u32::try_from(value).ok());
        let wrong = || Wrong::Range { found: found.to_owned(), range: "1 to 10000" };
        value.ok_or_else(|| Misread { at, wrong: wrong() })
    }

    fn time(&mut self) -> Read<Duration> {
        const UNITS: &str = "a unit: ms, s, min, h or days";
        let at = self.at();
        let found = self.next("a time, such as \"30 s\" or \"10 min\"")?;
        let value = found.parse::<f64>().ok().filter(|value| *value >= 0.0);
        let wrong = || Wrong::Expected { expected: "a number", found: format!("{found:?}") };
        let value = value.ok_or_else(|| Misread { at, wrong: wrong() })?;
        let of_unit = self.at();
        let unit = match self.next(UNITS)? {
            "ms" => 0.001,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3_600.0,
            "day" | "days" => 86_400.0,
            other => {
                let wrong = Wrong::Expected { expected: UNITS, found: format!("{other:?}") };
                return Err(Misread { at: of_unit, wrong });
            }
        };
        let time = Duration::try_from_secs_f64(value * unit).ok().filter(|time| *time <= LONGEST);
        let wrong = || Wrong::Range { found: found.to_owned(), range: "at most 366 days" };
        time.ok_or_else(|| Misread { at, wrong: wrong() })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    fn size(&mut self) -> Read<u64> {
        const UNITS: &str = "a unit: B, KB or MB";
        let at = self.at();
        let found = self.next("a size, such as \"20 KB\"")?;
        let value = found.parse::<f64>().ok().filter(|value| (0.0..1e9).contains(value));
        let wrong = || Wrong::Range { found: found.to_owned(), range: "a number of bytes" };
        let value = value.ok_or_else(|| Misread { at, wrong: wrong() })?;
        let of_unit = self.at();
        let unit = match self.next(UNITS)? {
            "B" => 1.0,
            "KB" => 1e3,
            "MB" => 1e6,
            other => {
                let wrong = Wrong::Expected { expected: UNITS, found: format!("{other:?}") };
                return Err(Misread { at: of_unit, wrong });
            }
        };
        Ok((value * unit) as u64)
    }

    fn all(&self) -> Whom {
        let end = self.names.0.iter().map(|(_, sites)| sites.end).max().unwrap_or_default();
        Whom { name: "all".to_owned(), sites: 0..end }
    }

    /// Those that a word names, or else all.
    fn of_whom(&mut self, word: &str) -> Read<Whom> {
        if self.take(word) { self.whom() } else { Ok(self.all()) }
    }

    fn whom(&mut self) -> Read<Whom> {
        self.take("group");
        let at = self.at();
        let name = self.next("a fleet, a site or \"all\"")?;
        if name == "all" {
            return Ok(self.all());
        }
        let fleet = self.names.0.iter().find(|(own, _)| own == name).map(|(_, of)| of.clone());
        let site = || {
            let (fleet, number) = name.rsplit_once('-')?;
            let number: u16 = number.parse().ok()?;
            let (_, sites) = self.names.0.iter().find(|(own, _)| own == fleet)?;
            let site = sites.start.checked_add(number).filter(|site| sites.contains(site))?;
            Some(site..site.saturating_add(1))
        };
        if let Some(sites) = fleet.or_else(site) {
            return Ok(Whom { name: name.to_owned(), sites });
        }
        let known = |(name, sites): &(String, Range<u16>)| {
            format!("{name} ({name}-0 to {name}-{})", sites.len().saturating_sub(1))
        };
        let known = self.names.0.iter().map(known).collect::<Vec<_>>().join(", ");
        Err(Misread { at, wrong: Wrong::Unknown { name: name.to_owned(), known } })
    }

    fn link(&mut self) -> Read<Profile> {
        let at = self.at();
        let name = self.next("a link")?;
        Profile::load(name).map_err(|source| {
            let name = name.to_owned();
            Misread { at, wrong: Wrong::Link { name, source: Box::new(source) } }
        })
    }

    fn end(&mut self) -> Read<()> {
        match self.left.next() {
            None => Ok(()),
            Some((at, word)) => Err(Misread { at, wrong: Wrong::Leftover(word.to_owned()) }),
        }
    }
}
