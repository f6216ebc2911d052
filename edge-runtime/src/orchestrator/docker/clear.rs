//! Which images the daemon has, and the removal of one. An image that any container was made
//! from, whoever's it is, stays; a name is removed only if it still means the image that was meant.

use std::collections::BTreeSet;
use std::path::Path;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptions, RemoveImageOptions,
};
use nix::sys::statvfs::statvfs;

use super::{ANSWER, Docker, DockerError, WORK, image};
use crate::orchestrator::images::{Cleared, Disk, FoundImage, ImageSurvey, canonical};

pub(super) async fn survey(docker: &Docker) -> Result<ImageSurvey, DockerError> {
    let client = docker.client(ANSWER)?;
    let found = client.list_images(None::<ListImagesOptions>).await;
    let found = found.map_err(|error| docker.failed("list images", error))?;
    let used = used(docker).await?;
    let info = client.info().await.map_err(|error| docker.failed("ask for its disk", error))?;
    let images = found.into_iter().map(|image| {
        let names = image.repo_tags.iter().chain(&image.repo_digests);
        let names = names.filter(|name| !name.starts_with("<none>"));
        let names = names.map(|name| canonical(name)).collect();
        let in_use = used.contains(bare(&image.id));
        FoundImage { id: image.id, names, in_use }
    });
    Ok(ImageSurvey { images: images.collect(), disk: info.docker_root_dir.and_then(disk) })
}

pub(super) async fn clear(docker: &Docker, image: &str, id: &str) -> Result<Cleared, DockerError> {
    match image::find(docker, image).await? {
        None => return Ok(Cleared::Gone),
        Some(found) if bare(&found) != bare(id) => return Ok(Cleared::Another),
        Some(_) => {}
    }
    if used(docker).await?.contains(bare(id)) {
        return Ok(Cleared::InUse);
    }
    let client = docker.client(WORK)?;
    let reference = image::with_tag(image);
    let removed = client.remove_image(&reference, None::<RemoveImageOptions>, None).await;
    match removed.map_err(|error| docker.failed(format!("remove image {image}"), error)) {
        Ok(_) => Ok(Cleared::Gone),
        Err(error) => match error.status() {
            Some(404) => Ok(Cleared::Gone),
            Some(409) => Ok(Cleared::InUse),
            _ => Err(error),
        },
    }
}

/// The ids of the images of all containers, in the form that [`bare`] gives.
async fn used(docker: &Docker) -> Result<BTreeSet<String>, DockerError> {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let found = docker.client(ANSWER)?.list_containers(Some(options)).await;
    let found = found.map_err(|error| docker.failed("list containers", error))?;
    let ids = found.into_iter().filter_map(|container| container.image_id);
    Ok(ids.map(|id| bare(&id).to_owned()).collect())
}

/// Podman names images without the kind of their digest in places.
fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// The disk that holds a directory of the daemon; `None` where the daemon sees other directories
/// than this program.
fn disk(root: String) -> Option<Disk> {
    let found = statvfs(Path::new(&root)).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Some(Disk { free: bytes(found.blocks_available()), total: bytes(found.blocks()) })
}
