//! What a service becomes as a request to Docker.

use gnomon_schemas::app::AppSpec;
use serde_json::{Value, json};

use super::*;

fn request(service: &Value, prepared: Prepared) -> Value {
    let app: AppSpec = serde_json::from_value(json!({ "services": { "web": service } })).unwrap();
    let (name, service) = app.services.first_key_value().unwrap();
    let slot = Slot { app: "shop".parse().unwrap(), service: name.clone(), replica: 0 };
    let settings = Settings::new("site".parse().unwrap(), "/data");
    serde_json::to_value(body(&settings, &slot, service, prepared)).unwrap()
}

#[test]
fn a_full_service_keeps_every_wish() {
    let service = json!({
        "image": "web:1", "entrypoint": ["/web"], "command": ["--fast"], "user": "7:8",
        "working_dir": "/srv", "environment": {"A": "1", "B": "x=y"}, "stop_signal": "SIGINT",
        "labels": {"tier": "front"},
        "ports": [{"container": 80, "host": 8080, "host_ip": "127.0.0.1"},
                  {"container": 53, "protocol": "udp"}],
        "healthcheck": {"test": {"shell": "true"}, "interval_ms": 1500, "start_period_ms": 7},
        "resources": {"limits": {"cpu_millis": 500, "memory_bytes": 8_388_608, "pids": 9},
                      "reservations": {"cpu_millis": 250, "memory_bytes": 100}}
    });
    let prepared = Prepared { network: "net".into(), ..Prepared::default() };
    let request = request(&service, prepared);
    let has = |pointer: &str, value: Value| assert_eq!(request.pointer(pointer), Some(&value));
    has("/Image", json!("web:1"));
    has("/Entrypoint", json!(["/web"]));
    has("/Cmd", json!(["--fast"]));
    has("/User", json!("7:8"));
    has("/WorkingDir", json!("/srv"));
    has("/Env", json!(["A=1", "B=x=y"]));
    has("/StopSignal", json!("SIGINT"));
    has("/Labels", json!({"tier": "front"}));
    has("/ExposedPorts", json!({"80/tcp": {}, "53/udp": {}}));
    has(
        "/HostConfig/PortBindings",
        json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
               "53/udp": [{"HostPort": ""}]}),
    );
    has("/Healthcheck/Test", json!(["CMD-SHELL", "true"]));
    has("/Healthcheck/Interval", json!(1_500_000_000));
    has("/Healthcheck/StartPeriod", json!(7_000_000));
    has("/HostConfig/NanoCpus", json!(500_000_000));
    has("/HostConfig/Memory", json!(8_388_608));
    has("/HostConfig/PidsLimit", json!(9));
    has("/HostConfig/CpuShares", json!(256));
    has("/HostConfig/MemoryReservation", json!(100));
    has("/HostConfig/RestartPolicy/Name", json!("no"));
    has("/HostConfig/LogConfig/Config", json!({"max-size": "10485760", "max-file": "3"}));
    has("/NetworkingConfig/EndpointsConfig/net/Aliases", json!(["web"]));
}

#[test]
fn an_image_keeps_what_the_service_does_not_say_but_its_health_check() {
    let request = request(&json!({"image": "web:1"}), Prepared::default());
    for absent in ["Entrypoint", "Cmd", "User", "WorkingDir", "StopSignal"] {
        assert_eq!(request.get(absent), None, "{absent}");
    }
    assert_eq!(request.pointer("/Healthcheck/Test"), Some(&json!(["NONE"])));
}

#[test]
fn an_empty_entrypoint_clears_that_of_the_image() {
    let service = json!({"image": "web:1", "entrypoint": [], "command": ["/web"]});
    assert_eq!(request(&service, Prepared::default()).get("Entrypoint"), Some(&json!([""])));
}

#[test]
fn labels_of_the_service_cannot_replace_ours() {
    let service = json!({"image": "web:1", "labels": {"io.gnomon.node": "another"}});
    let labels = HashMap::from([("io.gnomon.node".to_owned(), "site".to_owned())]);
    let request = request(&service, Prepared { labels, ..Prepared::default() });
    assert_eq!(request.get("Labels"), Some(&json!({"io.gnomon.node": "site"})));
}

#[test]
fn mounts_are_typed_and_files_are_read_only() {
    let volume = |target: &str, source, read_only| PreparedVolume {
        target: target.to_owned(),
        source,
        read_only,
    };
    let prepared = Prepared {
        files: vec![MountedFile { source: "/data/0".into(), target: "/etc/web".into() }],
        volumes: vec![
            volume("/v", Source::Named("vol".into()), false),
            volume("/b", Source::Bind("/srv".into()), true),
            volume("/t", Source::Tmpfs(Some(64)), false),
        ],
        ..Prepared::default()
    };
    let request = request(&json!({"image": "web:1"}), prepared);
    assert_eq!(
        request.pointer("/HostConfig/Mounts"),
        Some(&json!([
            {"Target": "/v", "Type": "volume", "Source": "vol", "ReadOnly": false},
            {"Target": "/b", "Type": "bind", "Source": "/srv", "ReadOnly": true},
            {"Target": "/t", "Type": "tmpfs", "ReadOnly": false, "TmpfsOptions": {"SizeBytes": 64}},
            {"Target": "/etc/web", "Type": "bind", "Source": "/data/0", "ReadOnly": true},
        ]))
    );
}

#[test]
fn what_a_service_may_do_reaches_the_daemon_and_nothing_is_said_of_the_usual() {
    let service = json!({"image": "w", "confinement": {
        "cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"], "read_only": true,
        "no_new_privileges": true, "ulimits": {"nofile": {"soft": 7, "hard": 9}, "core": {}},
    }});
    let device = PreparedDevice {
        target: "/dev/scale".into(),
        source: "/dev/ttyUSB0".into(),
        access: "rw".into(),
    };
    let prepared = Prepared { devices: vec![device], ..Prepared::default() };
    let confined = request(&service, prepared);
    let has = |pointer: &str, value: Value| assert_eq!(confined.pointer(pointer), Some(&value));
    has("/HostConfig/CapAdd", json!(["NET_ADMIN"]));
    has("/HostConfig/CapDrop", json!(["ALL"]));
    has("/HostConfig/ReadonlyRootfs", json!(true));
    has("/HostConfig/SecurityOpt", json!(["no-new-privileges:true"]));
    has(
        "/HostConfig/Ulimits",
        json!([{"Name": "core", "Soft": -1, "Hard": -1}, {"Name": "nofile", "Soft": 7, "Hard": 9}]),
    );
    has(
        "/HostConfig/Devices",
        json!([{"PathOnHost": "/dev/ttyUSB0", "PathInContainer": "/dev/scale",
                "CgroupPermissions": "rw"}]),
    );
    let plain = request(&json!({"image": "w"}), Prepared::default());
    for absent in ["CapAdd", "CapDrop", "ReadonlyRootfs", "SecurityOpt", "Ulimits", "Devices"] {
        assert_eq!(plain["HostConfig"].get(absent), None, "{absent}");
    }
}
