//! The description of the API in `OpenAPI` 3.1, made from the handlers and the types that they
//! answer with, and served at `/openapi.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{Modify, OpenApi};

use super::auth::Permit;
use super::error::ErrorJson;
use super::{
    api_tokens, apps, audit, backup, batch, enroll, health, history, joins, lag, nodes, pending,
    renew, revoke, search, sessions, shadows, shape, tags, thing_shadows, things, tokens, watch,
};

#[cfg(test)]
mod tests;

#[derive(OpenApi)]
#[openapi(
    info(title = "Gnomon cloud", license(name = "Apache-2.0", identifier = "Apache-2.0"),
        description = "Desired and reported state of nodes and what is behind them."),
    paths(
        health::alive, health::ready, health::metrics, document,
        nodes::list, nodes::put, nodes::read, nodes::delete,
        sessions::list, tokens::create, enroll::enroll,
        shadows::list, shadows::read, shadows::put, shadows::patch, shadows::delete,
        history::list, history::read, history::diff, history::roll_back,
        batch::write, search::search, tags::put,
        backup::read, apps::list, lag::list, watch::watch,
        api_tokens::list, api_tokens::create, api_tokens::revoke,
        joins::list, joins::create, joins::revoke, audit::list,
        pending::list, pending::approve, pending::deny, renew::renew, revoke::revoke,
        things::list, things::certify, things::revoke,
        thing_shadows::list, thing_shadows::history, thing_shadows::version,
    ),
    components(schemas(ErrorJson, shape::ChangedJson<'_>)),
    modifiers(&Common),
)]
struct Description;

static TEXT: LazyLock<String> =
    LazyLock::new(|| Description::openapi().to_json().expect("texts, numbers, maps"));

/// The text of the description.
pub fn description() -> &'static str {
    &TEXT
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "health",
    responses((status = 200, body = Object, content_type = "application/json")))]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], description()).into_response()
}

/// What holds for every call: who may, and how it is refused.
struct Common;

const BEARER: &str = "token";
const CERTIFICATE: &str = "certificate";

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme(BEARER, scheme);
        let scheme = SecurityScheme::MutualTls { description: None, extensions: None };
        components.add_security_scheme(CERTIFICATE, scheme);
        for (status, text) in REFUSALS {
            components.responses.insert(format!("Refused{status}"), refusal(text).into());
        }
        let permits = permits();
        for (path, item) in &mut api.paths.paths {
            let operations = [
                ("get", &mut item.get),
                ("put", &mut item.put),
                ("post", &mut item.post),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ];
            for (method, operation) in operations {
                if let Some(operation) = operation {
                    operation.operation_id = Some(id_of(method, path));
                    let permit = permits.get(&(path.clone(), method.to_owned())).copied();
                    complete(operation, path, method != "get", permit);
                }
            }
        }
    }
}

/// Every status with which a call can be refused.
const REFUSALS: [(u16, &str); 14] = [
    (
        400,
        "Something about the request is wrong: `bad_request`, `bad_precondition`, \
           `invalid_json`, `invalid_document`, `invalid_app`",
    ),
    (401, "The token is missing or wrong: `unauthorized`"),
    (403, "The token is good, but not for this: `forbidden`"),
    (
        404,
        "There is no such thing: `unknown_node`, `unknown_shadow`, `unknown_version`, \
           `unknown_token`, `nobody_waits`, `unknown_thing`, `unknown_certificate`",
    ),
    (408, "The body did not come in time: `request_timeout`"),
    (
        409,
        "It would be one too many, or is taken: `limit_reached`, `name_taken`, `tenant_is_fixed`",
    ),
    (412, "A condition does not hold: `version_conflict`, `field_conflict`"),
    (413, "The body or the document is too large: `too_large`"),
    (415, "The body is not JSON: `unsupported_media_type`"),
    (
        429,
        "The caller asks for too much; the header Retry-After says when not: `too_many_requests`",
    ),
    (431, "The headers are too large; without a body"),
    (500, "A fault: `store_failed`, `internal`"),
    (503, "The cloud is stopping: `stopping`"),
    (507, "The disk is full; reads go on: `store_full`"),
];

/// A name that no other operation has: `getNodesByNodeShadows`.
fn id_of(method: &str, path: &str) -> String {
    let part = |part: &str| {
        let (prefix, word) = part.strip_prefix('{').map_or(("", part), |rest| ("By", rest));
        let letters = word.split(|c: char| !c.is_ascii_alphanumeric()).map(|word| {
            let (first, rest) = word.split_at_checked(1).unwrap_or_default();
            format!("{}{rest}", first.to_ascii_uppercase())
        });
        format!("{prefix}{}", letters.collect::<String>())
    };
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let parts = path.split('/').filter(|part| !part.is_empty()).map(part);
    format!("{method}{}", parts.collect::<String>())
}

/// What each operation needs, by path and method as the description has them.
fn permits() -> BTreeMap<(String, String), Permit> {
    let of = |(path, operations): (&'static str, Vec<super::Operation>)| {
        let path = path.replace("{*", "{");
        let permit = move |operation: super::Operation| {
            let method = operation.method.as_str().to_lowercase();
            ((path.clone(), method), operation.permit)
        };
        operations.into_iter().map(permit).collect::<Vec<_>>()
    };
    super::routes().into_iter().flat_map(of).collect()
}

fn complete(operation: &mut Operation, path: &str, writes: bool, permit: Option<Permit>) {
    let is_open = permit == Some(Permit::Open);
    if let Some(Permit::Needs(action) | Permit::OpenHere(action)) = permit {
        let role = json!(action.needs());
        let role = ExtensionsBuilder::new().add("x-role", role).build();
        operation.extensions.get_or_insert_default().merge(role);
    }
    let has_body = operation.request_body.is_some();
    if permit == Some(Permit::OfANode) {
        operation.security = Some(vec![SecurityRequirement::new(CERTIFICATE, [""; 0])]);
    } else if matches!(permit, Some(Permit::OpenHere(_))) {
        let bearer = SecurityRequirement::new(BEARER, [""; 0]);
        operation.security = Some(vec![SecurityRequirement::default(), bearer]);
    } else if !is_open {
        operation.security = Some(vec![SecurityRequirement::new(BEARER, [""; 0])]);
    }
    for (status, _) in REFUSALS {
        let is_possible = match status {
            400 | 429 | 431 => true,
            401 | 404 | 500 | 503 => !is_open || has_body,
            403 => !is_open || path.ends_with("/enroll"),
            408 | 413 | 415 => has_body,
            409 => writes || path.ends_with("/watch") || path.ends_with("/backup"),
            412 | 507 => writes,
            _ => false,
        };
        let key = status.to_string();
        if is_possible && !operation.responses.responses.contains_key(&key) {
            let shared = Ref::from_response_name(format!("Refused{status}"));
            operation.responses.responses.insert(key, RefOr::Ref(shared));
        }
    }
}

/// The codes are what the text has between backticks; the first one is the example.
fn refusal(text: &str) -> utoipa::openapi::Response {
    let response = utoipa::openapi::ResponseBuilder::new().description(text);
    let Some(code) = text.split('`').nth(1) else { return response.build() };
    let error =
        json!({ "error": { "code": code, "message": "what, where, what to do", "detail": {} } });
    let content = utoipa::openapi::ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Error")))
        .example(Some(error))
        .build();
    response.content("application/json", content).build()
}
