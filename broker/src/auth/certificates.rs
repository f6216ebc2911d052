//! Clients by what their certificate says, for authorities that are not Gnomon's own.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{AuthError, Authenticator, CertificateSubject, Credentials};
use crate::principal::{Principal, Role};

/// The longest name that a certificate gives, in bytes.
const LONGEST: usize = 256;

/// Where the name of a client stands in its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFrom {
    /// The common name (CN) of the subject.
    CommonName,
    /// A DNS name of the subject's alternative names.
    Dns,
    /// A URI of the subject's alternative names.
    Uri,
}

/// Which certificates name a principal, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRule {
    /// Where the name stands.
    pub name: NameFrom,
    /// What the name begins with; it does not belong to the principal's name. Empty: any.
    pub prefix: Box<str>,
    /// The role of these clients.
    pub role: Role,
    /// The authority that must have issued the certificate itself, not one above it; `None`: any
    /// that the listener trusts.
    pub issuer: Option<CertificateDer<'static>>,
}

/// Knows clients by their certificate; the first rule that fits gives the name and the role. A
/// user name without a password (as AWS device SDKs send it) is not looked at; who shows a
/// certificate and a password is who the password says.
#[derive(Debug, Clone, Default)]
pub struct CertificateNames {
    rules: Vec<CertificateRule>,
}

impl CertificateNames {
    /// The rules, in their order.
    pub fn new(rules: Vec<CertificateRule>) -> Self {
        Self { rules }
    }
}

impl Authenticator for CertificateNames {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        let shown = credentials.certificate.filter(|_| credentials.password.is_none());
        let Some(shown) = shown else { return Err(AuthError::Unknown) };
        let Ok((_, certificate)) = X509Certificate::from_der(&shown.der) else {
            return Err(AuthError::NotAuthorized);
        };
        let mut fitting = self.rules.iter().filter_map(|rule| rule.apply(shown, &certificate));
        fitting.next().ok_or(AuthError::Unknown)
    }
}

impl CertificateRule {
    fn apply(
        &self,
        subject: &CertificateSubject,
        certificate: &X509Certificate<'_>,
    ) -> Option<Principal> {
        let name = self.name_in(subject, certificate)?;
        let is_text = !name.is_empty() && name.len() <= LONGEST && !name.contains(char::is_control);
        if !is_text || name.contains('*') || !self.has_issued(certificate) {
            return None;
        }
        Some(Principal::new(name, self.role))
    }

    /// The one name of the kind; several are ambiguous.
    fn name_in<'a>(
        &self,
        subject: &'a CertificateSubject,
        certificate: &'a X509Certificate<'_>,
    ) -> Option<&'a str> {
        if self.name == NameFrom::CommonName {
            return subject.common_name.strip_prefix(&*self.prefix);
        }
        let names = certificate.subject_alternative_name().ok().flatten()?;
        let of_kind = names.value.general_names.iter().filter_map(|name| match (self.name, name) {
            (NameFrom::Dns, GeneralName::DNSName(name))
            | (NameFrom::Uri, GeneralName::URI(name)) => name.strip_prefix(&*self.prefix),
            _ => None,
        });
        let found: Vec<_> = of_kind.take(2).collect();
        match found.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The name of an authority can be copied, its signature cannot.
    fn has_issued(&self, certificate: &X509Certificate<'_>) -> bool {
        let Some(issuer) = &self.issuer else { return true };
        let Ok((_, issuer)) = X509Certificate::from_der(issuer) else { return false };
        issuer.subject() == certificate.issuer()
            && certificate.verify_signature(Some(issuer.public_key())).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    };

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn issue(authority: &Authority, dns: &[&str], uris: &[&str]) -> CertificateSubject {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "pump-1");
        let dns = dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        let uris = uris.iter().map(|name| SanType::URI((*name).try_into().unwrap()));
        params.subject_alt_names = dns.chain(uris).collect();
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), authority).unwrap();
        CertificateSubject::from_der(certificate.der()).unwrap()
    }

    fn rule(name: NameFrom, prefix: &str, issuer: Option<&Authority>) -> CertificateNames {
        let issuer = issuer.map(|issuer| issuer.der().clone());
        let rule = CertificateRule { name, prefix: prefix.into(), role: Role::Device, issuer };
        CertificateNames::new(vec![rule])
    }

    fn ask(rules: &CertificateNames, shown: &CertificateSubject) -> Result<String, AuthError> {
        let certificate = Some(shown);
        let username = Some("?SDK=PythonV2&Version=1.0");
        let credentials = Credentials { certificate, username, password: None, client_id: "" };
        rules.authenticate(&credentials).map(|principal| principal.to_string())
    }

    #[test]
    fn the_name_stands_where_the_rule_says() {
        let shown = issue(&authority("ours"), &["p1.example.org"], &["spiffe://x/p1", "urn:y"]);
        for (from, prefix, wanted) in [
            (NameFrom::CommonName, "", Ok("device/pump-1".to_owned())),
            (NameFrom::CommonName, "pump-", Ok("device/1".to_owned())),
            (NameFrom::CommonName, "site-", Err(AuthError::Unknown)),
            (NameFrom::Dns, "", Ok("device/p1.example.org".to_owned())),
            (NameFrom::Uri, "spiffe://x/", Ok("device/p1".to_owned())),
            (NameFrom::Uri, "", Err(AuthError::Unknown)),
        ] {
            assert_eq!(ask(&rule(from, prefix, None), &shown), wanted, "{from:?} {prefix}");
        }
        let wild = issue(&authority("ours"), &["*.example.org"], &[]);
        assert_eq!(ask(&rule(NameFrom::Dns, "", None), &wild), Err(AuthError::Unknown));
    }

    #[test]
    fn the_issuer_is_who_signed_and_not_who_says_so() {
        let (ours, namesake) = (authority("ours"), authority("ours"));
        let rules = rule(NameFrom::CommonName, "", Some(&ours));
        assert!(ask(&rules, &issue(&ours, &[], &[])).is_ok());
        assert_eq!(ask(&rules, &issue(&namesake, &[], &[])), Err(AuthError::Unknown));
    }

    #[test]
    fn who_shows_a_password_too_is_not_known_by_the_certificate() {
        let shown = issue(&authority("ours"), &[], &[]);
        let (certificate, username, password) = (Some(&shown), Some("u"), Some("p"));
        let credentials = Credentials { certificate, username, password, client_id: "" };
        let rules = rule(NameFrom::CommonName, "", None);
        assert_eq!(rules.authenticate(&credentials), Err(AuthError::Unknown));
    }
}
