//! The cases that every orchestrator passes, the fake included.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gnomon_edge::reconcile::model::{Health, InstanceId, InstanceState, Slot, Step};
use gnomon_schemas::app::{Mount, ServiceSpec};

use crate::bench::{Bench, POLITE, RUNNING, app, app_of, check, exited, service, slot};

const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn an_instance_lives_from_create_to_remove(bench: &Bench) {
    let (web, spec) = (slot("web"), app(service(POLITE)));
    assert!(bench.all().await.is_empty());
    let made = bench.create(&web, &spec).await;
    assert_eq!(made.state, InstanceState::Created);
    assert_eq!(Some(made.service_digest), spec.service_digest(&web.service));
    bench.start(&web).await;
    assert_eq!(bench.instance(&web).await.state, RUNNING);
    bench.stop(&web, GRACE).await;
    assert!(matches!(bench.instance(&web).await.state, InstanceState::Exited { .. }));
    bench.remove(&web).await;
    assert!(bench.all().await.is_empty());
}

pub(crate) async fn every_step_done_twice_is_done_once(bench: &Bench) {
    let (web, spec) = (slot("web"), app(service(POLITE)));
    let made = bench.create(&web, &spec).await;
    assert_eq!(bench.create(&web, &spec).await, made);
    let id = || made.id.clone();
    let slot = || web.clone();
    let app = || web.app.clone();
    let steps = [
        Step::Start { id: id(), slot: slot() },
        Step::Stop { id: id(), slot: slot(), grace: GRACE },
        Step::Remove { id: id(), slot: slot() },
        Step::RemoveApp { app: app() },
    ];
    for step in steps {
        bench.apply(step.clone()).await;
        let once = bench.orchestrator.observe().await.unwrap();
        bench.apply(step).await;
        assert_eq!(bench.orchestrator.observe().await.unwrap(), once);
    }
}

pub(crate) async fn the_exit_code_is_reported(bench: &Bench) {
    let web = slot("web");
    bench.script(&web, exited(7));
    bench.up(&web, &app(service("exit 7"))).await;
    bench.until(&web, exited(7)).await;
}

pub(crate) async fn an_ended_instance_can_be_started_again(bench: &Bench) {
    let web = slot("web");
    bench.script(&web, exited(3));
    let once = "test -e ran && exec sleep 1000; touch ran; exit 3";
    bench.up(&web, &app(service(once))).await;
    bench.until(&web, exited(3)).await;
    let id = bench.instance(&web).await.id;
    bench.script(&web, RUNNING);
    bench.start(&web).await;
    bench.until(&web, RUNNING).await;
    assert_eq!(bench.instance(&web).await.id, id);
}

pub(crate) async fn health_is_reported(bench: &Bench) {
    let web = slot("web");
    let script = "rm -f broken; sleep 1.5; touch broken; trap 'exit 0' TERM; sleep 1000 & wait";
    let healthcheck = Some(check("test ! -e broken"));
    let spec = app(ServiceSpec { healthcheck, ..service(script) });
    bench.script(&web, InstanceState::Running(Health::Starting));
    bench.up(&web, &spec).await;
    assert_eq!(bench.instance(&web).await.state, InstanceState::Running(Health::Starting));
    bench.change(&web, InstanceState::Running(Health::Healthy));
    bench.until(&web, InstanceState::Running(Health::Healthy)).await;
    bench.change(&web, InstanceState::Running(Health::Unhealthy));
    bench.until(&web, InstanceState::Running(Health::Unhealthy)).await;
}

pub(crate) async fn a_killed_instance_is_observed_and_hinted_at(bench: &Bench) {
    let web = slot("web");
    bench.up(&web, &app(service(POLITE))).await;
    bench.until(&web, RUNNING).await;
    let mut watch = bench.orchestrator.watch();
    bench.kill(&web).await;
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    while bench.instance(&web).await.state != exited(137) {
        tokio::time::timeout_at(deadline, watch.changed()).await.expect("a hint comes");
    }
}

pub(crate) async fn instances_are_adopted_after_a_restart_of_the_agent(bench: &Bench) {
    let web = slot("web");
    bench.up(&web, &app(service(POLITE))).await;
    let before = bench.orchestrator.observe().await.unwrap();
    let again = bench.reopen();
    assert_eq!(again.observe().await.unwrap(), before);
    let id = bench.instance(&web).await.id;
    again.apply(&Step::Start { id: id.clone(), slot: web.clone() }).await.unwrap();
    assert_eq!(again.observe().await.unwrap(), before);
    let stop = Step::Stop { id, slot: web.clone(), grace: GRACE };
    again.apply(&stop).await.unwrap();
    assert_ne!(bench.instance(&web).await.state, RUNNING);
}

