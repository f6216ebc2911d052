//! A wire between two network namespaces: real packets, real delay, real loss. Needs root, `ip` and
//! busybox; `make setup` installs them.

use std::process::{Command, Output};

use gnomon_sim::link::Profile;
use gnomon_sim::link::tap::{StartTapError, TapConfig, TapEnd, TapLink};

/// Two namespaces, gone when this is dropped.
struct Spaces([String; 2]);

impl Spaces {
    fn new() -> Self {
        let name = |end: &str| format!("gnomon-{}-{end}", std::process::id());
        let spaces = Self([name("a"), name("b")]);
        assert!(Command::new("busybox").output().is_ok(), "busybox is missing; run: make setup");
        assert!(std::path::Path::new("/dev/net/tun").exists(), "this kernel has no /dev/net/tun");
        let made = spaces.0.iter().all(|space| ip(&["netns", "add", space]));
        assert!(made, "no network namespaces; are you root, and is `ip` here? (make setup)");
        spaces
    }

    fn end(&self, at: usize) -> TapEnd {
        TapEnd {
            namespace: self.0.get(at).unwrap().clone(),
            device: format!("gn{}-{at}", std::process::id() % 100_000),
            address: format!("10.213.77.{}/24", at + 1),
        }
    }

    /// Twenty packets from one end to the other and back.
    async fn ping(&self) -> Output {
        let [near, _] = &self.0;
        let ping = ["netns", "exec", near, "busybox", "ping", "-c", "20", "-i", "0.05", "-W", "2"];
        let ping = tokio::process::Command::new("ip").args(ping).arg("10.213.77.2").output();
        ping.await.unwrap()
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for space in &self.0 {
            ip(&["netns", "del", space]);
        }
    }
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).output().is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_delays_and_loses_real_packets_and_is_steered_live() {
    let spaces = Spaces::new();
    let profile = Profile { delay_ms: 30, ..Profile::perfect() };
    let (near, far) = (spaces.end(0), spaces.end(1));
    let wire = TapLink::start(TapConfig { near, far, profile: profile.clone(), seed: 3 });
    let wire = wire.await.unwrap();

    let said = spaces.ping().await;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.contains(" 0% packet loss"), "{text}");
    let times = text.lines().filter_map(|line| line.split_once("time=")?.1.split(' ').next());
    let times: Vec<f64> = times.map(|time| time.parse().unwrap()).collect();
    assert!(times.len() == 20 && times.iter().all(|time| *time >= 60.0), "{text}");

    let lossy = Profile { loss_per_kib: 0.5, stall_ms: 1, stall_cap_ms: 1, ..Profile::perfect() };
    wire.set_profile(lossy).unwrap();
    let text = String::from_utf8_lossy(&spaces.ping().await.stdout).into_owned();
    assert!(!text.contains(" 0% packet loss"), "{text}");
    assert!(wire.counters().bytes_lost > 0);

    wire.set_profile(Profile::perfect()).unwrap();
    wire.set_down(true);
    let text = String::from_utf8_lossy(&spaces.ping().await.stdout).into_owned();
    assert!(text.contains("100% packet loss"), "{text}");
    wire.set_down(false);
    let text = String::from_utf8_lossy(&spaces.ping().await.stdout).into_owned();
    assert!(!text.contains("100% packet loss"), "{text}");
}

#[tokio::test]
async fn a_wire_into_a_namespace_that_is_not_there_says_what_failed() {
    let end = |at: u8| TapEnd {
        namespace: "gnomon-nowhere".to_owned(),
        device: format!("gx{}-{at}", std::process::id() % 100_000),
        address: "10.213.78.1/24".to_owned(),
    };
    let config = TapConfig { near: end(0), far: end(1), profile: Profile::perfect(), seed: 1 };
    let text = match TapLink::start(config).await.unwrap_err() {
        StartTapError::Device { device, .. } => device,
        StartTapError::Ip { command, .. } => command,
        other @ (StartTapError::Profile(_) | StartTapError::NoIp(_)) => other.to_string(),
    };
    assert!(text.contains("gx"), "{text}");
}
