//! The key of a shadow: what it is the shadow of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AppName, DeviceName, ParseIdError, ShadowName};

/// What a shadow is the shadow of, in the text form `node`, `app/<name>` or
/// `device/<id>[/<shadow name>]`.
///
/// ```
/// use gnomon_schemas::key::ShadowKey;
/// let key: ShadowKey = "app/web".parse().unwrap();
/// assert_eq!(key.to_string(), "app/web");
/// assert!("pod/web".parse::<ShadowKey>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ShadowKey {
    /// The agent's own settings.
    Node,
    /// A workload.
    App(AppName),
    /// A thing behind the site; `None` is its classic, unnamed shadow.
    Device(DeviceName, Option<ShadowName>),
}

/// Why a text is not a shadow key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// It has none of the known forms.
    #[error("{0:?} is not a shadow key; one is `node`, `app/<name>` or `device/<id>[/<shadow>]`")]
    UnknownForm(String),
    /// A name inside the key was refused.
    #[error("the shadow key {key:?} holds a bad name")]
    BadName {
        /// The whole key.
        key: String,
        /// What is wrong with the name.
        #[source]
        source: ParseIdError,
    },
}

impl ShadowKey {
    /// The app whose workload this is, if it is one.
    pub const fn app(&self) -> Option<&AppName> {
        match self {
            Self::App(name) => Some(name),
            Self::Node | Self::Device(..) => None,
        }
    }
}

impl FromStr for ShadowKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let bad = |source| ParseKeyError::BadName { key: text.to_owned(), source };
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        match parts.as_slice() {
            ["node"] => Ok(Self::Node),
            ["app", name] => name.parse().map(Self::App).map_err(bad),
            ["device", id] => id.parse().map(|id| Self::Device(id, None)).map_err(bad),
            ["device", id, shadow] => {
                let id = id.parse().map_err(bad)?;
                shadow.parse().map(|shadow| Self::Device(id, Some(shadow))).map_err(bad)
            }
            _ => Err(ParseKeyError::UnknownForm(text.chars().take(256).collect())),
        }
    }
}

impl fmt::Display for ShadowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::App(name) => write!(f, "app/{name}"),
            Self::Device(id, None) => write!(f, "device/{id}"),
            Self::Device(id, Some(shadow)) => write!(f, "device/{id}/{shadow}"),
        }
    }
}

impl TryFrom<String> for ShadowKey {
    type Error = ParseKeyError;
    fn try_from(text: String) -> Result<Self, ParseKeyError> {
        text.parse()
    }
}

impl From<ShadowKey> for String {
    fn from(key: ShadowKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_survives_its_text() {
        for text in ["node", "app/web", "device/Pump:1", "device/Pump:1/limits"] {
            assert_eq!(text.parse::<ShadowKey>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "node/x", "app", "app/", "app/a/b", "device/a/b/c", "app/../x", "App/web"]
        {
            assert!(text.parse::<ShadowKey>().is_err(), "{text:?} was accepted");
        }
    }
}
