//! Secrets that a caller shows: the operator's token and the join tokens of nodes.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The operator's token. Only its fingerprint is kept in memory.
#[derive(Clone)]
pub struct AdminToken(TokenHash);

impl AdminToken {
    /// The fewest characters that a token may have.
    pub const LEAST: usize = 16;

    /// Takes a token; `None` if it is too short or holds what a header cannot carry.
    pub fn new(text: &str) -> Option<Self> {
        let usable = text.len() >= Self::LEAST && text.bytes().all(|byte| byte.is_ascii_graphic());
        usable.then(|| Self(TokenHash::of(text)))
    }

    /// Whether this is the token; takes the same time whatever the answer.
    pub fn is(&self, shown: &str) -> bool {
        self.0.0.ct_eq(&TokenHash::of(shown).0).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

/// The fingerprint of a token, which is all that the cloud remembers of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The fingerprint of a token.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// A fresh join token: its text for the operator, its fingerprint for the store.
pub struct JoinToken {
    /// What the node will show.
    pub text: String,
    /// What the cloud remembers.
    pub hash: TokenHash,
}

impl JoinToken {
    /// Makes a token that nobody can guess.
    pub fn random() -> Self {
        let text = random_text();
        Self { hash: TokenHash::of(&text), text }
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken")
    }
}

/// 256 random bits as text.
pub(super) fn random_text() -> String {
    hex(&rand::random::<[u8; 32]>())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
