//! A registry as large ones are: HTTPS with an authority of its own, and tokens that a server beside
//! it gives out for a password. The registry is Debian's `docker-registry`; it checks the tokens.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::registry::{PASSWORD, USER};

const SERVICE: &str = "gnomon-test";

/// Who gives out tokens, and the authority of its certificate and the registry's.
pub(crate) struct Tokens {
    authority: Issuer<'static, KeyPair>,
    pem: String,
    realm: String,
    given: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Tokens {
    pub(crate) async fn start() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let authority = Issuer::new(params, key);
        let listener = TcpListener::bind((outward(), 0)).await.unwrap();
        let realm = format!("https://{}/token", listener.local_addr().unwrap());
        let (acceptor, signer) = (acceptor(&authority), Arc::new(Signer::new(&authority)));
        let given = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&given);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, signer) = (acceptor.clone(), Arc::clone(&signer));
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut asked = vec![0; 16 * 1024];
                    let length = stream.read(&mut asked).await.unwrap_or(0);
                    let (status, body) = signer.answer(&String::from_utf8_lossy(&asked[..length]));
                    count.fetch_add(u32::from(status == 200), Ordering::SeqCst);
                    let body = body.to_string();
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}", body.len());
                    let answer = format!("{head}\r\nConnection: close\r\n\r\n{body}");
                    drop(stream.write_all(answer.as_bytes()).await);
                    drop(stream.shutdown().await);
                });
            }
        });
        Self { authority, pem, realm, given, task }
    }

    /// How many tokens were given out.
    pub(crate) fn given(&self) -> u32 {
        self.given.load(Ordering::SeqCst)
    }

    /// What a registry's configuration says of its certificate and its tokens.
    pub(crate) fn config(&self, dir: &TempDir) -> (String, String) {
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (certificate, key) = certificate(&self.authority);
        fs::write(at("server.pem"), certificate.pem()).unwrap();
        fs::write(at("server-key.pem"), key.serialize_pem()).unwrap();
        fs::write(at("authority.pem"), &self.pem).unwrap();
        let (certificate, key) = (at("server.pem"), at("server-key.pem"));
        let tls = format!("tls: {{certificate: {certificate}, key: {key}}}");
        let auth = format!(
            "auth: {{token: {{realm: \"{}\", service: {SERVICE}, issuer: {SERVICE}, rootcertbundle: {}}}}}\n",
            self.realm,
            at("authority.pem")
        );
        (tls, auth)
    }

    /// Puts the authority where a daemon would look for it.
    pub(crate) fn trusted_below(&self, certs: &Path, registry: SocketAddr) {
        let dir = certs.join(registry.to_string());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ca.crt"), &self.pem).unwrap();
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address of this machine that is not loopback, where daemons do without certificates.
pub(crate) fn outward() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent; the system says which of its addresses would be the sender's.
    socket.connect("198.51.100.1:9").expect("this machine needs an address beside loopback");
    socket.local_addr().unwrap().ip()
}

/// A certificate for this machine, with its key.
fn certificate(authority: &Issuer<'static, KeyPair>) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([outward().to_string()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

fn acceptor(authority: &Issuer<'static, KeyPair>) -> TlsAcceptor {
    let (certificate, key) = certificate(authority);
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Signs tokens as the registry can check them: its certificate is in each.
struct Signer {
    certificate: Vec<u8>,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn new(authority: &Issuer<'static, KeyPair>) -> Self {
        let ((certificate, key), random) = (certificate(authority), SystemRandom::new());
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(kind, &key.serialize_der(), &random).unwrap();
        Self { certificate: certificate.der().to_vec(), key, random }
    }

    fn answer(&self, asked: &str) -> (u16, Value) {
        let credentials = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        if !asked.contains(&format!("Basic {credentials}")) {
            return (401, json!({}));
        }
        let scope = asked.split(['?', '&', ' ']).find_map(|it| it.strip_prefix("scope="));
        let scope = scope.unwrap_or_default().replace("%3A", ":").replace("%2F", "/");
        let Some([_, name, actions]) = scope.split(':').collect::<Vec<_>>().first_chunk().copied()
        else {
            return (400, json!({}));
        };
        let access = json!([{ "type": "repository", "name": name, "actions": [actions] }]);
        (200, json!({ "token": self.token(&access) }))
    }

    fn token(&self, access: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let x5c = [STANDARD.encode(&self.certificate)];
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": x5c });
        let claims = json!({
            "iss": SERVICE, "sub": USER, "aud": SERVICE, "jti": "1", "access": access,
            "iat": now - 5, "nbf": now - 5, "exp": now + 60,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&self.random, text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}
