//! What is kept of an object of an app of manifests, and what an app's objects together say. Pure.

use serde_json::{Value, json};

use super::fields;
use super::inventory::{Phase, Record, Ref};
use super::status::{self, Status};
use crate::orchestrator::k3s::mirror::{Shelf, Sight};
use crate::orchestrator::k3s::names;
use crate::orchestrator::k3s::observe::text;
use crate::reconcile::model::{Health, Instance, InstanceState};
use gnomon_schemas::app::PRUNE;

/// What is kept of an object; what it holds, secret or not, is not part of it.
pub(super) fn of(object: &Value) -> Value {
    let metadata = |part: &str| object.get("metadata").and_then(|it| it.get(part)).cloned();
    let (state, why) = match status::of(object) {
        Status::Current => ("current", String::new()),
        Status::InProgress(why) => ("in progress", why),
        Status::Failed(why) => ("failed", why),
    };
    json!({
        "metadata": {
            "name": metadata("name"), "resourceVersion": metadata("resourceVersion"), "uid": metadata("uid"),
        },
        "app": names::app_label(object), "fields": fields::digest(object), "by": fields::blame(object),
        "state": state, "why": why, "kept": names::annotation(object, PRUNE) == Some("never"),
    })
}

/// Of which app an object is, as it was kept.
pub(super) fn app(kept: &Value) -> Option<&str> {
    text(kept, "/app")
}

/// Whether somebody changed an own field since it was applied.
pub(super) fn is_altered(wanted: &Ref, kept: &Value) -> bool {
    text(kept, "/fields") != Some(wanted.fields.as_str())
}

/// Why an object is not what it says yet; `None`: it is.
pub(super) fn lacks(kept: &Value) -> Option<&str> {
    (text(kept, "/state") != Some("current")).then(|| text(kept, "/why").unwrap_or_default())
}

/// The instance that an app of manifests is. `find`: what is seen of the kind of an object.
pub(super) fn instance<'a>(
    record: &Record,
    mut find: impl FnMut(&Ref) -> Option<&'a Shelf>,
) -> Instance {
    let mut instance = Instance {
        id: record.id(),
        slot: record.slot.clone(),
        service_digest: record.digest,
        image: None,
        state: InstanceState::Running(Health::Starting),
        note: None,
        altered: None,
    };
    match record.phase {
        Phase::Applied => {}
        Phase::Applying => {
            instance.altered = Some("its objects are not all applied yet".into());
            return instance;
        }
        Phase::Removing => {
            instance.altered = Some("its objects were being removed".into());
            return instance;
        }
        // Nothing can be done with it but to remove the record, too.
        Phase::Removed => {
            instance.state = InstanceState::Stuck;
            return instance;
        }
    }
    let mut worst = (Health::Healthy, None);
    for wanted in &record.refs {
        let (health, why) = match find(wanted).map(|shelf| (shelf, shelf.sight())) {
            None | Some((_, Sight::Unknown)) => {
                (Health::Starting, Some("it is being looked at".to_owned()))
            }
            Some((_, Sight::Broken(error))) => (Health::Starting, Some(error.to_string())),
            Some((shelf, Sight::Clear)) => match shelf.get(&wanted.name) {
                None => {
                    instance.altered = Some(format!("{} is gone", wanted.label()).into());
                    continue;
                }
                Some(kept) if is_altered(wanted, kept) => {
                    let what = text(kept, "/by").unwrap_or_default();
                    instance.altered = Some(format!("{}: {what}", wanted.label()).into());
                    continue;
                }
                Some(kept) => judge(kept),
            },
        };
        if badness(health) > badness(worst.0) {
            worst = (health, why.map(|why| format!("{}: {why}", wanted.label())));
        }
    }
    instance.state = InstanceState::Running(worst.0);
    instance.note = worst.1.map(Into::into);
    instance
}

fn judge(kept: &Value) -> (Health, Option<String>) {
    match (text(kept, "/state"), lacks(kept)) {
        (_, None) => (Health::Healthy, None),
        (Some("failed"), Some(why)) => (Health::Unhealthy, Some(why.to_owned())),
        (_, Some(why)) => (Health::Starting, Some(why.to_owned())),
    }
}

