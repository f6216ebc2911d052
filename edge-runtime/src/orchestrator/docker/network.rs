//! One network per app, on which its services find each other by name.

use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use gnomon_schemas::id::AppName;

use super::{ANSWER, Docker, DockerError, WORK, labels};

/// Makes the network of an app unless it is there.
pub(super) async fn ensure(docker: &Docker, app: &AppName) -> Result<(), DockerError> {
    let node = &docker.settings.node;
    let name = labels::network_name(node, app);
    let doing = || format!("make network {name}");
    let same_name = [("name".to_owned(), vec![name.clone()])].into();
    let options = ListNetworksOptionsBuilder::new().filters(&same_name).build();
    let client = docker.client(WORK)?;
    let found = client.list_networks(Some(options)).await;
    let mut found = found.map_err(|error| docker.failed(doing(), error))?;
    // Docker filters by parts of names.
    found.retain(|network| network.name.as_deref() == Some(name.as_str()));
    let is_ours = |network: &Network| {
        let labels = network.labels.as_ref();
        labels.and_then(|labels| labels::read_app(node, labels)).as_ref() == Some(app)
    };
    if found.iter().any(|network| !is_ours(network)) {
        return Err(DockerError::Foreign { what: "network", name });
    }
    // Docker 20.10 lets two be made at the same moment, and then finds the name ambiguous.
    for surplus in found.iter().skip(1).filter_map(|network| network.id.as_deref()) {
        if let Err(error) = client.remove_network(surplus).await {
            tracing::debug!(network = name, %error, "a second network of the app stays");
        }
    }
    if !found.is_empty() {
        return Ok(());
    }
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".to_owned()),
        labels: Some(labels::of_app(node, app)),
        ..NetworkCreateRequest::default()
    };
    match client.create_network(request).await.map_err(|error| docker.failed(doing(), error)) {
        Err(error) if error.status() == Some(409) => Ok(()),
        other => other.map(drop),
    }
}

/// Removes the network of an app.
pub(super) async fn remove(docker: &Docker, app: &AppName) -> Result<(), DockerError> {
    let client = docker.client(WORK)?;
    for network in list(docker, Some(app)).await? {
        let Some(id) = network.id else { continue };
        let doing = || format!("remove network {}", network.name.as_deref().unwrap_or(&id));
        let removed = client.remove_network(&id).await;
        match removed.map_err(|error| docker.failed(doing(), error)) {
            Err(error) if error.status() == Some(404) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The apps that have a network.
pub(super) async fn apps(docker: &Docker) -> Result<Vec<AppName>, DockerError> {
    let node = &docker.settings.node;
    let networks = list(docker, None).await?;
    let labels = networks.into_iter().filter_map(|network| network.labels);
    Ok(labels.filter_map(|labels| labels::read_app(node, &labels)).collect())
}

async fn list(docker: &Docker, app: Option<&AppName>) -> Result<Vec<Network>, DockerError> {
    let node = &docker.settings.node;
    let filter = app.map_or_else(|| labels::filter_node(node), |app| labels::filter_app(node, app));
    let options = ListNetworksOptionsBuilder::new().filters(&filter).build();
    let networks = docker.client(ANSWER)?.list_networks(Some(options)).await;
    networks.map_err(|error| docker.failed("list networks", error))
}
