//! What a trace consists of. All spans are at DEBUG, so that they cost nothing unless somebody
//! exports them ([`crate::traces`]) or asks for them with `RUST_LOG`.

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::Status;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::{Empty, display};
use tracing::{Span, debug_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::domain::{Action, Command};

/// A request of the API, below the trace of whoever sent it (`traceparent`).
pub(crate) fn request(method: &str, route: &str, headers: &HeaderMap) -> Span {
    let span = debug_span!(
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // That nothing exports it, but somebody logs it, is no error.
        drop(span.set_parent(parent));
    }
    span
}

/// The request was answered.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}

/// A command of the API, from when it is given until it is answered.
pub(crate) fn command(command: &Command) -> Span {
    let span = debug_span!(
        "command",
        node = %command.node,
        action = name(&command.action),
        shadow = Empty,
        outcome = Empty,
    );
    if !span.is_disabled()
        && let Action::Write(write) = &command.action
    {
        span.record("shadow", display(&write.key));
    }
    span
}

/// How a command ended: accepted, or refused with a code.
pub(crate) fn outcome(span: &Span, refusal: Option<&'static str>) {
    span.record("outcome", refusal.unwrap_or("accepted"));
}

/// Something that the broker tells of a node, until the core has taken it.
pub(crate) fn told(command: &Command) -> Span {
    debug_span!("told", node = %command.node, action = name(&command.action))
}

/// A round of the core: decide, commit, act. It is linked to the commands in it.
pub(crate) fn round() -> Span {
    debug_span!(parent: None, "round")
}

/// Links the present round to a command, up to as many as a span may have.
pub(crate) fn link(command: &Span) {
    if !command.is_disabled() {
        Span::current().follows_from(command);
    }
}

/// A commit of the store.
pub(crate) fn commit(commands: usize, ops: usize, bytes: usize) -> Span {
    debug_span!("commit", commands, ops, bytes)
}

const fn name(action: &Action) -> &'static str {
    match action {
        Action::PutNode { .. } => "put_node",
        Action::DeleteNode => "delete_node",
        Action::AddToken { .. } => "add_token",
        Action::Enrol { .. } => "enrol",
        Action::Join { .. } => "join",
        Action::Renew { .. } => "renew",
        Action::Shown { .. } => "shown",
        Action::Learn { .. } => "learn",
        Action::Revoke => "revoke",
        Action::Write(_) => "write",
        Action::Tag { .. } => "tag",
        Action::Connected(_) => "connected",
        Action::Disconnected(..) => "disconnected",
        Action::Received { .. } => "received",
        Action::Timeout => "timeout",
    }
}
