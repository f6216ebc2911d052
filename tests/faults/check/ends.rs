//! Of how it ends: all copies of a half are equal, and each service runs once, with what is desired.

use super::{Promise, Violation};
use crate::history::{APP, End, Entry, Event, Half, Held, SERVICES, Shadow, value};

pub(super) fn check(history: &[Entry]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut say = |at_ms, what| found.push(Violation::new(Promise::Equal, at_ms, what));
    for Entry { at_ms, event } in history {
        match event {
            Event::Unrest { burst, after_ms, differences } => {
                let what =
                    format!("burst {burst}, {after_ms} ms later: {}", differences.join("; "));
                say(*at_ms, what);
            }
            Event::Peace { ends, .. } => {
                ends.iter().flat_map(differences).for_each(|what| say(*at_ms, what));
            }
            Event::Wrote { .. }
            | Event::Given { .. }
            | Event::Seen { .. }
            | Event::Started { .. }
            | Event::Broke { .. }
            | Event::AgentEnded { .. }
            | Event::Mended { .. }
            | Event::Restored { .. }
            | Event::Forgot { .. } => {}
        }
    }
    found
}

/// What is not as it should be in peace.
pub(crate) fn differences(end: &End) -> Vec<String> {
    let mut found = Vec::new();
    if !end.is_complete {
        found.push("the agent does not answer, or lacks something".to_owned());
    }
    if !end.pending.is_empty() {
        found.push(format!("{:?} are still to be told", end.pending));
    }
    for shadow in &end.shadows {
        found.extend(of_shadow(shadow));
    }
    if let Some(app) = end.shadows.iter().find(|shadow| shadow.key == APP) {
        found.extend(of_app(app, end));
    }
    found.into_iter().map(|what| format!("{}: {what}", end.node)).collect()
}

fn of_shadow(shadow: &Shadow) -> Vec<String> {
    let halves = [
        (Half::Desired, &shadow.desired_cloud, &shadow.desired_site),
        (Half::Reported, &shadow.reported_cloud, &shadow.reported_site),
    ];
    let differ = halves.into_iter().filter(|(half, cloud, site)| {
        let versions = [cloud, site].map(|held| held.as_ref().map(|held| held.version));
        // A site does not show what its apps are made of; its containers do.
        let is_hidden = shadow.key == APP && *half == Half::Desired;
        versions[0] != versions[1] || (!is_hidden && cloud != site)
    });
    differ
        .map(|(half, cloud, site)| {
            let at = |held: &Option<Held>| {
                let number = |held: &Held| value(&shadow.key, half, &held.document);
                held.as_ref().map_or("nothing".to_owned(), |held| {
                    format!("{} ({:?})", held.version, number(held))
                })
            };
            format!(
                "{} {half:?} is {} at the cloud, {} at the site",
                shadow.key,
                at(cloud),
                at(site)
            )
        })
        .collect()
}

fn of_app(app: &Shadow, end: &End) -> Vec<String> {
    let mut found = Vec::new();
    let Some(desired) = &app.desired_cloud else { return vec!["no app is desired".to_owned()] };
    let told = app.reported_cloud.as_ref().map(|held| &held.document);
    let is_told = told.is_some_and(|told| {
        told["state"] == "running"
            && told["good"] == true
            && told["desired_version"] == desired.version
    });
    if !is_told {
        let short = |told: &serde_json::Value| {
            let part = |name: &str| format!("{name} {}", told[name]);
            ["state", "good", "desired_version", "reason", "rolled_back_from"].map(part).join(", ")
        };
        let told = told.map_or("nothing".to_owned(), short);
        found.push(format!("version {} is not told to run: {told}", desired.version));
    }
    let wanted = value(APP, Half::Desired, &desired.document);
    for service in SERVICES {
        let all: Vec<_> = end.instances.iter().filter(|it| it.service == service).collect();
        let is_right = all.len() == 1 && all.iter().all(|it| it.runs && Some(it.value) == wanted);
        if !is_right {
            found.push(format!("{service} is not once at {wanted:?}: {all:?}"));
        }
    }
    let strange = end.instances.iter().filter(|it| !SERVICES.contains(&it.service.as_str()));
    found.extend(strange.map(|it| format!("nobody desires {it:?}")));
    found
}
