//! What a node's own shadow may desire of its agent. Members that are not named here are the
//! operator's own and mean nothing to the agent.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::SecretText;

mod window;

pub use window::{ParseWindowError, Window};

/// Registries that a node may have credentials for.
const REGISTRIES: usize = 64;
/// Bytes of a name or a password.
const TEXT_BYTES: usize = 16 * 1024;

/// What the desired half of the shadow `node` says to the agent.
///
/// ```
/// use gnomon_schemas::node::NodeSettings;
/// let desired = serde_json::json!({ "registries": {
///     "registry.example": { "username": "site", "password": "hunter2" }
/// }});
/// let settings = NodeSettings::from_document(&desired).unwrap();
/// assert_eq!(settings.registries["registry.example"].username, "site");
/// assert!(!format!("{settings:?}").contains("hunter2"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSettings {
    /// The credentials for registries, by host and port as an image reference names them;
    /// `docker.io` for images without a host.
    pub registries: BTreeMap<String, Credentials>,
    /// When images are fetched.
    pub pulls: PullSettings,
}

/// When and how images are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PullSettings {
    /// The part of each day in which pulls begin; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// How many KiB of images come in a second at most; `None`: as many as can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kib_per_s: Option<NonZeroU32>,
    /// Whether a pull that was broken off goes on where it was.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resume: bool,
}

/// Who pulls from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password or token.
    pub password: SecretText,
}

/// Why a node's settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeSettingsError {
    /// They do not have the form of settings.
    #[error("the settings do not have the expected form at {path}")]
    Shape {
        /// Where, such as `registries.r.example`. What stands there is not repeated.
        path: String,
    },
    /// There are too many registries.
    #[error("registries has {found} entries, at most {limit} are allowed", limit = REGISTRIES)]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// A registry is not a host.
    #[error("registries.{0} is not a host such as `registry.example:5000`")]
    BadHost(String),
    /// A name or a password is too long, or empty.
    #[error("registries.{0} must have a username and a password of 1 to {limit} bytes", limit = TEXT_BYTES)]
    BadCredentials(String),
}

impl NodeSettings {
    /// Reads the settings out of the desired half of a node's shadow.
    pub fn from_document(document: &Value) -> Result<Self, NodeSettingsError> {
        // The reason of the parser repeats what stands there, which may be a password.
        let settings: Self = serde_path_to_error::deserialize(document)
            .map_err(|error| NodeSettingsError::Shape { path: error.path().to_string() })?;
        let found = settings.registries.len();
        if found > REGISTRIES {
            return Err(NodeSettingsError::TooMany { found });
        }
        for (host, Credentials { username, password }) in &settings.registries {
            if !is_host(host) {
                return Err(NodeSettingsError::BadHost(host.chars().take(100).collect()));
            }
            if [username.as_str(), password.expose()].iter().any(|it| !fits(it)) {
                return Err(NodeSettingsError::BadCredentials(host.clone()));
            }
        }
        Ok(settings)
    }
}

fn is_host(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '[' | ']');
    !text.is_empty() && text.len() <= 255 && text.chars().all(fits)
}

fn fits(text: &str) -> bool {
    (1..=TEXT_BYTES).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_no_password_is_repeated() {
        let host = |host: &str, it: Value| json!({ "registries": { host: it } });
        let with = |password: &str| json!({ "username": "u", "password": password });
        for (desired, word) in [
            (json!({ "registries": "hunter2" }), "registries"),
            (host("r", json!("hunter2")), "registries.r"),
            (host("r", json!({ "username": "u", "password": ["hunter2"] })), "password"),
            (host("r", json!({ "username": "u", "pasword": "hunter2" })), "registries.r"),
            (host("r/x", with("hunter2")), "host"),
            (host("r", with("")), "1 to 16384"),
            (json!({ "pulls": { "window": "hunter2" } }), "pulls.window"),
            (host("r", with(&"hunter2".repeat(9999))), "1 to 16384"),
        ] {
            let refused = NodeSettings::from_document(&desired).unwrap_err().to_string();
            assert!(refused.contains(word) && !refused.contains("hunter2"), "{refused}");
        }
        let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("r{n}"), with("p"))).collect();
        let refused = NodeSettings::from_document(&json!({ "registries": many }));
        assert_eq!(refused, Err(NodeSettingsError::TooMany { found: 65 }));
    }

    #[test]
    fn what_is_the_operators_own_is_not_looked_at() {
        let desired = json!({ "price": 3, "registries": {} });
        assert_eq!(NodeSettings::from_document(&desired), Ok(NodeSettings::default()));
    }
}
