//! Topic names: checked once when they arrive, then shared without copying.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How long and how deep a topic name or a topic filter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicLimits {
    /// The most bytes of the whole text.
    pub bytes: usize,
    /// The most levels, that is, one more than its slashes.
    pub levels: usize,
}

impl TopicLimits {
    /// What MQTT itself allows.
    pub const MQTT: Self = Self { bytes: 65_535, levels: 65_535 };
}

/// Why a text is not a topic name or not a topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// There are no characters.
    #[error("a topic must have at least one character")]
    Empty,
    /// The bytes are not text.
    #[error("a topic must be valid UTF-8; it is broken at byte {at}")]
    NotUtf8 {
        /// Where the first invalid byte stands.
        at: usize,
    },
    /// A null character.
    #[error("a topic must not contain U+0000; there is one at byte {at}")]
    Null {
        /// Where it stands.
        at: usize,
    },
    /// More bytes than allowed.
    #[error("a topic has at most {limit} bytes here, this one has {len}")]
    TooLong {
        /// How many it has.
        len: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// More levels than allowed.
    #[error("a topic has at most {limit} levels here, this one has {levels}")]
    TooDeep {
        /// How many it has.
        levels: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A wildcard in a topic name, which only a filter may have.
    #[error("a topic name must not contain '+' or '#'; there is one at byte {at}")]
    WildcardInName {
        /// Where it stands.
        at: usize,
    },
    /// A wildcard that does not fill its level.
    #[error("'+' and '#' must fill a whole level; level {level} of the filter is {text:?}")]
    PartialWildcard {
        /// Which level, counted from 0.
        level: usize,
        /// What the level holds.
        text: Box<str>,
    },
    /// `#` before the end.
    #[error("'#' may only be the last level of a filter; here it is level {level}")]
    RestNotLast {
        /// Which level, counted from 0.
        level: usize,
    },
}

/// The name that a message is published under: no wildcards.
///
/// ```
/// use gnomon_broker::TopicName;
/// assert!("gnomon/1/site-1/u/hello".parse::<TopicName>().is_ok());
/// assert!("gnomon/+/hello".parse::<TopicName>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Reads a name and holds it to `limits`.
    pub fn parse(text: &str, limits: TopicLimits) -> Result<Self, TopicError> {
        check_text(text, limits)?;
        match text.find(['+', '#']) {
            Some(at) => Err(TopicError::WildcardInName { at }),
            None => Ok(Self(text.into())),
        }
    }

    /// Reads a name from the bytes of a packet.
    pub fn from_bytes(bytes: &[u8], limits: TopicLimits) -> Result<Self, TopicError> {
        let text = str::from_utf8(bytes)
            .map_err(|error| TopicError::NotUtf8 { at: error.valid_up_to() })?;
        Self::parse(text, limits)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Its levels, from the first.
    pub fn levels(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('/')
    }

    /// Whether it belongs to the server's own topics, which a leading wildcard does not match.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl FromStr for TopicName {
    type Err = TopicError;
    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text, TopicLimits::MQTT)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rules that names and filters share.
pub(crate) fn check_text(text: &str, limits: TopicLimits) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > limits.bytes {
        return Err(TopicError::TooLong { len: text.len(), limit: limits.bytes });
    }
    let mut levels = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            0 => return Err(TopicError::Null { at }),
            b'/' => levels += 1,
            _ => {}
        }
    }
    if levels > limits.levels {
        return Err(TopicError::TooDeep { levels, limit: limits.levels });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: TopicLimits = TopicLimits { bytes: 16, levels: 3 };

    #[test]
    fn any_language_is_a_name() {
        for good in ["é/x", "数据/温度", "a//b", "/", "$aws/x", " "] {
            assert!(TopicName::parse(good, SMALL).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn the_error_says_what_and_where() {
        use TopicError as E;
        let cases = [
            ("", E::Empty),
            ("a\0", E::Null { at: 1 }),
            ("a/+", E::WildcardInName { at: 2 }),
            ("#", E::WildcardInName { at: 0 }),
            ("a/b/c/d", E::TooDeep { levels: 4, limit: 3 }),
            ("12345678901234567", E::TooLong { len: 17, limit: 16 }),
        ];
        for (text, error) in cases {
            assert_eq!(TopicName::parse(text, SMALL), Err(error), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let error = TopicName::from_bytes(b"ab\xff", SMALL);
        assert_eq!(error, Err(TopicError::NotUtf8 { at: 2 }));
    }
}
