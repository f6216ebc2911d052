//! One HTTP request to the cloud, the way that the link goes: through the proxy, where there is
//! one, and over TLS. Bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::dial;
use super::mqtt::Address;
use super::proxy::Proxy;

/// How long it may take in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of an answer.
const ANSWER: usize = 64 * 1024;

/// Whom to call, and how.
#[derive(Debug)]
pub struct Call<'a> {
    /// Where it is.
    pub to: &'a Address,
    /// What the server is called.
    pub host: String,
    /// What of it is called.
    pub path: String,
    /// What is on the way, if anything.
    pub proxy: Option<&'a Proxy>,
    /// How TLS is spoken, and with whom; `None`: in the clear.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// An answer.
#[derive(Debug)]
pub struct Called {
    /// Its status.
    pub status: u16,
    /// When it is worth asking again, if the server says so.
    pub retry_after: Option<Duration>,
    /// What it says.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no connection.
    #[error("there is no way to {to}")]
    Reach {
        /// Where it should be.
        to: Address,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else is there, or TLS is not spoken.
    #[error("no TLS with {to}")]
    Tls {
        /// Who was called.
        to: Address,
        /// What is wrong.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("{to} gives no answer in HTTP")]
    Http {
        /// Who was called.
        to: Address,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("no answer of {to} within {} s", PATIENCE.as_secs())]
    Late {
        /// Who was called.
        to: Address,
    },
}

/// Sends JSON, and gives back what is answered.
pub async fn post(call: Call<'_>, body: Vec<u8>) -> Result<Called, CallError> {
    let to = call.to.clone();
    let calling = async {
        let stream = dial::connect(call.to, call.proxy).await.map_err(|error| {
            let (to, source) = (call.to.clone(), Box::new(error));
            CallError::Reach { to, source }
        })?;
        match call.tls.clone() {
            None => exchange(stream, &call, body).await,
            Some((tls, name)) => {
                let shaken = TlsConnector::from(tls).connect(name, stream).await;
                let wrong = |source| CallError::Tls { to: call.to.clone(), source };
                exchange(shaken.map_err(wrong)?, &call, body).await
            }
        }
    };
    tokio::time::timeout(PATIENCE, calling).await.map_err(|_| CallError::Late { to })?
}

async fn exchange<S>(stream: S, call: &Call<'_>, body: Vec<u8>) -> Result<Called, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wrong = |source: Box<dyn std::error::Error + Send + Sync>| CallError::Http {
        to: call.to.clone(),
        source,
    };
    let host = format!("{}:{}", call.host, call.to.port);
    let request = Request::post(&call.path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| wrong(error.into()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| wrong(error.into()))?;
    // Ends with the sender.
    drop(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(|error| wrong(error.into()))?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), ANSWER).collect().await.map_err(wrong)?;
    let retry_after = retry_after.map(Duration::from_secs);
    Ok(Called { status, retry_after, body: body.to_bytes().to_vec() })
}
