//! Who a client is, from its certificate or from its user name and password.

use std::fmt;

use gnomon_schemas::id::{DeviceName, NodeName, ParseIdError, ServiceName};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};

use crate::principal::{Principal, Role};

#[cfg(test)]
mod tests;

/// The subject of a client's verified certificate: the parts that name a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The common name (CN).
    pub common_name: String,
    /// The organizational unit (OU).
    pub unit: String,
    /// The serial number of the certificate, as in the certificate.
    pub serial: Vec<u8>,
}

/// Why the subject of a certificate could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Not an X.509 certificate.
    #[error("the client certificate cannot be parsed")]
    Certificate,
    /// Not exactly one of an attribute.
    #[error(
        "the subject of a client certificate needs exactly one {attribute}, this one has {found}"
    )]
    Attribute {
        /// Which attribute.
        attribute: &'static str,
        /// How many there are.
        found: usize,
    },
}

impl CertificateSubject {
    /// Reads the subject of a certificate in DER form; more than one CN or OU is ambiguous,
    /// so it is refused.
    pub fn from_der(der: &[u8]) -> Result<Self, SubjectError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| SubjectError::Certificate)?;
        let subject = certificate.subject();
        Ok(Self {
            common_name: only("CN", subject.iter_common_name())?,
            unit: only("OU", subject.iter_organizational_unit())?,
            serial: certificate.raw_serial().to_vec(),
        })
    }
}

/// What a client shows at its CONNECT.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The subject of its certificate, already verified against the client CA.
    pub certificate: Option<&'a CertificateSubject>,
    /// Its user name, if it sent one.
    pub username: Option<&'a str>,
    /// Its password, if it sent one.
    pub password: Option<&'a str>,
    /// The client id that it chose; empty if it leaves the choice to the server.
    pub client_id: &'a str,
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
}

/// Tells who a client is. Called on the connection's task: it must not block.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The principal that the credentials prove, or why they prove none.
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError>;
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

fn only<'a>(
    attribute: &'static str,
    values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<String, SubjectError> {
    let texts: Vec<_> = values.map(AttributeTypeAndValue::as_str).collect();
    match texts.as_slice() {
        [Ok(text)] => Ok((*text).to_owned()),
        all => Err(SubjectError::Attribute { attribute, found: all.len() }),
    }
}
