//! Tests of the default authenticator and of reading a certificate's subject.

use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;

fn authenticate(common_name: &str, unit: &str) -> Result<Principal, AuthError> {
    let subject = CertificateSubject {
        common_name: common_name.into(),
        unit: unit.into(),
        serial: Vec::new(),
    };
    CertificateAuthenticator.authenticate(&Credentials {
        certificate: Some(&subject),
        username: None,
        password: None,
        client_id: "c",
    })
}

fn der(entries: &[(DnType, &str)]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in entries {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn the_unit_gives_the_role_and_the_common_name_the_name() {
    for (unit, role) in [("node", Role::Node), ("device", Role::Device), ("service", Role::Service)]
    {
        assert_eq!(authenticate("x-1", unit), Ok(Principal::new("x-1", role)));
    }
}

#[test]
fn a_name_that_is_not_of_its_kind_is_refused() {
    for (name, unit) in [("Site", "node"), ("a/b", "node"), ("a b", "device"), ("", "service")] {
        assert!(matches!(authenticate(name, unit), Err(AuthError::BadName { .. })), "{name}");
    }
    assert!(matches!(authenticate("x", "admin"), Err(AuthError::UnknownUnit { .. })));
}

#[test]
fn nobody_has_a_password_and_a_stranger_is_anonymous() {
    let stranger =
        Credentials { certificate: None, username: None, password: None, client_id: "c" };
    assert_eq!(CertificateAuthenticator.authenticate(&stranger), Ok(Principal::anonymous()));
    let guess = Credentials { username: Some("admin"), password: Some("admin"), ..stranger };
    assert_eq!(CertificateAuthenticator.authenticate(&guess), Err(AuthError::BadCredentials));
}

#[test]
fn the_subject_is_read_from_the_certificate() {
    let der = der(&[(DnType::CommonName, "site-1"), (DnType::OrganizationalUnitName, "node")]);
    let subject = CertificateSubject::from_der(&der).unwrap();
    assert_eq!((&*subject.common_name, &*subject.unit), ("site-1", "node"));
    assert!(!subject.serial.is_empty());
}

#[test]
fn a_subject_without_or_an_unreadable_certificate_names_nobody() {
    let error = CertificateSubject::from_der(&der(&[(DnType::CommonName, "site-1")])).unwrap_err();
    assert_eq!(error, SubjectError::Attribute { attribute: "OU", found: 0 });
    assert_eq!(CertificateSubject::from_der(b"x").unwrap_err(), SubjectError::Certificate);
}
