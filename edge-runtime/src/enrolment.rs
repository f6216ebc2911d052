//! What a node and its cloud say to each other about certificates, when it joins and when it renews.
//! Nothing is tried again here.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use gnomon_schemas::id::NodeName;
use serde::{Deserialize, Serialize};

use crate::link::call::{self, Call, CallError, Called};
use crate::link::mqtt::Address;

/// Where a cloud's API is: `http://HOST[:PORT][/PATH]` or `https://...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudUrl {
    /// Whether it is spoken to over TLS.
    pub is_tls: bool,
    /// Where it is.
    pub at: Address,
    /// What is before the paths of the API.
    pub prefix: String,
}

/// A text is no URL of a cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no URL of a cloud; one is `https://cloud.example:7443` or `http://127.0.0.1:7780`, and an \
     IPv6 address must be given as a name"
)]
pub struct ParseUrlError(String);

impl FromStr for CloudUrl {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseUrlError> {
        let wrong = || ParseUrlError(text.chars().take(256).collect());
        let (is_tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(wrong()),
        };
        let (at, path) = rest.split_once('/').unwrap_or((rest, ""));
        let usual = if is_tls { 443 } else { 80 };
        let at = if at.contains(':') { at.to_owned() } else { format!("{at}:{usual}") };
        let path = path.trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        if !path.chars().all(is_plain) {
            return Err(wrong());
        }
        let prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { is_tls, at: at.parse().map_err(|_| wrong())?, prefix })
    }
}

impl fmt::Display for CloudUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.at, self.prefix)
    }
}

impl CloudUrl {
    /// Whether it is on this machine, where nobody listens on the way.
    pub fn is_here(&self) -> bool {
        let host = self.at.host.as_str();
        host == "localhost"
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }
}

/// What a node joins with.
#[derive(Debug, Clone, Serialize)]
pub struct JoinRequest<'a> {
    /// The join token; without one the node waits for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    /// What the node calls itself, if the token does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<&'a NodeName>,
    /// The request for a certificate.
    pub csr_pem: &'a str,
}

/// What a node renews its certificate with.
#[derive(Debug, Clone, Serialize)]
pub struct RenewRequest<'a> {
    /// The request for a certificate.
    pub csr_pem: &'a str,
}

/// The node is let in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Enrolled {
    /// Its name.
    pub node: NodeName,
    /// Its certificate.
    pub certificate_pem: String,
    /// The authority that signs both ends.
    pub ca_pem: String,
    /// Where the broker listens.
    pub mqtt: Vec<Address>,
    /// Where the API speaks HTTPS, if anywhere.
    #[serde(default)]
    pub https: Option<String>,
    /// The name in the cloud's certificate.
    pub server_name: String,
}

/// The node waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pending {
    /// What an operator knows it by.
    #[serde(rename = "pending")]
    pub id: String,
    /// The SHA-256 of the node's public key.
    pub key_sha256: String,
    /// When to ask again.
    pub retry_after_s: u64,
}

/// What the cloud answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The node is let in.
    Enrolled(Box<Enrolled>),
    /// It waits.
    Waiting(Pending),
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The name of the cloud's certificate is none.
    #[error("{0:?} is no name of a server; join again with --force")]
    Name(String),
    /// There was no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The cloud says no.
    #[error("the cloud refuses: {message} ({code})")]
    Refused {
        /// The stable code.
        code: String,
        /// In the cloud's words.
        message: String,
        /// When it may be worth asking again, if that helps at all.
        retry_after: Option<Duration>,
    },
    /// Something else answers.
    #[error("the answer has status {0} and no word of a Gnomon cloud; is it one?")]
    Status(u16),
    /// The answer is of another kind or version.
    #[error("the cloud answers something else; is it of another version?")]
    Strange,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Deserialize)]
struct RefusalBody {
    code: String,
    message: String,
}

/// Asks for a certificate.
pub async fn ask(call: Call<'_>, request: &impl Serialize) -> Result<Reply, EnrolmentError> {
    let body = serde_json::to_vec(request).map_err(|_| EnrolmentError::Strange)?;
    read(call::post(call, body).await?)
}

fn read(called: Called) -> Result<Reply, EnrolmentError> {
    let Called { status, retry_after, body } = called;
    match status {
        202 => serde_json::from_slice(&body).map(Reply::Waiting),
        200 | 201 => serde_json::from_slice(&body).map(|answer| Reply::Enrolled(Box::new(answer))),
        _ => {
            let Ok(Refusal { error }) = serde_json::from_slice(&body) else {
                return Err(EnrolmentError::Status(status));
            };
            let RefusalBody { code, message } = error;
            return Err(EnrolmentError::Refused { code, message, retry_after });
        }
    }
    .map_err(|_| EnrolmentError::Strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_their_usual_ports_and_prefixes() {
        let url = |text: &str| text.parse::<CloudUrl>().map(|url| url.to_string());
        assert_eq!(url("https://cloud.example"), Ok("https://cloud.example:443".to_owned()));
        assert_eq!(url("http://10.0.0.1:7780/"), Ok("http://10.0.0.1:7780".to_owned()));
        assert_eq!(url("https://a:1/gnomon/"), Ok("https://a:1/gnomon".to_owned()));
        for bad in
            ["", "cloud:1", "ftp://a", "https://", "http://a:x", "http://a/b c", "http://[::1]:1"]
        {
            assert!(url(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn only_this_machine_is_here() {
        let is_here = |text: &str| text.parse::<CloudUrl>().unwrap().is_here();
        assert!(is_here("http://127.0.0.1:1") && is_here("http://localhost:1"));
        assert!(!is_here("http://10.0.0.1:1") && !is_here("http://127.0.0.1.example:1"));
    }

    #[test]
    fn answers_are_told_apart() {
        let called = |status, body: &str| {
            let retry_after = (status == 429).then(|| Duration::from_secs(7));
            read(Called { status, retry_after, body: body.as_bytes().to_vec() })
        };
        let waiting = r#"{"pending":"a1","key_sha256":"00","retry_after_s":9}"#;
        assert!(matches!(called(202, waiting), Ok(Reply::Waiting(Pending { .. }))));
        let old =
            r#"{"node":"a","certificate_pem":"","ca_pem":"","mqtt":["h:1"],"server_name":"s"}"#;
        let Ok(Reply::Enrolled(answer)) = called(201, old) else { panic!("it is an answer") };
        assert_eq!(answer.https, None, "a cloud of before HTTPS");
        let no = r#"{"error":{"code":"too_many_requests","message":"later"}}"#;
        let Err(EnrolmentError::Refused { retry_after, .. }) = called(429, no) else { panic!() };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
        assert!(matches!(called(502, "<html>"), Err(EnrolmentError::Status(502))));
        assert!(matches!(called(201, "{}"), Err(EnrolmentError::Strange)));
    }
}
