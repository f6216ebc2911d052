//! The access keys with which clients of AWS sign requests, and of which tenants they are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use gnomon_schemas::id::TenantName;

use crate::access::Scope;

/// Keys by access key id.
#[derive(Clone, Default)]
pub struct AccessKeys(BTreeMap<String, Key>);

#[derive(Clone)]
struct Key {
    secret: String,
    /// Whose things it reaches; `None`: all.
    tenant: Option<TenantName>,
}

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
        "line {line} of the access keys {path} must be `id:secret` or `id:secret:tenant`, with an id \
         of letters and digits that no other line has and a secret of at least 16 characters and \
         no colon"
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
            let parts: Vec<_> = text.split(':').collect();
            let (id, secret, tenant) = match parts[..] {
                [id, secret] => (id, secret, None),
                [id, secret, tenant] => (id, secret, Some(tenant.parse().map_err(|_| line)?)),
                _ => return Err(line),
            };
            let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric());
            let key = Key { secret: secret.to_owned(), tenant };
            let is_new = keys.insert(id.to_owned(), key).is_none();
            if !is_id || !is_new || secret.len() < SECRET {
                return Err(line);
            }
        }
        Ok(Self(keys))
    }

    pub(super) fn secret(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(|key| key.secret.as_str())
    }

    /// Whose things a key reaches.
    pub(super) fn scope(&self, id: &str) -> Scope {
        let tenant = self.0.get(id).and_then(|key| key.tenant.clone());
        Scope { tenant, ..Scope::default() }
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
        let text = "# ours\n\nAK1:0123456789abcdef\nAK2:fedcba9876543210:acme\n";
        let keys = AccessKeys::parse(text).unwrap();
        assert_eq!(keys.secret("AK1"), Some("0123456789abcdef"));
        assert!(keys.scope("AK1").is_whole());
        assert_eq!(keys.secret("AK2"), Some("fedcba9876543210"));
        assert_eq!(keys.scope("AK2").tenant, Some("acme".parse().unwrap()));
        assert_eq!(keys.secret("AK3"), None);
        assert!(!format!("{keys:?}").contains("0123"), "a secret is not shown");
        for bad in [
            "AK1",
            "AK1:short",
            ":0123456789abcdef",
            "A/K:0123456789abcdef",
            "AK1:0123456789abcdef:",
            "AK1:0123456789abcdef:no tenant",
            "AK1:0123456789abcdef:acme:more",
        ] {
            assert_eq!(AccessKeys::parse(&format!("#\n{bad}")).unwrap_err(), 2, "{bad}");
        }
        let twice = "AK1:0123456789abcdef\nAK1:0123456789abcdef";
        assert_eq!(AccessKeys::parse(twice).unwrap_err(), 2);
    }
}
