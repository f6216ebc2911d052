//! Secrets that a caller shows: the owner's token, tokens of the API, and join tokens of nodes.

use gnomon_schemas::hex;
use std::fmt;

use ring::hmac;
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
        f.write_str(&hex::of(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

/// Makes fingerprints that nobody can make who has only the store: it is kept beside it.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl TokenKey {
    /// A key from a random text.
    pub fn new(text: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, text.trim().as_bytes()))
    }

    /// The fingerprint of a token.
    pub fn hash(&self, token: &str) -> TokenHash {
        let tag = hmac::sign(&self.0, token.as_bytes());
        let mut hash = [0; 32];
        hash.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        TokenHash(hash)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

/// A fresh secret: its text for whoever will show it, never for the store.
pub struct Secret(String);

impl Secret {
    /// A token for the API that nobody can guess.
    pub fn api() -> Self {
        Self(format!("gnt_{}", random_text()))
    }

    /// A token to join with; it also says by which authority the cloud is to be known.
    pub fn join(authority_fingerprint: &str) -> Self {
        Self(format!("gnj_{}.{authority_fingerprint}", random_text()))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// An id for a token: what it is called, and digits that make it the only one.
pub fn token_id(name: &str) -> String {
    format!("{name}-{}", hex::of(&rand::random::<[u8; 4]>()))
}

/// An id that follows from a text: twelve hexadecimal digits.
pub fn short_id(text: &str) -> String {
    hex::of(Sha256::digest(text.as_bytes()).get(..6).unwrap_or_default())
}

/// 256 random bits as text.
pub(super) fn random_text() -> String {
    hex::of(&rand::random::<[u8; 32]>())
}
