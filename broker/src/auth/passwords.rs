//! Users with passwords, which are kept as argon2 hashes (PHC strings).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::file::{AuthFileError, Line, lines};
use super::{AuthError, Authenticator, Credentials};
use crate::principal::{Principal, Role};

/// The most memory (KiB), rounds and lanes of a hash: each check may take that much.
const MOST: (u32, u32, u32) = (256 * 1024, 16, 16);

/// The users of a file with lines `NAME:PHC` or `NAME:PHC:ROLE`; without a role they are devices.
///
/// A password that was right once is recognized without the work of its hash from then on, so that
/// those who return do not wait behind those who guess.
pub struct Passwords {
    users: BTreeMap<Box<str>, User>,
    /// What a password of an unknown user is compared with, so that it takes as long.
    decoy: Option<Box<str>>,
    /// Of this process only.
    recognition: hmac::Key,
}

struct User {
    phc: Box<str>,
    role: Role,
    /// The keyed hash of the password that was right. A lock, since connections of one user may
    /// arrive at the same time; held for one copy.
    right: Mutex<Option<hmac::Tag>>,
}

/// Why a password cannot be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The system gives no random bytes.
    #[error("the system gives no random numbers for a salt")]
    Random,
    /// The password cannot be hashed.
    #[error("the password cannot be hashed; is it empty or very long?")]
    Password,
}

/// The PHC string of a password, for a line of a file: argon2id, with the parameters that OWASP
/// recommends (19 MiB, 2 rounds).
pub fn hash_password(password: &str) -> Result<String, HashError> {
    hash_with(Params::default(), password)
}

fn hash_with(params: Params, password: &str) -> Result<String, HashError> {
    if password.is_empty() {
        return Err(HashError::Password);
    }
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| HashError::Random)?;
    let salt = SaltString::encode_b64(&bytes).map_err(|_| HashError::Password)?;
    let hasher = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash = hasher.hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|_| HashError::Password)?.to_string())
}

impl Passwords {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, AuthFileError> {
        let mut users = BTreeMap::new();
        for line in lines(text, "PHC") {
            let Line { number: line, name, proof, role } = line?;
            check(proof).map_err(|reason| AuthFileError::Proof { line, reason })?;
            let user = User { phc: proof.into(), role, right: Mutex::new(None) };
            if users.insert(name.into(), user).is_some() {
                return Err(AuthFileError::Twice { line, name: name.to_owned() });
            }
        }
        let decoy = users.values().next().map(|user: &User| user.phc.clone());
        let recognition = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let recognition = recognition.map_err(|_| AuthFileError::Proof {
            line: 0,
            reason: "the system gives no random numbers",
        })?;
        Ok(Self { users, decoy, recognition })
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn recognizes(&self, user: &User, name: &str, password: &str) -> bool {
        let right = *user.right.lock().unwrap_or_else(PoisonError::into_inner);
        let said = said(name, password);
        right.is_some_and(|tag| hmac::verify(&self.recognition, &said, tag.as_ref()).is_ok())
    }
}

impl Authenticator for Passwords {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        let Some((name, password)) = credentials.login() else { return Err(AuthError::Unknown) };
        let Some(user) = self.users.get(name) else {
            if let Some(decoy) = &self.decoy {
                let _never = verify(decoy, password);
            }
            return Err(AuthError::BadCredentials);
        };
        if !self.recognizes(user, name, password) {
            if !verify(&user.phc, password) {
                return Err(AuthError::BadCredentials);
            }
            let tag = hmac::sign(&self.recognition, &said(name, password));
            *user.right.lock().unwrap_or_else(PoisonError::into_inner) = Some(tag);
        }
        Ok(Principal::new(name, user.role))
    }

    fn is_costly(&self, credentials: &Credentials<'_>) -> bool {
        let Some((name, password)) = credentials.login() else { return false };
        let user = self.users.get(name);
        !self.users.is_empty() && user.is_none_or(|user| !self.recognizes(user, name, password))
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

fn said(name: &str, password: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0", password.as_bytes()].concat()
}

fn verify(phc: &str, password: &str) -> bool {
    let hash = PasswordHash::new(phc);
    hash.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

fn check(phc: &str) -> Result<(), &'static str> {
    let hash = PasswordHash::new(phc)
        .map_err(|_| "this is no PHC string; make one with: gnomon-cloud broker --hash-password")?;
    if !hash.algorithm.as_str().starts_with("argon2") || hash.hash.is_none() {
        return Err("only argon2 hashes are taken, best argon2id");
    }
    let params = Params::try_from(&hash).map_err(|_| "these are no parameters of argon2")?;
    let (memory, rounds, lanes) = MOST;
    if params.m_cost() > memory || params.t_cost() > rounds || params.p_cost() > lanes {
        return Err("each check would cost more than 256 MiB, 16 rounds or 16 lanes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap(password: &str) -> String {
        hash_with(Params::new(8, 1, 1, None).unwrap(), password).unwrap()
    }

    fn shown<'a>(username: &'a str, password: &'a str) -> Credentials<'a> {
        let (username, password) = (Some(username), Some(password));
        Credentials { certificate: None, username, password, client_id: "" }
    }

    #[test]
    fn the_right_password_proves_the_user() {
        let text = format!("ada:{}:service\nbob:{}", cheap("enigma"), cheap("secret"));
        let passwords = Passwords::parse(&text).unwrap();
        let ask = |name, password| passwords.authenticate(&shown(name, password));
        assert_eq!(ask("ada", "enigma"), Ok(Principal::new("ada", Role::Service)));
        assert_eq!(ask("bob", "secret"), Ok(Principal::new("bob", Role::Device)));
        assert_eq!(ask("ada", "secret"), Err(AuthError::BadCredentials));
        assert_eq!(ask("eve", "enigma"), Err(AuthError::BadCredentials));
        let nothing = Credentials { password: None, ..shown("ada", "") };
        assert_eq!(passwords.authenticate(&nothing), Err(AuthError::Unknown));
    }

    #[test]
    fn a_password_that_was_right_is_cheap_and_another_one_is_not() {
        let passwords = Passwords::parse(&format!("ada:{}", cheap("enigma"))).unwrap();
        let costs = |name, password| passwords.is_costly(&shown(name, password));
        assert!(costs("ada", "enigma") && costs("eve", "x"));
        passwords.authenticate(&shown("ada", "enigma")).unwrap();
        assert!(!costs("ada", "enigma"));
        assert!(costs("ada", "wrong") && costs("eve", "enigma"));
        assert!(passwords.authenticate(&shown("ada", "wrong")).is_err());
        assert!(passwords.authenticate(&shown("ada", "enigma")).is_ok());
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_with_its_line() {
        let good = cheap("x");
        for (text, wanted) in [
            (format!("a:{good}\nb:secret"), "line 2: this is no PHC string"),
            (
                "a:$pbkdf2-sha256$i=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".into(),
                "line 1: only argon2",
            ),
            (format!("a:{}", good.replace("m=8", "m=9999999")), "line 1: each check would"),
            (format!("a:{good}\na:{good}"), "line 2: \"a\" is there twice"),
        ] {
            let error = Passwords::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }

    #[test]
    fn nothing_is_shown_of_the_hashes() {
        let passwords = Passwords::parse(&format!("ada:{}", cheap("enigma"))).unwrap();
        assert!(!format!("{passwords:?}").contains("argon2"));
    }
}
