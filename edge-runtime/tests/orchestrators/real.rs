//! The cases that need something to run: Docker and host processes pass the same ones.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::reconcile::model::{Health, InstanceState, Step};
use gnomon_schemas::app::{
    AppSpec, ConfigSpec, Confinement, FileMount, HealthCheck, Mount, ResourceLimits, Resources,
    SecretSpec, SecretText, ServiceSpec, StopSignal, Ulimit, UlimitName, VolumeSpec,
};
use gnomon_schemas::id::ResourceName;

use crate::bench::{Bench, POLITE, RUNNING, app, app_of, check, exited, service, slot};

const SECRET: &str = "hunter2-and-a-half";

fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

/// An app with a config at `/etc/web/conf` and a secret at `/run/key`.
fn with_files(script: &str) -> Arc<AppSpec> {
    let secret = FileMount { mode: 0o400, ..FileMount::new(name("key")) };
    let spec = ServiceSpec {
        configs: [("/etc/web/conf".to_owned(), FileMount::new(name("conf")))].into(),
        secrets: [("/run/key".to_owned(), secret)].into(),
        environment: [("GREETING".to_owned(), "hello = world".to_owned())].into(),
        ..service(script)
    };
    let config = ConfigSpec { content: "colour = blue\n".to_owned() };
    let secret = SecretSpec { content: SecretText::new(SECRET) };
    Arc::new(AppSpec {
        configs: [(name("conf"), config)].into(),
        secrets: [(name("key"), secret)].into(),
        ..(*app(spec)).clone()
    })
}

pub(crate) async fn command_environment_configs_and_secrets_reach_the_instance(bench: &Bench) {
    let web = slot("web");
    let script = r#"echo "greeting: $GREETING; of the agent: ${CARGO_MANIFEST_DIR-none}"
        echo "config: $(cat "${GNOMON_ROOT-}/etc/web/conf")"
        test "$(cat "${GNOMON_ROOT-}/run/key" | wc -c)" = 18 && echo the secret is whole"#;
    bench.up(&web, &with_files(script)).await;
    bench.until(&web, exited(0)).await;
    let log = bench.until_logged(&web, "whole").await;
    assert_eq!(
        log,
        "greeting: hello = world; of the agent: none\nconfig: colour = blue\nthe secret is whole\n"
    );
}

pub(crate) async fn files_have_their_modes_and_cannot_be_told_from_labels(bench: &Bench) {
    let web = slot("web");
    let script = r#"stat -L -c %a "${GNOMON_ROOT-}/etc/web/conf" "${GNOMON_ROOT-}/run/key"
        echo done"#;
    bench.up(&web, &with_files(script)).await;
    assert!(bench.until_logged(&web, "done").await.starts_with("444\n400\n"));
    let instance = bench.instance(&web).await;
    let shown = match &bench.orchestrator {
        Orchestrator::Docker(_) => crate::daemon::docker(&["inspect", &instance.id.0]),
        Orchestrator::K3s(_) => crate::kubernetes::shown(&instance.id).await,
        Orchestrator::Process(_) | Orchestrator::Fake(_) => {
            fs::read_to_string(bench.home(&web).await.join("instance.json")).unwrap()
        }
    };
    assert!(!shown.contains(SECRET), "{shown}");
}

