//! The files are made once, kept, and trusted as they should be.

use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::*;

const NOW: Duration = Duration::from_hours(500_000);
const LIFE: Duration = Duration::from_hours(90 * 24);

fn request() -> String {
    let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "somebody-else");
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

#[test]
fn a_second_start_keeps_the_authority_and_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let first = Identity::open(dir.path(), &[], NOW).unwrap();
    first.owner_token().unwrap();
    let token = std::fs::read_to_string(dir.path().join("admin-token")).unwrap();
    let second = Identity::open(dir.path(), &["cloud.example".to_owned()], NOW).unwrap();
    assert_eq!(first.authority.certificate_pem(), second.authority.certificate_pem());
    assert!(second.owner_token().unwrap().is(token.trim()));
    assert_eq!(first.token_key.hash("x"), second.token_key.hash("x"));
    assert!(
        !second.owner_token().unwrap().is("another token, just as long as the right one would be")
    );
}

#[test]
fn secrets_are_readable_by_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::open(dir.path(), &[], NOW).unwrap();
    identity.owner_token().unwrap();
    identity.local_token().unwrap();
    for (name, mode) in [
        ("token-key", 0o600),
        ("local-token", 0o600),
        ("admin-token", 0o600),
        ("ca-key.pem", 0o600),
        ("server-key.pem", 0o600),
        ("ca.pem", 0o644),
        ("server.pem", 0o644),
    ] {
        let found = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777 & !0o044, mode & !0o044, "{name}");
        assert_eq!(found & 0o777 & !mode, 0, "{name}");
    }
}

#[test]
fn a_signed_request_verifies_and_names_the_node_whatever_it_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::open(dir.path(), &[], NOW).unwrap();
    let node = "site-1".parse().unwrap();
    let signed = identity.authority.sign_node(&node, &request(), NOW, LIFE).unwrap();
    let leaf = CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap();
    let ca = identity.authority.certificate_pem();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().unwrap();
    let at = |now: Duration| UnixTime::since_unix_epoch(now);
    verifier.verify_client_cert(&leaf, &[], at(NOW)).unwrap();
    let later = NOW + Duration::from_hours(91 * 24);
    assert!(verifier.verify_client_cert(&leaf, &[], at(later)).is_err());

    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert_eq!(parsed.subject().to_string(), "CN=site-1, OU=node");
    assert!(parsed.subject_alternative_name().unwrap().is_none());
    assert!(!parsed.is_ca());
    let serial = parsed.raw_serial_as_string().replace(':', "");
    assert_eq!(format!("{serial:0>32}"), signed.serial);
}

#[test]
fn a_damaged_request_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::open(dir.path(), &[], NOW).unwrap();
    let node = "site-1".parse().unwrap();
    let mut forged = request();
    let digit = if forged.as_bytes()[120] == b'A' { "B" } else { "A" };
    forged.replace_range(120..121, digit);
    for bad in ["", "hello", forged.as_str()] {
        let result = identity.authority.sign_node(&node, bad, NOW, LIFE);
        assert!(matches!(result, Err(AuthorityError::Request(_))), "{bad:?}: {result:?}");
    }
}

#[test]
fn a_lost_authority_key_is_an_error_and_not_a_new_authority() {
    let dir = tempfile::tempdir().unwrap();
    Identity::open(dir.path(), &[], NOW).unwrap();
    std::fs::remove_file(dir.path().join("ca-key.pem")).unwrap();
    let error = Identity::open(dir.path(), &[], NOW).unwrap_err();
    assert!(matches!(error, IdentityError::KeyMissing { .. }), "{error}");
}

#[test]
fn a_lost_authority_certificate_is_made_again_with_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let first = Identity::open(dir.path(), &[], NOW).unwrap();
    let key = std::fs::read(dir.path().join("ca-key.pem")).unwrap();
    std::fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let second = Identity::open(dir.path(), &[], NOW).unwrap();
    assert_eq!(std::fs::read(dir.path().join("ca-key.pem")).unwrap(), key);
    let signed =
        second.authority.sign_node(&"site-1".parse().unwrap(), &request(), NOW, LIFE).unwrap();
    let leaf = CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let old = first.authority.certificate_pem();
    roots.add(CertificateDer::from_pem_slice(old.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().unwrap();
    verifier.verify_client_cert(&leaf, &[], UnixTime::since_unix_epoch(NOW)).unwrap();
}

#[test]
fn secrets_that_others_could_read_become_private_again() {
    let dir = tempfile::tempdir().unwrap();
    Identity::open(dir.path(), &[], NOW).unwrap().owner_token().unwrap();
    for name in ["admin-token", "ca-key.pem"] {
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(dir.path().join(name), open).unwrap();
    }
    Identity::open(dir.path(), &[], NOW).unwrap().owner_token().unwrap();
    for name in ["admin-token", "ca-key.pem"] {
        let found = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_empty_admin_token_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("admin-token"), "\n").unwrap();
    let error = Identity::open(dir.path(), &[], NOW).unwrap().owner_token().unwrap_err();
    assert!(matches!(error, IdentityError::BadToken { .. }), "{error}");
}

#[test]
fn a_host_that_no_certificate_can_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Identity::open(dir.path(), &["münchen".to_owned()], NOW).unwrap_err();
    assert!(matches!(error, IdentityError::Authority(AuthorityError::Host(_))), "{error:?}");
}
