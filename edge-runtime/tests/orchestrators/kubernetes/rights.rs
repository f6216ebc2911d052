//! The agent with exactly the rights of `deploy/k3s/rbac.yaml`, and with others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::orchestrator::k3s::{self, K3s};
use gnomon_edge::reconcile::model::{Health, InstanceState, Step};
use gnomon_schemas::app::{
    AppSpec, FileMount, Mount, Port, Protocol, RestartPolicy, SecretSpec, SecretText, ServiceSpec,
    VolumeSpec,
};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{admin, kubeconfig};
use crate::bench::{Bench, POLITE, app, service, slot};

/// Applies a file of `deploy/k3s` as an administrator would.
pub(super) async fn apply(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/k3s").join(file);
    for document in std::fs::read_to_string(path).unwrap().split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).unwrap();
        let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (group, version) =
            text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
        let api: Api<DynamicObject> = match text("/metadata/namespace") {
            "" => Api::all_with(admin().await, &kind),
            namespace => Api::namespaced_with(admin().await, namespace, &kind),
        };
        let by = PatchParams::apply("test").force();
        api.patch(text("/metadata/name"), &by, &Patch::Apply(&object)).await.unwrap();
    }
}

/// The API server hears of a right a moment after it was given.
pub(super) async fn until_permitted(orchestrator: &Orchestrator) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = orchestrator.observe().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A kubeconfig with the token of a service account.
async fn config_of(account: &str, dir: &Path) -> PathBuf {
    let path = dir.join(format!("{account}.json"));
    std::fs::write(&path, config_with(&token(account).await)).unwrap();
    path
}

/// A token of a service account.
pub(super) async fn token(account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin().await, "gnomon");
    let wanted: TokenRequest =
        serde_json::from_value(json!({ "spec": { "audiences": [] } })).unwrap();
    let made = accounts.create_token_request(account, &PostParams::default(), &wanted).await;
    made.unwrap().status.unwrap().token.unwrap()
}

pub(super) fn config_with(token: &str) -> String {
    let read = Kubeconfig::read_from(kubeconfig()).unwrap();
    let mut config = serde_json::to_value(read).unwrap();
    let user = config.pointer("/contexts/0/context/user").cloned().unwrap();
    config["users"] = json!([{ "name": user, "user": { "token": token } }]);
    config.to_string()
}

