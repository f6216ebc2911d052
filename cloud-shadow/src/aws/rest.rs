//! The REST calls of AWS IoT Data Plane for shadows, in AWS's bodies and errors. Who calls proves
//! it by a signature (`SigV4`) or by a token, and reaches the things of the tenant that the key or the
//! token is for, or all; or by the certificate of a thing, which reaches that thing alone.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use gnomon_schemas::id::{DeviceName, ThingShadowName};
use gnomon_schemas::topic::{Operation, ShadowId};
use serde_json::json;

use super::domain::{
    Order, Origin, Rejected, Request, shadow_name, shadows_of, thing_of, thing_row,
};
use super::sigv4::{self, Signed, decode};
use crate::access::{Action, Asker};
use crate::clock;
use crate::core::Deed;
use crate::domain::Author;
use crate::gate::Principal;
use crate::http::{self, Api, Peer, bearer, body, counted, may};

#[cfg(test)]
mod laws;

/// The most bytes of a body; what is larger is not read.
const BODY: usize = 128 * 1024;
/// How many names a page has.
const PAGE: usize = 25;
const LARGEST_PAGE: usize = 100;

/// The calls.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/things/{thing}/shadow", any(shadow))
        .route("/api/things/shadow/ListNamedShadowsForThing/{thing}", any(list))
        .with_state(api)
}

/// A refusal of these calls, and after how many seconds it is worth asking again.
struct Refused(Rejected, Option<u64>);

