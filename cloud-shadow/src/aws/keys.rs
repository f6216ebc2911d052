//! The access keys with which clients of AWS sign requests.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Secrets by access key id.
#[derive(Clone, Default)]
pub struct AccessKeys(BTreeMap<String, String>);

/// Why there are no access keys.
#[derive(Debug, thiserror::Error)]
pub enum AccessKeysError {
    /// The file cannot be read.
    #[error("the file of access keys {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A line is no key.
    #[error(
        "line {line} of the access keys {path} must be `id:secret`, with an id of letters and \
         digits that no other line has and a secret of at least 16 characters"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
}

const SECRET: usize = 16;

impl AccessKeys {
    /// Reads the file; without one there are no keys.
    pub fn load(path: Option<&Path>) -> Result<Self, AccessKeysError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let path = path.to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|line| AccessKeysError::Line { path, line }),
            Err(source) => Err(AccessKeysError::Read { path, source }),
        }
    }

    /// Reads the lines; empty ones and those that begin with `#` say nothing.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut keys = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (id, secret) = text.split_once(':').ok_or(line)?;
            let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric());
            let is_new = keys.insert(id.to_owned(), secret.to_owned()).is_none();
            if !is_id || !is_new || secret.len() < SECRET {
                return Err(line);
            }
        }
        Ok(Self(keys))
    }

    pub(super) fn secret(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_key_and_a_wrong_one_is_named() {
        let keys = AccessKeys::parse("# ours\n\nAK1:0123456789abcdef\n").unwrap();
        assert_eq!(keys.secret("AK1"), Some("0123456789abcdef"));
        assert_eq!(keys.secret("AK2"), None);
        assert!(!format!("{keys:?}").contains("0123"), "a secret is not shown");
        for bad in ["AK1", "AK1:short", ":0123456789abcdef", "A/K:0123456789abcdef"] {
            assert_eq!(AccessKeys::parse(&format!("#\n{bad}")).unwrap_err(), 2, "{bad}");
        }
        let twice = "AK1:0123456789abcdef\nAK1:0123456789abcdef";
        assert_eq!(AccessKeys::parse(twice).unwrap_err(), 2);
    }
}