fn everything() -> Arc<AppSpec> {
    let mut spec = ServiceSpec { restart: RestartPolicy::Always, ..service(POLITE) };
    let secret = FileMount::new("key".parse().unwrap());
    spec.secrets = [("/run/key".to_owned(), secret)].into();
    spec.ports = [Port {
        container: 8080.try_into().unwrap(),
        host: None,
        host_ip: None,
        protocol: Protocol::Tcp,
    }]
    .into_iter()
    .collect();
    let mount = Mount::Volume { name: "films".parse().unwrap(), read_only: false };
    spec.volumes = [("/films".to_owned(), mount)].into();
    let secrets =
        [("key".parse().unwrap(), SecretSpec { content: SecretText::new("hunter2") })].into();
    let volumes = [("films".parse().unwrap(), VolumeSpec::default())].into();
    Arc::new(AppSpec { secrets, volumes, ..(*app(spec)).clone() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_deployment_are_enough_and_no_more() {
    apply("rbac.yaml").await;
    let dir = tempfile::tempdir().unwrap();
    let config = config_of("gnomon-edge", dir.path()).await;
    let bench = Bench::k3s_with(|settings| settings.kubeconfig = Some(config.clone()));
    until_permitted(&bench.orchestrator).await;
    let web = slot("web");
    bench.orchestrator.pull(&web.app, "gnomon-demo:1", &|_| {}).await.unwrap();
    bench.up(&web, &everything()).await;
    let command = ["true".to_owned()];
    assert_eq!(bench.orchestrator.exec(&web, &command).await.unwrap().code, 0);
    bench.orchestrator.logs(&web, 10).await.unwrap();
    bench.apply(Step::Create { slot: web.clone(), spec: everything() }).await;
    bench.stop(&web, Duration::from_secs(5)).await;
    bench.remove(&web).await;
    bench.apply(Step::RemoveApp { app: web.app.clone() }).await;
    let job = slot("job");
    bench.up(&job, &crate::bench::app_of([("job", service("exit 3"))])).await;
    bench.until(&job, crate::bench::exited(3)).await;
    bench.start(&job).await;
    bench.orchestrator.version().await.unwrap();
    // Elsewhere it has none.
    let read = Kubeconfig::read_from(&config).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let elsewhere: Api<Secret> = Api::namespaced(client, "kube-system");
    assert!(elsewhere.list(&ListParams::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_for_manifests_are_enough_and_without_them_it_is_said_what_is_missing() {
    apply("rbac.yaml").await;
    let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: { name: rights }\nspec:\n  serviceName: rights\n  \
        selector: { matchLabels: { a: rights } }\n  template:\n    metadata: { labels: { a: rights } }\n    \
        spec: { terminationGracePeriodSeconds: 0, containers: [{ name: web, image: 'gnomon-demo:1' }] }\n---\n\
        apiVersion: v1\nkind: Secret\nmetadata: { name: rights }\nstringData: { key: hunter2 }\n";
    let spec = Arc::new(gnomon_schemas::compose::kubernetes::read(text).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let config = config_of("gnomon-edge", dir.path()).await;
    let bench = Bench::k3s_with(|settings| settings.kubeconfig = Some(config));
    until_permitted(&bench.orchestrator).await;
    let place = slot(gnomon_schemas::compose::kubernetes::SERVICE);
    let create = Step::Create { slot: place.clone(), spec };
    let error = bench.orchestrator.apply(&create).await.expect_err("it has no such right");
    assert!(error.is_transient() && error.to_string().contains("rbac-manifests.yaml"), "{error}");
    apply("rbac-manifests.yaml").await;
    // See above.
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = bench.orchestrator.apply(&create).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bench.until(&place, InstanceState::Running(Health::Healthy)).await;
    bench.stop(&place, Duration::ZERO).await;
    bench.remove(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rights_it_says_which_file_grants_them_and_wrong_credentials_are_read_anew() {
    apply("rbac.yaml").await;
    let dir = tempfile::tempdir().unwrap();
    let config = config_of("default", dir.path()).await;
    let settings = k3s::Settings::new("nobody".parse().unwrap());
    let k3s = K3s::new(k3s::Settings { kubeconfig: Some(config.clone()), ..settings });
    let until = async |words: Option<&str>| {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let seen = k3s.observe().await;
            match (&seen, words) {
                (Ok(_), None) => return,
                (Err(error), Some(words)) if error.to_string().contains(words) => return,
                (Ok(_) | Err(_), _) => {}
            }
            assert!(Instant::now() < deadline, "{seen:?}, not {words:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    until(Some("deploy/k3s/rbac.yaml")).await;
    std::fs::write(&config, config_with("expired")).unwrap();
    // The credentials that are in use are not read again before they are refused.
    let refused = K3s::new(k3s::Settings {
        kubeconfig: Some(config.clone()),
        ..k3s::Settings::new("nobody".parse().unwrap())
    });
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let error = refused.observe().await.expect_err("the token is wrong").to_string();
        if error.contains("credentials are not accepted") {
            break;
        }
        assert!(Instant::now() < deadline, "{error}");
    }
    let good = config_of("gnomon-edge", dir.path()).await;
    std::fs::rename(good, &config).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while let Err(error) = refused.observe().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A token that is good as long as a Secret is there.
async fn token_of(secret: &str) -> String {
    let (accounts, secrets): (Api<ServiceAccount>, Api<Secret>) =
        (Api::namespaced(admin().await, "gnomon"), Api::namespaced(admin().await, "gnomon"));
    let made = serde_json::from_value(json!({ "metadata": { "name": secret } })).unwrap();
    let made = secrets.create(&PostParams::default(), &made).await.unwrap();
    let bound =
        json!({ "kind": "Secret", "apiVersion": "v1", "name": secret, "uid": made.metadata.uid });
    let wanted = json!({ "spec": { "audiences": [], "boundObjectRef": bound } });
    let wanted: TokenRequest = serde_json::from_value(wanted).unwrap();
    let made = accounts.create_token_request("gnomon-edge", &PostParams::default(), &wanted).await;
    made.unwrap().status.unwrap().token.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_good_any_more_is_read_anew_from_its_file_while_apps_go_on() {
    apply("rbac.yaml").await;
    let dir = tempfile::tempdir().unwrap();
    let (file, config) = (dir.path().join("token"), dir.path().join("config"));
    let first = token_of("token-first").await;
    std::fs::write(&file, &first).unwrap();
    let mut whole: Value = serde_json::from_str(&config_with(&first)).unwrap();
    whole["users"][0]["user"] = json!({ "tokenFile": file });
    std::fs::write(&config, whole.to_string()).unwrap();
    let bench = Bench::k3s_with(|settings| settings.kubeconfig = Some(config.clone()));
    until_permitted(&bench.orchestrator).await;
    let web = slot("web");
    let spec = app(ServiceSpec { restart: RestartPolicy::Always, ..service(POLITE) });
    bench.up(&web, &spec).await;
    let uid = super::pod_of(&bench.instance(&web).await.id).await.metadata.uid;
    let secrets: Api<Secret> = Api::namespaced(admin().await, "gnomon");
    secrets.delete("token-first", &DeleteParams::default()).await.unwrap();
    // The API server believes in a token for a while.
    let step = Step::Create { slot: web.clone(), spec };
    let deadline = Instant::now() + Duration::from_mins(2);
    let error = loop {
        match bench.orchestrator.apply(&step).await {
            Ok(()) => assert!(Instant::now() < deadline, "the token is still good"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    assert!(
        error.is_transient() && error.to_string().contains("credentials are not accepted"),
        "{error}"
    );
    std::fs::write(&file, token_of("token-second").await).unwrap();
    let deadline = Instant::now() + Duration::from_mins(2);
    while let Err(error) = bench.orchestrator.apply(&step).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let now = super::pod_of(&bench.instance(&web).await.id).await.metadata.uid;
    assert_eq!(now, uid, "the pod never noticed");
    drop(bench);
    secrets.delete("token-second", &DeleteParams::default()).await.unwrap();
}
