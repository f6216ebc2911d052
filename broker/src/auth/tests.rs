//! Tests of the default authenticator and of reading a certificate's subject.

use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;

fn authenticate(common_name: &str, unit: &str) -> Result<Principal, AuthError> {
    let subject = CertificateSubject {
        common_name: common_name.into(),
        unit: unit.into(),
        ..CertificateSubject::default()
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
fn a_subject_that_is_ambiguous_or_an_unreadable_certificate_names_nobody() {
    let twice = [(DnType::CommonName, "a"), (DnType::OrganizationalUnitName, "node")];
    let without = CertificateSubject::from_der(&der(&twice[..1])).unwrap();
    assert_eq!((&*without.common_name, &*without.unit), ("a", ""));
    assert_eq!(CertificateSubject::from_der(b"x"), Err(SubjectError));
}

#[test]
fn what_an_sdk_appends_to_the_user_name_does_not_belong_to_it() {
    let shown = |username, password| {
        Credentials { certificate: None, username, password, client_id: "" }.login()
    };
    assert_eq!(shown(Some("u?SDK=PythonV2&Version=1"), Some("p")), Some(("u", "p")));
    assert_eq!(shown(Some("u?x"), Some("p")), Some(("u?x", "p")));
    assert_eq!(shown(Some("?SDK=PythonV2&Version=1"), None), None);
    assert_eq!(shown(Some("?SDK=PythonV2&Version=1"), Some("p")), None);
}
