//! The registry itself, spoken to as the daemon would: HTTPS, or HTTP where the daemon permits it;
//! name and password, or a token that they are given for.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::models::SystemInfo;
use gnomon_schemas::node::Credentials;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE, WWW_AUTHENTICATE};
use reqwest::{Client, NoProxy, Proxy, Response, StatusCode};
use serde::Deserialize;

use super::challenge::Challenge;
use super::reference::Reference;
use super::trust::{Trust, TrustError};

const CONNECT: Duration = Duration::from_secs(20);
/// A registry that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_mins(1);
/// No token is longer.
const TOKEN_BYTES: usize = 64 * 1024;

/// Why a registry does not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamError {
    /// Nobody answers, or not as a registry does.
    #[error("the registry {registry} cannot be reached")]
    Unreachable {
        registry: String,
        #[source]
        source: reqwest::Error,
    },
    /// It wants to know who asks in a way that is not known.
    #[error("the registry {0} asks for credentials in a way that is not known")]
    Challenge(String),
    /// It does not let this node in.
    #[error("the registry {registry} gives out no token: {status}")]
    Denied { registry: String, status: StatusCode },
    /// It would let this node in at another time.
    #[error("the registry {registry} gives out no token for now: {status}")]
    Busy { registry: String, status: StatusCode },
    /// What the node has for it below `certs.d` cannot be used.
    #[error("the certificates for the registry {registry} cannot be used")]
    Trust {
        registry: String,
        #[source]
        source: TrustError,
    },
}

/// How the daemon would go about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    insecure: Vec<String>,
    cidrs: Vec<String>,
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
    /// Where the certificates of registries lie.
    certs: PathBuf,
}

/// One repository of a registry.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client,
    reference: Reference,
    base: String,
    credentials: Option<Credentials>,
    /// What is said with each request, once the registry asked for it. Layers are fetched side by
    /// side and share it; the lock is held for the moment of a copy.
    said: Mutex<Option<HeaderValue>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Manner {
    /// What the daemon says of itself, and where its certificates of registries lie.
    pub(super) fn of(info: SystemInfo, certs: &Path) -> Self {
        let registries = info.registry_config.unwrap_or_default();
        let known = registries.index_configs.unwrap_or_default();
        let mut insecure: Vec<_> = known
            .into_iter()
            .filter(|(_, index)| index.secure == Some(false))
            .map(|(name, _)| name)
            .collect();
        insecure.sort();
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            insecure,
            cidrs: registries.insecure_registry_cidrs.unwrap_or_default(),
            http_proxy: given(info.http_proxy),
            https_proxy: given(info.https_proxy),
            no_proxy: given(info.no_proxy),
            certs: certs.to_owned(),
        }
    }

    /// Whether the daemon would do without a certificate.
    fn is_insecure(&self, registry: &str) -> bool {
        let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        let ip = if host == "localhost" { "127.0.0.1".parse().ok() } else { host.parse().ok() };
        let is_in = |ip: IpAddr| self.cidrs.iter().any(|cidr| contains(cidr, ip));
        self.insecure.iter().any(|it| it == registry) || ip.is_some_and(is_in)
    }

    fn client(&self, is_strict: bool, trust: Trust) -> reqwest::Result<Client> {
        let builder = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .no_proxy()
            .tls_danger_accept_invalid_certs(!is_strict);
        let except = || self.no_proxy.as_deref().and_then(NoProxy::from_string);
        let proxies = [
            self.http_proxy.as_deref().map(Proxy::http),
            self.https_proxy.as_deref().map(Proxy::https),
        ];
        let proxies = proxies.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
        let with =
            |builder: reqwest::ClientBuilder, proxy: Proxy| builder.proxy(proxy.no_proxy(except()));
        proxies.into_iter().fold(trust.given_to(builder), with).build()
    }

    /// The files are few and small.
    fn trust(&self, host: &str) -> Result<Trust, TrustError> {
        Trust::read(&self.certs, host)
    }
}

