//! Logs of pods, and commands in them.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, LogParams};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::mirror::Kind;
use super::{ANSWER, K3s, K3sError, api, names, observe};
use crate::local::ExecOutput;
use crate::orchestrator::tail::Tail;
use crate::reconcile::model::Slot;

const MOST_BYTES: i64 = 1024 * 1024;
/// Who waits for a command has a limit of his own.
const LONGEST: Duration = Duration::from_hours(1);

pub(super) async fn logs(k3s: &K3s, slot: &Slot, tail: usize) -> Result<String, K3sError> {
    let mut kept = Tail::new(tail);
    let Some(pod) = newest(k3s, slot, |_| true).await? else { return Ok(kept.into_text()) };
    let params = LogParams {
        tail_lines: Some(i64::try_from(tail).unwrap_or(i64::MAX)),
        limit_bytes: Some(MOST_BYTES),
        ..LogParams::default()
    };
    let pods: Api<Pod> = Api::namespaced(k3s.client().await?, &k3s.settings.namespace);
    let doing = format!("read the log of {pod}");
    match api::within(doing, pods.logs(&pod, &params)).await {
        // It has not begun, so that it wrote nothing.
        Err(error) if matches!(error.code(), Some(400 | 404)) => {}
        text => kept.push(text?.as_bytes()),
    }
    Ok(kept.into_text())
}

pub(super) async fn exec(
    k3s: &K3s,
    slot: &Slot,
    command: &[String],
) -> Result<ExecOutput, K3sError> {
    let runs = |pod: &Value| pod.pointer("/status/containerStatuses/0/state/running").is_some();
    let pod = newest(k3s, slot, runs).await?;
    let pod = pod.ok_or_else(|| K3sError::NotRunning(slot.clone()))?;
    let pods: Api<Pod> = Api::namespaced(k3s.client().await?, &k3s.settings.namespace);
    let doing = || format!("run a command in {slot}");
    let params = AttachParams::default().stdin(false).stdout(true).stderr(true);
    let mut process = api::within(doing(), pods.exec(&pod, command.to_vec(), &params)).await?;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let both = async { tokio::join!(read(stdout), read(stderr)) };
    let read = tokio::time::timeout(LONGEST, Box::pin(both)).await;
    let (stdout, stderr) = read.map_err(|_| K3sError::Slow { doing: doing() })?;
    let status = match status {
        Some(status) => tokio::time::timeout(ANSWER, status).await.ok().flatten(),
        None => None,
    };
    let status = serde_json::to_value(status).unwrap_or_default();
    Ok(ExecOutput { code: code(&status), stdout, stderr })
}

/// The exit code is told as a cause of the failure.
fn code(status: &Value) -> i64 {
    if observe::text(status, "/status") == Some("Success") {
        return 0;
    }
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let cause =
        causes.into_iter().flatten().find(|it| observe::text(it, "/reason") == Some("ExitCode"));
    cause.and_then(|it| observe::text(it, "/message")?.parse().ok()).unwrap_or(-1)
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Tail::new(usize::MAX);
    let Some(mut from) = from else { return kept.into_text() };
    let mut piece = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        kept.push(piece.get(..length).unwrap_or_default());
    }
    kept.into_text()
}

async fn newest(
    k3s: &K3s,
    slot: &Slot,
    fits: impl Fn(&Value) -> bool,
) -> Result<Option<String>, K3sError> {
    let node = &k3s.settings.node;
    let cache = k3s.mirror().look().await?;
    let own = |pod: &Value| names::read_instance(node, pod).is_some_and(|(of, _)| of == *slot);
    let created = |pod: &&Arc<Value>| {
        observe::text(pod, "/metadata/creationTimestamp").map(ToOwned::to_owned)
    };
    let pods = cache.all(Kind::Pod).filter(|pod| own(pod) && fits(pod));
    let found = pods.max_by_key(created);
    Ok(found.and_then(|pod| observe::text(pod, "/metadata/name")).map(ToOwned::to_owned))
}
