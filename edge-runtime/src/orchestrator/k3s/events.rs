//! What the cluster tells of a pod that does not come up: its newest warning. Asked for only when a
//! step has waited in vain.

use kube::api::ListParams;
use serde_json::Value;

use super::mirror::Kind;
use super::{K3s, K3sError, api, observe};

/// Events of one object that are read; the API server keeps few.
const MOST: u32 = 200;

/// The newest warning about a workload's pods or itself, if there is one.
pub(super) async fn why(k3s: &K3s, name: &str) -> Result<Option<String>, K3sError> {
    let mut about: Vec<String> = {
        let cache = k3s.mirror().look().await?;
        let pods = cache.all(Kind::Pod).filter(|pod| super::names::instance_of(pod) == Some(name));
        pods.filter_map(|pod| observe::text(pod, "/metadata/name").map(ToOwned::to_owned)).collect()
    };
    about.push(name.to_owned());
    let api = k3s.objects("v1", "Event").await?;
    for name in about {
        let fields = format!("involvedObject.name={name},type=Warning");
        let params = ListParams::default().fields(&fields).limit(MOST);
        let doing = format!("read what happened to {name}");
        let found = k3s.heard(api::within(doing, api.list(&params)).await).await?;
        let events: Vec<Value> =
            found.items.into_iter().filter_map(|it| serde_json::to_value(it).ok()).collect();
        let newest = events.iter().max_by_key(|event| time(event));
        if let Some(newest) = newest {
            let part = |path| observe::text(newest, path).unwrap_or_default();
            return Ok(Some(format!("{}: {}", part("/reason"), part("/message"))));
        }
    }
    Ok(None)
}

fn time(event: &Value) -> Option<&str> {
    let times = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().find_map(|path| observe::text(event, path))
}