/// Whether an address is in a range such as `127.0.0.0/8`.
fn contains(cidr: &str, ip: IpAddr) -> bool {
    let Some((net, bits)) = cidr.split_once('/') else { return false };
    let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let same = |net: u128, ip: u128, width: u32| {
        bits <= width && (net ^ ip).checked_shr(width - bits).unwrap_or_default() == 0
    };
    match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => same(net.to_bits().into(), ip.to_bits().into(), 32),
        (IpAddr::V6(net), IpAddr::V6(ip)) => same(net.to_bits(), ip.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

impl Upstream {
    /// Finds out how the registry is spoken to.
    pub(super) async fn connect(
        manner: &Manner,
        reference: Reference,
        credentials: Option<Credentials>,
    ) -> Result<Self, UpstreamError> {
        let unreachable =
            |source| UpstreamError::Unreachable { registry: reference.registry.clone(), source };
        let host = reference.host();
        let ways = if manner.is_insecure(&reference.registry) {
            vec![(format!("https://{host}"), false), (format!("http://{host}"), false)]
        } else {
            vec![(format!("https://{host}"), true)]
        };
        let mut failed = None;
        for (base, is_strict) in ways {
            let trust = manner.trust(host).map_err(|source| UpstreamError::Trust {
                registry: reference.registry.clone(),
                source,
            })?;
            let client = manner.client(is_strict, trust).map_err(unreachable)?;
            match client.get(format!("{base}/v2/")).send().await {
                Ok(answer) => {
                    let said = Mutex::default();
                    let own = Self { client, reference, base, credentials, said };
                    if answer.status() == StatusCode::UNAUTHORIZED {
                        own.introduce(answer.headers()).await?;
                    }
                    return Ok(own);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.map_or_else(|| UpstreamError::Challenge(String::new()), unreachable))
    }

    /// A manifest, or why not.
    pub(super) async fn manifest(
        &self,
        wanted: &str,
        accept: &[HeaderValue],
    ) -> Result<Response, UpstreamError> {
        let mut headers = HeaderMap::new();
        for kind in accept {
            headers.append(ACCEPT, kind.clone());
        }
        self.get(&format!("manifests/{wanted}"), headers).await
    }

    /// A blob from a byte on; the registry may begin at the first all the same.
    pub(super) async fn blob(&self, digest: &str, from: u64) -> Result<Response, UpstreamError> {
        let mut headers = HeaderMap::new();
        if from > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={from}-"))
        {
            headers.insert(RANGE, range);
        }
        self.get(&format!("blobs/{digest}"), headers).await
    }

    async fn get(&self, what: &str, headers: HeaderMap) -> Result<Response, UpstreamError> {
        let answer = self.ask(what, headers.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        // A token is good for minutes only.
        self.introduce(answer.headers()).await?;
        self.ask(what, headers).await
    }

    async fn ask(&self, what: &str, mut headers: HeaderMap) -> Result<Response, UpstreamError> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        headers.extend(said.map(|said| (AUTHORIZATION, said)));
        let url = format!("{}/v2/{}/{what}", self.base, self.reference.repository);
        self.client.get(url).headers(headers).send().await.map_err(|source| self.lost(source))
    }

    /// Says who asks, as the registry wants it.
    async fn introduce(&self, answer: &HeaderMap) -> Result<(), UpstreamError> {
        let mut asked = answer.get_all(WWW_AUTHENTICATE).iter();
        let asked = asked.find_map(|it| Challenge::read(it.to_str().ok()?));
        let unknown = || UpstreamError::Challenge(self.reference.registry.clone());
        let said = match asked.ok_or_else(unknown)? {
            Challenge::Basic => self.credentials.as_ref().map(|it| {
                use base64::Engine as _;
                let plain = format!("{}:{}", it.username, it.password.expose());
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain))
            }),
            Challenge::Bearer { realm, service } => {
                Some(format!("Bearer {}", self.token(&realm, service.as_deref()).await?))
            }
        };
        let mut said =
            said.map(|said| HeaderValue::from_str(&said).map_err(|_| unknown())).transpose()?;
        if let Some(said) = &mut said {
            said.set_sensitive(true);
        }
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
        Ok(())
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<String, UpstreamError> {
        let registry = || self.reference.registry.clone();
        // The password must not go in the clear where the registry itself does not speak so.
        if self.base.starts_with("https:") && !realm.starts_with("https:") {
            return Err(UpstreamError::Challenge(registry()));
        }
        let scope = format!("repository:{}:pull", self.reference.repository);
        let mut url =
            reqwest::Url::parse(realm).map_err(|_| UpstreamError::Challenge(registry()))?;
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let mut request = self.client.get(url);
        if let Some(Credentials { username, password }) = &self.credentials {
            request = request.basic_auth(username, Some(password.expose()));
        }
        let mut answer = request.send().await.map_err(|source| self.lost(source))?;
        let status = answer.status();
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|source| self.lost(source))? {
            if text.len() + piece.len() > TOKEN_BYTES {
                break;
            }
            text.extend_from_slice(&piece);
        }
        let read = serde_json::from_slice::<Token>(&text).ok().filter(|_| status.is_success());
        let token = read.and_then(|read| read.token.or(read.access_token));
        let passes = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
        let is_final = status.is_client_error() && !passes.contains(&status);
        token.ok_or_else(|| {
            let registry = registry();
            if is_final {
                UpstreamError::Denied { registry, status }
            } else {
                UpstreamError::Busy { registry, status }
            }
        })
    }

    fn lost(&self, source: reqwest::Error) -> UpstreamError {
        // Where registries send for their blobs is a secret in places.
        let registry = self.reference.registry.clone();
        UpstreamError::Unreachable { registry, source: source.without_url() }
    }
}

#[cfg(test)]
mod tests;
