//! Apps that are Kubernetes manifests, on the real thing: what is applied, what is removed, what is
//! set right, and what is refused before anything is touched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::OrchestratorError;
use gnomon_edge::reconcile::model::{Health, Instance, InstanceState, Slot, Step};
use gnomon_schemas::app::AppSpec;
use gnomon_schemas::compose::kubernetes;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::front::{Asked, Fault, Front};
use super::{admin, objects};
use crate::bench::{Bench, slot};

pub(super) const WELL: InstanceState = InstanceState::Running(Health::Healthy);
pub(super) const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");

pub(super) fn place() -> Slot {
    slot(kubernetes::SERVICE)
}

fn read(text: &str) -> Arc<AppSpec> {
    Arc::new(kubernetes::read(text).unwrap())
}

/// A Deployment, a Service, and what else; `@` is the name of all.
pub(super) fn shop(name: &str, value: u32, more: &str) -> Arc<AppSpec> {
    let text = r##"
apiVersion: apps/v1
kind: Deployment
metadata: { name: @ }
spec:
  selector: { matchLabels: { shop: @ } }
  template:
    metadata: { labels: { shop: @ } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - { name: web, image: "gnomon-demo:1", env: [{ name: VALUE, value: "#" }] }
---
apiVersion: v1
kind: Service
metadata: { name: @ }
spec: { selector: { shop: @ }, ports: [{ port: 8080 }] }
"##;
    let text = format!("{text}{more}").replace('@', name).replace('#', &value.to_string());
    read(&text)
}

pub(super) async fn create(bench: &Bench, spec: &Arc<AppSpec>) -> Result<(), OrchestratorError> {
    bench.orchestrator.apply(&Step::Create { slot: place(), spec: Arc::clone(spec) }).await
}

/// Waits until the app shows, or does not show any more, that something of it has to be set right.
pub(super) async fn until(bench: &Bench, state: InstanceState, altered: Option<&str>) -> Instance {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let found = bench.instance(&place()).await;
        let is = match (altered, &found.altered) {
            (None, None) => found.state == state,
            (Some(words), Some(what)) => what.contains(words),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if is {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}, not {state:?} and {altered:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn get(kind: (&str, &str), name: &str) -> Option<DynamicObject> {
    objects(kind.0, kind.1).await.get_opt(name).await.unwrap()
}

async fn edit(kind: (&str, &str), name: &str, change: Value) {
    let by = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    objects(kind.0, kind.1).await.patch(name, &by, &Patch::Merge(change)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_applied_changed_in_place_pruned_and_removed() {
    let bench = Bench::k3s();
    let more = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: @-old }\n---\n\
        apiVersion: v1\nkind: ConfigMap\nmetadata: { name: @-kept, annotations: { io.gnomon/prune: never } }\n---\n\
        apiVersion: v1\nkind: Secret\nmetadata: { name: @ }\nstringData: { key: hunter2 }\n---\n\
        apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: @ }\n\
        spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Mi } } }\n";
    create(&bench, &shop("whole", 1, more)).await.unwrap();
    let first = until(&bench, WELL, None).await;
    let deployment = get(DEPLOYMENT, "whole").await.unwrap();
    let secret = get(("v1", "Secret"), "whole").await.unwrap();
    assert_eq!(secret.data.pointer("/data/key"), Some(&json!("aHVudGVyMg==")));
    create(&bench, &shop("whole", 2, "")).await.unwrap();
    let second = until(&bench, WELL, None).await;
    assert_eq!(second.id, first.id);
    assert_ne!(second.service_digest, first.service_digest);
    let changed = get(DEPLOYMENT, "whole").await.unwrap();
    assert_eq!(changed.metadata.uid, deployment.metadata.uid, "it was changed, not made anew");
    assert_eq!(changed.metadata.generation, Some(2));
    assert!(get(("v1", "ConfigMap"), "whole-old").await.is_none(), "it left the app");
    assert!(get(("v1", "Secret"), "whole").await.is_none());
    assert!(get(("v1", "ConfigMap"), "whole-kept").await.is_some(), "it says that it stays");
    assert!(get(("v1", "PersistentVolumeClaim"), "whole").await.is_some(), "so do volumes");
    bench.stop(&place(), Duration::ZERO).await;
    assert!(
        get(DEPLOYMENT, "whole").await.is_none() && get(("v1", "Service"), "whole").await.is_none()
    );
    bench.remove(&place()).await;
    assert!(bench.all().await.is_empty());
    for kind in ["ConfigMap", "PersistentVolumeClaim"] {
        let name = if kind == "ConfigMap" { "whole-kept" } else { "whole" };
        objects("v1", kind).await.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

/// A definition and an object of it, a namespace and an object in it; all named after the group.
fn pumps(group: &str) -> Arc<AppSpec> {
    let text = format!(
        r"
apiVersion: {group}/v1
kind: Pump
metadata: {{ name: north }}
spec: {{ speed: 3 }}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{ name: pumps.{group} }}
spec:
  group: {group}
  scope: Namespaced
  names: {{ kind: Pump, plural: pumps, singular: pump }}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {{ type: object, properties: {{ speed: {{ type: integer }} }} }}
            status: {{ type: object, x-kubernetes-preserve-unknown-fields: true }}
---
apiVersion: v1
kind: Namespace
metadata: {{ name: {name}, annotations: {{ io.gnomon/prune: never }} }}
---
apiVersion: v1
kind: ConfigMap
metadata: {{ name: there, namespace: {name} }}
",
        name = group.replace('.', "-")
    );
    read(&text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_is_established_before_what_it_defines_and_removed_after_it() {
    let group = format!("g{}.example.com", std::process::id());
    let spec = pumps(&group);
    let strict = Bench::k3s();
    assert!(strict.all().await.is_empty());
    let refused = create(&strict, &spec).await.expect_err("it is not permitted");
    assert!(!refused.is_transient() && refused.to_string().contains("manifest_"), "{refused}");
    let space = group.replace('.', "-");
    let bench = Bench::k3s_with(|settings| {
        let kinds = ["Namespace", "CustomResourceDefinition.apiextensions.k8s.io"];
        settings.manifests.kinds = kinds.map(str::to_owned).into();
        settings.manifests.namespaces = [space.clone()].into();
    });
    create(&bench, &spec).await.unwrap();
    until(&bench, WELL, None).await;
    let pump = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, "v1", "Pump"));
    let pumps: Api<DynamicObject> = Api::namespaced_with(admin().await, "gnomon", &pump);
    assert_eq!(pumps.get("north").await.unwrap().data["spec"]["speed"], 3);
    // Its controller says how it is.
    for (ready, state) in [("False", Health::Starting), ("True", Health::Healthy)] {
        let condition =
            json!({ "type": "Ready", "status": ready, "reason": "Dry", "message": "no water" });
        let status = json!({ "status": { "conditions": [condition] } });
        let by = PatchParams { field_manager: Some("pumps".to_owned()), ..PatchParams::default() };
        pumps.patch("north", &by, &Patch::Merge(status)).await.unwrap();
        let found = until(&bench, InstanceState::Running(state), None).await;
        assert_eq!(
            found.note.is_some_and(|it| it.contains("Pump north: Dry: no water")),
            ready == "False"
        );
    }
    // Another agent of the same node finds it as it is.
    let again = bench.reopen();
    let seen = again.observe().await.unwrap();
    assert_eq!(seen.instances.len(), 1);
    bench.stop(&place(), Duration::ZERO).await;
    assert!(pumps.get_opt("north").await.unwrap_or_default().is_none());
    bench.remove(&place()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_applying_and_removing_leaves_no_orphan() {
    let front = Front::start().await;
    let bench = Bench::k3s_with(|settings| settings.kubeconfig = Some(front.kubeconfig()));
    let old = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: @-old }\n";
    create(&bench, &shop("crash", 1, old)).await.unwrap();
    until(&bench, WELL, None).await;
    let new = shop("crash", 2, "");
    front.set(Fault::Says { code: 500, message: "down", to: |asked| asked.method == "DELETE" });
    create(&bench, &new).await.expect_err("what left cannot be removed");
    assert!(get(("v1", "ConfigMap"), "crash-old").await.is_some());
    front.set(Fault::None);
    // The agent that comes next knows nothing but what the cluster says.
    let next = bench.reopen();
    let found = next.observe().await.unwrap().instances.into_values().next().unwrap();
    let why = found.altered.expect("it is not done");
    assert!(why.contains("not all applied"), "{why}");
    next.apply(&Step::Create { slot: place(), spec: new }).await.unwrap();
    assert!(get(("v1", "ConfigMap"), "crash-old").await.is_none());
    until(&bench, WELL, None).await;
    // So it is when an app goes that was never whole.
    front.set(Fault::Says {
        code: 500,
        message: "down",
        to: |asked| {
            asked.is_write()
                && asked.path.contains("deployments/crash")
                && !asked.path.contains("dryRun")
        },
    });
    let broken = create(&bench, &shop("crash", 3, old)).await;
    broken.expect_err("the Deployment cannot be applied");
    assert!(get(("v1", "ConfigMap"), "crash-old").await.is_some(), "it was applied before");
    front.set(Fault::None);
    bench.stop(&place(), Duration::ZERO).await;
    for kind in [DEPLOYMENT, ("v1", "ConfigMap")] {
        assert!(get(kind, "crash").await.is_none() && get(kind, "crash-old").await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changes_or_removes_is_set_right_and_what_others_add_stays() {
    let bench = Bench::k3s();
    let spec = shop("edited", 1, "");
    create(&bench, &spec).await.unwrap();
    until(&bench, WELL, None).await;
    edit(
        DEPLOYMENT,
        "edited",
        json!({ "metadata": { "labels": { "team": "retail" } }, "spec": { "minReadySeconds": 1 } }),
    )
    .await;
    until(&bench, WELL, None).await;
    let evil = json!({ "spec": { "selector": { "shop": "elsewhere" } } });
    edit(("v1", "Service"), "edited", evil.clone()).await;
    let found = until(&bench, WELL, Some("Service edited: spec.selector")).await;
    assert!(found.altered.unwrap().ends_with("was changed by somebody"));
    create(&bench, &spec).await.unwrap();
    until(&bench, WELL, None).await;
    let service = get(("v1", "Service"), "edited").await.unwrap();
    assert_eq!(service.data.pointer("/spec/selector/shop"), Some(&json!("edited")));
    let deployment = get(DEPLOYMENT, "edited").await.unwrap();
    assert_eq!(
        deployment.data.pointer("/spec/minReadySeconds"),
        Some(&json!(1)),
        "that is not ours"
    );
    // Who insists is not fought.
    let insist = async || {
        edit(("v1", "Service"), "edited", evil.clone()).await;
        until(&bench, WELL, Some("Service edited")).await;
    };
    let again = Step::Create { slot: place(), spec: Arc::clone(&spec) };
    let error = super::drift::refused(&bench, &again, insist).await;
    assert!(error.is_transient() && error.to_string().contains("again and again"), "{error}");
    objects("apps/v1", "Deployment")
        .await
        .delete("edited", &DeleteParams::default())
        .await
        .unwrap();
    until(&bench, WELL, Some("Deployment edited is gone")).await;
    let deadline = Instant::now() + Duration::from_mins(3);
    while let Err(error) = create(&bench, &spec).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until(&bench, WELL, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_the_api_server_refuses_changes_nothing_and_says_why() {
    let bench = Bench::k3s();
    let config = |value: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: @ }}\ndata: {{ a: '{value}' }}\n"
        )
    };
    create(&bench, &shop("bad", 1, &config("one"))).await.unwrap();
    let before = until(&bench, WELL, None).await;
    let bad = |more: &str| shop("bad", 2, &format!("{}---\n{more}", config("two")));
    let table = [
        (
            "apiVersion: v1\nkind: Service\nmetadata: { name: @-2 }\nspec: { ports: [{ port: 0 }] }\n",
            "spec.ports[0].port",
        ),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: @-2 }\ndatum: { a: b }\n", "datum"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: Bad_Name }\n", "Bad_Name"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: kube-system }\n",
            "manifest_namespaces",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: { name: @-2 }\ntype: kubernetes.io/tls\nstringData: { a: hunter2 }\n",
            "Secret bad-2",
        ),
    ];
    for (more, words) in table {
        let error = create(&bench, &bad(more)).await.expect_err(words);
        assert!(!error.is_transient() && error.to_string().contains(words), "{words}: {error}");
        assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("aHVudGVy"));
        assert_eq!(until(&bench, WELL, None).await, before, "{words}");
    }
    let unserved = bad("apiVersion: example.com/v1\nkind: Nothing\nmetadata: { name: a }\n");
    let error = create(&bench, &unserved).await.expect_err("no such kind");
    assert!(
        error.is_transient() && error.to_string().contains("CustomResourceDefinition"),
        "{error}"
    );
    let live = get(("v1", "ConfigMap"), "bad").await.unwrap();
    assert_eq!(live.data["data"]["a"], "one", "nothing was touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_somebody_elses_is_left_alone_and_its_owner_is_named() {
    let bench = Bench::k3s();
    let config = json!({ "metadata": { "name": "theirs" }, "data": { "a": "theirs" } });
    let theirs: DynamicObject = serde_json::from_value(config).unwrap();
    let configs = objects("v1", "ConfigMap").await;
    configs.create(&PostParams::default(), &theirs).await.unwrap();
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: theirs }\ndata: { a: ours }\n";
    let error = create(&bench, &read(text)).await.expect_err("it is theirs");
    assert!(!error.is_transient() && error.to_string().contains("ConfigMap theirs"), "{error}");
    assert_eq!(configs.get("theirs").await.unwrap().data["data"]["a"], "theirs");
    configs.delete("theirs", &DeleteParams::default()).await.unwrap();
    // A field that somebody else has, of an object that is ours.
    create(&bench, &shop("conflict", 1, "")).await.unwrap();
    until(&bench, WELL, None).await;
    edit(DEPLOYMENT, "conflict", json!({ "spec": { "replicas": 2 } })).await;
    let mut wanted = shop("conflict", 1, "").to_value();
    wanted["services"][kubernetes::SERVICE]["manifests"]["Deployment.apps/conflict"]["spec"]["replicas"] =
        json!(3);
    let wanted = Arc::new(AppSpec::from_document(&wanted).unwrap());
    let error = create(&bench, &wanted).await.expect_err("it is somebody's");
    let said = error.to_string();
    assert!(
        error.is_transient() && said.contains("somebody") && said.contains(".spec.replicas"),
        "{said}"
    );
    // Two apps cannot have the same object.
    let other = Slot { app: "other".parse().unwrap(), ..place() };
    let step = Step::Create { slot: other, spec: shop("conflict", 1, "") };
    let error = bench.orchestrator.apply(&step).await.expect_err("it is of another app");
    assert!(error.to_string().contains("conflict exists"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_as_wished_costs_no_request() {
    let front = Front::start().await;
    let bench = Bench::k3s_with(|settings| settings.kubeconfig = Some(front.kubeconfig()));
    let secret =
        "---\napiVersion: v1\nkind: Secret\nmetadata: { name: @ }\nstringData: { key: hunter2 }\n";
    create(&bench, &shop("calm", 1, secret)).await.unwrap();
    until(&bench, WELL, None).await;
    front.calm().await;
    create(&bench, &shop("calm", 1, secret)).await.unwrap();
    let until_then = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until_then {
        assert_eq!(bench.instance(&place()).await.state, WELL);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(front.take(), []);
    // Of a change only what changed is written: the Deployment, what is written down twice, and no more.
    create(&bench, &shop("calm", 2, secret)).await.unwrap();
    let writes: Vec<_> = front.take().into_iter().filter(Asked::is_write).collect();
    let rehearsed = writes.iter().filter(|it| it.path.contains("dryRun")).count();
    assert_eq!((writes.len(), rehearsed), (6, 2), "{writes:?}");
    front.set(Fault::Down);
    let deadline = Instant::now() + Duration::from_mins(2);
    while bench.orchestrator.observe().await.is_ok() {
        assert!(Instant::now() < deadline, "it still sees");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    front.set(Fault::None);
    while bench.orchestrator.observe().await.is_err() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until(&bench, WELL, None).await;
}
