//! What is done outside the loop, and how its results become inputs.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use gnomon_schemas::id::AppName;
use tokio::sync::{mpsc, oneshot};

use crate::core::{Input, StepFailure};
use crate::local::{Log, Refusal, RefusalCode, Response};
use crate::orchestrator::{Orchestrator, OrchestratorError};
use crate::reconcile::model::{Slot, Step};
use crate::store::{Contents, StoreError};

/// What the core is told of an orchestrator that panicked: an app must not stay busy for ever.
const PANIC: &str = "the orchestrator's client panicked; its last words are on stderr";

/// Asks what runs.
pub(super) async fn observe(
    orchestrator: Orchestrator,
    version: bool,
    results: mpsc::Sender<Input>,
) {
    let seen = async {
        let mut observed = orchestrator.observe().await?;
        observed.taken_ports = orchestrator.taken_ports().await?;
        let version = if version { Some(orchestrator.version().await?) } else { None };
        Ok((observed, version))
    };
    let input = match AssertUnwindSafe(seen).catch_unwind().await {
        Ok(Ok((observed, version))) => Input::Observed { observed, version, wall_s: wall_s() },
        Ok(Err(error)) => Input::Unreachable { reason: explain(&error) },
        Err(_) => Input::Unreachable { reason: PANIC.to_owned() },
    };
    drop(results.send(input).await);
}

/// What the clock says.
pub(super) fn wall_s() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// Asks whether an image is here. If the orchestrator does not say, the pull will.
pub(super) async fn find(orchestrator: Orchestrator, image: String, results: mpsc::Sender<Input>) {
    let found = AssertUnwindSafe(orchestrator.has_image(&image)).catch_unwind().await;
    let is_here = matches!(found, Ok(Ok(true)));
    drop(results.send(Input::Found { image, is_here }).await);
}

/// Fetches an image.
pub(super) async fn pull(
    orchestrator: Orchestrator,
    app: AppName,
    image: String,
    results: mpsc::Sender<Input>,
) {
    // One that is not taken is followed by another, or by the end.
    let came = |percent| drop(results.try_send(Input::Pulling { image: image.clone(), percent }));
    let pull = AssertUnwindSafe(orchestrator.pull(&app, &image, &came)).catch_unwind().await;
    let outcome = match pull {
        Ok(Ok(Some(id))) => {
            drop(results.send(Input::Fetched { image: image.clone(), id }).await);
            Ok(())
        }
        Ok(Ok(None)) => Ok(()),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(panicked()),
    };
    drop(results.send(Input::Done { step: Step::Pull { app, image }, outcome }).await);
}

fn failure(error: &OrchestratorError) -> StepFailure {
    let (transient, is_disk_full) = (error.is_transient(), error.is_disk_full());
    StepFailure { transient, is_disk_full, reason: explain(error) }
}

fn panicked() -> StepFailure {
    StepFailure { transient: true, is_disk_full: false, reason: PANIC.to_owned() }
}

/// Asks which images there are.
pub(super) async fn survey(orchestrator: Orchestrator, results: mpsc::Sender<Input>) {
    let seen = match AssertUnwindSafe(orchestrator.survey_images()).catch_unwind().await {
        Ok(seen) => seen.map_err(|error| explain(&error)),
        Err(_) => Err(PANIC.to_owned()),
    };
    drop(results.send(Input::Surveyed(seen)).await);
}

/// Removes an image.
pub(super) async fn clear(
    orchestrator: Orchestrator,
    image: String,
    id: String,
    results: mpsc::Sender<Input>,
) {
    let cleared = AssertUnwindSafe(orchestrator.clear_image(&image, &id)).catch_unwind().await;
    let outcome = match cleared {
        Ok(outcome) => outcome.map_err(|error| explain(&error)),
        Err(_) => Err(PANIC.to_owned()),
    };
    drop(results.send(Input::Cleared { image, outcome }).await);
}

/// Does a step.
pub(super) async fn apply(orchestrator: Orchestrator, step: Step, results: mpsc::Sender<Input>) {
    let outcome = match AssertUnwindSafe(orchestrator.apply(&step)).catch_unwind().await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(panicked()),
    };
    drop(results.send(Input::Done { step, outcome }).await);
}

/// Reads what slots wrote.
pub(super) async fn logs(
    orchestrator: Orchestrator,
    slots: Vec<Slot>,
    tail: usize,
    answer: oneshot::Sender<Response>,
) {
    let mut logs = Vec::with_capacity(slots.len());
    for slot in slots {
        let read = orchestrator.logs(&slot, tail).await;
        let error = read.as_ref().err().map(explain);
        let Slot { service, replica, .. } = slot;
        logs.push(Log { service, replica, text: read.ok(), error });
    }
    drop(answer.send(Response::Logs(logs)));
}

/// Removes the volumes of an app.
pub(super) async fn remove_volumes(
    orchestrator: Orchestrator,
    app: AppName,
    answer: oneshot::Sender<Response>,
) {
    drop(answer.send(match orchestrator.remove_volumes(Some(&app)).await {
        Ok(removed) => Response::Done(format!("removed volumes of `{app}`: {removed}")),
        Err(error) => Response::Refused(Refusal::new(RefusalCode::Failed, explain(&error))),
    }));
}

/// Runs a command where a copy of a service runs.
pub(super) async fn exec(
    orchestrator: Orchestrator,
    slot: Slot,
    command: Vec<String>,
    timeout: Duration,
    answer: oneshot::Sender<Response>,
) {
    let ran = tokio::time::timeout(timeout, Box::pin(orchestrator.exec(&slot, &command))).await;
    let failed = |message: String| Response::Refused(Refusal::new(RefusalCode::Failed, message));
    drop(answer.send(match ran {
        Ok(Ok(output)) => Response::Exec(output),
        Ok(Err(error)) => failed(explain(&error)),
        Err(_) => failed(format!("the command did not end within {} s", timeout.as_secs())),
    }));
}

/// What a commit's answer means to the core.
pub(super) fn store_answer(result: Result<(), StoreError>) -> Input {
    result.map_or_else(|error| store_failed(&error), |()| Input::Committed)
}

/// What a load's answer means to the core.
pub(super) fn loaded(result: Result<Contents, StoreError>) -> Input {
    result.map_or_else(|error| store_failed(&error), Input::Loaded)
}

fn store_failed(error: &StoreError) -> Input {
    Input::StoreFailed { full: error.is_full(), reason: crate::chain(error) }
}

fn explain(error: &OrchestratorError) -> String {
    crate::chain(error)
}
