//! Images on a real Docker daemon, from a real registry: what is fetched, and what may go again.

use gnomon_edge::orchestrator::OrchestratorError;
use gnomon_edge::orchestrator::images::{Cleared, canonical, registry};
use gnomon_schemas::app::{SecretText, ServiceSpec};
use gnomon_schemas::node::{Credentials, NodeSettings};

use crate::bench::{Bench, POLITE, app, service, slot};
use crate::daemon::{IMAGE, docker};
use crate::registry::{PASSWORD, Registry, USER};

/// Fetches an image that is not here, and gives back its id.
async fn fetch(bench: &Bench, image: &str) -> String {
    let pulled = bench.orchestrator.pull(&slot("web").app, image, &|_| {}).await;
    pulled.unwrap().expect("it was not here")
}

async fn clear(bench: &Bench, image: &str, id: &str) -> Cleared {
    bench.orchestrator.clear_image(image, id).await.unwrap()
}

async fn is_here(bench: &Bench, image: &str) -> bool {
    bench.orchestrator.has_image(image).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_fetched_is_told_apart_from_one_that_was_here_and_is_removed_again() {
    let (bench, registry) = (Bench::docker(), Registry::start().await);
    let image = registry.image();
    let id = fetch(&bench, &image).await;
    assert_eq!(bench.orchestrator.pull(&slot("web").app, &image, &|_| {}).await.unwrap(), None);
    assert_eq!(bench.orchestrator.pull(&slot("web").app, IMAGE, &|_| {}).await.unwrap(), None);
    let survey = bench.orchestrator.survey_images().await.unwrap();
    let found = survey.find(&image).expect("it is listed");
    assert!(!found.in_use && found.names.contains(&canonical(&image)), "{found:?}");
    assert_eq!(found.id, id);
    assert!(survey.disk.expect("the daemon is on this machine").total > 0);
    assert_eq!(clear(&bench, &image, &id).await, Cleared::Gone);
    assert!(!is_here(&bench, &image).await);
    assert_eq!(clear(&bench, &image, &id).await, Cleared::Gone, "twice is once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_any_container_was_made_from_stays() {
    let (bench, registry) = (Bench::docker(), Registry::start().await);
    let image = registry.image();
    let id = fetch(&bench, &image).await;
    let foreign = docker(&["create", "--net", "none", &image, "true"]);
    assert_eq!(clear(&bench, &image, &id).await, Cleared::InUse, "one that never ran");
    let survey = bench.orchestrator.survey_images().await.unwrap();
    assert!(survey.find(&image).is_some_and(|found| found.in_use));
    docker(&["rm", foreign.trim()]);
    let web = slot("web");
    bench.up(&web, &app(ServiceSpec { image: Some(image.clone()), ..service(POLITE) })).await;
    assert_eq!(clear(&bench, &image, &id).await, Cleared::InUse);
    assert!(is_here(&bench, &image).await);
    bench.stop(&web, std::time::Duration::from_secs(20)).await;
    bench.remove(&web).await;
    assert_eq!(clear(&bench, &image, &id).await, Cleared::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_person_gave_to_another_image_and_other_names_of_ours_stay() {
    let (bench, registry) = (Bench::docker(), Registry::start().await);
    let (image, other) = (registry.image(), registry.image());
    let id = fetch(&bench, &image).await;
    let other_id = fetch(&bench, &other).await;
    let mine = format!("mine-{}:1", bench.node);
    docker(&["tag", &image, &mine]);
    assert_eq!(clear(&bench, &image, &id).await, Cleared::Gone);
    assert!(is_here(&bench, &mine).await && !is_here(&bench, &image).await);
    docker(&["tag", &mine, &other]);
    assert_eq!(clear(&bench, &other, &other_id).await, Cleared::Another);
    assert!(is_here(&bench, &other).await);
    docker(&["rmi", &mine, &other, &other_id]);
}

fn credentials(password: &str) -> Credentials {
    Credentials { username: USER.to_owned(), password: SecretText::new(password) }
}

/// Says the credentials for a registry, and pulls; gives back what went wrong.
async fn pull_as(bench: &Bench, image: &str, given: Option<&str>) -> Result<(), OrchestratorError> {
    let given = given.map(|password| (registry(image), credentials(password)));
    bench.orchestrator.configure(NodeSettings {
        registries: given.into_iter().collect(),
        ..NodeSettings::default()
    });
    bench.orchestrator.pull(&slot("web").app, image, &|_| {}).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_is_pulled_from_with_the_credentials_that_are_desired() {
    let (bench, registry) = (Bench::docker(), Registry::start().await);
    let guarded = registry.guarded().await;
    let image = format!("{}/{}", guarded.address, registry.push());
    for given in [None, Some("wrong?>~")] {
        let error = pull_as(&bench, &image, given).await.expect_err("it is private");
        let text = gnomon_edge::chain(&error);
        assert!(!error.is_transient() && text.contains("registries"), "{text}");
        assert!(text.contains(&image) && !text.contains("wrong?>~"), "{text}");
        assert!(!is_here(&bench, &image).await);
    }
    pull_as(&bench, &image, Some(PASSWORD)).await.unwrap();
    assert!(is_here(&bench, &image).await);
    let shown = docker(&["inspect", &image]) + &format!("{:?}", bench.orchestrator);
    assert!(!shown.contains(PASSWORD), "{shown}");
    let missing = format!("{}/none:1", guarded.address);
    let error = pull_as(&bench, &missing, Some(PASSWORD)).await.expect_err("there is none");
    assert!(error.to_string().contains("there is no image"), "{error}");
    docker(&["rmi", &image]);
}
