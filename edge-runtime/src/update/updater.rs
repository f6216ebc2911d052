//! Follows the node's desired state about the agent's own program. It talks to the agent only by
//! what it is told and what it tells; a switch is a clean stop of the agent and a new start.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::fetch;
use super::order::{Order, PublicKey};
use super::start::{self, Started};
use super::state::Release;
use crate::backoff::Backoff;
use crate::core::Input;
use crate::link::proxy::Proxy;

/// The first wait after a failure, and the longest.
pub const WAITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));

/// What the updater goes by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wish {
    /// What is desired of the agent's own program; null: nothing, or it is not known yet.
    pub agent: Value,
    /// Whether the cloud can be reached.
    pub link_up: bool,
}

/// Follows the wishes.
#[derive(Debug)]
pub struct Updater {
    /// What runs.
    pub started: Started,
    /// Whose updates are taken.
    pub key: Option<PublicKey>,
    /// The proxy on the way to the file.
    pub proxy: Option<Proxy>,
    /// How long it waits between two attempts.
    pub backoff: Backoff,
}

/// What to do about a wish.
enum Task {
    Nothing,
    Fetch(Order, Release),
}

impl Updater {
    /// Follows wishes until there is another program to start; gives back what starts it.
    pub async fn run(
        mut self,
        mut wishes: watch::Receiver<Wish>,
        tell: mpsc::Sender<Input>,
    ) -> Started {
        self.started.disk.clean(&self.started.disk.load(), None);
        let mut told = None;
        loop {
            let wish = wishes.borrow_and_update().clone();
            if wish.link_up {
                self.confirm();
            }
            let (report, task) = self.consider(&wish);
            if told.as_ref() != Some(&report) {
                drop(tell.send(Input::Updating(report.clone())).await);
                told = Some(report);
            }
            let Task::Fetch(order, release) = task else {
                if wishes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let Some(error) = self.follow(&wishes, &order, &release).await else {
                return self.started;
            };
            let wait = self.backoff.next_delay();
            tracing::warn!(version = %order.version, reason = %error, ?wait, "no update yet");
            told = Some(report_of(&order, "retrying", Some(&error)));
            drop(tell.send(Input::Updating(told.clone().unwrap_or_default())).await);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = wishes.changed() => {}
            }
        }
    }

    /// The cloud was reached: a trial ends well.
    fn confirm(&mut self) {
        let Some(trial) = &self.started.trial else { return };
        let state = self.started.disk.load().confirmed();
        if let Err(error) = self.started.disk.save(&state) {
            tracing::warn!(error = %crate::chain(&error), "a good update is not kept yet");
            return;
        }
        if trial.send(()).is_err() {
            tracing::debug!("the trial is not watched any more");
        }
        self.started.trial = None;
        tracing::info!(version = self.started.version(), "the update reached the cloud and stays");
        self.started.disk.clean(&state, None);
    }

    /// What to report, and what to do.
    fn consider(&self, wish: &Wish) -> (Value, Task) {
        let order = match Order::read(&wish.agent) {
            None => return (Value::Null, Task::Nothing),
            Some(Err(error)) => {
                return (json!({ "state": "refused", "reason": error.to_string() }), Task::Nothing);
            }
            Some(Ok(order)) => order,
        };
        if let Err(error) = order.verify(self.key.as_ref()) {
            return (report_of(&order, "refused", Some(&error.to_string())), Task::Nothing);
        }
        let release = Release { version: order.version.clone(), sha256: order.sha256.clone() };
        if self.started.release.as_ref().is_some_and(|it| it.sha256 == release.sha256) {
            let state = if self.started.trial.is_some() { "trial" } else { "current" };
            return (report_of(&order, state, None), Task::Nothing);
        }
        let state = self.started.disk.load();
        if let Some(failed) = state.given_up.filter(|it| it.release == release) {
            return (report_of(&order, "failed", Some(&failed.reason)), Task::Nothing);
        }
        if !wish.link_up {
            // Whether it reaches the cloud can be told only where it can be reached.
            return (report_of(&order, "waiting", None), Task::Nothing);
        }
        (report_of(&order, "fetching", None), Task::Fetch(order, release))
    }

    /// Fetches a program and puts it on trial; `None`: it is to be started now.
    async fn follow(
        &self,
        wishes: &watch::Receiver<Wish>,
        order: &Order,
        release: &Release,
    ) -> Option<String> {
        let disk = &self.started.disk;
        disk.clean(&disk.load(), Some(release));
        let proxy = self.proxy.as_ref().map(|proxy| reqwest::Proxy::all(proxy.to_url()));
        let client = match proxy.transpose().and_then(fetch::client) {
            Ok(client) => client,
            Err(error) => return Some(crate::chain(&error)),
        };
        if let Err(error) = fetch::fetch(&client, disk, order, release).await {
            let reason = crate::chain(&error);
            if error.is_final() {
                let state = disk.load();
                let tried = state.clone().try_out(release.clone(), state.installed);
                let failed = tried.gave_up(&reason);
                drop(disk.save(&super::state::State { given_up: failed.given_up, ..state }));
                disk.clean(&disk.load(), None);
            }
            return Some(reason);
        }
        if !wishes.borrow().link_up {
            return Some("the link went down while the update was fetched".to_owned());
        }
        match start::choose(&self.started, release.clone()) {
            Ok(_) => None,
            Err(error) => Some(crate::chain(&error)),
        }
    }
}

fn report_of(order: &Order, state: &str, reason: Option<&str>) -> Value {
    let mut report = json!({ "version": order.version, "state": state });
    if let (Some(reason), Some(report)) = (reason, report.as_object_mut()) {
        report.insert("reason".to_owned(), reason.into());
    }
    report
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::super::disk::Disk;
    use super::super::order::tests::{key_pair, order};
    use super::*;

    #[test]
    fn an_order_for_the_program_that_runs_is_believed_only_when_it_is_signed() {
        let ((pair, public), (_, other)) = (key_pair(), key_pair());
        let digest = "ab".repeat(32);
        let dir = tempfile::tempdir().unwrap();
        let release = Release { version: "2.0".to_owned(), sha256: digest.clone() };
        let (installed, disk) = (dir.path().join("agent"), Disk::new(dir.path()));
        let mut updater = Updater {
            started: Started { installed, release: Some(release), disk, trial: None },
            key: Some(public),
            proxy: None,
            backoff: Backoff::new(WAITS.0, WAITS.1, StdRng::seed_from_u64(1)),
        };
        let mut wish = Wish { agent: order(&pair, &digest, 10), link_up: true };
        let state = |updater: &Updater, wish: &Wish| updater.consider(wish).0["state"].clone();
        assert_eq!(state(&updater, &wish), "current");
        updater.key = Some(other);
        assert_eq!(state(&updater, &wish), "refused");
        updater.key = None;
        assert_eq!(state(&updater, &wish), "refused");
        updater.key = Some(public);
        wish.agent["version"] = "3.0".into();
        assert_eq!(state(&updater, &wish), "refused", "another version was signed");
    }
}
