//! Tests of the file of the broker that stands alone.

use super::*;

const EXAMPLE: &str = include_str!("../../../../broker.example.toml");

/// A folder with the example and what it names.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let names = vec!["localhost".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(names).unwrap();
    let key = gnomon_broker::TokenKey::new(&[7; 32]).unwrap();
    let tokens = format!("pump-1:{}", key.hash("secret"));
    for (name, text) in [
        ("broker.toml", EXAMPLE),
        ("acl.toml", include_str!("../../../../broker-acl.example.toml")),
        ("server.pem", &cert.pem()),
        ("server-key.pem", &signing_key.serialize_pem()),
        ("ca.pem", &cert.pem()),
        (
            "passwords",
            "ada:$argon2id$v=19$m=512,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$+0uNJw/PfKjbrhsYEriwyCcvfBEUjIjH3M+X8EIahPk:service\n",
        ),
        ("tokens", &tokens),
        ("token-key", "01234567890123456789012345678901"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load_with(from: &str, to: &str) -> anyhow::Result<Standalone> {
    let folder = folder();
    assert!(EXAMPLE.contains(from), "{from}");
    std::fs::write(folder.path().join("broker.toml"), EXAMPLE.replace(from, to)).unwrap();
    Standalone::load(&folder.path().join("broker.toml"))
}

#[test]
fn the_example_is_right_and_its_limits_are_the_defaults() {
    let standalone = load_with("", "").unwrap();
    assert_eq!(standalone.limits, Limits::default());
    let kinds: Vec<_> =
        standalone.endpoints.iter().map(|e| (e.transport, e.tls.is_some())).collect();
    let (plain, websocket) = (Transport::Plain, Transport::WebSocket);
    assert_eq!(kinds, [(plain, false), (plain, true), (websocket, true)]);
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    for (from, to, wanted) in [
        ("acl.toml", "rules.toml", "rules.toml cannot be read"),
        ("server-key.pem", "acl.toml", "holds no private key in PEM form"),
        ("keep_alive = 1200", "keep_alive = -1", "-1 is no number of seconds"),
        ("connections =", "conections =", "unknown field `conections`"),
        ("token_key =", "# token_key =", "both or none of tokens and token_key"),
        ("role = \"device\"", "role = \"pump\"", "\"pump\": a role is 'node'"),
        ("client_ca = \"ca.pem\"\n", "", "who issues them?"),
    ] {
        let error = gnomon_cloud::chain(load_with(from, to).unwrap_err().as_ref());
        assert!(error.contains(wanted), "{error}");
    }
}
