//! The cases of the fake: it fails when told, so that others can be tested with it.

use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::orchestrator::fake::{Fake, StepKind};
use gnomon_edge::reconcile::model::{InstanceState, Step};

use crate::bench::{app, service, slot};

#[tokio::test]
async fn a_scripted_failure_happens_once_and_to_its_app_only() {
    let fake = Fake::new();
    let orchestrator = Orchestrator::Fake(fake.clone());
    let web = slot("web");
    fake.fail_next(StepKind::Create, &web.app, "the disk is full", true);
    let other =
        gnomon_edge::reconcile::model::Slot { app: "other".parse().unwrap(), ..web.clone() };
    let create = |slot| Step::Create { slot, spec: app(service("true")) };
    orchestrator.apply(&create(other)).await.unwrap();
    let error = orchestrator.apply(&create(web.clone())).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_transient()), ("the disk is full", true));
    orchestrator.apply(&create(web)).await.unwrap();
    assert_eq!(fake.steps().len(), 2);
}

#[tokio::test]
async fn while_it_is_down_nothing_works_and_nothing_changes() {
    let fake = Fake::new();
    let orchestrator = Orchestrator::Fake(fake.clone());
    let create = Step::Create { slot: slot("web"), spec: app(service("true")) };
    orchestrator.apply(&create).await.unwrap();
    fake.break_down("the daemon is down");
    assert!(orchestrator.observe().await.unwrap_err().is_transient());
    assert!(orchestrator.apply(&create).await.unwrap_err().is_transient());
    let mut watch = orchestrator.watch();
    fake.recover();
    watch.changed().await;
    assert_eq!(orchestrator.observe().await.unwrap().instances.len(), 1);
}

#[tokio::test]
async fn an_instance_can_vanish_and_get_stuck() {
    let fake = Fake::new();
    let orchestrator = Orchestrator::Fake(fake.clone());
    let web = slot("web");
    let create = Step::Create { slot: web.clone(), spec: app(service("true")) };
    orchestrator.apply(&create).await.unwrap();
    fake.set_state(&web, InstanceState::Stuck);
    let observed = orchestrator.observe().await.unwrap();
    let (id, instance) = observed.instances.first_key_value().unwrap();
    assert_eq!(instance.state, InstanceState::Stuck);
    orchestrator.apply(&Step::Remove { id: id.clone(), slot: web.clone() }).await.unwrap();
    orchestrator.apply(&create).await.unwrap();
    fake.vanish(&web);
    assert!(orchestrator.observe().await.unwrap().instances.is_empty());
}

#[tokio::test]
async fn with_images_a_create_needs_its_pull() {
    let fake = Fake::new();
    let orchestrator = Orchestrator::Fake(fake.clone());
    fake.set_capabilities(gnomon_edge::orchestrator::Capabilities {
        images: true,
        ..fake.capabilities()
    });
    let web = slot("web");
    let create = Step::Create { slot: web.clone(), spec: app(service("true")) };
    assert!(orchestrator.apply(&create).await.is_err());
    let pull = Step::Pull { app: web.app, image: crate::daemon::IMAGE.to_owned() };
    orchestrator.apply(&pull).await.unwrap();
    orchestrator.apply(&create).await.unwrap();
}