pub(crate) async fn an_outdated_instance_keeps_its_digest(bench: &Bench) {
    let (web, old, new) = (slot("web"), app(service("exit 1")), app(service("exit 2")));
    let made = bench.create(&web, &old).await;
    let step = Step::Create { slot: web.clone(), spec: Arc::clone(&new) };
    bench.apply(step).await;
    let mut digests: Vec<_> = bench.all().await.into_iter().map(|it| it.service_digest).collect();
    let mut wanted = vec![made.service_digest, new.service_digest(&web.service).unwrap()];
    digests.sort();
    wanted.sort();
    assert_eq!(digests, wanted);
}

pub(crate) async fn two_nodes_do_not_see_each_other(bench: &Bench) {
    let (web, spec) = (slot("web"), app(service(POLITE)));
    let neighbour = bench.neighbour();
    bench.create(&web, &spec).await;
    let seen = neighbour.orchestrator.observe().await.unwrap();
    assert_eq!(seen.instances.len() + seen.app_resources.len(), 0, "{seen:?}");
}

pub(crate) async fn the_replicas_of_a_service_are_told_apart(bench: &Bench) {
    let spec = app(ServiceSpec { replicas: 3, ..service(POLITE) });
    let slots = [0, 1, 2].map(|replica| Slot { replica, ..slot("web") });
    for slot in &slots {
        bench.up(slot, &spec).await;
    }
    bench.kill(&slots[1]).await;
    bench.until(&slots[1], exited(137)).await;
    assert_eq!(bench.instance(&slots[0]).await.state, RUNNING);
    assert_eq!(bench.instance(&slots[2]).await.state, RUNNING);
}

pub(crate) async fn a_step_for_the_wrong_slot_touches_nothing(bench: &Bench) {
    let spec = app_of([("web", service(POLITE)), ("db", service(POLITE))]);
    let (web, db) = (slot("web"), slot("db"));
    bench.up(&web, &spec).await;
    let id = bench.instance(&web).await.id;
    let before = bench.orchestrator.observe().await.unwrap();
    for step in [
        Step::Start { id: id.clone(), slot: db.clone() },
        Step::Stop { id: id.clone(), slot: db.clone(), grace: GRACE },
        Step::Remove { id, slot: db },
    ] {
        let error = bench.orchestrator.apply(&step).await.expect_err("the slot is another");
        assert!(!error.is_transient(), "{error}");
    }
    assert_eq!(bench.orchestrator.observe().await.unwrap(), before);
}

pub(crate) async fn what_is_gone_is_stopped_and_removed_already(bench: &Bench) {
    let web = slot("web");
    let id = bench.create(&web, &app(service(POLITE))).await.id;
    bench.remove(&web).await;
    bench.apply(Step::Stop { id: id.clone(), slot: web.clone(), grace: GRACE }).await;
    bench.apply(Step::Remove { id: id.clone(), slot: web.clone() }).await;
    let never = InstanceId("0123456789ab".into());
    bench.apply(Step::Remove { id: never, slot: web.clone() }).await;
    let start = bench.orchestrator.apply(&Step::Start { id, slot: web }).await;
    assert!(start.expect_err("it is gone").is_transient(), "it can be made again");
}

pub(crate) async fn a_running_instance_is_not_removed(bench: &Bench) {
    let web = slot("web");
    bench.up(&web, &app(service(POLITE))).await;
    let id = bench.instance(&web).await.id;
    let remove = Step::Remove { id, slot: web.clone() };
    let error = bench.orchestrator.apply(&remove).await.expect_err("it runs");
    assert!(error.is_transient(), "{error}");
    assert_eq!(bench.instance(&web).await.state, RUNNING);
}

pub(crate) async fn an_app_beyond_the_capabilities_is_refused(bench: &Bench) {
    let mut capabilities = bench.orchestrator.capabilities();
    capabilities.bind_prefixes.retain(|prefix| prefix != Path::new("/"));
    if let gnomon_edge::orchestrator::Orchestrator::Fake(fake) = &bench.orchestrator {
        fake.set_capabilities(capabilities.clone());
    }
    let mount = Mount::Bind { path: "/etc".to_owned(), read_only: true };
    let volumes = [("/host".to_owned(), mount)].into();
    let spec = app(ServiceSpec { volumes, ..service(POLITE) });
    let refusal = capabilities.check(&spec).expect_err("the planner refuses it").to_string();
    let create = Step::Create { slot: slot("web"), spec };
    let error = bench.orchestrator.apply(&create).await.expect_err("so does the orchestrator");
    assert_eq!((error.to_string(), error.is_transient()), (refusal, false));
    assert!(bench.all().await.is_empty());
}

pub(crate) async fn removing_an_app_leaves_nothing_but_volumes(bench: &Bench) {
    let web = slot("web");
    bench.up(&web, &app(service(POLITE))).await;
    bench.stop(&web, GRACE).await;
    bench.remove(&web).await;
    bench.apply(Step::RemoveApp { app: web.app }).await;
    let left = bench.orchestrator.observe().await.unwrap();
    assert_eq!(left.instances.len() + left.app_resources.len(), 0, "{left:?}");
}
