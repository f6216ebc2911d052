//! What desired state says about the agent's own program: the member `agent` of the node's
//! desired half, and nothing else of it. Nothing is believed before the signature was verified.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

/// No agent is larger.
const MOST_BYTES: u64 = 256 << 20;
const LONGEST_TEXT: usize = 2048;

/// Which program is wished.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its version, for people.
    pub version: String,
    /// Where it is fetched from.
    pub url: String,
    /// The SHA-256 of its file, in hex.
    pub sha256: String,
    /// The size of its file.
    pub size: u64,
    /// The Ed25519 signature over [`signed_text`], in Base64.
    pub signature: String,
}

/// Why an order is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It is not what it should be.
    #[error("`agent` in the node's desired state is malformed: {0}")]
    Malformed(String),
    /// The file cannot be fetched from there.
    #[error("the url of an update must begin with http://; what it brings is signed")]
    Url,
    /// The size is none.
    #[error("an update has at most {} MiB and at least one byte", MOST_BYTES >> 20)]
    Size,
    /// This node trusts nobody's updates.
    #[error("this node has no `update_key` in its configuration, so it takes no updates")]
    NoKey,
    /// Somebody else signed it, or it is for another machine.
    #[error(
        "the signature is not that of this node's `update_key` for this version, file and platform \
         ({})",
        platform()
    )]
    Signature,
}

/// The platform that a program is made for.
fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// What is signed. One signature is good for one file on one platform.
pub fn signed_text(version: &str, sha256: &str, size: u64, platform: &str) -> String {
    format!(
        "gnomon-edge update\nversion {version}\nsha256 {sha256}\nsize {size}\nplatform {platform}\n"
    )
}

impl Order {
    /// Reads the member `agent` of the node's desired half; null: there is no order.
    pub fn read(agent: &Value) -> Option<Result<Self, OrderError>> {
        if agent.is_null() {
            return None;
        }
        let malformed = |error: serde_json::Error| OrderError::Malformed(error.to_string());
        let order = serde_json::from_value::<Self>(agent.clone()).map_err(malformed);
        Some(order.and_then(Self::check))
    }

    fn check(self) -> Result<Self, OrderError> {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if self.sha256.len() != 64 || !self.sha256.chars().all(is_hex) {
            return Err(OrderError::Malformed("sha256 is 64 digits of lower-case hex".to_owned()));
        }
        let texts = [&self.version, &self.url];
        let is_bad = |text: &&String| {
            text.is_empty() || text.len() > LONGEST_TEXT || text.chars().any(char::is_control)
        };
        if texts.iter().any(is_bad) {
            return Err(OrderError::Malformed("version or url is no line of text".to_owned()));
        }
        if !self.url.starts_with("http://") {
            return Err(OrderError::Url);
        }
        if self.size == 0 || self.size > MOST_BYTES {
            return Err(OrderError::Size);
        }
        Ok(self)
    }

    /// Whether the owner of the key wants this program to run here.
    pub fn verify(&self, key: Option<&PublicKey>) -> Result<(), OrderError> {
        let key = key.ok_or(OrderError::NoKey)?;
        let text = signed_text(&self.version, &self.sha256, self.size, &platform());
        let signature = STANDARD.decode(&self.signature).map_err(|_| OrderError::Signature)?;
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(text.as_bytes(), &signature)
            .map_err(|_| OrderError::Signature)
    }
}

/// Whose updates are taken: an Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`update_key` is no Ed25519 key: 32 bytes in Base64, as `gnomon node update-key` prints it"
)]
pub struct PublicKeyError;

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| PublicKeyError)?;
        Ok(Self(bytes.try_into().map_err(|_| PublicKeyError)?))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    pub(in crate::update) fn key_pair() -> (Ed25519KeyPair, PublicKey) {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let public = STANDARD.encode(pair.public_key().as_ref()).parse().unwrap();
        (pair, public)
    }

    pub(in crate::update) fn order(pair: &Ed25519KeyPair, sha256: &str, size: u64) -> Value {
        let text = signed_text("2.0", sha256, size, &platform());
        json!({
            "version": "2.0", "url": "http://files.example/agent", "sha256": sha256, "size": size,
            "signature": STANDARD.encode(pair.sign(text.as_bytes())),
        })
    }

    #[test]
    fn only_what_the_owner_of_the_key_signed_is_taken_as_it_was_signed() {
        let ((pair, public), (_, other)) = (key_pair(), key_pair());
        let good = order(&pair, &"ab".repeat(32), 10);
        let read = |value: &Value| Order::read(value).unwrap().unwrap();
        assert_eq!(read(&good).verify(Some(&public)), Ok(()));
        assert_eq!(read(&good).verify(Some(&other)), Err(OrderError::Signature));
        assert_eq!(read(&good).verify(None), Err(OrderError::NoKey));
        for (member, value) in [
            ("version", json!("2.1")),
            ("sha256", json!("cd".repeat(32))),
            ("size", json!(11)),
            ("signature", json!("AAAA")),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            assert_eq!(read(&bad).verify(Some(&public)), Err(OrderError::Signature), "{member}");
        }
        let mut moved = good;
        moved["url"] = json!("http://elsewhere.example/agent");
        assert_eq!(read(&moved).verify(Some(&public)), Ok(()), "where it lies does not matter");
    }

    #[test]
    fn what_is_malformed_is_refused_with_a_reason() {
        let (pair, _) = key_pair();
        let good = order(&pair, &"ab".repeat(32), 10);
        assert_eq!(Order::read(&Value::Null), None);
        for (member, value) in [
            ("url", json!("file:///etc/shadow")),
            ("url", json!("http://a\nb")),
            ("size", json!(0)),
            ("size", json!(1_u64 << 40)),
            ("sha256", json!("../../etc")),
            ("version", json!("")),
            ("more", json!(1)),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            assert!(Order::read(&bad).unwrap().is_err(), "{member}");
        }
        assert!("AAAA".parse::<PublicKey>().is_err() && "?".parse::<PublicKey>().is_err());
    }
}
