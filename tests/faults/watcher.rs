//! Those who only look: the cloud's stream of changes, and every start of an instance.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

use gnomon_tests::eventually::let_pass;
use serde_json::Value;

use crate::campaign::Recorder;
use crate::history::{Event, Half, Holder};
use crate::operator::seen;
use crate::stage::cloud::Door;
use crate::stage::containers::{Starts, process};
use crate::stage::{Stage, member};

/// Looks at everything on the stage, until it is over.
pub(crate) fn watch_all<'scope>(
    scope: &'scope Scope<'scope, '_>,
    stage: &Stage,
    recorder: &Recorder,
    over: &'scope AtomicBool,
) {
    let (door, own) = (stage.cloud.door().clone(), recorder.clone());
    scope.spawn(move || watch(&door, &own, over));
    for site in &stage.sites {
        let (recorder, node, data) = (recorder.clone(), site.node.clone(), site.data());
        if site.is_box() {
            let starts = site.starts();
            scope.spawn(move || containers(&node, starts, &recorder, over));
        } else {
            scope.spawn(move || processes(&node, &data, &recorder, over));
        }
    }
}

/// Follows `/v1/watch` until it is over, from where it broke off.
fn watch(door: &Door, recorder: &Recorder, over: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().connect_timeout(PATIENCE).build().unwrap();
    let mut last = None;
    while !over.load(Ordering::SeqCst) {
        runtime.block_on(follow(&client, door, recorder, over, &mut last));
        let_pass(Duration::from_millis(200));
    }
}

const PATIENCE: Duration = Duration::from_secs(2);

/// One connection. All of it is of the era in which it was made: the cloud goes between two.
async fn follow(
    client: &reqwest::Client,
    door: &Door,
    recorder: &Recorder,
    over: &AtomicBool,
    last: &mut Option<String>,
) {
    let era = door.era();
    let mut request = client.get(format!("{}/v1/watch", door.url)).bearer_auth(&door.token);
    if let Some(last) = last.as_deref() {
        request = request.header("Last-Event-ID", last);
    }
    let Ok(Ok(mut response)) = tokio::time::timeout(PATIENCE * 5, request.send()).await else {
        return;
    };
    let mut text = Vec::new();
    while !over.load(Ordering::SeqCst) {
        match tokio::time::timeout(PATIENCE, response.chunk()).await {
            Err(_) => {}
            Ok(Ok(Some(bytes))) => text.extend_from_slice(&bytes),
            Ok(Ok(None) | Err(_)) => return,
        }
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            take(&String::from_utf8_lossy(&event), era, recorder, last);
        }
    }
}

fn take(event: &str, era: u64, recorder: &Recorder, last: &mut Option<String>) {
    let field = |name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    if field("event") == Some("shadow")
        && let Some(shadow) = field("data").and_then(|it| serde_json::from_str::<Value>(it).ok())
    {
        let only = match shadow["changed"].as_str() {
            Some("desired") => Some(Half::Desired),
            Some("reported") => Some(Half::Reported),
            _ => None,
        };
        let text = |name: &str| member(&shadow, &[name]).as_str().unwrap_or_default().to_owned();
        seen(recorder, era, Holder::Cloud, &text("node"), &text("key"), &shadow, only);
    }
    if let Some(id) = field("id") {
        *last = Some(id.to_owned());
    }
}

/// Hears of each start in a box, until it is over.
fn containers(node: &str, mut starts: Starts, recorder: &Recorder, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        starts.listen(|start| {
            let (node, service) = (node.to_owned(), start.service);
            let (revision, instance) = (start.revision, start.instance);
            recorder.record(Event::Started { node, service, revision, instance });
        });
        let_pass(Duration::from_millis(200));
    }
}

/// Looks for new host processes, until it is over.
fn processes(node: &str, data: &Path, recorder: &Recorder, over: &AtomicBool) {
    let mut known = BTreeSet::new();
    while !over.load(Ordering::SeqCst) {
        for found in gnomon_tests::site::instances(data).into_iter().filter_map(process) {
            if !known.insert((found.id.clone(), found.instance.value)) {
                continue;
            }
            let (node, service) = (node.to_owned(), found.instance.service);
            let (revision, instance) = (found.instance.value.to_string(), found.id);
            recorder.record(Event::Started { node, service, revision, instance });
        }
        let_pass(Duration::from_millis(700));
    }
}
