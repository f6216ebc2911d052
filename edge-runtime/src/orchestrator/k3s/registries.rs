//! Credentials for registries: one Secret of the node that all its pods name. It is written when
//! the credentials change, tried until it succeeds, and at the latest before a pod starts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::node::Credentials;
use kube::runtime::watcher::DefaultBackoff;
use serde_json::{Map, Value, json};
use tokio::task::AbortHandle;

use super::mirror::Kind;
use super::{ANSWER, K3s, K3sError, names};

/// What the Secret should hold.
#[derive(Debug, Default)]
pub(super) struct Registries(
    /// Touched for moments, by the loop that configures and by steps.
    Mutex<Wish>,
);

#[derive(Debug, Default)]
struct Wish {
    wanted: BTreeMap<String, Credentials>,
    /// Whether the cluster has exactly that.
    is_written: bool,
    writer: Option<AbortHandle>,
}

impl Registries {
    fn with<T>(&self, see: impl FnOnce(&mut Wish) -> T) -> T {
        see(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes the credentials; must be called inside a Tokio runtime.
pub(super) fn configure(k3s: &K3s, wanted: BTreeMap<String, Credentials>) {
    let is_news = k3s.registries.with(|wish| {
        let is_news = wish.wanted != wanted;
        wish.wanted = wanted;
        wish.is_written &= !is_news;
        is_news
    });
    if !is_news {
        return;
    }
    let own = k3s.clone();
    let task = tokio::spawn(async move {
        let mut pauses = DefaultBackoff::default();
        while let Err(error) = write(&own).await {
            tracing::warn!(%error, "credentials for registries are not written to the cluster yet");
            tokio::time::sleep(pauses.next().unwrap_or(ANSWER)).await;
        }
    });
    let before = k3s.registries.with(|wish| wish.writer.replace(task.abort_handle()));
    if let Some(before) = before {
        before.abort();
    }
}

/// Makes sure that the cluster has the credentials.
pub(super) async fn write(k3s: &K3s) -> Result<(), K3sError> {
    let name = names::registries(&k3s.settings.node);
    let is_there = k3s.mirror().look().await?.get(Kind::Secret, &name).is_some();
    let wanted = k3s.registries.with(|wish| {
        let is_done = wish.is_written && is_there;
        (!is_done).then(|| wish.wanted.clone())
    });
    let Some(wanted) = wanted else { return Ok(()) };
    k3s.put(&secret(&k3s.settings.node, &wanted), true).await?;
    k3s.registries.with(|wish| wish.is_written = wish.wanted == wanted);
    Ok(())
}

/// The form in which the kubelet reads credentials. Without any it is there all the same: pods
/// name it.
fn secret(node: &NodeName, wanted: &BTreeMap<String, Credentials>) -> Value {
    let login = |(host, Credentials { username, password }): (&String, &Credentials)| {
        // As `docker login` calls it, which is how the kubelet looks it up.
        let host = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
        let auth = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
        (host.to_owned(), json!({ "auth": auth }))
    };
    let auths: Map<_, _> = wanted.iter().map(login).collect();
    let config = json!({ "auths": auths }).to_string();
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": names::registries(node), "labels": names::labels(node) },
        "data": { ".dockerconfigjson": BASE64_STANDARD.encode(config) },
    })
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::app::SecretText;

    use super::*;

    #[test]
    fn the_secret_is_what_docker_login_would_have_written() {
        let credentials = |password: &str| Credentials {
            username: "site".to_owned(),
            password: SecretText::new(password),
        };
        let wanted = [
            ("registry.example:5000".to_owned(), credentials("a>b?")),
            ("docker.io".to_owned(), credentials("hub")),
        ];
        let secret = secret(&"site".parse().unwrap(), &wanted.into());
        let data = secret["data"][".dockerconfigjson"].as_str().unwrap();
        let config: Value = serde_json::from_slice(&BASE64_STANDARD.decode(data).unwrap()).unwrap();
        assert_eq!(
            config,
            json!({ "auths": {
                "registry.example:5000": { "auth": "c2l0ZTphPmI/" },
                "https://index.docker.io/v1/": { "auth": "c2l0ZTpodWI=" },
            } })
        );
    }
}
