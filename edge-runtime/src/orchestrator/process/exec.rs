//! Commands beside running instances.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::record::Launch;
use super::{Process, ProcessError, blocking, signal, state};
use crate::local::ExecOutput;
use crate::orchestrator::tail::Tail;
use crate::reconcile::model::{InstanceState, Slot};

pub(super) async fn exec(
    this: &Process,
    slot: &Slot,
    command: &[String],
) -> Result<ExecOutput, ProcessError> {
    let launch = launch(this, slot).await?;
    let [program, arguments @ ..] = command else {
        return Err(ProcessError::NotRunning(slot.clone()));
    };
    let failed = |source| ProcessError::Command { program: program.clone(), source };
    // A runtime of its own may not begin inside of this one.
    let heard = tokio::task::spawn_blocking(signal::hand_on_no_ignored).await;
    heard.map_err(|_| ProcessError::Interrupted)?.map_err(failed)?;
    let mut child = Command::new(program);
    child.args(arguments).env_clear().envs(&launch.env).current_dir(&launch.dir);
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    if let Some(owner) = launch.owner {
        child.uid(owner.uid).gid(owner.gid);
    }
    let mut child = child.spawn().map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), child.wait());
    let status = status.map_err(failed)?;
    let signal = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(signal).unwrap_or(-1).into();
    Ok(ExecOutput { code, stdout, stderr })
}

async fn launch(this: &Process, slot: &Slot) -> Result<Launch, ProcessError> {
    let (layout, slot) = (this.layout.clone(), slot.clone());
    blocking(move || {
        for (id, home, record) in layout.all()? {
            let runs = || state::state(&home, &record).is_ok_and(InstanceState::is_running);
            if record.slot() == slot && runs() {
                tracing::info!(%id, "a command is run beside an instance");
                return Ok(record.launch);
            }
        }
        Err(ProcessError::NotRunning(slot))
    })
    .await
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Tail::new(usize::MAX);
    let Some(mut pipe) = pipe else { return kept.into_text() };
    let mut piece = vec![0; 8192];
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        kept.push(piece.get(..length).unwrap_or_default());
    }
    kept.into_text()
}