pub(crate) async fn a_volume_outlives_its_app(bench: &Bench) {
    let web = slot("web");
    let with_volume = |script| {
        let mount = Mount::Volume { name: name("films"), read_only: false };
        let volumes = [("/data".to_owned(), mount)].into();
        let spec = app(ServiceSpec { volumes, ..service(script) });
        let volumes = BTreeMap::from([(name("films"), VolumeSpec::default())]);
        Arc::new(AppSpec { volumes, ..(*spec).clone() })
    };
    bench.up(&web, &with_volume(r#"echo kept > "${GNOMON_ROOT-}/data/film""#)).await;
    bench.until(&web, exited(0)).await;
    bench.remove(&web).await;
    bench.apply(Step::RemoveApp { app: web.app.clone() }).await;
    bench.up(&web, &with_volume(r#"cat "${GNOMON_ROOT-}/data/film""#)).await;
    bench.until_logged(&web, "kept").await;
}

pub(crate) async fn a_polite_service_stops_by_its_signal(bench: &Bench) {
    let web = slot("web");
    bench.up(&web, &app(service(&format!("echo up; {POLITE}")))).await;
    bench.until_logged(&web, "up").await;
    let asked = Instant::now();
    bench.stop(&web, Duration::from_secs(20)).await;
    assert_eq!(bench.instance(&web).await.state, exited(0));
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

pub(crate) async fn a_stubborn_service_is_killed_after_its_grace(bench: &Bench) {
    let web = slot("web");
    let script = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    bench.up(&web, &app(service(script))).await;
    bench.until_logged(&web, "up").await;
    let asked = Instant::now();
    bench.stop(&web, Duration::from_secs(1)).await;
    assert_eq!(bench.instance(&web).await.state, exited(137));
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
}

pub(crate) async fn the_stop_signal_of_the_service_is_used(bench: &Bench) {
    let web = slot("web");
    let script = "trap 'exit 42' INT; echo up; sleep 1000 & wait";
    let stop_signal = Some(StopSignal::Int);
    bench.up(&web, &app(ServiceSpec { stop_signal, ..service(script) })).await;
    bench.until_logged(&web, "up").await;
    bench.stop(&web, Duration::from_secs(20)).await;
    assert_eq!(bench.instance(&web).await.state, exited(42));
}

pub(crate) async fn a_start_period_keeps_a_slow_service_from_being_unhealthy(bench: &Bench) {
    let (slow, broken) = (slot("slow"), slot("broken"));
    let with = |start_period_ms| {
        let check = HealthCheck { start_period_ms, ..check("false") };
        ServiceSpec { healthcheck: Some(check), ..service(POLITE) }
    };
    let spec = app_of([("slow", with(3_600_000)), ("broken", with(0))]);
    bench.up(&slow, &spec).await;
    bench.up(&broken, &spec).await;
    bench.until(&broken, InstanceState::Running(Health::Unhealthy)).await;
    assert_eq!(bench.instance(&slow).await.state, InstanceState::Running(Health::Starting));
}

pub(crate) async fn the_last_lines_of_a_log_are_shown(bench: &Bench) {
    let web = slot("web");
    assert_eq!(bench.orchestrator.logs(&web, 10).await.unwrap(), "");
    let script = "for i in 1 2 3 4 5; do echo out $i; done; echo error >&2; exit 1";
    bench.up(&web, &app(service(script))).await;
    bench.until(&web, exited(1)).await;
    bench.until_logged(&web, "error").await;
    bench.until_logged(&web, "out 5").await;
    let all = bench.orchestrator.logs(&web, 100).await.unwrap();
    assert_eq!(all.lines().count(), 6, "{all}");
    assert_eq!(bench.orchestrator.logs(&web, 2).await.unwrap().lines().count(), 2);
}

pub(crate) async fn a_command_that_does_not_exist_is_a_permanent_failure(bench: &Bench) {
    let web = slot("web");
    let command = Some(vec!["/no/such/program".to_owned()]);
    let id = bench.create(&web, &app(ServiceSpec { command, ..service("") })).await.id;
    let start = Step::Start { id, slot: web.clone() };
    let error = bench.orchestrator.apply(&start).await.expect_err("there is no such program");
    assert!(!error.is_transient() && error.to_string().contains("/no/such/program"), "{error}");
    assert_ne!(bench.instance(&web).await.state, RUNNING);
}

pub(crate) async fn a_permitted_bind_mount_is_seen_and_a_link_out_of_it_refused(bench: &Bench) {
    let web = slot("web");
    let shared = bench.dir.path().join("shared");
    fs::create_dir_all(shared.join("in")).unwrap();
    fs::write(shared.join("in/note"), "from the node").unwrap();
    symlink("/etc", shared.join("out")).unwrap();
    let with = |path: &str| {
        let path = shared.join(path).to_str().unwrap().to_owned();
        let volumes = [("/shared".to_owned(), Mount::Bind { path, read_only: true })].into();
        app(ServiceSpec { volumes, ..service(r#"cat "${GNOMON_ROOT-}/shared/note""#) })
    };
    bench.up(&web, &with("in")).await;
    bench.until_logged(&web, "from the node").await;
    let create = Step::Create { slot: web, spec: with("out") };
    let error = bench.orchestrator.apply(&create).await.expect_err("it leads to /etc");
    assert!(!error.is_transient() && error.to_string().contains("outside"), "{error}");
}

/// What Docker keeps, host processes are kept below as well.
pub(crate) async fn what_a_service_may_use_is_limited_and_its_neighbour_is_not(bench: &Bench) {
    let (web, db) = (slot("web"), slot("db"));
    let nofile: UlimitName = "nofile".parse().unwrap();
    let ulimits = [(nofile, Ulimit { soft: Some(77), hard: Some(88) })].into();
    let limits = ResourceLimits { memory_bytes: Some(24 << 20), ..ResourceLimits::default() };
    let limited = ServiceSpec {
        confinement: Confinement { no_new_privileges: true, ulimits, ..Confinement::default() },
        resources: Resources { limits, ..Resources::default() },
        ..service(
            "grep NoNewPrivs /proc/self/status; ulimit -n; ulimit -Hn; x=$(yes | head -c 90000000); \
             echo survived",
        )
    };
    let free = service("grep NoNewPrivs /proc/self/status; x=$(yes | head -c 40000000); echo done");
    let spec = app_of([("web", limited), ("db", free)]);
    bench.up(&web, &spec).await;
    bench.up(&db, &spec).await;
    bench.until(&web, exited(137)).await;
    let log = bench.until_logged(&web, "88").await;
    // Of the processes in it the kernel may end another one first, of which the shell tells.
    let told = log.strip_prefix("NoNewPrivs:\t1\n77\n88\n");
    assert!(told.is_some_and(|rest| matches!(rest, "" | "Killed\n")), "{log}");
    assert_eq!(bench.until_logged(&db, "done").await, "NoNewPrivs:\t0\ndone\n");
    bench.until(&db, exited(0)).await;
}

pub(crate) async fn a_limit_of_processes_holds(bench: &Bench) {
    let web = slot("web");
    let limits =
        ResourceLimits { cpu_millis: Some(500), pids: Some(4), ..ResourceLimits::default() };
    let script = "echo up; for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all; wait";
    let resources = Resources { limits, ..Resources::default() };
    bench.up(&web, &app(ServiceSpec { resources, ..service(script) })).await;
    let log = bench.until_logged(&web, "fork").await;
    assert!(!log.contains("all"), "{log}");
}

pub(crate) async fn a_command_runs_where_the_instance_runs_and_its_end_is_told(bench: &Bench) {
    let web = slot("web");
    let shell = |script: &str| ["sh", "-c", script].map(ToOwned::to_owned);
    let refused = bench.orchestrator.exec(&web, &shell("true")).await.unwrap_err();
    assert!(refused.to_string().contains("runs"), "{refused}");
    bench.up(&web, &with_files(POLITE)).await;
    let script = r#"echo "$GREETING"; cat "${GNOMON_ROOT-}/etc/web/conf"; echo oh >&2; exit 7"#;
    let output = bench.orchestrator.exec(&web, &shell(script)).await.unwrap();
    assert_eq!(output.code, 7);
    assert_eq!(output.stdout, "hello = world\ncolour = blue\n");
    assert_eq!(output.stderr, "oh\n");
    let many = "i=0; while test $i -lt 300000; do echo 12345678; i=$((i + 1)); done";
    let output = bench.orchestrator.exec(&web, &shell(many)).await.unwrap();
    assert!(output.stdout.len() <= 1024 * 1024, "{}", output.stdout.len());
    assert_eq!(bench.instance(&web).await.state, RUNNING, "it went on meanwhile");
}
