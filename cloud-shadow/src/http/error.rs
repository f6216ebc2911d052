//! The one form in which the API refuses: a stable code for machines, a sentence for people.

use std::error::Error;
use std::time::Duration;

use axum::Json;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gnomon_schemas::app::DocumentError;
use gnomon_schemas::document::InvalidDocument;
use gnomon_schemas::id::DeviceName;
use gnomon_schemas::json::ParseJsonError;
use gnomon_schemas::topic::ShadowId;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::access::BookRefusal;
use crate::aws::domain::Rejected;
use crate::chain;
use crate::core::Refusal;
use crate::domain::Rejection;
use crate::gate::ChangeError;
use crate::identity::AuthorityError;

/// How a refusal looks.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorJson {
    error: RefusalJson,
}

/// Why a call is refused.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(super) struct RefusalJson {
    /// Stable, for machines.
    code: &'static str,
    /// What is wrong, where, and what to do, for people.
    message: String,
    /// More, by code.
    #[schema(value_type = Object)]
    detail: Value,
}

/// A refusal of the API.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Value,
    /// After how many seconds it is worth asking again.
    retry_after_s: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), detail: json!({}), retry_after_s: None }
    }

    /// The status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// After how many seconds it is worth asking again.
    pub(crate) const fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    /// The status, and what is said with it.
    pub(super) fn into_parts(self) -> (StatusCode, RefusalJson) {
        let Self { status, code, message, detail, .. } = self;
        (status, RefusalJson { code, message, detail })
    }

    fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    /// Something about the request is wrong.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Something about the request is wrong; the error says what.
    pub(super) fn bad(what: &str, error: &dyn Error) -> Self {
        Self::bad_request(format!("{what}: {}", chain(error)))
    }

    /// A header that makes a condition is not one.
    pub(super) fn bad_precondition(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_precondition", message)
    }

    /// The token is missing or wrong.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// The token is good, but not for this.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// The caller asks for too much; after this time it does not.
    pub(super) fn too_many_requests(wait: Duration) -> Self {
        let wait_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let wait_s = wait_s.max(1);
        let message = format!(
            "this is more than one caller may ask for, so nothing was done; ask again in {wait_s} s \
             (the limits are in the cloud's configuration, [limits])"
        );
        let detail = json!({ "retry_after_s": wait_s });
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        Self { retry_after_s: Some(wait_s), ..refused.with(detail) }
    }

    /// The caller has as many streams open as it may.
    pub(super) fn too_many_streams() -> Self {
        let message = "this token has as many watch streams open as one may; close some, or name \
                       several nodes in one";
        Self::new(StatusCode::CONFLICT, "limit_reached", message)
    }

    /// No resource has this path.
    pub(super) fn not_found(path: &str) -> Self {
        let path = brief(path);
        let message = format!("there is nothing at {path}; the API's resources begin with /v1/");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// There is no such thing for who asks.
    pub(super) fn unknown_thing(thing: &DeviceName) -> Self {
        let message = format!("there is no thing {thing} for this token");
        Self::new(StatusCode::NOT_FOUND, "unknown_thing", message)
    }

    /// A thing has no such shadow, nor had it one of late.
    pub(super) fn unknown_thing_shadow(id: &ShadowId) -> Self {
        let (thing, shadow) = (&id.thing, id.shadow.as_ref());
        let what =
            shadow.map_or_else(|| "no classic shadow".to_owned(), |s| format!("no shadow {s}"));
        Self::new(StatusCode::NOT_FOUND, "unknown_shadow", format!("the thing {thing} has {what}"))
    }

    /// The history does not go back to there.
    pub(super) fn unknown_version(what: &str) -> Self {
        let message = format!(
            "{what} is not in the history: it never was, or is no longer kept; the list of \
             versions says what is"
        );
        Self::new(StatusCode::NOT_FOUND, "unknown_version", message)
    }

    /// The resource has no such method.
    pub(super) fn method_not_allowed(method: &Method, path: &str) -> Self {
        let (path, method) = (brief(path), brief(method.as_str()));
        let message = format!("{path} does not take {method}; the header Allow says what it takes");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// The body is larger than any good one.
    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes, which is the limit");
        let detail = json!({ "limit": limit });
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message).with(detail)
    }

    /// The body does not come.
    pub(super) fn body_timeout() -> Self {
        let message = "the body did not arrive in time; send it without pauses";
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
    }

    /// The body is something else than JSON.
    pub(super) fn unsupported_media_type(found: &str, wanted: &str) -> Self {
        let found = brief(found);
        let message = format!("the body is {found:?}; send it as {wanted}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// The core has answered with something that does not fit the command.
    pub(super) fn internal() -> Self {
        let message = "the cloud answered itself wrongly; this is a fault of gnomon-cloud";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry_after_s = self.retry_after_s;
        let (status, error) = self.into_parts();
        let mut response = (status, Json(ErrorJson { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (code, message) = (refusal.code(), refusal.to_string());
        match refusal {
            Refusal::Rejected(rejection) => rejection.into(),
            Refusal::StoreFull => Self::new(StatusCode::INSUFFICIENT_STORAGE, code, message),
            Refusal::StoreFailed => Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message),
            Refusal::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message),
        }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let (code, message) = (rejection.code(), rejection.to_string());
        let refuse = |status| Self::new(status, code, message.clone());
        match rejection {
            Rejection::UnknownNode(_) | Rejection::UnknownShadow { .. } => {
                refuse(StatusCode::NOT_FOUND)
            }
            Rejection::VersionConflict { current, .. } => {
                refuse(StatusCode::PRECONDITION_FAILED).with(json!({ "current": current }))
            }
            Rejection::FieldConflict { pointer, condition, current, .. } => {
                let pointer = pointer.to_string();
                let detail =
                    json!({ "current": current, "pointer": pointer, "condition": condition });
                refuse(StatusCode::PRECONDITION_FAILED).with(detail)
            }
            Rejection::InvalidDocument(error) => error.into(),
            Rejection::InvalidApp { reason, .. } => {
                let problems = problems(&reason);
                refuse(StatusCode::BAD_REQUEST).with(json!({ "problems": problems }))
            }
            Rejection::OtherTenant { .. }
            | Rejection::NameTaken(_)
            | Rejection::StaleSession(_) => refuse(StatusCode::CONFLICT),
            Rejection::OutOfScope(_) => refuse(StatusCode::FORBIDDEN),
            Rejection::LimitReached { limit, .. } => {
                refuse(StatusCode::CONFLICT).with(json!({ "limit": limit }))
            }
            Rejection::BadLabel(_) => refuse(StatusCode::BAD_REQUEST),
            Rejection::BadToken | Rejection::BadCertificate(_) => refuse(StatusCode::UNAUTHORIZED),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Core(refusal) => refusal.into(),
            ChangeError::Book(refusal) => refusal.into(),
        }
    }
}

impl From<BookRefusal> for ApiError {
    fn from(refusal: BookRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            BookRefusal::UnknownToken(_) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_token", message)
            }
            BookRefusal::NobodyWaits(_) => {
                Self::new(StatusCode::NOT_FOUND, "nobody_waits", message)
            }
            BookRefusal::BeyondOwn => Self::forbidden(message),
            BookRefusal::Full { limit, .. } => {
                Self::new(StatusCode::CONFLICT, "limit_reached", message)
                    .with(json!({ "limit": limit }))
            }
            BookRefusal::BadJoinToken => Self::unauthorized(message),
        }
    }
}