const fn badness(health: Health) -> u8 {
    match health {
        Health::Unchecked | Health::Healthy => 0,
        Health::Starting => 1,
        Health::Unhealthy => 2,
    }
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::app::Revision;
    use std::sync::Arc;

    use super::super::inventory::Target;
    use super::*;
    use crate::orchestrator::k3s::K3sError;
    use crate::orchestrator::k3s::mirror::News;
    use crate::reconcile::model::Slot;

    fn record() -> Record {
        let slot = Slot { app: "a".parse().unwrap(), service: "m".parse().unwrap(), replica: 0 };
        let mut record =
            Record::new(&"site-1".parse().unwrap(), &slot, Revision::from_bytes([7; 16]));
        let target = Target {
            api_version: "example.com/v1".to_owned(),
            kind: "Pump".to_owned(),
            plural: "pumps".to_owned(),
            namespace: Some("gnomon".to_owned()),
        };
        let one = |name: &str| Ref {
            target: target.clone(),
            name: name.to_owned(),
            wanted: String::new(),
            fields: fields::digest(&pump(name, "True")),
        };
        record.refs = vec![one("a"), one("b")];
        record.phase = Phase::Applied;
        record
    }

    fn pump(name: &str, ready: &str) -> Value {
        let fields =
            json!([{ "manager": "gnomon", "operation": "Apply", "fieldsV1": { "f:spec": {} } }]);
        json!({ "apiVersion": "example.com/v1", "kind": "Pump",
            "metadata": { "name": name, "managedFields": fields, "resourceVersion": "1" },
            "status": { "conditions": [{ "type": "Ready", "status": ready, "reason": "Dry" }] } })
    }

    fn shelf(objects: &[Value]) -> Shelf {
        let mut shelf = Shelf::default();
        shelf.take(News::ListBegins);
        for object in objects {
            shelf.take(News::Listed(of(object)));
        }
        shelf.take(News::ListEnds);
        shelf
    }

    #[track_caller]
    fn check(objects: &[Value], state: Health, note: Option<&str>, altered: Option<&str>) {
        let shelf = shelf(objects);
        let found = instance(&record(), |_| Some(&shelf));
        assert_eq!(found.state, InstanceState::Running(state));
        assert_eq!((found.note.as_deref(), found.altered.as_deref()), (note, altered));
    }

    #[test]
    fn the_worst_object_speaks_for_its_app() {
        let (a, b) = (pump("a", "True"), pump("b", "True"));
        check(&[a.clone(), b.clone()], Health::Healthy, None, None);
        check(&[a.clone(), pump("b", "False")], Health::Starting, Some("Pump b: Dry"), None);
        check(std::slice::from_ref(&a), Health::Healthy, None, Some("Pump b is gone"));
        let mut stalled = pump("b", "False");
        stalled["status"]["conditions"][0] =
            json!({ "type": "Stalled", "status": "True", "message": "no" });
        check(&[pump("a", "False"), stalled], Health::Unhealthy, Some("Pump b: no"), None);
        let mut edited = b;
        edited["metadata"]["managedFields"] = json!([{ "manager": "kubectl-edit", "operation": "Update",
            "fieldsV1": { "f:spec": { "f:speed": {} } } }]);
        let what = "Pump b: spec.speed was changed by kubectl-edit";
        check(&[a, edited], Health::Healthy, None, Some(what));
    }

    #[test]
    fn what_is_not_seen_is_neither_gone_nor_well() {
        let mut blind = Shelf::default();
        let found = instance(&record(), |_| None);
        assert_eq!(found.state, InstanceState::Running(Health::Starting));
        assert_eq!(found.altered, None);
        blind.take(News::Broke(Arc::new(K3sError::Slow { doing: "list Pumps".to_owned() })));
        let found = instance(&record(), |_| Some(&blind));
        assert_eq!(found.altered, None);
        assert!(found.note.unwrap().contains("list Pumps"));
    }

    #[test]
    fn an_app_that_is_half_applied_or_half_gone_is_finished_by_whoever_comes_next() {
        let mut record = record();
        for phase in [Phase::Applying, Phase::Removing] {
            record.phase = phase;
            let found = instance(&record, |_| None);
            assert!(
                found.altered.is_some() && found.state.is_running(),
                "to apply it, or to stop it"
            );
        }
        record.phase = Phase::Removed;
        assert_eq!(instance(&record, |_| None).state, InstanceState::Stuck);
    }

    #[test]
    fn what_a_secret_holds_is_not_kept() {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "data": { "key": "aHVudGVyMg==" },
            "metadata": { "name": "a", "annotations": { "io.gnomon/prune": "never" } } });
        let kept = of(&secret);
        assert!(!kept.to_string().contains("aHVudGVyMg"), "{kept}");
        assert_eq!(kept["kept"], true);
    }
}
