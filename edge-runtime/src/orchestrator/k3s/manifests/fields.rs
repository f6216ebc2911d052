//! Which fields of an object are Gnomon's, as the API server keeps book of it: who changes a field of
//! another takes it over. So another set of own fields than after the last application tells that
//! somebody changed one, whatever the API server itself writes differently. Pure.

use gnomon_schemas::app::Revision;
use serde_json::Value;

use crate::orchestrator::k3s::names::MANAGER;
use crate::orchestrator::k3s::observe::text;

/// Stands for the set of own fields; empty if there are none.
pub(super) fn digest(object: &Value) -> String {
    own(object).map_or_else(String::new, |fields| Revision::of(fields).short())
}

fn own(object: &Value) -> Option<&Value> {
    entries(object).find(|it| is_own(it)).and_then(|it| it.get("fieldsV1"))
}

/// Who last changed an object beside Gnomon, and one of the fields that are theirs now.
pub(super) fn blame(object: &Value) -> String {
    let others = entries(object).filter(|it| {
        text(it, "/manager") != Some(MANAGER) && text(it, "/subresource") != Some("status")
    });
    let newest = others.max_by_key(|it| text(it, "/time").unwrap_or_default());
    let Some(newest) = newest else { return "somebody took a field out of it".to_owned() };
    let by = text(newest, "/manager").unwrap_or("somebody");
    let field = newest.get("fieldsV1").and_then(|fields| {
        let parts = fields.as_object()?.iter();
        // Labels and annotations are rarely what was meant to be changed.
        parts.filter(|(name, _)| *name != "f:metadata").map(|(name, rest)| path(name, rest)).next()
    });
    field.map_or_else(
        || format!("it was changed by {by}"),
        |field| format!("{field} was changed by {by}"),
    )
}

/// The first field of a set, such as `spec.replicas`.
fn path(name: &str, rest: &Value) -> String {
    let own = match name.split_once(':') {
        Some(("f", field)) => field.to_owned(),
        Some(("k", key)) => {
            let key: Value = serde_json::from_str(key).unwrap_or_default();
            let named = key.as_object().and_then(|key| key.values().next());
            named.map_or_else(String::new, |it| {
                it.as_str().map_or_else(|| it.to_string(), str::to_owned)
            })
        }
        Some(_) | None => String::new(),
    };
    let next = rest.as_object().into_iter().flatten().find(|(name, _)| *name != ".");
    let next = next.map(|(name, rest)| path(name, rest)).filter(|next| !next.is_empty());
    match next {
        Some(next) if own.is_empty() => next,
        Some(next) => format!("{own}.{next}"),
        None => own,
    }
}

/// Whether Gnomon applied it before.
pub(super) fn is_known(object: &Value) -> bool {
    own(object).is_some()
}

fn is_own(entry: &Value) -> bool {
    text(entry, "/manager") == Some(MANAGER)
        && text(entry, "/operation") == Some("Apply")
        && text(entry, "/subresource").is_none()
}

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(entries: &Value) -> Value {
        json!({ "metadata": { "managedFields": entries } })
    }

    fn ours(fields: &Value) -> Value {
        json!({ "manager": "gnomon", "operation": "Apply", "fieldsV1": fields })
    }

    #[test]
    fn a_field_that_somebody_took_over_shows_and_what_others_add_does_not() {
        let both = ours(&json!({ "f:spec": { "f:replicas": {}, "f:paused": {} } }));
        let one = ours(&json!({ "f:spec": { "f:paused": {} } }));
        let theirs = json!({ "manager": "kubectl-edit", "operation": "Update", "time": "2",
            "fieldsV1": { "f:metadata": { "f:labels": {} }, "f:spec": { "f:replicas": {} } } });
        let status = json!({ "manager": "kubelet", "operation": "Update", "time": "3",
            "subresource": "status", "fieldsV1": { "f:status": {} } });
        let before = object(&json!([both]));
        assert_eq!(digest(&before), digest(&object(&json!([status, both]))));
        let after = object(&json!([theirs, one, status]));
        assert_ne!(digest(&before), digest(&after));
        assert_eq!(blame(&after), "spec.replicas was changed by kubectl-edit");
        assert!(is_known(&after) && !is_known(&object(&json!([theirs]))));
        assert_eq!(digest(&json!({})), "");
    }

    #[test]
    fn the_field_is_named_as_far_as_it_is_known() {
        let by = |fields: Value| {
            blame(&object(&json!([{ "manager": "m", "operation": "Update", "fieldsV1": fields }])))
        };
        let image = json!({ "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": { ".": {}, "f:image": {} } } } });
        assert_eq!(by(image), "spec.containers.web.image was changed by m");
        assert_eq!(by(json!({ "f:metadata": { "f:labels": {} } })), "it was changed by m");
        assert_eq!(blame(&json!({})), "somebody took a field out of it");
    }
}
