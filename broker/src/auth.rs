//! Who a client is, from its certificate, its password or its token.

use std::fmt;

use gnomon_schemas::id::{DeviceName, NodeName, ParseIdError, ServiceName};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

use crate::principal::{Principal, Role};

mod certificates;
mod chain;
mod file;
mod passwords;
#[cfg(test)]
mod tests;
mod tokens;

pub use certificates::{CertificateNames, CertificateRule, NameFrom};
pub use chain::{Anonymous, Chain};
pub use file::AuthFileError;
pub use passwords::{HashError, Passwords, hash_password};
pub use tokens::{TokenKey, TokenKeyError, Tokens};

/// A client's verified certificate: the parts that name a principal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateSubject {
    /// The common name (CN); empty if there is none or more than one.
    pub common_name: String,
    /// The organizational unit (OU); empty if there is none or more than one.
    pub unit: String,
    /// The serial number of the certificate, as in the certificate.
    pub serial: Vec<u8>,
    /// The whole certificate, in DER form.
    pub der: Vec<u8>,
}

/// Not an X.509 certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client certificate cannot be parsed")]
pub struct SubjectError;

impl CertificateSubject {
    /// Reads the subject of a certificate in DER form.
    pub fn from_der(der: &[u8]) -> Result<Self, SubjectError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| SubjectError)?;
        let subject = certificate.subject();
        Ok(Self {
            common_name: only(subject.iter_common_name()),
            unit: only(subject.iter_organizational_unit()),
            serial: certificate.raw_serial().to_vec(),
            der: der.to_vec(),
        })
    }
}

/// What a client shows at its CONNECT.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// Its certificate, already verified against the client authorities.
    pub certificate: Option<&'a CertificateSubject>,
    /// Its user name, if it sent one.
    pub username: Option<&'a str>,
    /// Its password, if it sent one.
    pub password: Option<&'a str>,
    /// The client id that it chose; empty if it leaves the choice to the server.
    pub client_id: &'a str,
}

impl<'a> Credentials<'a> {
    /// The user name and the password, if it sent both. What AWS device SDKs append to a user
    /// name (`?SDK=...&Version=...`) does not belong to it.
    pub fn login(&self) -> Option<(&'a str, &'a str)> {
        let username = self.username?;
        let name = username.find("?SDK=").and_then(|at| username.get(..at)).unwrap_or(username);
        self.password.filter(|_| !name.is_empty()).map(|password| (name, password))
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("certificate", &self.certificate)
            .field("username", &self.username)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The user name or the password is wrong, or nobody here knows user names.
    #[error("the user name or the password is wrong")]
    BadCredentials,
    /// The certificate's OU is none of ours.
    #[error("the certificate's OU must be 'node', 'device' or 'service', not {unit:?}")]
    UnknownUnit {
        /// What it is.
        unit: String,
    },
    /// The certificate's CN is not a name of its kind.
    #[error("the certificate's CN {name:?} does not name a {role}")]
    BadName {
        /// The kind of client, by the OU.
        role: Role,
        /// The common name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ParseIdError,
    },
    /// The authenticator refuses the client for a reason of its own.
    #[error("the client is not authorized")]
    NotAuthorized,
    /// These credentials are nothing that the authenticator knows about; another may.
    #[error("nobody here knows credentials of this kind")]
    Unknown,
}

impl AuthError {
    /// Its name in the metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::BadCredentials => "bad_credentials",
            Self::UnknownUnit { .. } => "unknown_unit",
            Self::BadName { .. } => "bad_name",
            Self::NotAuthorized => "not_authorized",
            Self::Unknown => "unknown",
        }
    }
}

/// Tells who a client is.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The principal that the credentials prove, or why they prove none.
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError>;

    /// Whether a principal that [`authenticate`](Self::authenticate) has just let in, with this
    /// certificate, is still to be let in. Asked at the moment at which its session is registered,
    /// so that who is shut out between the two does not get in: whoever takes an identity away does
    /// so first, and then ends what is there by
    /// [`Publisher::end_sessions`](crate::Publisher::end_sessions). Must not block; says `true`
    /// of those that it is not asked about.
    fn still_admits(
        &self,
        principal: &Principal,
        certificate: Option<&CertificateSubject>,
    ) -> bool {
        let _ = (principal, certificate);
        true
    }

    /// Whether [`authenticate`](Self::authenticate) takes long for these credentials, as the
    /// hash of a password does. Then it is called where it may block, for a few clients at a
    /// time ([`Limits::password_checks`](crate::Limits::password_checks)) and for each address
    /// in turn. Otherwise it is called on the connection's task and must not block.
    fn is_costly(&self, credentials: &Credentials<'_>) -> bool {
        let _ = credentials;
        false
    }
}

/// Knows clients by their certificate: OU `node`, `device` or `service`, CN their name.
/// A client without certificate and password is anonymous, which the listener must
/// allow and the access rules deny by default; nobody has a password.
#[derive(Debug, Clone, Copy, Default)]
pub struct CertificateAuthenticator;

impl Authenticator for CertificateAuthenticator {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        match credentials.certificate {
            Some(subject) => of_subject(subject),
            None if credentials.username.is_some() || credentials.password.is_some() => {
                Err(AuthError::BadCredentials)
            }
            None => Ok(Principal::anonymous()),
        }
    }
}

fn of_subject(subject: &CertificateSubject) -> Result<Principal, AuthError> {
    let name = subject.common_name.as_str();
    let (role, checked) = match subject.unit.as_str() {
        "node" => (Role::Node, name.parse::<NodeName>().map(drop)),
        "device" => (Role::Device, name.parse::<DeviceName>().map(drop)),
        "service" => (Role::Service, name.parse::<ServiceName>().map(drop)),
        unit => return Err(AuthError::UnknownUnit { unit: unit.to_owned() }),
    };
    match checked {
        Ok(()) => Ok(Principal::new(name, role)),
        Err(source) => Err(AuthError::BadName { role, name: name.to_owned(), source }),
    }
}

/// The one value that there is.
fn only<'a>(values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> String {
    let texts: Vec<_> = values.map(AttributeTypeAndValue::as_str).collect();
    match texts.as_slice() {
        [Ok(text)] => (*text).to_owned(),
        _ => String::new(),
    }
}
