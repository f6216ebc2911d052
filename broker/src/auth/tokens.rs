//! Clients with tokens: long random passwords, which are kept as keyed hashes, cheap to check.

use std::collections::BTreeMap;
use std::fmt;

use gnomon_schemas::hex;
use ring::hmac;

use super::file::{AuthFileError, Line, lines};
use super::{AuthError, Authenticator, Credentials};
use crate::principal::{Principal, Role};

/// The key of the hashes of tokens: without it, the file of hashes helps nobody to guess.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

/// A key that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key for tokens has at least 32 bytes; make one with: head -c 32 /dev/urandom > FILE")]
pub struct TokenKeyError;

impl TokenKey {
    /// A key from secret bytes.
    pub fn new(secret: &[u8]) -> Result<Self, TokenKeyError> {
        let is_long = secret.len() >= 32;
        is_long.then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret))).ok_or(TokenKeyError)
    }

    /// The hash of a token, for a line of a file.
    ///
    /// ```
    /// let key = gnomon_broker::TokenKey::new(&[7; 32]).unwrap();
    /// assert_eq!(key.hash("token").len(), 64);
    /// ```
    pub fn hash(&self, token: &str) -> String {
        hex::of(hmac::sign(&self.0, token.as_bytes()).as_ref())
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenKey").finish_non_exhaustive()
    }
}

/// The clients of a file with lines `NAME:HASH` or `NAME:HASH:ROLE`, each with a token that it
/// sends as its password, and its name as the user name. Without a role they are devices.
pub struct Tokens {
    key: TokenKey,
    clients: BTreeMap<Box<str>, (Vec<u8>, Role)>,
}

impl Tokens {
    /// Reads the text of a file.
    pub fn parse(key: TokenKey, text: &str) -> Result<Self, AuthFileError> {
        let mut clients = BTreeMap::new();
        for line in lines(text, "HASH") {
            let Line { number: line, name, proof, role } = line?;
            let reason = "a token's hash is 64 digits; make one with: gnomon-cloud broker --hash-token KEYFILE";
            let hash = from_hex(proof).ok_or(AuthFileError::Proof { line, reason })?;
            if clients.insert(name.into(), (hash, role)).is_some() {
                return Err(AuthFileError::Twice { line, name: name.to_owned() });
            }
        }
        Ok(Self { key, clients })
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is no client.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

impl Authenticator for Tokens {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        let Some((name, token)) = credentials.login() else { return Err(AuthError::Unknown) };
        let Some((hash, role)) = self.clients.get(name) else { return Err(AuthError::Unknown) };
        // In constant time.
        match hmac::verify(&self.key.0, token.as_bytes(), hash) {
            Ok(()) => Ok(Principal::new(name, *role)),
            Err(_) => Err(AuthError::BadCredentials),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("clients", &self.clients.len()).finish_non_exhaustive()
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let digits: Vec<u32> = text.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2).filter_map(|pair| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    (digits.len() == 64).then(|| pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a>(username: &'a str, password: &'a str) -> Credentials<'a> {
        let (username, password) = (Some(username), Some(password));
        Credentials { certificate: None, username, password, client_id: "" }
    }

    #[test]
    fn a_token_proves_its_client_and_no_other() {
        let key = TokenKey::new(&[7; 32]).unwrap();
        let text = format!("a:{}\nb:{}:service", key.hash("one"), key.hash("two"));
        let tokens = Tokens::parse(key, &text).unwrap();
        let ask = |name, token| tokens.authenticate(&shown(name, token));
        assert_eq!(ask("a", "one"), Ok(Principal::new("a", Role::Device)));
        assert_eq!(ask("b", "two"), Ok(Principal::new("b", Role::Service)));
        assert_eq!(ask("a", "two"), Err(AuthError::BadCredentials));
        assert_eq!(ask("c", "one"), Err(AuthError::Unknown));
    }

    #[test]
    fn another_key_opens_nothing_and_a_short_one_is_refused() {
        let (key, other) = ([7; 32], [8; 32]);
        let text = format!("a:{}", TokenKey::new(&key).unwrap().hash("one"));
        let tokens = Tokens::parse(TokenKey::new(&other).unwrap(), &text).unwrap();
        assert_eq!(tokens.authenticate(&shown("a", "one")), Err(AuthError::BadCredentials));
        assert_eq!(TokenKey::new(&[0; 31]).unwrap_err(), TokenKeyError);
    }

    #[test]
    fn a_hash_that_is_none_is_refused_with_its_line() {
        for bad in ["a:12", "a:zz", &format!("a:{}", "é".repeat(32))] {
            let key = TokenKey::new(&[7; 32]).unwrap();
            let error = Tokens::parse(key, &format!("# x\n{bad}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2: a token's hash is 64 digits"), "{error}");
        }
    }
}
