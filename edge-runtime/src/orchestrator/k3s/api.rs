//! The way to the API server: what is asked, with a limit of time, and typed refusals.

use std::future::Future;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::names::{self, Workload};
use super::{ANSWER, K3s, K3sError};

/// Who owns the fields that Gnomon sets.
const MANAGER: &str = "gnomon";

impl K3s {
    pub(super) async fn client(&self) -> Result<kube::Client, K3sError> {
        let make = || async {
            let mut config = match &self.settings.kubeconfig {
                Some(path) => {
                    let read = Kubeconfig::read_from(path).map_err(setup)?;
                    let options = KubeConfigOptions::default();
                    kube::Config::from_custom_kubeconfig(read, &options).await.map_err(setup)?
                }
                None => kube::Config::infer().await.map_err(setup)?,
            };
            config.connect_timeout = Some(ANSWER);
            kube::Client::try_from(config).map_err(setup)
        };
        self.client.get_or_try_init(make).await.cloned()
    }

    /// Objects of a kind in the namespace of this node.
    pub(super) async fn objects(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Api<DynamicObject>, K3sError> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Ok(Api::namespaced_with(self.client().await?, &self.settings.namespace, &resource))
    }

    pub(super) async fn workloads(&self, of: Workload) -> Result<Api<DynamicObject>, K3sError> {
        self.objects(of.api_version(), of.kind()).await
    }

    pub(super) async fn list(
        &self,
        api_version: &str,
        kind: &str,
        selector: &str,
    ) -> Result<Vec<Value>, K3sError> {
        let params = ListParams::default().labels(selector);
        let api = self.objects(api_version, kind).await?;
        let found = within(format!("list {kind}s"), api.list(&params)).await?;
        Ok(found.items.into_iter().map(value).collect())
    }

    pub(super) async fn pods(&self, name: &str) -> Result<Vec<Value>, K3sError> {
        self.list("v1", "Pod", &names::of_instance(&self.settings.node, name)).await
    }

    /// Sets the fields of an object that are Gnomon's, and makes it if it is not there.
    pub(super) async fn put(&self, object: &Value) -> Result<Value, K3sError> {
        let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let api = self.objects(text("/apiVersion"), kind).await?;
        let params = PatchParams::apply(MANAGER);
        let doing = format!("apply {kind} {name}");
        within(doing, api.patch(name, &params, &Patch::Apply(object))).await.map(value)
    }

    pub(super) async fn change(
        &self,
        of: Workload,
        name: &str,
        change: &Value,
    ) -> Result<(), K3sError> {
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let doing = format!("change {} {name}", of.kind());
        let api = self.workloads(of).await?;
        within(doing, api.patch(name, &params, &Patch::Merge(change))).await.map(drop)
    }

    /// Deletes an object; one that is not there is deleted.
    pub(super) async fn delete(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
        params: &DeleteParams,
    ) -> Result<(), K3sError> {
        let api = self.objects(api_version, kind).await?;
        match within(format!("delete {kind} {name}"), api.delete(name, params)).await {
            Err(error) if error.code() == Some(404) => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) async fn get(&self, of: Workload, name: &str) -> Result<Option<Value>, K3sError> {
        let api = self.workloads(of).await?;
        let found = within(format!("look for {} {name}", of.kind()), api.get_opt(name)).await?;
        Ok(found.map(value))
    }
}

/// The answer, within the time that the API server may take.
pub(super) async fn within<T>(
    doing: impl Into<String>,
    work: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, K3sError> {
    let doing = doing.into();
    match tokio::time::timeout(ANSWER, work).await {
        Ok(answer) => answer.map_err(|error| K3sError::from_client(doing, error)),
        Err(_) => Err(K3sError::Slow { doing }),
    }
}

fn value(object: DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn setup(error: impl std::error::Error + 'static) -> K3sError {
    K3sError::Setup(crate::chain(&error))
}
