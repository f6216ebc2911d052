//! Fetches images that are not on the node.

use std::time::Duration;

use bollard::errors::Error as ClientError;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;

use super::progress::Progress;
use super::{ANSWER, Docker, DockerError, WORK, login, relay};
use crate::orchestrator::images::registry;

/// How long a pull may go on without any news of progress.
const STALL: Duration = Duration::from_mins(5);

/// Makes sure that an image is present; its id if it had to be fetched. One that is present is not
/// looked for anywhere else.
pub(super) async fn pull(
    docker: &Docker,
    image: &str,
    came: &(dyn Fn(u8) + Send + Sync),
) -> Result<Option<String>, DockerError> {
    if is_present(docker, image).await? {
        return Ok(None);
    }
    let is_relayed = relay::is_wanted(&docker.told.borrow().pulls);
    if is_relayed {
        relay::pull(docker, image, came).await?;
    } else {
        directly(docker, image, came).await?;
    }
    if let Some(id) = find(docker, image).await? {
        return Ok(Some(id));
    }
    let message = "the daemon does not have it after the pull".to_owned();
    Err(DockerError::Pull { image: image.to_owned(), message })
}

/// Lets the daemon pull from the registry itself.
pub(super) async fn directly(
    docker: &Docker,
    image: &str,
    came: &(dyn Fn(u8) + Send + Sync),
) -> Result<(), DockerError> {
    let reference = with_tag(image);
    let registry = registry(image);
    let pulled = match docker.credentials(&registry) {
        Some(given) => login::pull(docker, &reference, &registry, &given, STALL, came).await,
        None => as_anyone(docker, &reference, came).await,
    };
    pulled.map_err(|error| explain(image, docker.failed(format!("pull {image}"), error)))
}

/// Lets the daemon pull without credentials.
pub(super) async fn as_anyone(
    docker: &Docker,
    reference: &str,
    came: &(dyn Fn(u8) + Send + Sync),
) -> Result<(), ClientError> {
    let client = docker.connect(WORK)?;
    let options = CreateImageOptionsBuilder::new().from_image(reference).build();
    let mut told = client.create_image(Some(options), None, None);
    let mut progress = Progress::default();
    loop {
        match tokio::time::timeout(STALL, told.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(news)) => {
                let news = news?;
                let bytes = news.progress_detail.and_then(|it| it.current.zip(it.total));
                let step = progress.hear(news.id.as_deref(), news.status.as_deref(), bytes);
                step.into_iter().for_each(came);
            }
            Err(_) => return Err(ClientError::RequestTimeoutError),
        }
    }
}

pub(super) async fn is_present(docker: &Docker, image: &str) -> Result<bool, DockerError> {
    Ok(find(docker, image).await?.is_some())
}

/// The id of an image, if it is here.
pub(super) async fn find(docker: &Docker, image: &str) -> Result<Option<String>, DockerError> {
    let found = docker.client(ANSWER)?.inspect_image(image).await;
    match found.map_err(|error| docker.failed(format!("look for image {image}"), error)) {
        Ok(found) => Ok(Some(found.id.unwrap_or_default())),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Without a tag or digest Docker would fetch every tag of the repository.
pub(super) fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// The daemon tells the cases apart in its text only.
pub(super) fn explain(image: &str, error: DockerError) -> DockerError {
    let DockerError::Refused { status, message, .. } = error else { return error };
    let image = image.to_owned();
    let says = |words: &[&str]| {
        let message = message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    };
    if says(&["no space left on device"]) {
        DockerError::DiskFull { image }
    } else if says(&["toomanyrequests", "too many requests", "timeout", "no such host"]) {
        DockerError::Pull { image, message }
    } else if says(&[
        "unauthorized",
        "authentication required",
        "no basic auth",
        "access denied",
        "denied: ",
    ]) {
        DockerError::ImageForbidden { image, message }
    } else if status == 404 || says(&["not found", "manifest unknown", "no matching manifest"]) {
        DockerError::ImageNotFound { image, message }
    } else if status == 400 {
        DockerError::Refused { doing: format!("pull {image}"), status, message }
    } else {
        DockerError::Pull { image, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_tag_means_the_latest() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("localhost:5000/busybox"), "localhost:5000/busybox:latest");
        assert_eq!(with_tag("localhost:5000/busybox:1"), "localhost:5000/busybox:1");
        assert_eq!(with_tag("a/b@sha256:00"), "a/b@sha256:00");
    }

    #[test]
    fn what_only_a_person_can_help_is_permanent_and_the_network_is_not() {
        let ask = |status, message: &str| {
            let message = message.to_owned();
            explain("app:1", DockerError::Refused { doing: "pull".into(), status, message })
        };
        for (status, message) in [
            (404, "manifest for app:1 not found: manifest unknown: manifest unknown"),
            (
                404,
                "pull access denied for app, repository does not exist or may require 'docker login'",
            ),
            (500, "Head \"https://r/v2/app/manifests/1\": unauthorized: authentication required"),
            (500, "no matching manifest for linux/arm64/v8 in the manifest list entries"),
            (400, "invalid reference format"),
        ] {
            assert!(!ask(status, message).is_transient(), "{message}");
        }
        for message in [
            "Get \"https://r/v2/\": dial tcp: lookup r: no such host",
            "Get \"https://r/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
            "net/http: request canceled while waiting for connection (Client.Timeout exceeded)",
            "toomanyrequests: You have reached your pull rate limit",
            "unexpected EOF",
        ] {
            assert!(ask(500, message).is_transient(), "{message}");
        }
    }
}