impl From<InvalidDocument> for ApiError {
    fn from(error: InvalidDocument) -> Self {
        let message = error.to_string();
        let at = match error {
            InvalidDocument::TooLarge { limit, .. } => {
                let detail = json!({ "limit": limit });
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Self::new(status, "too_large", message).with(detail);
            }
            InvalidDocument::NotAnObject => String::new(),
            InvalidDocument::Null { at }
            | InvalidDocument::TooDeep { at, .. }
            | InvalidDocument::KeyTooLong { at, .. } => at,
        };
        Self::new(StatusCode::BAD_REQUEST, "invalid_document", message).with(json!({ "at": at }))
    }
}

impl From<ParseJsonError> for ApiError {
    fn from(error: ParseJsonError) -> Self {
        match &error {
            ParseJsonError::TooLarge { limit, .. } => Self::too_large(*limit),
            ParseJsonError::Malformed(_) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_json", chain(&error))
            }
        }
    }
}

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        if let Rejected::NoThing(thing) = &rejected {
            return Self::unknown_thing(thing);
        }
        let message = rejected.to_string();
        let (status, code) = match rejected.code() {
            403 => (StatusCode::FORBIDDEN, "forbidden"),
            409 => (StatusCode::CONFLICT, "tenant_is_fixed"),
            404 => (StatusCode::NOT_FOUND, "unknown_certificate"),
            429 => (StatusCode::CONFLICT, "limit_reached"),
            503 => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "store_failed"),
        };
        Self::new(status, code, message)
    }
}

impl From<AuthorityError> for ApiError {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Request(_) => Self::bad("csr_pem", &error),
            AuthorityError::Host(_)
            | AuthorityError::Own(_)
            | AuthorityError::NotPem
            | AuthorityError::Sign(_) => {
                tracing::error!(error = &error as &dyn Error, "a certificate could not be signed");
                Self::internal()
            }
        }
    }
}

/// What is wrong with an app, point by point.
fn problems(error: &DocumentError) -> Vec<Value> {
    let problem = |path: &str, message: String| json!({ "path": path, "message": message });
    match error {
        DocumentError::Shape { path, reason } => vec![problem(path, reason.clone())],
        DocumentError::Invalid(invalid) => {
            invalid.problems().iter().map(|p| problem(&p.path, p.kind.to_string())).collect()
        }
        other => vec![problem("", other.to_string())],
    }
}

/// As much of what the client said as it needs to know it again.
pub(super) fn brief(text: &str) -> String {
    text.chars().take(100).collect()
}
