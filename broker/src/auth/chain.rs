//! Several ways to prove an identity, tried in order.

use std::sync::Arc;

use super::{AuthError, Authenticator, CertificateSubject, Credentials};
use crate::principal::Principal;

/// Asks one authenticator after the other; the first that knows credentials of the kind decides.
///
/// ```
/// use gnomon_broker::{Anonymous, Authenticator, Chain, Credentials};
/// let chain = Chain::new(vec![std::sync::Arc::new(Anonymous)]);
/// let nothing = Credentials { certificate: None, username: None, password: None, client_id: "" };
/// assert!(chain.authenticate(&nothing).is_ok());
/// assert!(chain.authenticate(&Credentials { username: Some("u"), ..nothing }).is_err());
/// ```
#[derive(Debug, Default)]
pub struct Chain {
    links: Vec<Arc<dyn Authenticator>>,
}

impl Chain {
    /// The authenticators, in the order in which they are asked.
    pub fn new(links: Vec<Arc<dyn Authenticator>>) -> Self {
        Self { links }
    }
}

impl Authenticator for Chain {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        for link in &self.links {
            match link.authenticate(credentials) {
                Err(AuthError::Unknown) => {}
                decided => return decided,
            }
        }
        let guessed = credentials.username.is_some() || credentials.password.is_some();
        Err(if guessed { AuthError::BadCredentials } else { AuthError::NotAuthorized })
    }

    fn still_admits(
        &self,
        principal: &Principal,
        certificate: Option<&CertificateSubject>,
    ) -> bool {
        self.links.iter().all(|link| link.still_admits(principal, certificate))
    }

    fn is_costly(&self, credentials: &Credentials<'_>) -> bool {
        self.links.iter().any(|link| link.is_costly(credentials))
    }
}

/// Lets clients in that show nothing, as the anonymous principal. What an AWS device SDK sends as
/// a user name of its own accord is nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Authenticator for Anonymous {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        let says_nothing = credentials.username.is_none_or(|name| name.starts_with("?SDK="));
        if credentials.certificate.is_none() && says_nothing && credentials.password.is_none() {
            Ok(Principal::anonymous())
        } else {
            Err(AuthError::Unknown)
        }
    }
}
