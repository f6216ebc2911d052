//! The cases that only host processes have: supervisors, process groups, recycled numbers, users.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::orchestrator::process::{Process, Settings};
use gnomon_edge::reconcile::model::{InstanceState, Step};
use gnomon_schemas::app::{HostProcess, ServiceSpec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getsid};

use crate::bench::{
    Bench, POLITE, RUNNING, app, eventually, exited, process_settings, service, slot,
};

/// Kills a process that this test started.
pub(crate) fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// The supervisor is the parent of the service.
fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_leads_a_group_in_the_session_of_its_supervisor() {
    let (bench, web) = (Bench::process(), slot("web"));
    bench.up(&web, &app(service(POLITE))).await;
    let pid = Pid::from_raw(bench.pid(&web).await);
    let shim = Pid::from_raw(parent(pid.as_raw()));
    assert_eq!(getpgid(Some(pid)).unwrap(), pid);
    assert_eq!(getsid(Some(pid)).unwrap(), shim);
    assert_ne!(getsid(Some(shim)).unwrap(), getsid(None).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_leaves_behind_ends_with_it() {
    let (bench, web) = (Bench::process(), slot("web"));
    bench.up(&web, &app(service("timeout 1000 sleep 1000 & echo left $!; exit 5"))).await;
    bench.until(&web, exited(5)).await;
    let log = bench.until_logged(&web, "left").await;
    let left = log.trim().strip_prefix("left ").unwrap().parse().unwrap();
    eventually("the child of the service is gone", || !is_alive(left)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_on_when_supervisor_and_service_are_dead_is_found_by_its_session() {
    let (bench, web) = (Bench::process(), slot("web"));
    bench.up(&web, &app(service("sleep 1000 & echo left $!; wait"))).await;
    let log = bench.until_logged(&web, "left").await;
    let left = log.trim().strip_prefix("left ").unwrap().parse().unwrap();
    let pid = bench.pid(&web).await;
    kill_9(parent(pid));
    kill_9(pid);
    eventually("the service is gone", || !is_alive(pid)).await;
    assert_eq!(bench.instance(&web).await.state, InstanceState::Stuck);
    bench.stop(&web, Duration::from_secs(20)).await;
    assert!(!is_alive(left));
    assert_eq!(bench.instance(&web).await.state, exited(255));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_supervisor_is_stuck_and_is_removed_by_force() {
    let (bench, web) = (Bench::process(), slot("web"));
    bench.up(&web, &app(service(POLITE))).await;
    let pid = bench.pid(&web).await;
    kill_9(parent(pid));
    bench.until(&web, InstanceState::Stuck).await;
    assert!(is_alive(pid));
    bench.remove(&web).await;
    assert!(!is_alive(pid) && bench.all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_supervisor_is_stopped_politely() {
    let (bench, web) = (Bench::process(), slot("web"));
    let script = "trap 'touch polite; exit 0' TERM; touch up; sleep 1000 & wait";
    bench.up(&web, &app(service(script))).await;
    let root = bench.home(&web).await.join("root");
    eventually("it is up", || root.join("up").exists()).await;
    let pid = bench.pid(&web).await;
    kill_9(parent(pid));
    bench.until(&web, InstanceState::Stuck).await;
    bench.stop(&web, Duration::from_secs(20)).await;
    assert_eq!((is_alive(pid), root.join("polite").exists()), (false, true));
    assert_eq!(bench.instance(&web).await.state, exited(255));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_an_instance_has_ended_and_can_be_started() {
    let (bench, web) = (Bench::process(), slot("web"));
    bench.up(&web, &app(service("exec sleep 1000"))).await;
    let pid = bench.pid(&web).await;
    kill_9(parent(pid));
    kill_9(pid);
    bench.until(&web, exited(255)).await;
    bench.start(&web).await;
    assert_eq!(bench.instance(&web).await.state, RUNNING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recycled_process_number_is_never_signalled() {
    let (bench, web) = (Bench::process(), slot("web"));
    bench.up(&web, &app(service("exec sleep 1000"))).await;
    let pid = bench.pid(&web).await;
    kill_9(parent(pid));
    kill_9(pid);
    bench.until(&web, exited(255)).await;
    let mut innocent = Command::new("sleep").arg("1000").spawn().unwrap();
    let run = bench.home(&web).await.join("run.json");
    let text = fs::read_to_string(&run).unwrap();
    fs::write(&run, text.replace(&format!(":{pid},"), &format!(":{},", innocent.id()))).unwrap();
    assert_eq!(bench.pid(&web).await, i32::try_from(innocent.id()).unwrap());
    assert_eq!(bench.instance(&web).await.state, exited(255));
    bench.stop(&web, Duration::ZERO).await;
    bench.remove(&web).await;
    assert_eq!(innocent.try_wait().unwrap(), None);
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_within_its_bound() {
    let (bench, web) = (Bench::process(), slot("web"));
    let Settings { node, dir, .. } = process_settings(bench.node.clone(), bench.dir.path());
    let settings = Settings { log_bytes: 20_000, ..process_settings(node, &dir) };
    let small = Orchestrator::Process(Process::open(settings).unwrap());
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done";
    let create = Step::Create { slot: web.clone(), spec: app(service(script)) };
    small.apply(&create).await.unwrap();
    bench.start(&web).await;
    bench.until(&web, exited(0)).await;
    let log = small.logs(&web, 100_000).await.unwrap();
    assert!(log.ends_with("line 20000\n") && log.len() <= 40_000, "{} bytes", log.len());
    assert!(log.len() > 20_000, "the rotated log is read, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_half_made_or_damaged_is_made_again() {
    let (bench, web) = (Bench::process(), slot("web"));
    let spec = app(service(POLITE));
    let made = bench.create(&web, &spec).await;
    let home = bench.home(&web).await;
    fs::write(home.join("instance.json"), "{").unwrap();
    fs::create_dir(home.with_file_name(format!(".making.{}", made.id))).unwrap();
    assert!(bench.all().await.is_empty());
    assert_eq!(bench.create(&web, &spec).await, made);
    bench.start(&web).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_for_the_host_wins_and_starts_where_it_says() {
    let (bench, web) = (Bench::process(), slot("web"));
    let command = ["sh", "-c", "echo in $(pwd) for $HOME"].map(ToOwned::to_owned).to_vec();
    let process = HostProcess { command, working_dir: Some("/".to_owned()), health_test: None };
    bench.up(&web, &app(ServiceSpec { process: Some(process), ..service("exit 9") })).await;
    let root = bench.home(&web).await.join("root");
    bench.until_logged(&web, &format!("in / for {}", root.display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_runs_as_its_user() {
    if !nix::unistd::geteuid().is_root() {
        let capabilities = Bench::process().orchestrator.capabilities();
        assert!(!capabilities.users, "without root another user is refused beforehand");
        return;
    }
    let (bench, web) = (Bench::process(), slot("web"));
    open_to_all(bench.dir.path());
    let user = Some("12345:54321".to_owned());
    let spec = app(ServiceSpec { user, ..service("touch mine; echo $(id -u) $(id -g) $(id -G)") });
    bench.up(&web, &spec).await;
    bench.until(&web, exited(0)).await;
    bench.until_logged(&web, "12345 54321 54321").await;
    assert!(bench.home(&web).await.join("root/mine").exists());
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).unwrap();
}

const AGENT_DIR: &str = "GNOMON_TEST_AGENT_DIR";

/// Run by the next test in a process of its own, which is then killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the agent of another test"]
async fn agent_to_be_killed() {
    let Some(dir) = std::env::var_os(AGENT_DIR) else { return };
    let settings = process_settings("site".parse().unwrap(), Path::new(&dir));
    let agent = Orchestrator::Process(Process::open(settings).unwrap());
    for (slot, script) in [
        (slot("stays"), POLITE),
        (slot("ends"), "while test ! -e end; do sleep 0.02; done; exit 9"),
    ] {
        let create = Step::Create { slot: slot.clone(), spec: app_both(script) };
        agent.apply(&create).await.unwrap();
        let observed = agent.observe().await.unwrap();
        let id = observed.instances.values().find(|it| it.slot == slot).unwrap().id.clone();
        agent.apply(&Step::Start { id, slot }).await.unwrap();
    }
    fs::write(Path::new(&dir).join("ready"), "").unwrap();
    std::future::pending::<()>().await;
}

fn app_both(script: &str) -> std::sync::Arc<gnomon_schemas::app::AppSpec> {
    crate::bench::app_of([("stays", service(script)), ("ends", service(script))])
}

#[tokio::test(flavor = "multi_thread")]
async fn services_survive_a_killed_agent_and_their_ends_are_not_missed() {
    let bench = Bench::process();
    let settings = process_settings("site".parse().unwrap(), bench.dir.path());
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::agent_to_be_killed", "--ignored"])
        .env(AGENT_DIR, bench.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the agent is ready", || bench.dir.path().join("ready").exists()).await;
    let again = Orchestrator::Process(Process::open(settings).unwrap());
    let before = again.observe().await.unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(again.observe().await.unwrap(), before);
    let ends = before.instances.keys().find(|id| id.0.contains(".ends.")).unwrap();
    let home = bench.dir.path().join("instances").join(&*ends.0);
    fs::write(home.join("root/end"), "").unwrap();
    eventually("the end is written down", || home.join("exit.json").exists()).await;
    let after = again.observe().await.unwrap();
    assert_eq!(after.instances[ends].state, exited(9));
    let (id, stays) = after.instances.iter().find(|(id, _)| *id != ends).unwrap();
    assert_eq!(stays.state, RUNNING);
    let (id, slot) = (id.clone(), stays.slot.clone());
    let stop = Step::Stop { id, slot, grace: Duration::from_secs(20) };
    again.apply(&stop).await.unwrap();
    assert!(again.observe().await.unwrap().instances.values().all(|it| it.state != RUNNING));
}
