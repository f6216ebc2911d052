//! Waits until every node reports that it runs what was written, and that it has shown to be good:
//! an app that falls over at once runs too, for a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_schemas::app::{AppState, AppStatus};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::{Instant, timeout_at};

use super::Target;
use crate::api::{Shadow, WatchEvent};
use crate::client::{ApiError, Client};
use crate::exit::Failure;
use crate::output;

/// How far one node has come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Running,
    /// In the words that a person sees.
    NotYet(String),
    Refused(String),
    /// It turned out to be bad; the revision before runs again.
    RolledBack(String),
}

struct Waiting {
    version: u64,
    bar: ProgressBar,
    last: String,
}

/// Returns when all of them run it, one refuses it, or the time is over.
pub(super) async fn until_running(
    client: &Client,
    key: &str,
    targets: Vec<Target>,
    timeout: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    let bars = MultiProgress::new();
    let mut waiting: BTreeMap<String, Waiting> = targets
        .into_iter()
        .map(|target| {
            let bar = bars.add(spinner(&target.node));
            (target.node, Waiting { version: target.version, bar, last: "nothing".to_owned() })
        })
        .collect();
    let names: Vec<String> = waiting.keys().cloned().collect();
    while !waiting.is_empty() {
        let round = follow(client, &names, key, &bars, &mut waiting);
        match timeout_at(deadline, round).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                bars.clear().ok();
                return Err(error);
            }
            Err(_) => {
                bars.clear().ok();
                return Err(too_late(key, timeout, &waiting).into());
            }
        }
        if !waiting.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

/// Follows one watch until all is done or the watch ends.
async fn follow(
    client: &Client,
    names: &[String],
    key: &str,
    bars: &MultiProgress,
    waiting: &mut BTreeMap<String, Waiting>,
) -> anyhow::Result<()> {
    let mut watch = match client.watch(names, Some(key)).await {
        Ok(watch) => watch,
        Err(ApiError::Unreachable { .. } | ApiError::Silent { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    while let Some(event) = watch.next().await {
        let shadow = match event {
            Ok(WatchEvent::Shadow { shadow, .. }) => shadow,
            Ok(WatchEvent::NodeDeleted { name }) if waiting.contains_key(&name) => {
                return Err(Failure::NotFound(format!("the node {name} was deleted")).into());
            }
            Ok(WatchEvent::Node(_) | WatchEvent::NodeDeleted { .. } | WatchEvent::Synced) => {
                continue;
            }
            Err(error @ ApiError::BadAnswer { .. }) => return Err(error.into()),
            Ok(WatchEvent::Lagged) | Err(_) => return Ok(()),
        };
        take(&shadow, key, bars, waiting)?;
        if waiting.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

fn take(
    shadow: &Shadow,
    key: &str,
    bars: &MultiProgress,
    waiting: &mut BTreeMap<String, Waiting>,
) -> anyhow::Result<()> {
    if shadow.key != key {
        return Ok(());
    }
    let node = &shadow.node;
    let Some(entry) = waiting.get_mut(node) else { return Ok(()) };
    match progress(shadow, entry.version) {
        Progress::Running => {
            entry.bar.finish_and_clear();
            waiting.remove(node);
            bars.suspend(|| output::talk(&format!("{key} on {node}: running, and good")));
            Ok(())
        }
        Progress::NotYet(text) => {
            entry.bar.set_message(text.clone());
            if entry.last != text && entry.bar.is_hidden() {
                output::talk(&format!("{key} on {node}: {text}"));
            }
            entry.last = text;
            Ok(())
        }
        Progress::Refused(reason) => {
            Err(Failure::BadInput(format!("{key} on {node}: refused: {reason}")).into())
        }
        Progress::RolledBack(reason) => anyhow::bail!("{key} on {node}: {reason}"),
    }
}

fn progress(shadow: &Shadow, version: u64) -> Progress {
    let reported = shadow.reported.as_ref().map(|half| AppStatus::from_document(&half.document));
    let status = match reported {
        None => return Progress::NotYet("nothing reported yet".to_owned()),
        Some(Err(error)) => return Progress::NotYet(format!("an unreadable report: {error}")),
        Some(Ok(status)) => status,
    };
    if status.desired_version.0 < version {
        return Progress::NotYet(format!("still at v{}", status.desired_version));
    }
    let reason = status.reason.clone().unwrap_or_default();
    if status.rolled_back_from.is_some() {
        return Progress::RolledBack(reason);
    }
    match status.state {
        AppState::Running if status.wanted.is_some() => {
            Progress::NotYet("somebody at the node keeps another revision".to_owned())
        }
        AppState::Running if !status.good => Progress::NotYet("running, on trial".to_owned()),
        AppState::Running => Progress::Running,
        AppState::Refused => Progress::Refused(reason),
        state @ (AppState::Pending
        | AppState::Pulling
        | AppState::Starting
        | AppState::Degraded
        | AppState::Failed
        | AppState::Stopping) => {
            let state = format!("{state:?}").to_lowercase();
            Progress::NotYet(if reason.is_empty() { state } else { format!("{state}: {reason}") })
        }
    }
}

fn too_late(key: &str, timeout: Duration, waiting: &BTreeMap<String, Waiting>) -> Failure {
    let nodes: Vec<String> = waiting
        .iter()
        .map(|(node, entry)| format!("\n  {node}: v{} wanted, {} seen", entry.version, entry.last))
        .collect();
    Failure::TimedOut(format!(
        "{key} does not run everywhere after {} s; it stays desired and sites that come back will \
         run it:{}",
        timeout.as_secs(),
        nodes.concat()
    ))
}

fn spinner(node: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_prefix(node.to_owned());
    bar.set_message("written");
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests;
