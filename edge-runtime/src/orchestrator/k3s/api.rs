//! The way to the API server: what is asked, with a limit of time, and typed refusals.

use std::future::Future;
use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::mirror::Kind;
use super::names::{MANAGER, Workload};
use super::{ANSWER, K3s, K3sError};

/// A watch that has nothing to tell still gives a sign every minute; without it the server is
/// taken for gone.
const SILENCE: Duration = Duration::from_secs(100);

impl K3s {
    pub(super) async fn client(&self) -> Result<kube::Client, K3sError> {
        let mut made = self.client.lock().await;
        if let Some(client) = &*made {
            return Ok(client.clone());
        }
        let client = kube::Client::try_from(self.config().await?).map_err(setup)?;
        *made = Some(client.clone());
        Ok(client)
    }

    /// The credentials were not accepted: they are read anew before the next request.
    pub(super) async fn forget_client(&self) {
        *self.client.lock().await = None;
    }

    async fn config(&self) -> Result<kube::Config, K3sError> {
        let mut config = match &self.settings.kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path).map_err(setup)?;
                let options = KubeConfigOptions::default();
                kube::Config::from_custom_kubeconfig(read, &options).await.map_err(setup)?
            }
            None => kube::Config::infer().await.map_err(setup)?,
        };
        config.connect_timeout = Some(ANSWER);
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        // The planner says when to try again.
        config.default_retry = false;
        Ok(config)
    }

    /// Objects of a kind in the namespace of this node.
    pub(super) async fn objects(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Api<DynamicObject>, K3sError> {
        let resource = resource(api_version, kind);
        Ok(Api::namespaced_with(self.client().await?, &self.settings.namespace, &resource))
    }

    pub(super) async fn workloads(&self, of: Workload) -> Result<Api<DynamicObject>, K3sError> {
        self.objects(of.api_version(), of.kind()).await
    }

    /// Sets the fields of an object that are Gnomon's, and makes it if it is not there. `force`: also
    /// those that somebody else has taken.
    pub(super) async fn put(&self, object: &Value, force: bool) -> Result<Value, K3sError> {
        let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let api = self.objects(text("/apiVersion"), kind).await?;
        let params = PatchParams { force, ..PatchParams::apply(MANAGER) };
        let doing = format!("apply {kind} {name}");
        let put = within(doing, api.patch(name, &params, &Patch::Apply(object))).await;
        let put = value(self.heard(put).await?);
        self.mirror().written(&put);
        Ok(put)
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
        let changed = within(doing, api.patch(name, &params, &Patch::Merge(change))).await;
        self.mirror().written(&value(self.heard(changed).await?));
        Ok(())
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
        let deleted = within(format!("delete {kind} {name}"), api.delete(name, params)).await;
        match self.heard(deleted).await {
            Err(error) if error.code() == Some(404) => {
                if let Some(kind) = Kind::of(kind) {
                    self.mirror().missed(kind, name);
                }
                Ok(())
            }
            Ok(answer) => {
                // What is only on its way out is given back.
                if let Some(object) = answer.left() {
                    self.mirror().written(&value(object));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get(&self, of: Workload, name: &str) -> Result<Option<Value>, K3sError> {
        let api = self.workloads(of).await?;
        let found = within(format!("look for {} {name}", of.kind()), api.get_opt(name)).await;
        let found = self.heard(found).await?.map(value);
        match &found {
            Some(found) => self.mirror().written(found),
            None => self.mirror().missed(of.followed(), name),
        }
        Ok(found)
    }

    /// An answer, heeded where it says that the credentials are not accepted (any more).
    pub(super) async fn heard<T>(&self, answer: Result<T, K3sError>) -> Result<T, K3sError> {
        if answer.as_ref().is_err_and(|error| error.code() == Some(401)) {
            self.forget_client().await;
        }
        answer
    }
}

pub(super) fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
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

fn setup(error: impl std::error::Error + 'static) -> K3sError {
    K3sError::Setup(crate::chain(&error))
}
