//! A pull with credentials. bollard writes them in the standard base64 and the daemon reads the
//! URL-safe one only: with some passwords it would silently pull as nobody. Here they are written
//! as the daemon reads them, in a header that exists as long as the request.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bollard::errors::Error;
use bytes::Bytes;
use gnomon_schemas::node::Credentials;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::progress::Progress;
use super::{ANSWER, Docker};

/// The most bytes of one line of news, or of a refusal.
const LINE_BYTES: usize = 64 * 1024;

/// What the daemon says while it pulls.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct News {
    error: Option<String>,
    message: Option<String>,
    id: Option<String>,
    status: Option<String>,
    #[serde(rename = "progressDetail")]
    detail: Detail,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct Detail {
    current: Option<i64>,
    total: Option<i64>,
}

/// Lets the daemon pull; `stall` is the longest time without any news.
pub(super) async fn pull(
    docker: &Docker,
    reference: &str,
    registry: &str,
    credentials: &Credentials,
    stall: Duration,
    came: &(dyn Fn(u8) + Send + Sync),
) -> Result<(), Error> {
    let stream = UnixStream::connect(&docker.settings.socket);
    let stream = timeout(ANSWER, stream).await.map_err(|_| Error::RequestTimeoutError)??;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await?;
    // The connection ends with this set, and the daemon breaks the pull off.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let asked = sender.send_request(request(reference, registry, credentials)?);
    let response = timeout(stall, asked).await.map_err(|_| Error::RequestTimeoutError)??;
    read(response, stall, came).await
}

fn request(
    reference: &str,
    registry: &str,
    credentials: &Credentials,
) -> Result<Request<Empty<Bytes>>, Error> {
    let given = serde_json::json!({
        "username": credentials.username,
        "password": credentials.password.expose(),
        "serveraddress": registry,
    });
    let invalid = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, what);
    let mut header = HeaderValue::from_str(&URL_SAFE.encode(given.to_string()))
        .map_err(|_| invalid("the credentials do not fit into a header"))?;
    header.set_sensitive(true);
    let url =
        reqwest::Url::parse_with_params("http://docker/images/create", [("fromImage", reference)]);
    let url = url.map_err(|_| invalid("the image does not fit into an address"))?;
    let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let request = Request::post(path).header(HOST, "docker").header("X-Registry-Auth", header);
    Ok(request.body(Empty::new()).map_err(|_| invalid("the request cannot be made"))?)
}

async fn read(
    response: Response<Incoming>,
    stall: Duration,
    came: &(dyn Fn(u8) + Send + Sync),
) -> Result<(), Error> {
    let mut progress = Progress::default();
    let status = response.status();
    let mut body = response.into_body();
    let mut line = Vec::new();
    loop {
        let frame = timeout(stall, body.frame()).await.map_err(|_| Error::RequestTimeoutError)?;
        let Some(frame) = frame.transpose()? else { break };
        let Some(bytes) = frame.data_ref() else { continue };
        for byte in bytes {
            if *byte == b'\n' && status == StatusCode::OK {
                let news = judge(&std::mem::take(&mut line))?;
                let bytes = news.detail.current.zip(news.detail.total);
                let step = progress.hear(news.id.as_deref(), news.status.as_deref(), bytes);
                step.into_iter().for_each(came);
            } else if line.len() < LINE_BYTES {
                line.push(*byte);
            }
        }
    }
    if status == StatusCode::OK {
        return judge(&line).map(drop);
    }
    let message = match serde_json::from_slice(&line) {
        Ok(News { message: Some(message), .. }) => message,
        _ => String::from_utf8_lossy(&line).into_owned(),
    };
    Err(Error::DockerResponseServerError { status_code: status.as_u16(), message })
}

fn judge(line: &[u8]) -> Result<News, Error> {
    match serde_json::from_slice(line) {
        Ok(News { error: Some(error), .. }) => Err(Error::DockerStreamError { error }),
        Ok(news) => Ok(news),
        Err(_) => Ok(News::default()),
    }
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::app::SecretText;

    use super::*;

    #[test]
    fn credentials_are_written_as_the_daemon_reads_them_and_are_not_shown() {
        let password = ">?~".repeat(3);
        let credentials =
            Credentials { username: "u".to_owned(), password: SecretText::new(&*password) };
        let made = request("r.example:1/a/b:1", "r.example:1", &credentials).unwrap();
        assert_eq!(made.uri(), "/images/create?fromImage=r.example%3A1%2Fa%2Fb%3A1");
        let header = &made.headers()["X-Registry-Auth"];
        assert!(!format!("{made:?}").contains(header.to_str().unwrap()));
        let read = URL_SAFE.decode(header.as_bytes()).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&read).unwrap();
        assert_eq!((&read["username"], &read["password"]), (&"u".into(), &password.into()));
        assert!(header.to_str().unwrap().contains(['-', '_']), "the case that differs");
    }

    #[test]
    fn only_a_line_with_an_error_ends_the_pull() {
        assert!(judge(br#"{"status":"Downloading","id":"a"}"#).is_ok());
        assert!(judge(b"").is_ok() && judge(b"rubbish").is_ok());
        let refused = judge(br#"{"errorDetail":{"message":"no"},"error":"no"}"#).unwrap_err();
        assert!(matches!(refused, Error::DockerStreamError { error } if error == "no"));
    }
}