impl From<Rejected> for Refused {
    fn from(rejected: Rejected) -> Self {
        Self(rejected, None)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static(self.0.kind());
        let body = json!({ "message": self.0.to_string() }).to_string();
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::HeaderName::from_static("x-amzn-errortype"), kind),
        ];
        let mut response = (status, headers, body).into_response();
        if let Some(seconds) = self.1 {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

async fn shadow(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Refused> {
    let whose = uri.path().rsplit('/').nth(1).unwrap_or_default();
    let (payload, asks) = prove(&api, &peer, whose, &method, &uri, &headers, content).await?;
    let operation = match method.as_str() {
        "GET" => Operation::Get,
        "POST" => Operation::Update,
        "DELETE" => Operation::Delete,
        _ => return Err(Rejected::Method.into()),
    };
    let thing = thing_in(whose)?;
    let shadow = match parameter(&uri, "name")? {
        Some(name) => {
            let name: Result<ThingShadowName, _> = name.parse();
            Some(name.map_err(|_| Rejected::InvalidName("shadow"))?)
        }
        None => None,
    };
    let payload: &[u8] = if operation == Operation::Update { &payload } else { b"" };
    let request = Request::read(operation, payload).map_err(|unread| unread.rejected)?;
    let id = ShadowId { thing, shadow };
    let Asks { by, is_of_the_thing } = asks;
    let deed = Deed::of_request(&id, &request, is_of_the_thing, || by.clone());
    let order = Order::Shadow(id, request, Origin::Rest(by));
    Ok(answer(api.core.order(order, deed).await?))
}

async fn list(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Refused> {
    let whose = uri.path().rsplit('/').next().unwrap_or_default();
    let (_, Asks { by, .. }) = prove(&api, &peer, whose, &method, &uri, &headers, content).await?;
    if method != Method::GET {
        return Err(Rejected::Method.into());
    }
    let thing = thing_in(whose)?;
    let size = match parameter(&uri, "pageSize")? {
        Some(text) => text.parse().ok().filter(|size| (1..=LARGEST_PAGE).contains(size)),
        None => Some(PAGE),
    };
    let size = size.ok_or(Rejected::InvalidParameter("pageSize"))?;
    let prefix = shadows_of(&thing);
    let mut after = prefix.clone();
    if let Some(token) = parameter(&uri, "nextToken")? {
        let name: Result<ThingShadowName, _> = token.parse();
        let name = name.map_err(|_| Rejected::InvalidParameter("nextToken"))?;
        after.extend_from_slice(name.as_str().as_bytes());
    }
    let store = Arc::clone(api.core.store());
    let (below, own) = (prefix.clone(), thing_row(&thing));
    let read = move || {
        let record = store.get(&own).ok()?.map(|value| thing_of(&own, &value)).transpose().ok()?;
        if record.is_some_and(|(_, record)| !by.covers(&record.home())) {
            return Some(Vec::new());
        }
        // The classic shadow's key is the prefix itself, so it is never after it.
        store.page(&below, Some(&after), size + 1).ok()
    };
    let rows = tokio::task::spawn_blocking(read).await;
    let rows = rows.ok().flatten().ok_or(Rejected::Internal)?;
    let mut names: Vec<_> = rows.iter().filter_map(|(key, _)| shadow_name(&prefix, key)).collect();
    let is_more = names.len() > size;
    names.truncate(size);
    let mut body = json!({ "results": names, "timestamp": clock::unix_ms() / 1000 });
    if let (true, Some(last), Some(body)) = (is_more, names.last(), body.as_object_mut()) {
        body.insert("nextToken".to_owned(), last.as_str().into());
    }
    Ok(answer(body.to_string().into_bytes()))
}

/// Who calls.
struct Asks {
    /// What it is called, and whose things there are for it.
    by: Author,
    /// Whether it is the thing that the call is about.
    is_of_the_thing: bool,
}

/// Who calls, as far as the head of a request tells.
enum Caller {
    /// Who is known by a token.
    Known(Box<Principal>),
    /// A thing, by its certificate.
    Thing(DeviceName),
    /// Who has to show by a signature that it has a key. Until the body is here it is a stranger.
    Signs(String),
}

impl Caller {
    /// Whoever it is may do this to the thing of this name, as far as can be said yet.
    fn of(
        api: &Api,
        peer: &Peer,
        whose: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Self, Rejected> {
        if let Some(principal) = bearer(headers).and_then(|token| api.gate.who(token)) {
            let action =
                if method == Method::GET { Action::ReadThings } else { Action::WriteThings };
            may(&principal, action)
                .map_err(|_| Rejected::Forbidden("the token is not good for this"))?;
            return Ok(Self::Known(Box::new(principal)));
        }
        let shown = peer.certificate.as_deref().and_then(|shown| api.things.recognize(shown));
        if let Some(thing) = shown {
            if thing_in(whose)? != thing {
                return Err(Rejected::Forbidden("the certificate is that of another thing"));
            }
            return Ok(Self::Thing(thing));
        }
        let said = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let said = said.ok_or(Rejected::Unauthorized(
            "sign the request, or show a certificate of the thing over HTTPS",
        ))?;
        Ok(Self::Signs(said.to_owned()))
    }

    fn asker(&self, peer: &Peer) -> Option<Asker> {
        match self {
            Self::Known(principal) => principal.asker(),
            Self::Thing(thing) => Some(Asker::Thing(thing.clone())),
            Self::Signs(_) => Some(Asker::stranger(peer.addr.ip())),
        }
    }
}

/// Reads the body of a caller who may call about this thing, says who it is, and refuses everyone
/// else.
async fn prove(
    api: &Api,
    peer: &Peer,
    whose: &str,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    content: Body,
) -> Result<(Vec<u8>, Asks), Refused> {
    let caller = Caller::of(api, peer, whose, method, headers)?;
    let asker = caller.asker(peer);
    count(api, asker.as_ref())?;
    let content = match asker {
        Some(asker) => counted(content, api.gate.clone(), asker),
        None => content,
    };
    let content = body::bytes(content, BODY).await.map_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Rejected::TooLarge
        } else {
            Rejected::InvalidParameter("body: it did not arrive whole and in time")
        }
    })?;
    let (by, is_of_the_thing) = match caller {
        Caller::Known(principal) => (principal.author, false),
        Caller::Thing(thing) => (Author::thing(&thing), true),
        Caller::Signs(said) => {
            let key = signer(api, method, uri, headers, &content, &said)?;
            count(api, Some(&Asker::Key(key.clone())))?;
            (Author::new(&format!("aws-key/{key}")).within(&api.keys.scope(&key)), false)
        }
    };
    Ok((content, Asks { by, is_of_the_thing }))
}

/// The id of the key that the request is signed with.
fn signer(
    api: &Api,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    said: &str,
) -> Result<String, Rejected> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let request = Signed {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        body,
    };
    let key = sigv4::verify(&request, said, &api.keys, clock::unix_ms() / 1000)?;
    Ok(key.to_owned())
}

fn count(api: &Api, asker: Option<&Asker>) -> Result<(), Refused> {
    let counted = http::count(api, asker);
    counted.map_err(|error| Refused(Rejected::Throttled, error.retry_after_s()))
}

fn thing_in(segment: &str) -> Result<DeviceName, Rejected> {
    let name = String::from_utf8(decode(segment)).ok();
    name.and_then(|name| name.parse().ok()).ok_or(Rejected::InvalidName("thing"))
}

/// The value of a parameter that may be there once; others are left aside, as AWS does.
fn parameter(uri: &Uri, name: &'static str) -> Result<Option<String>, Rejected> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    let (value, again) = (values.next(), values.next());
    if again.is_some() {
        return Err(Rejected::InvalidParameter(name));
    }
    let read = |(_, value)| String::from_utf8(decode(value));
    value.map(read).transpose().map_err(|_| Rejected::InvalidParameter(name))
}

fn answer(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
