//! `/v1/batch`: many writes in one request; each is all or nothing, and answered for itself.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::limits;
use gnomon_schemas::version::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::Caller;
use super::error::RefusalJson;
use super::precondition::FieldJson;
use super::{Api, ApiError, body, path, precondition};
use crate::core::Refusal;
use crate::domain::{Action, Answer, Author, Change, Command, Created, Precondition, Write};

/// The most writes of one request.
const WRITES: usize = 1000;

/// Many writes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "writes": [
    { "node": "site-1", "key": "device/pump-7", "patch": { "price": 1.79 }, "if_version": 1 },
    { "node": "site-2", "key": "device/pump-1", "delete": true },
] }))]
pub(super) struct Batch {
    /// At most 1000; those of one shadow are carried out in their order.
    #[serde(deserialize_with = "body::strict_all")]
    writes: Vec<WriteJson>,
}

/// A write of one shadow: exactly one of `patch`, `put` and `delete`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Write)]
struct WriteJson {
    node: String,
    key: String,
    /// A merge patch on `desired`: an object.
    #[schema(value_type = Option<Value>)]
    patch: Option<Value>,
    /// What replaces `desired`: an object.
    #[schema(value_type = Option<Value>)]
    put: Option<Value>,
    /// That `desired` is deleted.
    #[serde(default)]
    #[schema(required = false)]
    delete: bool,
    /// Only if `desired` has this version; 0: only if there is none.
    if_version: Option<u64>,
    /// Only if all of these hold.
    #[serde(default, deserialize_with = "body::strict_all")]
    #[schema(required = false)]
    conditions: Vec<FieldJson>,
}

/// What became of the writes.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResults)]
pub(super) struct ResultsJson {
    /// One for each write, in the order of the writes.
    results: Vec<ResultJson>,
}

/// What became of a write.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResult)]
struct ResultJson {
    /// As if it had been a request of its own: 200, 201, 204 or that of a refusal.
    status: u16,
    /// The shadow's version now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    version: Option<Version>,
    /// The version of `desired` now; 0: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    desired_version: Option<Version>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RefusalJson>,
}

/// Carries out many writes; each is all or nothing, and answered for itself.
#[utoipa::path(post, path = "/v1/batch", tag = "shadows",
    request_body(content = Batch),
    responses((status = 200, body = ResultsJson, description = "What became of each write")))]
pub(super) async fn write(
    State(api): State<Api>,
    Caller(by): Caller,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<ResultsJson>, ApiError> {
    let Batch { writes } = body::request(&headers, content, limits::JSON_BYTES).await?;
    if writes.len() > WRITES {
        let message = format!("a batch has at most {WRITES} writes, this one has {}", writes.len());
        return Err(ApiError::bad_request(message));
    }
    let mut results = Vec::with_capacity(writes.len());
    let mut commands = Vec::new();
    for write in writes {
        let is_delete = write.delete;
        results.push(match write.command(&by) {
            Ok(command) => {
                commands.push(command);
                Ok(is_delete)
            }
            Err(error) => Err(error),
        });
    }
    let mut answers = api.core.execute_all(commands).await?.into_iter();
    let mut result = |decided: Result<bool, ApiError>| match decided {
        Ok(is_delete) => answers.next().map_or_else(
            || ApiError::internal().into(),
            |answer| ResultJson::of(answer, is_delete),
        ),
        Err(error) => error.into(),
    };
    Ok(Json(ResultsJson { results: results.into_iter().map(&mut result).collect() }))
}

impl WriteJson {
    fn command(self, by: &Author) -> Result<Command, ApiError> {
        let change = match (self.patch, self.put, self.delete) {
            (Some(patch), None, false) => Change::Patch(Patch::from_value(patch)?),
            (None, Some(document), false) => Change::Put(Document::from_value(document)?),
            (None, None, true) => Change::Delete,
            _ => {
                let message = "a write has exactly one of `patch`, `put` and `\"delete\": true`";
                return Err(ApiError::bad_request(message));
            }
        };
        let version = |version| Precondition::Version(Version(version));
        let write = Write {
            key: path::shadow(&self.key)?,
            change,
            when: self.if_version.map_or(Precondition::Any, version),
            fields: precondition::fields(self.conditions)?,
        };
        let node = path::node(&self.node)?;
        Ok(Command { node, action: Action::Write(write), by: by.clone() })
    }
}

impl ResultJson {
    fn of(answer: Result<Answer, Refusal>, is_delete: bool) -> Self {
        match answer {
            Ok(Answer::Shadow(view, Created(created))) => Self {
                status: match (is_delete, created) {
                    (true, _) => StatusCode::NO_CONTENT,
                    (false, true) => StatusCode::CREATED,
                    (false, false) => StatusCode::OK,
                }
                .as_u16(),
                version: Some(view.version),
                desired_version: Some(view.desired_version()),
                error: None,
            },
            Ok(Answer::Nothing | Answer::Node(..) | Answer::Until(_)) => {
                ApiError::internal().into()
            }
            Err(refusal) => ApiError::from(refusal).into(),
        }
    }
}

impl From<ApiError> for ResultJson {
    fn from(error: ApiError) -> Self {
        let (status, refusal) = error.into_parts();
        let error = Some(refusal);
        Self { status: status.as_u16(), version: None, desired_version: None, error }
    }
}
