//! Reading bodies: bounded in size and time, strict about what they are.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use gnomon_schemas::{json, limits};
use http_body_util::BodyExt as _;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::ApiError;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a body that is too large is read and thrown away, so that the client gets to read
/// the refusal and does not see a broken connection.
const DISCARDED: usize = 8 * limits::JSON_BYTES;

/// The most bytes of a small request, such as that of a stranger who wants to join.
pub(super) const SMALL: usize = 16 * 1024;

/// The most bytes of a request that is no document: room for every label that a node may have.
pub(super) const REQUEST: usize = 64 * 1024;

/// How many bodies beyond [`SMALL`] are held at once; further ones wait for their turn.
const LARGE: usize = 64;
static TURNS: Semaphore = Semaphore::const_new(LARGE);

/// The media types in which a document or a request comes.
pub(super) const JSON: &[&str] = &["application/json"];

/// The media types in which a patch comes.
pub(super) const PATCH: &[&str] = &["application/merge-patch+json", "application/json"];

/// The body as a JSON value.
pub(super) async fn json(
    headers: &HeaderMap,
    body: Body,
    media_types: &[&str],
) -> Result<Value, ApiError> {
    check_media_type(headers, media_types)?;
    Ok(json::parse(&bytes(body, limits::JSON_BYTES).await?)?)
}

/// The body, of at most `limit` bytes, as a request with known fields.
pub(super) async fn request<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<T, ApiError> {
    check_media_type(headers, JSON)?;
    let value = json::parse(&bytes(body, limit).await?)?;
    strict(value).map_err(|error| ApiError::bad("the request's body", &error))
}

/// Reads a JSON object and nothing else: an array would be taken for the fields in their order.
pub(super) fn strict<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::deserialize(Object(deserializer))
}

/// Reads an array of which each item is an object.
pub(super) fn strict_all<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Strict<T>(T);
    impl<'de, T: Deserialize<'de>> Deserialize<'de> for Strict<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            strict(deserializer).map(Self)
        }
    }
    let items = Vec::<Strict<T>>::deserialize(deserializer)?;
    Ok(items.into_iter().map(|Strict(item)| item).collect())
}

/// Gives away objects only, whatever it is asked for.
struct Object<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(OfObjects(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// Takes an object, and complains about everything else.
struct OfObjects<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for OfObjects<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

fn check_media_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or("not text");
    let essence = text.split(';').next().unwrap_or_default().trim();
    if allowed.iter().any(|media_type| media_type.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    Err(ApiError::unsupported_media_type(text, &allowed.join(" or ")))
}

pub(crate) async fn bytes(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let collected = tokio::time::timeout(PATIENCE, collect(body, limit)).await;
    collected.map_err(|_| ApiError::body_timeout())?
}

async fn collect(mut body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut collected = Vec::new();
    let (mut len, mut turn) = (0, None);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::bad("the body did not arrive whole", &error))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len <= limit {
            if len > SMALL && turn.is_none() {
                turn = Some(TURNS.acquire().await.expect("nobody closes the semaphore"));
            }
            collected.extend_from_slice(&data);
        } else if len > DISCARDED {
            break;
        }
    }
    if len > limit {
        return Err(ApiError::too_large(limit));
    }
    Ok(collected)
}
