//! An API server that is down, slow, overloaded or says no: each has its reason, nothing is asked in
//! a hot loop, no healthy pod is restarted, and all is well again by itself.

use std::time::{Duration, Instant};

use gnomon_edge::reconcile::model::Step;
use gnomon_schemas::app::{RestartPolicy, ServiceSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use super::front::{Asked, Fault, Front};
use super::pod_of;
use crate::bench::{Bench, POLITE, RUNNING, app, service, slot};

async fn in_front() -> (Bench, Front) {
    let front = Front::start().await;
    let bench = Bench::k3s_with(|settings| settings.kubeconfig = Some(front.kubeconfig()));
    (bench, front)
}

fn kept() -> std::sync::Arc<gnomon_schemas::app::AppSpec> {
    app(ServiceSpec { restart: RestartPolicy::Always, ..service(POLITE) })
}

/// Waits until a look fails, and gives back why.
async fn until_blind(bench: &Bench) -> String {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Err(error) = bench.orchestrator.observe().await {
            assert!(error.is_transient(), "{error}");
            return gnomon_edge::chain(&error);
        }
        assert!(Instant::now() < deadline, "it still sees");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_seen(bench: &Bench) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = bench.orchestrator.observe().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_change_costs_no_request_however_often_one_looks() {
    let (bench, front) = in_front().await;
    let web = slot("web");
    bench.up(&web, &kept()).await;
    bench.until(&web, RUNNING).await;
    front.calm().await;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(bench.instance(&web).await.state, RUNNING);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(front.take(), [], "neither reads nor writes nor new watches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_api_server_is_down_nothing_is_known_and_little_is_asked() {
    let (bench, front) = in_front().await;
    let web = slot("web");
    bench.up(&web, &kept()).await;
    bench.until(&web, RUNNING).await;
    front.calm().await;
    let before = bench.instance(&web).await;
    let uid = pod_of(&before.id).await.metadata.uid;
    front.set(Fault::Down);
    let why = until_blind(&bench).await;
    assert!(why.contains("cannot reach the API server"), "{why}");
    front.take();
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        assert!(bench.orchestrator.observe().await.is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = front.take();
    assert!(asked.len() <= 40, "{} requests in 10 s: {asked:?}", asked.len());
    assert!(!asked.iter().any(Asked::is_write), "{asked:?}");
    front.set(Fault::None);
    until_seen(&bench).await;
    assert_eq!(bench.instance(&web).await, before);
    assert_eq!(pod_of(&before.id).await.metadata.uid, uid, "the pod never noticed");
    assert!(!front.take().iter().any(Asked::is_write), "nothing changed, nothing is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_has_its_reason_and_is_tried_again() {
    let (bench, front) = in_front().await;
    let (web, spec) = (slot("web"), kept());
    bench.all().await;
    let apply = |asked: &Asked| asked.method == "PATCH";
    for (code, message, words) in [
        (401, "Unauthorized", "credentials are not accepted"),
        (403, "deployments.apps is forbidden", "deploy/k3s/rbac.yaml"),
        (403, "exceeded quota: small", "raise the quota"),
        (409, "conflict with \"helm\": .spec.replicas", "helm"),
        (429, "too many requests", "overloaded"),
        (500, "admission webhook \"policy.example\" denied the request", "policy.example"),
        (503, "shutting down", "shutting down"),
    ] {
        front.set(Fault::Says { code, message, to: apply });
        let step = Step::Create { slot: web.clone(), spec: spec.clone() };
        front.take();
        let error = bench.orchestrator.apply(&step).await.expect_err(message);
        assert!(error.is_transient() && error.to_string().contains(words), "{code}: {error}");
        let writes = front.take().into_iter().filter(Asked::is_write).count();
        assert_eq!(writes, 1, "{code}: it is the planner that tries again");
    }
    front.set(Fault::Says { code: 422, message: "spec is invalid", to: apply });
    let step = Step::Create { slot: web.clone(), spec: spec.clone() };
    let error = bench.orchestrator.apply(&step).await.expect_err("invalid");
    assert!(!error.is_transient(), "{error}");
    front.set(Fault::None);
    bench.up(&web, &spec).await;
    assert_eq!(bench.instance(&web).await.state, RUNNING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_too_old_or_refused_begins_anew() {
    let (bench, front) = in_front().await;
    let (web, spec) = (slot("web"), kept());
    bench.all().await;
    for (code, message) in
        [(410, "too old resource version"), (403, "pods is forbidden"), (429, "slow down")]
    {
        // The list is answered with the code too, so that it is not known what runs meanwhile.
        front.set(Fault::Down);
        until_blind(&bench).await;
        front.set(Fault::Says { code, message, to: |asked| !asked.is_write() });
        let deadline = Instant::now() + Duration::from_mins(2);
        while !until_blind(&bench).await.contains(message) {
            assert!(Instant::now() < deadline, "{message} is not told");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        front.set(Fault::None);
        until_seen(&bench).await;
    }
    bench.up(&web, &spec).await;
    assert_eq!(bench.instance(&web).await.state, RUNNING, "what happens is seen again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_does_not_wait_for_ever_for_an_api_server_that_is_silent() {
    let (bench, front) = in_front().await;
    bench.all().await;
    front.set(Fault::Silent);
    let begun = Instant::now();
    let step = Step::Create { slot: slot("web"), spec: kept() };
    let error = bench.orchestrator.apply(&step).await.expect_err("it says nothing");
    assert!(
        error.is_transient() && error.to_string().contains("did not answer in time"),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    front.set(Fault::None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_keeps_a_pod_from_being_made_and_is_named_until_it_is_raised() {
    let client = super::admin().await;
    let (namespace, spaces) = space("quota").await;
    let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> =
        Api::namespaced(client, &namespace);
    let quota = json!({ "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } } });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // Until they are there, a pod is refused for want of them.
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(super::admin().await, &namespace);
    let deadline = Instant::now() + Duration::from_mins(1);
    let is_counted = async || {
        let quota = quotas.get("none").await.unwrap();
        quota.status.is_some_and(|it| it.hard.is_some())
    };
    while accounts.get_opt("default").await.unwrap().is_none() || !is_counted().await {
        assert!(Instant::now() < deadline, "the namespace is not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let bench = Bench::k3s_with(|settings| settings.namespace.clone_from(&namespace));
    let web = slot("web");
    let id = bench.create(&web, &kept()).await.id;
    let start = Step::Start { id, slot: web.clone() };
    let error = bench.orchestrator.apply(&start).await.expect_err("no pod may be made");
    assert!(error.is_transient() && error.to_string().contains("exceeded quota"), "{error}");
    assert!(!bench.instance(&web).await.state.is_running(), "it is tried again");
    quotas.delete("none", &DeleteParams::default()).await.unwrap();
    // Who makes pods tries it ever more rarely.
    let deadline = Instant::now() + Duration::from_mins(4);
    while bench.instance(&web).await.state != RUNNING {
        assert!(Instant::now() < deadline, "{:?}", bench.instance(&web).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(bench);
    spaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
}

/// A namespace of a test's own.
async fn space(name: &str) -> (String, Api<Namespace>) {
    let namespace = format!("{name}-{}", std::process::id());
    let spaces: Api<Namespace> = Api::all(super::admin().await);
    let space = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
    spaces.create(&PostParams::default(), &space).await.unwrap();
    (namespace, spaces)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_admission_policy_refuses_is_told_in_its_words_until_it_permits_it() {
    let (namespace, spaces) = space("policy").await;
    let kind = |kind| {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        ApiResource::from_gvk(&kind)
    };
    let admin = super::admin().await;
    let policies: Api<DynamicObject> =
        Api::all_with(admin.clone(), &kind("ValidatingAdmissionPolicy"));
    let bindings: Api<DynamicObject> =
        Api::all_with(admin, &kind("ValidatingAdmissionPolicyBinding"));
    let rule = json!({ "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"],
        "operations": ["CREATE"] });
    let policy = json!({ "metadata": { "name": namespace }, "spec": {
        "matchConstraints": { "resourceRules": [rule] },
        "validations": [{ "expression": "false", "message": "nothing on Sundays" }] } });
    let binding = json!({ "metadata": { "name": namespace }, "spec": {
        "policyName": namespace, "validationActions": ["Deny"],
        "matchResources": { "namespaceSelector": { "matchLabels": {
            "kubernetes.io/metadata.name": namespace } } } } });
    let with = PostParams::default();
    policies.create(&with, &serde_json::from_value(policy).unwrap()).await.unwrap();
    bindings.create(&with, &serde_json::from_value(binding).unwrap()).await.unwrap();
    let bench = Bench::k3s_with(|settings| settings.namespace.clone_from(&namespace));
    let (web, spec) = (slot("web"), kept());
    let step = Step::Create { slot: web.clone(), spec: spec.clone() };
    let deadline = Instant::now() + Duration::from_mins(1);
    let error = loop {
        // The API server hears of a policy a moment after it was made.
        match bench.orchestrator.apply(&step).await {
            Ok(()) => bench.remove(&web).await,
            Err(error) => break error,
        }
        assert!(Instant::now() < deadline, "the policy permits it");
    };
    assert!(error.is_transient() && error.to_string().contains("nothing on Sundays"), "{error}");
    bindings.delete(&namespace, &DeleteParams::default()).await.unwrap();
    while let Err(error) = bench.orchestrator.apply(&step).await {
        assert!(Instant::now() < deadline + Duration::from_mins(1), "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(bench);
    policies.delete(&namespace, &DeleteParams::default()).await.unwrap();
    spaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
}
