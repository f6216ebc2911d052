//! Follows the daemon's events, to give a hint when one is about a container of this node.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;

use super::{ANSWER, Docker, DockerError, labels};
use crate::orchestrator::watch::{Hinter, Watch};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) fn watch(docker: &Docker) -> Watch {
    let hinter = Hinter::new();
    let watch = hinter.watch();
    let docker = docker.clone();
    // The daemon replays what happens between this call and the connection.
    let since = now();
    let task = tokio::spawn(async move { follow(&docker, &hinter, since).await });
    watch.until_dropped(task.abort_handle())
}

async fn follow(docker: &Docker, hinter: &Hinter, mut since: u64) {
    let mut pause = FIRST_PAUSE;
    loop {
        match read(docker, hinter, since, &mut pause).await {
            Ok(()) => tracing::debug!("the stream of Docker events ended"),
            Err(error) => tracing::debug!(%error, "the stream of Docker events broke"),
        }
        since = now();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        // What happened while nobody listened shows with an observation only.
        hinter.hint();
    }
}

async fn read(
    docker: &Docker,
    hinter: &Hinter,
    since: u64,
    pause: &mut Duration,
) -> Result<(), DockerError> {
    let mut filters = labels::filter_node(&docker.settings.node);
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    let since = since.to_string();
    let options = EventsOptionsBuilder::new().since(&since).filters(&filters).build();
    let client = docker.client(ANSWER)?;
    let mut events = client.events(Some(options));
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| docker.failed("watch events", error))?;
        *pause = FIRST_PAUSE;
        if is_news(&event) {
            hinter.hint();
        }
    }
    Ok(())
}

/// The runs of health checks and of commands in a container change nothing.
fn is_news(event: &EventMessage) -> bool {
    let action = event.action.as_deref().unwrap_or_default();
    !["exec_", "attach", "top", "resize", "archive-path"].iter().any(|not| action.starts_with(not))
}

/// Seconds on the clock that the daemon has, too: it runs on the same machine.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
