//! After a burst: nobody writes any more, and everything must become equal in its time.

use std::time::{Duration, Instant};

use gnomon_tests::Api;
use gnomon_tests::eventually::let_pass;
use serde_json::Value;

use crate::check::differences;
use crate::history::{APP, End, Held, Shadow};
use crate::stage::site::Site;
use crate::stage::{DEVICES, Stage, member};

const POLL: Duration = Duration::from_millis(250);

/// How it ended.
pub(crate) enum Peace {
    Equal { after: Duration, ends: Vec<End> },
    Never { after: Duration, differences: Vec<String> },
}

/// Waits until all is as it should be; `bound` is asked again when it has passed, since the machine
/// may have become slower.
pub(crate) fn come(stage: &Stage, bound: impl Fn() -> Duration) -> Peace {
    let began = Instant::now();
    let api = stage.cloud.door().api();
    let mut patience = bound();
    loop {
        let ends: Vec<_> = stage.sites.iter().map(|site| look(&api, site)).collect();
        let differences: Vec<_> = ends.iter().flat_map(differences).collect();
        let after = began.elapsed();
        if differences.is_empty() {
            return Peace::Equal { after, ends };
        }
        if after > patience {
            let longer = bound();
            if longer <= patience {
                return Peace::Never { after, differences };
            }
            patience = longer;
        }
        let_pass(POLL);
    }
}

/// A site as both ends see it.
fn look(api: &Api, site: &Site) -> End {
    let status = site.status();
    let is_complete = status["desired_complete"] == true
        && member(&status, &["store", "state"]) == "ok"
        && member(&status, &["link", "up"]) == true;
    let pending = status["pending"].as_array().into_iter().flatten();
    let instances = site.instances();
    End {
        node: site.node.clone(),
        shadows: DEVICES.iter().chain([&APP]).map(|key| shadow(api, site, key)).collect(),
        is_complete: is_complete && instances.is_ok(),
        instances: instances.unwrap_or_default().into_iter().map(|it| it.instance).collect(),
        pending: pending.map(|key| key.as_str().unwrap_or_default().to_owned()).collect(),
    }
}

fn shadow(api: &Api, site: &Site, key: &str) -> Shadow {
    let path = format!("/v1/nodes/{}/shadows/{key}", site.node);
    let cloud = api.call("GET", &path, None).map_or(Value::Null, |(_, body)| body);
    let site = site.shadow(key).map_or(Value::Null, |mut answer| answer["shadow"].take());
    let held = |from: &Value, half: &str| {
        let version = member(from, &[half, "version"]).as_u64()?;
        Some(Held { version, document: member(from, &[half, "document"]).clone() })
    };
    Shadow {
        key: key.to_owned(),
        desired_cloud: held(&cloud, "desired"),
        desired_site: held(&site, "desired"),
        reported_cloud: held(&cloud, "reported"),
        reported_site: held(&site, "reported"),
    }
}
