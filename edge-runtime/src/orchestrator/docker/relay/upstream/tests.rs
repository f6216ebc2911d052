//! Registries as they are met: with tokens that expire, with blobs that lie elsewhere, busy, and
//! behind an authority of their own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use gnomon_schemas::app::SecretText;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;

/// A request as a fake saw it.
#[derive(Debug, Clone)]
struct Asked {
    path: String,
    headers: BTreeMap<String, String>,
}

impl Asked {
    fn says(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// The status, a header, the body.
type Answer = (u16, String, &'static str);

type Log = Arc<Mutex<Vec<Asked>>>;

/// Reads one request and answers it.
fn serve(stream: &mut (impl Read + Write), log: &Log, answer: &impl Fn(&Asked) -> Answer) {
    let mut lines = BufReader::new(&mut *stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let Some(path) = first.split(' ').nth(1) else { return };
    let head = lines.take_while(|line| !line.is_empty());
    let header = |line: String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    };
    let asked = Asked { path: path.to_owned(), headers: head.filter_map(header).collect() };
    log.lock().unwrap().push(asked.clone());
    let (status, header, body) = answer(&asked);
    let head = format!(
        "HTTP/1.1 {status} X\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.flush()));
}

fn plain(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> (SocketAddr, Log) {
    let (listener, log) = (TcpListener::bind("127.0.0.1:0").unwrap(), Log::default());
    let address = listener.local_addr().unwrap();
    let own = Arc::clone(&log);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The first attempt is TLS.
            let mut first = [0];
            if stream.peek(&mut first).is_ok() && first != [0x16] {
                serve(&mut stream, &own, &answer);
            }
        }
    });
    (address, log)
}

/// The same with TLS, for `localhost`; gives back the authority's certificate, too.
fn secure(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> (u16, String) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let chain = vec![params.signed_by(&key, &issuer).unwrap().der().clone()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            serve(&mut stream, &Log::default(), &answer);
        }
    });
    (port, pem)
}

fn fine(body: &'static str) -> Answer {
    (200, String::new(), body)
}

fn asks_for_token(realm: &str) -> Answer {
    let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"r\"\r\n");
    (401, challenge, "{}")
}

fn loopback() -> Manner {
    drop(rustls::crypto::ring::default_provider().install_default());
    Manner { cidrs: vec!["127.0.0.0/8".to_owned()], ..Manner::default() }
}

fn site() -> Credentials {
    Credentials { username: "robot$site".into(), password: SecretText::new("word") }
}

async fn connect(
    manner: &Manner,
    registry: &str,
    credentials: Option<Credentials>,
) -> Result<Upstream, UpstreamError> {
    let reference = Reference::read(&format!("{registry}/team/app:1")).unwrap();
    Upstream::connect(manner, reference, credentials).await
}

#[test]
fn a_registry_is_insecure_where_the_daemon_says_so() {
    let manner = Manner {
        insecure: vec!["old.example:5000".to_owned()],
        cidrs: vec!["127.0.0.0/8".to_owned(), "fd00::/16".to_owned(), "rubbish".to_owned()],
        ..Manner::default()
    };
    for insecure in ["old.example:5000", "127.0.0.1:5000", "localhost:1", "[fd00::1]:5000"] {
        assert!(manner.is_insecure(insecure), "{insecure}");
    }
    for secure in ["old.example:5001", "128.0.0.1:5000", "docker.io", "[fd01::1]:5000"] {
        assert!(!manner.is_insecure(secure), "{secure}");
    }
    assert!(contains("0.0.0.0/0", "9.9.9.9".parse().unwrap()));
    assert!(!contains("1.2.3.4/33", "1.2.3.4".parse().unwrap()));
}

#[tokio::test]
async fn a_token_is_fetched_with_the_credentials_and_again_when_it_has_expired() {
    let (tokens, given) = plain(|_| fine(r#"{"access_token": "good"}"#));
    let realm = format!("http://{tokens}/token?account=x");
    let uses = Mutex::new(0);
    let (registry, asked) = plain(move |asked| {
        let mut uses = uses.lock().unwrap();
        *uses += 1;
        // Each token is good for one request.
        let is_good = asked.says("authorization") == "Bearer good" && *uses % 2 == 0;
        if is_good { fine("{}") } else { asks_for_token(&realm) }
    });
    let upstream = connect(&loopback(), &registry.to_string(), Some(site())).await.unwrap();
    for _ in 0..3 {
        assert_eq!(upstream.manifest("1", &[]).await.unwrap().status(), StatusCode::OK);
    }
    let given = given.lock().unwrap().clone();
    assert!(given.len() >= 2, "{given:?}");
    for request in &given {
        assert!(request.path.starts_with("/token?account=x&service=r&scope="), "{request:?}");
        assert!(request.path.ends_with("repository%3Ateam%2Fapp%3Apull"), "{request:?}");
        assert_eq!(request.says("authorization"), "Basic cm9ib3Qkc2l0ZTp3b3Jk");
    }
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|it| !it.says("authorization").starts_with("Basic")), "{asked:?}");
}

