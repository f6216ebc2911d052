//! Topic filters and their algebra: which names a filter matches, which filters it includes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::topic::{TopicError, TopicLimits, TopicName, check_text};

#[cfg(test)]
pub(crate) mod laws;

/// One level of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level<'a> {
    /// This text and no other.
    Literal(&'a str),
    /// `+`: any one level.
    One,
    /// `#`: what is above and everything below.
    Rest,
}

impl<'a> Level<'a> {
    fn of(text: &'a str) -> Self {
        match text {
            "+" => Self::One,
            "#" => Self::Rest,
            other => Self::Literal(other),
        }
    }
}

/// What a client subscribes to: a topic name in which levels may be wildcards.
///
/// ```
/// use gnomon_broker::{TopicFilter, TopicName};
/// let filter: TopicFilter = "gnomon/1/+/u/#".parse().unwrap();
/// let name: TopicName = "gnomon/1/site-1/u/hello".parse().unwrap();
/// assert!(filter.matches(&name));
/// assert!(filter.includes(&"gnomon/1/site-1/u/+".parse().unwrap()));
/// assert!(!filter.includes(&"gnomon/#".parse().unwrap()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Reads a filter and holds it to `limits`.
    pub fn parse(text: &str, limits: TopicLimits) -> Result<Self, TopicError> {
        check_text(text, limits)?;
        check_wildcards(text)?;
        Ok(Self(text.into()))
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter as shared text.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Its levels, from the first.
    pub fn levels(&self) -> impl Iterator<Item = Level<'_>> {
        self.0.split('/').map(Level::of)
    }

    /// Whether any level is a wildcard.
    pub fn has_wildcards(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Whether it asks for a shared subscription (`$share/...`).
    pub fn is_shared(&self) -> bool {
        self.0.starts_with("$share/")
    }

    /// The group's name and the filter that counts, of a shared subscription; `None` if it is
    /// none, or not a well-formed one.
    pub(crate) fn shared_parts(&self) -> Option<(Arc<str>, Self)> {
        let (name, inner) = self.0.strip_prefix("$share/")?.split_once('/')?;
        let is_name = !name.is_empty() && !name.contains(['+', '#']);
        // Its wildcards were checked as those of the whole.
        (is_name && !inner.is_empty()).then(|| (name.into(), Self(inner.into())))
    }

    /// Whether a message published under `name` reaches a subscriber of this filter.
    pub fn matches(&self, name: &TopicName) -> bool {
        matches(self.levels(), name)
    }

    /// Whether this filter matches every name that `other` matches.
    pub fn includes(&self, other: &Self) -> bool {
        includes(self.levels(), other)
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;
    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text, TopicLimits::MQTT)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the levels of a pattern match a name; a leading wildcard does not match `$` names.
pub(crate) fn matches<'a>(pattern: impl Iterator<Item = Level<'a>>, name: &TopicName) -> bool {
    let mut names = name.levels();
    let mut hidden = name.is_reserved();
    for level in pattern {
        if hidden && !matches!(level, Level::Literal(_)) {
            return false;
        }
        hidden = false;
        match (level, names.next()) {
            (Level::Rest, _) => return true,
            (Level::One, Some(_)) => {}
            (Level::Literal(wanted), Some(found)) if wanted == found => {}
            (Level::Literal(_) | Level::One, _) => return false,
        }
    }
    names.next().is_none()
}

/// Whether the levels of a pattern match every name that `filter` matches.
pub(crate) fn includes<'a>(
    mut pattern: impl Iterator<Item = Level<'a>>,
    filter: &TopicFilter,
) -> bool {
    let mut leading = true;
    let mut levels = filter.levels();
    loop {
        let wanted = levels.next();
        let reserved = matches!(wanted, Some(Level::Literal(text)) if text.starts_with('$'));
        let allowed = pattern.next();
        if leading && reserved && matches!(allowed, Some(Level::One | Level::Rest)) {
            return false;
        }
        match (allowed, wanted) {
            (Some(Level::Rest), _) | (None, None) => return true,
            (Some(Level::One), Some(Level::Literal(_) | Level::One)) => {}
            // Each name has a first level, so `#` and `+/#` match the same names.
            (Some(Level::One), Some(Level::Rest)) if leading => {
                return pattern.next() == Some(Level::Rest);
            }
            (Some(Level::Literal(a)), Some(Level::Literal(b))) if a == b => {}
            (Some(Level::Literal(_) | Level::One) | None, _) => return false,
        }
        leading = false;
    }
}

fn check_wildcards(text: &str) -> Result<(), TopicError> {
    let last = text.split('/').count() - 1;
    for (level, part) in text.split('/').enumerate() {
        if part.len() > 1 && part.contains(['+', '#']) {
            return Err(TopicError::PartialWildcard { level, text: part.into() });
        }
        if part == "#" && level != last {
            return Err(TopicError::RestNotLast { level });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        text.parse().unwrap()
    }

    #[test]
    fn a_filter_matches_as_the_standard_says() {
        let cases = [
            ("sport/tennis/#", "sport/tennis", true),
            ("sport/tennis/#", "sport/tennis/a/b", true),
            ("sport/tennis/#", "sport/tennisx", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "a/b", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("$SYS/#", "$SYS", true),
            ("$aws/things/+/shadow", "$aws/things/t/shadow", true),
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/#", "a/$b", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                filter(pattern).matches(&name.parse().unwrap()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_filter_includes_what_it_covers_and_no_more() {
        let cases = [
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/#", "a/+/c", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("#", "+/+", true),
            ("+/#", "#", true),
            ("a/+/#", "a/#", false),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/+", true),
            ("$SYS/#", "#", false),
        ];
        for (outer, inner, expected) in cases {
            assert_eq!(filter(outer).includes(&filter(inner)), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for bad in ["a#b", "a/b+", "#/a", "a/#/b", "++", ""] {
            assert!(bad.parse::<TopicFilter>().is_err(), "{bad:?}");
        }
    }
}
