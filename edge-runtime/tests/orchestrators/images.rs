//! Images on a real Docker daemon, from a real registry: what is fetched, and what may go again.

use gnomon_edge::orchestrator::images::{Cleared, canonical};
use gnomon_schemas::app::ServiceSpec;

use crate::bench::{Bench, POLITE, app, service, slot};
use crate::daemon::{IMAGE, docker};
use crate::registry::Registry;

/// Fetches an image that is not here, and gives back its id.
async fn fetch(bench: &Bench, image: &str) -> String {
    let pulled = bench.orchestrator.pull(&slot("web").app, image).await;
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
    assert_eq!(bench.orchestrator.pull(&slot("web").app, &image).await.unwrap(), None);
    assert_eq!(bench.orchestrator.pull(&slot("web").app, IMAGE).await.unwrap(), None);
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
