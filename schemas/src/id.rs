//! Names of nodes, apps, services and devices: checked once, then carried as types.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The name has no characters.
    #[error("{kind} names must not be empty")]
    Empty {
        /// What was being named.
        kind: &'static str,
    },
    /// The name is longer than its kind allows.
    #[error("{kind} names have at most {limit} characters, this one has {len}")]
    TooLong {
        /// What was being named.
        kind: &'static str,
        /// The most characters that the kind allows.
        limit: usize,
        /// How many characters were given.
        len: usize,
    },
    /// A character is outside the kind's alphabet.
    #[error("{kind} names consist of {alphabet}; {found:?} at position {at} is not one of them")]
    BadCharacter {
        /// What was being named.
        kind: &'static str,
        /// The alphabet, in words.
        alphabet: &'static str,
        /// The character that is outside it.
        found: char,
        /// Its position, counted in characters from 0.
        at: usize,
    },
    /// The name starts or ends with a character that may only stand inside.
    #[error("{kind} names must start and end with a letter or a digit")]
    BadEdge {
        /// What was being named.
        kind: &'static str,
    },
}

struct Rule {
    kind: &'static str,
    alphabet: &'static str,
    limit: usize,
    allowed: fn(char) -> bool,
    alphanumeric_edges: bool,
}

fn check(rule: &Rule, text: &str) -> Result<(), ParseIdError> {
    let kind = rule.kind;
    if text.is_empty() {
        return Err(ParseIdError::Empty { kind });
    }
    let len = text.chars().count();
    if len > rule.limit {
        return Err(ParseIdError::TooLong { kind, limit: rule.limit, len });
    }
    if let Some((at, found)) = text.chars().enumerate().find(|(_, c)| !(rule.allowed)(*c)) {
        return Err(ParseIdError::BadCharacter { kind, alphabet: rule.alphabet, found, at });
    }
    let edges_hold = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    if rule.alphanumeric_edges && !edges_hold {
        return Err(ParseIdError::BadEdge { kind });
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                check(&$rule, text).map(|()| Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;
            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

const fn label(kind: &'static str) -> Rule {
    Rule {
        kind,
        alphabet: "a-z, 0-9 and '-'",
        limit: 63,
        allowed: |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
        alphanumeric_edges: true,
    }
}

const fn word(kind: &'static str) -> Rule {
    Rule {
        kind,
        alphabet: "a-z, A-Z, 0-9, '.', '_' and '-'",
        limit: 63,
        allowed: |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
        alphanumeric_edges: true,
    }
}

const fn thing(kind: &'static str, limit: usize) -> Rule {
    Rule {
        kind,
        alphabet: "a-z, A-Z, 0-9, ':', '_' and '-'",
        limit,
        allowed: |c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-'),
        alphanumeric_edges: false,
    }
}

id! {
    /// A site's machine that runs `gnomon-edge`; an RFC 1123 label, so it is safe in topics,
    /// certificates, host names and Docker labels.
    ///
    /// ```
    /// use gnomon_schemas::id::NodeName;
    /// assert!("site-0001".parse::<NodeName>().is_ok());
    /// assert!("../etc".parse::<NodeName>().is_err());
    /// ```
    NodeName, label("node")
}
id! {
    /// An app: a workload that a node runs; an RFC 1123 label.
    AppName, label("app")
}
id! {
    /// A service of an app, named as in the Compose Specification.
    ServiceName, word("service")
}
id! {
    /// A named volume, config or secret of an app, as in the Compose Specification.
    ResourceName, word("resource")
}
id! {
    /// A thing behind a node or directly connected; the alphabet of an AWS IoT thing name.
    DeviceName, thing("device", 128)
}
id! {
    /// A named shadow of a device; the alphabet of an AWS IoT shadow name.
    ShadowName, thing("shadow", 64)
}

id! {
    /// Who owns nodes, in a cloud that several share; an RFC 1123 label.
    TenantName, label("tenant")
}
id! {
    /// A named group of nodes; an RFC 1123 label.
    PoolName, label("pool")
}
id! {
    /// What somebody calls a token of the API by; an RFC 1123 label.
    TokenName, label("token")
}
id! {
    /// A named shadow as AWS IoT lets it be called: `$` begins names that AWS keeps for itself.
    ThingShadowName, Rule {
        kind: "shadow",
        alphabet: "a-z, A-Z, 0-9, ':', '_', '-' and '$'",
        limit: 64,
        allowed: |c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-' | '$'),
        alphanumeric_edges: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_a_topic_or_a_path_are_refused() {
        for bad in
            ["", "a/b", "a+b", "#", "..", "-a", "a-", "A", "é", "a b", "a\0", &"x".repeat(64)]
        {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_error_says_what_and_where() {
        let error = "site/1".parse::<NodeName>().unwrap_err().to_string();
        assert_eq!(
            error,
            "node names consist of a-z, 0-9 and '-'; '/' at position 4 is not one of them"
        );
    }

    #[test]
    fn json_enters_through_the_same_check() {
        assert!(serde_json::from_str::<NodeName>("\"site-1\"").is_ok());
        assert!(serde_json::from_str::<NodeName>("\"site/1\"").is_err());
    }
}
