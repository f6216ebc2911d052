//! The cases that only Docker has: foreign objects, networks, ports, images, a daemon that is down.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_edge::orchestrator::docker::{Docker, DockerError, Settings};
use gnomon_edge::orchestrator::{Orchestrator, OrchestratorError};
use gnomon_edge::reconcile::model::{InstanceId, InstanceState, Step};
use gnomon_schemas::app::{
    AppSpec, FileMount, Mount, Port, Resources, SecretSpec, SecretText, ServiceSpec, VolumeSpec,
};
use gnomon_schemas::id::ResourceName;

use crate::bench::{Bench, POLITE, RUNNING, app, app_of, eventually, exited, service, slot};
use crate::daemon::{self, IMAGE, docker};

fn why(result: Result<(), OrchestratorError>) -> DockerError {
    match result.expect_err("it fails") {
        OrchestratorError::Docker(error) => error,
        other @ (OrchestratorError::Process(_)
        | OrchestratorError::K3s(_)
        | OrchestratorError::Fake(_)) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_container_is_neither_seen_nor_touched() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let name = format!("foreign-{}", bench.node);
    let run = ["run", "-d", "--net", "none", "--name", &name, IMAGE, "sleep", "1000"];
    let id = docker(&run).trim().to_owned();
    bench.up(&web, &app(service(POLITE))).await;
    assert_eq!(bench.all().await.len(), 1);
    let (foreign, slot) = (InstanceId(id.clone().into()), web);
    for step in [
        Step::Stop { id: foreign.clone(), slot: slot.clone(), grace: Duration::ZERO },
        Step::Remove { id: foreign.clone(), slot: slot.clone() },
        Step::Start { id: foreign, slot },
    ] {
        let error = why(bench.orchestrator.apply(&step).await);
        assert!(matches!(error, DockerError::AnotherSlot(_)), "{error}");
    }
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &id]).trim(), "true");
    docker(&["rm", "-f", &id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_objects_with_our_names_are_refused() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let spec = app(service(POLITE));
    let name = format!("gnomon-{}.shop", bench.node);
    let create = Step::Create { slot: web.clone(), spec: spec.clone() };
    docker(&["network", "create", &name]);
    let error = why(bench.orchestrator.apply(&create).await);
    assert!(matches!(error, DockerError::Foreign { what: "network", .. }), "{error}");
    docker(&["network", "rm", &name]);
    let digest = spec.service_digest(&web.service).unwrap().short();
    let name = format!("{name}.web.0.{digest}");
    docker(&["create", "--net", "none", "--name", &name, IMAGE, "true"]);
    let error = why(bench.orchestrator.apply(&create).await);
    assert!(matches!(error, DockerError::Foreign { what: "container", .. }), "{error}");
    docker(&["rm", &name]);
    bench.apply(create).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_a_power_cut_left_without_its_labels_is_used_and_goes_with_the_others() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let data: ResourceName = "data".parse().unwrap();
    let mount = Mount::Volume { name: data.clone(), read_only: false };
    let volumes = [("/data".to_owned(), mount)].into();
    let spec = app(ServiceSpec { volumes, ..service(POLITE) });
    let volumes = [(data, VolumeSpec::default())].into();
    let spec = Arc::new(AppSpec { volumes, ..(*spec).clone() });
    let name = format!("gnomon-{}.shop.data", bench.node);
    docker(&["volume", "create", "--label", "of=another", &name]);
    let create = Step::Create { slot: web.clone(), spec: spec.clone() };
    let error = why(bench.orchestrator.apply(&create).await);
    assert!(matches!(error, DockerError::Foreign { what: "volume", .. }), "{error}");
    docker(&["volume", "rm", &name]);
    docker(&["volume", "create", &name]);
    bench.apply(create).await;
    bench.remove(&web).await;
    assert_eq!(bench.orchestrator.remove_volumes(None).await.unwrap(), 1);
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={name}")]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_of_an_app_find_each_other_by_name() {
    let bench = Bench::docker();
    let server = ServiceSpec { command: None, ..service("") };
    let ask = "until wget -q -O - http://web:8080/; do sleep 0.1; done";
    let spec = app_of([("web", server), ("client", service(ask))]);
    bench.up(&slot("web"), &spec).await;
    bench.up(&slot("client"), &spec).await;
    bench.until_logged(&slot("client"), "gnomon-demo 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_reachable_from_the_node() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let port = Port {
        container: 8080.try_into().unwrap(),
        host: None,
        host_ip: Some("127.0.0.1".parse().unwrap()),
        protocol: gnomon_schemas::app::Protocol::Tcp,
    };
    let spec = ServiceSpec { command: None, ports: [port].into(), ..service("") };
    bench.up(&web, &app(spec)).await;
    let published = docker(&["port", &bench.instance(&web).await.id.0, "8080/tcp"]);
    let address = published.trim().to_owned();
    eventually("the page is served", || {
        let Ok(mut stream) = TcpStream::connect(&address) else { return false };
        let mut page = String::new();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut page).is_ok()
            && page.contains("gnomon-demo 1")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_present_image_is_not_looked_for_elsewhere_and_a_missing_one_is_named() {
    let bench = Bench::docker();
    let pull = |image: &str| Step::Pull { app: slot("web").app, image: image.to_owned() };
    bench.apply(pull(IMAGE)).await;
    let error = why(bench.orchestrator.apply(&pull("127.0.0.1:1/none:1")).await);
    assert!(matches!(error, DockerError::Pull { .. }) && error.is_transient(), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1/none:1"), "{error}");
    let error = why(bench.orchestrator.apply(&pull("UPPER:case")).await);
    assert!(!error.is_transient(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_image_was_cleared_away_is_not_made_and_nothing_is_fetched_for_it() {
    let (bench, web) = (Bench::docker(), slot("web"));
    // A registry that takes connections and never answers.
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    registry.set_nonblocking(true).unwrap();
    let image = format!("{}/none:1", registry.local_addr().unwrap());
    let spec = app(ServiceSpec { image: Some(image.clone()), ..service(POLITE) });
    let error = why(bench.orchestrator.apply(&Step::Create { slot: web, spec }).await);
    assert!(error.is_transient() && error.to_string().contains(&image), "{error}");
    assert!(registry.accept().is_err(), "it was looked for elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_down_is_a_passing_trouble_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for is_stale in [false, true] {
        let socket = dir.path().join(format!("{is_stale}.sock"));
        if is_stale {
            drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        }
        let settings = Settings::new("site".parse().unwrap(), dir.path());
        let down = Orchestrator::Docker(Docker::new(Settings { socket, ..settings }));
        let asked = Instant::now();
        let error = down.observe().await.expect_err("nobody answers");
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("cannot reach the Docker daemon"), "{error}");
        assert!(asked.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_is_stuck_and_is_stopped_or_removed() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let spec = app(service(POLITE));
    bench.up(&web, &spec).await;
    docker(&["pause", &bench.instance(&web).await.id.0]);
    bench.until(&web, InstanceState::Stuck).await;
    bench.stop(&web, Duration::from_secs(20)).await;
    bench.until(&web, exited(0)).await;
    bench.start(&web).await;
    docker(&["pause", &bench.instance(&web).await.id.0]);
    bench.until(&web, InstanceState::Stuck).await;
    bench.remove(&web).await;
    assert!(bench.all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_a_person_removed_is_made_again() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let spec = app(service(POLITE));
    bench.up(&web, &spec).await;
    bench.stop(&web, Duration::from_secs(20)).await;
    docker(&["network", "rm", &format!("gnomon-{}.shop", bench.node)]);
    let id = bench.instance(&web).await.id;
    let error = why(bench.orchestrator.apply(&Step::Start { id, slot: web.clone() }).await);
    assert!(matches!(error, DockerError::Lost { .. }) && error.is_transient(), "{error}");
    assert!(bench.all().await.is_empty());
    bench.up(&web, &spec).await;
    assert_eq!(bench.instance(&web).await.state, RUNNING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_secrets_went_with_the_boot_is_made_again() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let name: ResourceName = "key".parse().unwrap();
    let secrets = [("/run/key".to_owned(), FileMount::new(name.clone()))].into();
    let mut spec = (*app(ServiceSpec { secrets, ..service(POLITE) })).clone();
    spec.secrets.insert(name, SecretSpec { content: SecretText::new("x") });
    let spec = Arc::new(spec);
    bench.up(&web, &spec).await;
    bench.kill(&web).await;
    fs::remove_dir_all(&bench.docker_settings().secrets_dir).unwrap();
    let id = bench.instance(&web).await.id;
    let error = why(bench.orchestrator.apply(&Step::Start { id, slot: web.clone() }).await);
    assert!(matches!(error, DockerError::Lost { .. }) && error.is_transient(), "{error}");
    assert!(bench.all().await.is_empty());
    bench.up(&web, &spec).await;
    assert_eq!(bench.instance(&web).await.state, RUNNING);
    bench.stop(&web, Duration::from_secs(20)).await;
    bench.remove(&web).await;
    let left = fs::read_dir(bench.docker_settings().secrets_dir.join("shop")).unwrap().count();
    assert_eq!(left, 0, "the files go with the container");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_asks_of_the_container_is_done() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let mut resources = Resources::default();
    resources.limits.memory_bytes = Some(64 << 20);
    resources.limits.pids = Some(50);
    let tmpfs = Mount::Tmpfs { size_bytes: Some(1 << 20) };
    let spec = ServiceSpec {
        resources,
        volumes: [("/scratch".to_owned(), tmpfs)].into(),
        working_dir: Some("/scratch".to_owned()),
        user: Some("77:88".to_owned()),
        ..service(&format!("pwd; id -u; grep scratch /proc/mounts; echo end; {POLITE}"))
    };
    bench.up(&web, &app(spec)).await;
    let log = bench.until_logged(&web, "end").await;
    assert!(log.starts_with("/scratch\n77\ntmpfs /scratch"), "{log}");
    let format = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} \
                  {{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config \"max-file\"}}";
    let shown = docker(&["inspect", "-f", format, &bench.instance(&web).await.id.0]);
    assert_eq!(shown.trim(), "67108864 50 no json-file 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_hears_of_what_a_person_does() {
    let (bench, web) = (Bench::docker(), slot("web"));
    bench.up(&web, &app(service(POLITE))).await;
    let mut watch = bench.orchestrator.watch();
    let id = bench.instance(&web).await.id;
    docker(&["rm", "-f", &id.0]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while bench.find(&web).await.is_some() {
        tokio::time::timeout_at(deadline, watch.changed()).await.expect("a hint comes");
    }
}

/// Forwards connections to the daemon, until it is dropped: a daemon that comes and goes.
struct Relay {
    socket: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    fn start(socket: &Path) -> Self {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let task = tokio::spawn(async move {
            let mut relays = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                relays.spawn(async move {
                    let mut far = tokio::net::UnixStream::connect(daemon::socket()).await.unwrap();
                    tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
                });
            }
        });
        Self { socket: socket.to_owned(), task }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        fs::remove_file(&self.socket).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_an_outage_of_the_daemon() {
    let (bench, web) = (Bench::docker(), slot("web"));
    bench.up(&web, &app(service(POLITE))).await;
    let socket = bench.dir.path().join("relay.sock");
    let settings = Settings { socket: socket.clone(), ..bench.docker_settings().clone() };
    let relay = Relay::start(&socket);
    let relayed = Orchestrator::Docker(Docker::new(settings));
    let mut watch = relayed.watch();
    let before = relayed.observe().await.unwrap();
    assert_eq!(before.instances.len(), 1);
    drop(relay);
    assert!(relayed.observe().await.expect_err("it is down").is_transient());
    bench.kill(&web).await;
    let _relay = Relay::start(&socket);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while relayed.observe().await.is_ok_and(|now| now == before) {
        tokio::time::timeout_at(deadline, watch.changed()).await.expect("a hint comes");
    }
    while tokio::time::timeout(Duration::from_secs(1), watch.changed()).await.is_ok() {}
    bench.start(&web).await;
    let heard = tokio::time::timeout(Duration::from_secs(30), watch.changed()).await;
    heard.expect("the stream is whole again");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_crash_left_behind_go_with_the_next_container_and_images_are_named_by_id() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let settings = bench.docker_settings();
    let left = settings.files_dir.join("shop").join("gnomon-left.behind");
    fs::create_dir_all(&left).unwrap();
    let config = gnomon_schemas::app::ConfigSpec { content: "x".to_owned() };
    let name: ResourceName = "conf".parse().unwrap();
    let mount = FileMount { source: name.clone(), mode: 0o444 };
    let configs = [("/etc/conf".to_owned(), mount)].into();
    let mut spec = (*app(ServiceSpec { configs, ..service(POLITE) })).clone();
    spec.configs = [(name, config)].into();
    bench.up(&web, &Arc::new(spec)).await;
    assert!(!left.exists());
    let instance = bench.instance(&web).await;
    assert!(instance.image.unwrap().starts_with("sha256:"));
    let output = bench.orchestrator.exec(&web, &["cat".to_owned(), "/etc/conf".to_owned()]).await;
    assert_eq!(output.unwrap().stdout, "x");
}
