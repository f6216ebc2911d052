//! What services may do and may not: capabilities, devices, signals, and ports that are taken.

use std::fs;
use std::net::TcpListener;
use std::num::NonZeroU16;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use gnomon_edge::reconcile::model::Step;
use gnomon_schemas::app::{
    Access, Confinement, Device, Port, Protocol, ResourceLimits, Resources, ServiceSpec,
};

use crate::bench::{Bench, POLITE, RUNNING, app, eventually, exited, service, slot};

const BINARY: &str = env!("CARGO_BIN_EXE_gnomon-edge");

#[tokio::test(flavor = "multi_thread")]
async fn a_service_hears_every_signal_whatever_the_agent_was_started_deaf_to() {
    let shim = tempfile::tempdir().unwrap();
    let path = shim.path().join("agent");
    fs::write(&path, format!("#!/bin/sh\ntrap '' HUP INT QUIT USR1\nexec {BINARY} \"$@\"\n"))
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let bench = Bench::process_with(|settings| settings.shim.clone_from(&path));
    let web = slot("web");
    bench.up(&web, &app(service("grep -E 'Sig(Ign|Blk)' /proc/self/status; echo done"))).await;
    let log = bench.until_logged(&web, "done").await;
    // Two more are the C library's own, and stay as whoever started everything had them.
    let own = 0b11_u64 << 31;
    for line in log.lines().filter_map(|line| line.strip_prefix("Sig")) {
        let mask = u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap();
        assert_eq!(mask & !own, 0, "{log}");
    }
    assert_eq!(log.lines().count(), 3, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_service_has_groups_of_its_own_which_go_with_it() {
    let (bench, web) = (Bench::process(), slot("web"));
    let limits =
        ResourceLimits { cpu_millis: Some(500), pids: Some(20), ..ResourceLimits::default() };
    let resources = Resources { limits, ..Resources::default() };
    let script = format!("cat /proc/self/cgroup; {POLITE}");
    bench.up(&web, &app(ServiceSpec { resources, ..service(&script) })).await;
    let name = format!("/gnomon/{}.shop.web.0.", bench.node);
    let log = bench.until_logged(&web, &name).await;
    let line = log.lines().find(|line| line.contains(&name)).unwrap();
    let group = line.rsplit(':').next().unwrap().to_owned();
    let roots = ["", "pids", "cpu"].map(|it| format!("/sys/fs/cgroup/{it}{group}"));
    assert!(roots.iter().any(|root| Path::new(root).exists()), "{roots:?}");
    bench.stop(&web, std::time::Duration::from_secs(10)).await;
    eventually("the groups are gone", || !roots.iter().any(|root| Path::new(root).exists())).await;
    bench.start(&web).await;
    bench.until(&web, RUNNING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_program_that_is_not_there_is_named_and_leaves_no_group() {
    let bench = Bench::process_with(|settings| settings.cgroups = "/nowhere".into());
    let web = slot("web");
    let limits = ResourceLimits { memory_bytes: Some(64 << 20), ..ResourceLimits::default() };
    let resources = Resources { limits, ..Resources::default() };
    let command = Some(vec!["/no/such/program".to_owned()]);
    let id = bench.create(&web, &app(ServiceSpec { command, resources, ..service("") })).await.id;
    let start = Step::Start { id, slot: web.clone() };
    let error = bench.orchestrator.apply(&start).await.expect_err("there is no such program");
    assert!(!error.is_transient() && error.to_string().contains("/no/such/program"), "{error}");
    bench.remove(&web).await;
    let grows = ServiceSpec { resources, ..service("x=$(yes | head -c 200000000); echo survived") };
    bench.up(&web, &app(grows)).await;
    eventually_ended(&bench).await;
    let log = bench.orchestrator.logs(&web, 100).await.unwrap();
    assert!(!log.contains("survived"), "without groups its address space is limited: {log}");
}

async fn eventually_ended(bench: &Bench) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while bench.instance(&slot("web")).await.state.is_running() {
        assert!(std::time::Instant::now() < deadline, "it does not end");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_the_root_and_devices_are_as_the_service_asks() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let devices = bench.dir.path().join("devices");
    fs::create_dir_all(&devices).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let confinement = Confinement {
        cap_add: names(&["NET_ADMIN"]),
        cap_drop: names(&["ALL"]),
        read_only: true,
        ..Confinement::default()
    };
    let access: Access = "r".parse().unwrap();
    let zero = Device { path: "/dev/zero".to_owned(), access };
    let script = "grep CapEff /proc/self/status; touch /x 2>/dev/null || echo read-only; \
                  head -c 3 /dev/mine | wc -c; echo end";
    let spec = ServiceSpec {
        confinement,
        devices: [("/dev/mine".to_owned(), zero)].into(),
        ..service(script)
    };
    bench.up(&web, &app(spec)).await;
    let log = bench.until_logged(&web, "end").await;
    assert_eq!(log, "CapEff:\t0000000000001000\nread-only\n3\nend\n");
    bench.until(&web, exited(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_leads_elsewhere_is_none_or_is_missing_is_refused() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let dir = bench.dir.path().join("devices");
    fs::create_dir_all(&dir).unwrap();
    symlink("/dev/kmsg", dir.join("link")).unwrap();
    fs::write(dir.join("file"), "x").unwrap();
    for (name, word, is_transient) in [
        ("link", "does not permit", false),
        ("file", "is no device", false),
        ("missing", "cannot find the device", true),
    ] {
        let path = dir.join(name).to_str().unwrap().to_owned();
        let device = Device { path: path.clone(), access: Access::ALL };
        let spec = app(ServiceSpec { devices: [(path, device)].into(), ..service("true") });
        let create = Step::Create { slot: web.clone(), spec };
        let error = bench.orchestrator.apply(&create).await.expect_err(name);
        let text = gnomon_edge::chain(&error);
        assert!(text.contains(word) && error.is_transient() == is_transient, "{text}");
    }
    assert!(bench.all().await.is_empty());
}

fn port(host: u16) -> Port {
    let host = NonZeroU16::new(host).unwrap();
    let container = NonZeroU16::new(8080).unwrap();
    Port { container, host: Some(host), host_ip: None, protocol: Protocol::Tcp }
}

async fn is_taken(bench: &Bench, port: &Port) -> bool {
    let taken = bench.orchestrator.taken_ports().await.unwrap();
    taken.iter().any(|it| it.collides(port))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_taken_by_somebody_else_and_not_by_a_container_of_this_node() {
    let (bench, web) = (Bench::docker(), slot("web"));
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = port(foreign.local_addr().unwrap().port());
    assert!(is_taken(&bench, &taken).await);
    drop(foreign);
    assert!(!is_taken(&bench, &taken).await);
    let spec = ServiceSpec { command: None, ports: [taken].into(), ..service("") };
    bench.up(&web, &app(spec)).await;
    let address = format!("127.0.0.1:{}", taken.host.unwrap());
    eventually("it listens", || std::net::TcpStream::connect(&address).is_ok()).await;
    assert!(!is_taken(&bench, &taken).await, "it is this node's own");
    assert!(is_taken(&bench.neighbour(), &taken).await, "for another node it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_not_taken_by_a_process_of_this_node() {
    let (bench, web) = (Bench::process(), slot("web"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = port(free.local_addr().unwrap().port());
    assert!(is_taken(&bench, &taken).await);
    drop(free);
    let address = format!("127.0.0.1:{}", taken.host.unwrap());
    let serve = format!("exec busybox httpd -f -p {address}");
    bench.up(&web, &app(service(&serve))).await;
    eventually("it listens", || std::net::TcpStream::connect(&address).is_ok()).await;
    assert!(!is_taken(&bench, &taken).await, "it is this node's own");
}
