//! Commands in running containers.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerSummaryStateEnum, ExecConfig};
use futures_util::StreamExt as _;

use super::{ANSWER, Docker, DockerError, labels, observe};
use crate::local::ExecOutput;
use crate::orchestrator::tail::Tail;
use crate::reconcile::model::Slot;

/// Who waits for a command has a limit of his own.
const LONGEST: Duration = Duration::from_hours(1);

pub(super) async fn exec(
    docker: &Docker,
    slot: &Slot,
    command: &[String],
) -> Result<ExecOutput, DockerError> {
    let node = &docker.settings.node;
    let found = observe::list(docker).await?.into_iter().find(|container| {
        let labels = container.labels.as_ref();
        let of = labels.and_then(|labels| labels::read_instance(node, labels));
        let runs = container.state == Some(ContainerSummaryStateEnum::RUNNING);
        runs && of.is_some_and(|(of, _)| of == *slot)
    });
    let id = found.and_then(|container| container.id);
    let id = id.ok_or_else(|| DockerError::NotRunning(slot.clone()))?;
    let failed = |error| docker.failed(format!("run a command in {slot}"), error);
    let config = ExecConfig {
        cmd: Some(command.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..ExecConfig::default()
    };
    let made = docker.client(ANSWER)?.create_exec(&id, config).await.map_err(failed)?;
    let client = docker.client(LONGEST)?;
    let (mut stdout, mut stderr) = (Tail::new(usize::MAX), Tail::new(usize::MAX));
    let started = client.start_exec(&made.id, None).await.map_err(failed)?;
    if let StartExecResults::Attached { mut output, .. } = started {
        while let Some(piece) = output.next().await {
            match piece.map_err(failed)? {
                LogOutput::StdErr { message } => stderr.push(&message),
                LogOutput::StdOut { message }
                | LogOutput::StdIn { message }
                | LogOutput::Console { message } => stdout.push(&message),
            }
        }
    }
    let ended = docker.client(ANSWER)?.inspect_exec(&made.id).await.map_err(failed)?;
    let code = ended.exit_code.unwrap_or(-1);
    Ok(ExecOutput { code, stdout: stdout.into_text(), stderr: stderr.into_text() })
}
