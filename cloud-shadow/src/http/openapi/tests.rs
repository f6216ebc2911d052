//! The description says everything that the router takes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::routes;
use super::*;

/// What anyone may ask for who reaches the port: a longer list needs a reason.
const OPEN: [&str; 4] = ["/v1/enroll", "/healthz", "/readyz", "/openapi.json"];

/// The same, without TLS.
const OPEN_HERE: [&str; 1] = ["/metrics"];

fn description() -> Value {
    serde_json::from_str(&TEXT).unwrap()
}

/// Path and method of everything that is described.
fn described() -> BTreeSet<(String, String)> {
    let description = description();
    let paths = description["paths"].as_object().unwrap().iter();
    let methods = |(path, item): (&String, &Value)| {
        let path = path.clone();
        let methods = item.as_object().unwrap().keys().map(|method| method.to_uppercase());
        methods.map(move |method| (path.clone(), method)).collect::<Vec<_>>()
    };
    paths.flat_map(methods).collect()
}

/// Path and method of everything that is routed, as the router itself says them.
fn routed() -> BTreeSet<(String, String)> {
    let mut routed = BTreeSet::new();
    for (path, operations) in routes() {
        let path = path.replace("{*", "{");
        for operation in operations {
            let shown = format!("{:?}", operation.handler);
            for method in ["get", "put", "post", "patch", "delete"] {
                let answers = !shown.contains(&format!("{method}: None"));
                let is_stated = operation.method.as_str() == method.to_uppercase();
                assert_eq!(answers, is_stated, "{method} {path} is not what the permit is for");
                if answers {
                    routed.insert((path.clone(), method.to_uppercase()));
                }
            }
        }
    }
    routed
}

#[test]
fn every_route_is_described_and_nothing_else() {
    assert!(routed().len() > 15);
    assert_eq!(described(), routed());
}

#[test]
fn every_operation_says_how_it_succeeds_and_how_it_is_refused() {
    let description = description();
    let mut ids = BTreeSet::new();
    for (path, method) in described() {
        let operation = &description["paths"][&path][method.to_lowercase()];
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
        let is_open = OPEN.contains(&path.as_str());
        assert_eq!(operation["security"].is_null(), is_open, "{method} {path}");
        let needs_none =
            operation["security"][0].as_object().is_some_and(serde_json::Map::is_empty);
        assert_eq!(needs_none, OPEN_HERE.contains(&path.as_str()), "{method} {path}");
        assert!(responses.contains_key("429"), "{method} {path}");
        assert!(is_open || responses.contains_key("401"), "{method} {path}");
        let has_body = operation.get("requestBody").is_some();
        assert_eq!(responses.contains_key("415"), has_body, "{method} {path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn visit(value: &Value, root: &Value) {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            let place = target.strip_prefix('#').unwrap();
            assert!(root.pointer(place).is_some(), "{target} leads nowhere");
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| visit(item, root)),
            Value::Object(object) => object.values().for_each(|item| visit(item, root)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let description = description();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    visit(&description, &description);
}

#[test]
fn the_description_is_as_it_was_reviewed() {
    let text = serde_json::to_string_pretty(&description()).unwrap();
    insta::assert_snapshot!("openapi", text);
}
