//! Text that must not reach a log, a terminal or an error message.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The content of a secret; only [`SecretText::expose`] and its stored form show it.
///
/// ```
/// use gnomon_schemas::app::SecretText;
/// assert_eq!(format!("{0} {0:?}", SecretText::new("hunter2")), "[redacted] [redacted]");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; the caller keeps it from being printed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
