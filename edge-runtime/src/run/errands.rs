//! What is done outside the loop, and how its results become inputs.

use tokio::sync::{mpsc, oneshot};

use crate::core::{Input, StepFailure};
use crate::local::{Log, Response};
use crate::orchestrator::Orchestrator;
use crate::reconcile::model::{Slot, Step};
use crate::store::{Entry, StoreError};

/// Asks what runs.
pub(super) async fn observe(
    orchestrator: Orchestrator,
    version: bool,
    results: mpsc::Sender<Input>,
) {
    let seen = async {
        let observed = orchestrator.observe().await?;
        let version = if version { Some(orchestrator.version().await?) } else { None };
        Ok((observed, version))
    };
    let input = match seen.await {
        Ok((observed, version)) => Input::Observed { observed, version },
        Err(error) => Input::Unreachable { reason: explain(&error) },
    };
    drop(results.send(input).await);
}

/// Does a step.
pub(super) async fn apply(orchestrator: Orchestrator, step: Step, results: mpsc::Sender<Input>) {
    let outcome = orchestrator
        .apply(&step)
        .await
        .map_err(|error| StepFailure { transient: error.is_transient(), reason: explain(&error) });
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

/// What a commit's answer means to the core.
pub(super) fn store_answer(result: Result<(), StoreError>) -> Input {
    result.map_or_else(|error| store_failed(&error), |()| Input::Committed)
}

/// What a load's answer means to the core.
pub(super) fn loaded(result: Result<Vec<Entry>, StoreError>) -> Input {
    result.map_or_else(|error| store_failed(&error), Input::Loaded)
}

fn store_failed(error: &StoreError) -> Input {
    Input::StoreFailed { full: error.is_full(), reason: crate::chain(error) }
}

fn explain(error: &crate::orchestrator::OrchestratorError) -> String {
    crate::chain(error)
}
