//! What is asked of the API server for one object. What it says of a Secret is not passed on, as it
//! could show what that holds.

use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
    ValidationDirective,
};
use serde_json::Value;

use super::inventory::{Record, Ref, Target};
use crate::orchestrator::k3s::api::within;
use crate::orchestrator::k3s::error::UNTYPED;
use crate::orchestrator::k3s::names::MANAGER;
use crate::orchestrator::k3s::{K3s, K3sError};

/// How an object is applied.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    /// Also fields that somebody else has taken.
    pub(super) force: bool,
    /// Only to hear whether it could be.
    pub(super) rehearse: bool,
}

async fn api(k3s: &K3s, target: &Target) -> Result<Api<DynamicObject>, K3sError> {
    let (client, resource) = (k3s.client().await?, target.resource());
    Ok(match &target.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    })
}

/// The object as it is then.
pub(super) async fn apply(
    k3s: &K3s,
    of: &Ref,
    object: &Value,
    manner: Manner,
) -> Result<Value, K3sError> {
    let params = PatchParams {
        force: manner.force,
        dry_run: manner.rehearse,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(MANAGER)
    };
    let api = api(k3s, &of.target).await?;
    let doing = format!("apply {}", of.label());
    let answer = within(doing, api.patch(&of.name, &params, &Patch::Apply(object))).await;
    let answer = k3s.heard(answer).await.map_err(|error| discreet(of, error))?;
    Ok(serde_json::to_value(answer).unwrap_or_default())
}

fn discreet(of: &Ref, error: K3sError) -> K3sError {
    if of.target.kind == "Secret"
        && let K3sError::Refused { doing, code: code @ (400 | 422 | 500), message } = error
    {
        let code = if message.starts_with(UNTYPED) { 422 } else { code };
        let message = "what is wrong is not told, as it could show what the Secret holds";
        return K3sError::Refused { doing, code, message: message.to_owned() };
    }
    error
}

/// What is written about an object, whosever it is.
pub(super) async fn look(k3s: &K3s, of: &Ref) -> Result<Option<Value>, K3sError> {
    let api = api(k3s, &of.target).await?;
    let answer = within(format!("look for {}", of.label()), api.get_metadata_opt(&of.name)).await;
    let found = k3s.heard(answer).await?;
    Ok(found.map(|it| serde_json::to_value(it).unwrap_or_default()))
}

/// What is written about the objects of a kind that have these labels, whosever they are.
pub(super) async fn list(k3s: &K3s, target: &Target, labels: &str) -> Result<Vec<Value>, K3sError> {
    let api = api(k3s, target).await?;
    let params = ListParams::default().labels(labels);
    let answer = within(format!("list {}s", target.kind), api.list_metadata(&params)).await;
    let found = k3s.heard(answer).await?;
    Ok(found.items.into_iter().filter_map(|it| serde_json::to_value(it).ok()).collect())
}

/// Writes down what an app has, unless something is written down of it by now.
pub(super) async fn create_record(k3s: &K3s, record: &Record) -> Result<(), K3sError> {
    let doing = format!("make ConfigMap {}", record.name);
    let api = k3s.objects("v1", "ConfigMap").await?;
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let object: DynamicObject = serde_json::from_value(record.to_object(&k3s.settings.node))
        .expect("a ConfigMap has a kind and metadata");
    match k3s.heard(within(doing, api.create(&params, &object)).await).await {
        Err(error) if error.code() == Some(409) => Ok(()),
        answer => answer.map(drop),
    }
}

/// Deletes an object, if it is still the one that was seen.
pub(super) async fn delete(k3s: &K3s, of: &Ref, uid: &str) -> Result<(), K3sError> {
    // With their pods; what else there is would wait until the garbage collector knows its kind.
    let has_pods =
        of.target.api_version.starts_with("apps/") || of.target.api_version.starts_with("batch/");
    let params = if has_pods { DeleteParams::foreground() } else { DeleteParams::background() };
    let uid = Some(uid.to_owned());
    let params = params.preconditions(Preconditions { uid, resource_version: None });
    let api = api(k3s, &of.target).await?;
    let answer = within(format!("delete {}", of.label()), api.delete(&of.name, &params)).await;
    match k3s.heard(answer).await {
        // Another one has its name by now, or it is gone with its kind.
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
        answer => answer.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_secret_is_not_told() {
        let of = |kind: &str| Ref {
            target: Target {
                api_version: "v1".to_owned(),
                kind: kind.to_owned(),
                plural: String::new(),
                namespace: None,
            },
            name: "key".to_owned(),
            wanted: String::new(),
            fields: String::new(),
        };
        let refused = |code| K3sError::Refused {
            doing: "apply it".to_owned(),
            code,
            message: "hunter2 is no base64".to_owned(),
        };
        let said = |kind, code| discreet(&of(kind), refused(code)).to_string();
        assert!(
            !said("Secret", 400).contains("hunter2") && !said("Secret", 422).contains("hunter2")
        );
        assert!(said("ConfigMap", 400).contains("hunter2"));
        assert!(said("Secret", 403).contains("hunter2"), "who may not is no secret");
    }
}
