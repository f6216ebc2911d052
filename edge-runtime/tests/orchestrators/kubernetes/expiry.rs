//! A token that ends by time. The API server gives none for less than ten minutes, so that this one is
//! signed here, with the key of the tests' cluster.

#![expect(clippy::print_stderr, reason = "what is skipped is said")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gnomon_edge::reconcile::model::Step;
use gnomon_schemas::app::{RestartPolicy, ServiceSpec};
use serde_json::{Value, json};

use super::rights::{apply, config_with, token, until_permitted};
use super::{kubeconfig, objects, pod_of};
use crate::bench::{Bench, POLITE, app, service, slot};

/// How long after its end the API server takes a token, for the sake of clocks.
const LEEWAY: i64 = 60;

fn signing_key() -> Option<PathBuf> {
    Some(kubeconfig().parent()?.join("pki/accounts.key")).filter(|it| it.exists())
}

/// A token of the agent's account that is taken for so many seconds.
async fn token_for(seconds: i64, key: &PathBuf) -> String {
    let account = objects("v1", "ServiceAccount").await.get("gnomon-edge").await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let claims = json!({
        "iss": "https://test", "aud": ["https://test"],
        "iat": now - 600, "nbf": now - 600, "exp": now - LEEWAY + seconds,
        "sub": "system:serviceaccount:gnomon:gnomon-edge",
        "kubernetes.io": { "namespace": "gnomon",
            "serviceaccount": { "name": "gnomon-edge", "uid": account.metadata.uid } },
    });
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims));
    let mut openssl = Command::new("openssl");
    let openssl = openssl.args(["dgst", "-sha256", "-sign"]).arg(key);
    let mut signer = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    signer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let signature = signer.wait_with_output().unwrap();
    assert!(signature.status.success(), "openssl does not sign");
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.stdout))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_by_time_is_read_anew_from_its_file_while_apps_go_on() {
    let Some(key) = signing_key() else {
        assert!(std::env::var_os("KUBECONFIG").is_some(), "the tests' cluster has no key");
        return eprintln!("SKIPPED: the key of the cluster that KUBECONFIG names is not known");
    };
    apply("rbac.yaml").await;
    let dir = tempfile::tempdir().unwrap();
    let (file, config) = (dir.path().join("token"), dir.path().join("config"));
    let mut whole: Value = serde_json::from_str(&config_with("none")).unwrap();
    whole["users"][0]["user"] = json!({ "tokenFile": file });
    std::fs::write(&config, whole.to_string()).unwrap();
    std::fs::write(&file, token("gnomon-edge").await).unwrap();
    let mut bench = Bench::k3s_with(|settings| settings.kubeconfig = Some(config.clone()));
    until_permitted(&bench.orchestrator).await;
    let web = slot("web");
    let spec = app(ServiceSpec { restart: RestartPolicy::Always, ..service(POLITE) });
    bench.up(&web, &spec).await;
    let uid = pod_of(&bench.instance(&web).await.id).await.metadata.uid;
    // The next agent begins with one that is about to end.
    std::fs::write(&file, token_for(30, &key).await).unwrap();
    bench.orchestrator = bench.reopen();
    let step = Step::Create { slot: web.clone(), spec };
    bench.apply(step.clone()).await;
    let deadline = Instant::now() + Duration::from_mins(3);
    let error = loop {
        match bench.orchestrator.apply(&step).await {
            Ok(()) => assert!(Instant::now() < deadline, "the token does not end"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    assert!(
        error.is_transient() && error.to_string().contains("credentials are not accepted"),
        "{error}"
    );
    // Whoever keeps the file, such as a kubelet, writes the next one.
    std::fs::write(&file, token("gnomon-edge").await).unwrap();
    while let Err(error) = bench.orchestrator.apply(&step).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    until_permitted(&bench.orchestrator).await;
    let now = pod_of(&bench.instance(&web).await.id).await.metadata.uid;
    assert_eq!(now, uid, "the pod never noticed");
}
