//! Reading bodies: bounded in size and time, strict about what they are.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use gnomon_schemas::{json, limits};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ApiError;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a body that is too large is read and thrown away, so that the client gets to read
/// the refusal and does not see a broken connection.
const DISCARDED: usize = 8 * limits::JSON_BYTES;

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
    Ok(json::parse(&bytes(body).await?)?)
}

/// The body as a request with known fields.
pub(super) async fn request<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, ApiError> {
    let value = json(headers, body, JSON).await?;
    serde_json::from_value(value).map_err(|error| ApiError::bad("the request's body", &error))
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

async fn bytes(body: Body) -> Result<Bytes, ApiError> {
    tokio::time::timeout(PATIENCE, collect(body)).await.map_err(|_| ApiError::body_timeout())?
}

async fn collect(mut body: Body) -> Result<Bytes, ApiError> {
    let mut collected = Vec::new();
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::bad("the body did not arrive whole", &error))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len <= limits::JSON_BYTES {
            collected.extend_from_slice(&data);
        } else if len > DISCARDED {
            break;
        }
    }
    if len > limits::JSON_BYTES {
        return Err(ApiError::too_large(limits::JSON_BYTES));
    }
    Ok(collected.into())
}
