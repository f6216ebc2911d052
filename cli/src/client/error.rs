//! Why a call to the cloud failed, and what the caller can do about it.

use std::time::Duration;

use reqwest::{Response, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

/// Why the address of a cloud was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerUrlError {
    /// It is not a URL.
    #[error("the server {server:?} is not a URL; give one such as http://127.0.0.1:7780")]
    Malformed {
        /// What was given.
        server: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is neither an `http` nor an `https` URL.
    #[error("the server {server:?} is neither an http:// nor an https:// URL")]
    Scheme {
        /// What was given.
        server: String,
    },
    /// The authority's file is malformed.
    #[error("the authority's file (--ca) cannot be read as PEM")]
    Ca(#[source] reqwest::Error),
    /// The authority's file holds nothing.
    #[error("the authority's file (--ca) holds no certificate in PEM")]
    NoCa,
    /// The HTTP client could not start.
    #[error("the HTTP client could not start")]
    Client(#[source] reqwest::Error),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The cloud did not answer, or the answer broke off.
    #[error("the cloud at {server} cannot be reached")]
    Unreachable {
        /// Where it should be.
        server: String,
        /// What happened.
        source: Box<reqwest::Error>,
    },
    /// The cloud took the connection and then said nothing.
    #[error("the cloud at {server} was silent for {seconds} s")]
    Silent {
        /// Where it is.
        server: String,
        /// For how long.
        seconds: u64,
    },
    /// The cloud answered no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer is not what the API promises.
    #[error("the answer of {url} is not of this API; do the versions of gnomon and the cloud fit?")]
    BadAnswer {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        source: serde_json::Error,
    },
}

/// The cloud's no, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The stable code, such as `version_conflict`.
    pub(crate) code: String,
    /// What, where, what to do, for people.
    pub(crate) message: String,
    /// More of it, by code.
    pub(crate) detail: Value,
    /// When it is worth asking again, if the cloud says so.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) async fn read(response: Response) -> Self {
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.text().await.unwrap_or_default();
        let refusal = Self::from_body(status, &body);
        Self { retry_after: retry_after.map(Duration::from_secs), ..refusal }
    }

    pub(super) fn from_body(status: StatusCode, body: &str) -> Self {
        #[derive(Deserialize)]
        struct Envelope {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            code: String,
            message: String,
            #[serde(default)]
            detail: Value,
        }
        if let Ok(Envelope { error }) = serde_json::from_str(body) {
            let Inner { code, message, detail } = error;
            return Self { status: status.as_u16(), code, message, detail, retry_after: None };
        }
        let start: String = body.trim().chars().take(200).collect();
        Self {
            status: status.as_u16(),
            code: "unknown".to_owned(),
            message: format!("the server answered {status}: {start}"),
            detail: Value::Null,
            retry_after: None,
        }
    }

    /// The problems of a refused app, one text each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let text = |problem: &Value| match problem {
            Value::String(text) => text.clone(),
            Value::Object(fields) => ["path", "at", "message", "reason", "problem"]
                .iter()
                .filter_map(|name| fields.get(*name).and_then(Value::as_str))
                .collect::<Vec<_>>()
                .join(": "),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                problem.to_string()
            }
        };
        let problems = self.detail.get("problems").and_then(Value::as_array);
        problems.into_iter().flatten().map(text).collect()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for problem in self.problems() {
            write!(f, "\n  - {problem}")?;
        }
        if let Some(at) = self.detail.get("at").and_then(Value::as_str) {
            write!(f, " (at {at:?})")?;
        }
        Ok(())
    }
}
