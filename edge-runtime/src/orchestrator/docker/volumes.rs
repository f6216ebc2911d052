//! The named volumes of a node's apps: kept through everything, removed when somebody asks.

use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};
use gnomon_schemas::id::AppName;

use super::{ANSWER, Docker, DockerError, WORK, labels};

/// Removes the volumes of an app, or of all apps; gives back how many. One that a container still
/// has is an error.
pub(super) async fn remove(docker: &Docker, app: Option<&AppName>) -> Result<usize, DockerError> {
    let node = &docker.settings.node;
    let options = ListVolumesOptionsBuilder::new().build();
    let found = docker.client(ANSWER)?.list_volumes(Some(options)).await;
    let found = found.map_err(|error| docker.failed("list volumes", error))?;
    let client = docker.client(WORK)?;
    let mut removed = 0;
    for volume in found.volumes.unwrap_or_default() {
        let of = labels::read_volume(node, &volume.name, &volume.labels);
        if of.is_none() || (app.is_some() && of.as_ref() != app) {
            continue;
        }
        let gone = client.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
        match gone.map_err(|error| docker.failed(format!("remove volume {}", volume.name), error)) {
            Err(error) if error.status() == Some(404) => {}
            other => {
                other?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}