#[tokio::test]
async fn a_blob_that_lies_elsewhere_is_fetched_there_without_the_token() {
    let (store, fetched) = plain(|_| (206, String::new(), "yer"));
    let (tokens, _) = plain(|_| fine(r#"{"token": "secret"}"#));
    let (realm, there) = (format!("http://{tokens}/token"), format!("http://{store}/x?signed=1"));
    let (registry, _) = plain(move |asked| {
        if asked.says("authorization") != "Bearer secret" {
            return asks_for_token(&realm);
        }
        (307, format!("Location: {there}\r\n"), "")
    });
    let upstream = connect(&loopback(), &registry.to_string(), None).await.unwrap();
    let answer = upstream.blob("sha256:00", 2).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.text().await.unwrap(), "yer");
    let fetched = fetched.lock().unwrap();
    let [request] = &fetched[..] else { panic!("{fetched:?}") };
    assert_eq!((request.path.as_str(), request.says("range")), ("/x?signed=1", "bytes=2-"));
    assert_eq!(request.says("authorization"), "", "the token is the registry's alone");
}

#[tokio::test]
async fn a_token_that_is_refused_is_for_a_person_and_one_that_is_late_is_not() {
    for (status, is_final) in [(401, true), (403, true), (429, false), (503, false), (200, false)] {
        let (tokens, _) = plain(move |_| (status, String::new(), "{}"));
        let realm = format!("http://{tokens}/token");
        let (registry, _) = plain(move |_| asks_for_token(&realm));
        let error = connect(&loopback(), &registry.to_string(), Some(site())).await.unwrap_err();
        assert_eq!(matches!(error, UpstreamError::Denied { .. }), is_final, "{status}: {error}");
        assert_eq!(matches!(error, UpstreamError::Busy { .. }), !is_final, "{status}: {error}");
        assert!(!error.to_string().contains("word"), "{error}");
    }
}

#[tokio::test]
async fn an_authority_of_a_registrys_own_is_believed_where_the_daemon_believes_it() {
    let dir = tempfile::tempdir().unwrap();
    let manner = Manner { certs: dir.path().to_owned(), ..Manner::default() };
    let (port, pem) = secure(|_| fine("{}"));
    // Without `127.0.0.0/8` among those that are not secure.
    let registry = format!("localhost:{port}");
    let stranger = connect(&manner, &registry, None).await.unwrap_err();
    assert!(matches!(stranger, UpstreamError::Unreachable { .. }), "{stranger}");
    std::fs::create_dir(dir.path().join(&registry)).unwrap();
    std::fs::write(dir.path().join(&registry).join("ca.crt"), "rubbish").unwrap();
    let damaged = connect(&manner, &registry, None).await.unwrap_err();
    assert!(crate::chain(&damaged).contains("ca.crt"), "{}", crate::chain(&damaged));
    std::fs::write(dir.path().join(&registry).join("ca.crt"), pem).unwrap();
    let upstream = connect(&manner, &registry, None).await.unwrap();
    assert_eq!(upstream.manifest("1", &[]).await.unwrap().status(), StatusCode::OK);
    let other = Manner { certs: dir.path().join("none"), ..Manner::default() };
    assert!(connect(&other, &registry, None).await.is_err(), "for that registry only");
}

#[tokio::test]
async fn a_secure_registry_that_sends_for_a_token_in_the_clear_gets_no_password() {
    let (tokens, given) = plain(|_| fine(r#"{"token": "t"}"#));
    let realm = format!("http://{tokens}/token");
    let (port, pem) = secure(move |_| asks_for_token(&realm));
    let dir = tempfile::tempdir().unwrap();
    let registry = format!("localhost:{port}");
    std::fs::create_dir(dir.path().join(&registry)).unwrap();
    std::fs::write(dir.path().join(&registry).join("ca.crt"), pem).unwrap();
    let manner = Manner { certs: dir.path().to_owned(), ..Manner::default() };
    let error = connect(&manner, &registry, Some(site())).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Challenge(_)), "{error}");
    assert!(given.lock().unwrap().is_empty());
}
