//! What each orchestrator refuses, in the words that an operator reads.

use serde_json::json;

use super::*;

fn process() -> Capabilities {
    Capabilities {
        kind: Kind::Process,
        images: false,
        tmpfs: false,
        limits: LimitKinds { cpu: false, memory: true, pids: false },
        confines: false,
        hardens: true,
        nested_mounts: false,
        users: false,
        bind_prefixes: vec!["/srv".into()],
        device_prefixes: vec!["/dev/ttyS0".into()],
    }
}

fn docker() -> Capabilities {
    Capabilities {
        kind: Kind::Docker,
        images: true,
        tmpfs: true,
        limits: LimitKinds::ALL,
        confines: true,
        hardens: true,
        nested_mounts: true,
        users: true,
        bind_prefixes: Vec::new(),
        device_prefixes: vec!["/dev/bus".into(), "/dev/ttyS0".into()],
    }
}

fn refusal(capabilities: &Capabilities, service: &Value) -> String {
    let app: AppSpec = serde_json::from_value(json!({ "services": { "web": service } })).unwrap();
    capabilities.check(&app).map_or_else(|error| error.to_string(), |()| "fits".to_owned())
}

#[test]
fn a_service_needs_what_its_orchestrator_runs() {
    insta::assert_snapshot!(refusal(&docker(), &json!({"process": {"command": ["web"]}})),
        @"service web cannot run on the docker orchestrator of this node: it needs an `image`");
    insta::assert_snapshot!(refusal(&process(), &json!({"image": "web:1"})),
        @"service web cannot run on the process orchestrator of this node: it runs no images; give a command for the host under `x-gnomon-process`");
    let both = json!({"image": "web:1", "process": {"command": ["web"]}, "ports": [{"container": 80, "host": 8080}]});
    assert_eq!(refusal(&docker(), &both), "fits");
    assert_eq!(refusal(&process(), &both), "fits");
}

#[test]
fn a_bind_mount_must_be_below_a_permitted_directory() {
    let bind = |path: &str| json!({"image": "w", "command": ["w"], "volumes": {"/data": {"bind": {"path": path}}}});
    assert_eq!(refusal(&process(), &bind("/srv/films")), "fits");
    insta::assert_snapshot!(refusal(&process(), &bind("/srv2")),
        @"service web cannot run on the process orchestrator of this node: the bind mount of /srv2 is not below a directory that this node permits (/srv)");
    insta::assert_snapshot!(refusal(&docker(), &bind("/srv/films")),
        @"service web cannot run on the docker orchestrator of this node: the bind mount of /srv/films is not below a directory that this node permits (it permits none)");
}

#[test]
fn what_a_host_process_cannot_have_is_refused_by_name() {
    let cases = [
        (json!({"command": ["w"], "volumes": {"/tmp": {"tmpfs": {}}}}), "tmpfs for /tmp"),
        (
            json!({"command": ["w"], "resources": {"limits": {"pids": 3}}}),
            "`resources.limits.pids`",
        ),
        (
            json!({"command": ["w"], "resources": {"limits": {"cpu_millis": 3}}}),
            "`resources.limits.cpus`",
        ),
        (json!({"command": ["w"], "confinement": {"cap_add": ["NET_ADMIN"]}}), "no `cap_add`"),
        (json!({"command": ["w"], "confinement": {"cap_drop": ["ALL"]}}), "no `cap_drop`"),
        (json!({"command": ["w"], "confinement": {"read_only": true}}), "no `read_only`"),
        (json!({"command": ["w"], "devices": {"/dev/x": {"path": "/dev/ttyS0"}}}), "not at /dev/x"),
        (
            json!({"command": ["w"], "volumes": {
                "/data": {"bind": {"path": "/srv/a"}}, "/data/b": {"bind": {"path": "/srv/b"}}
            }}),
            "/data/b inside the volume at /data",
        ),
        (json!({"command": ["w"], "user": "nobody"}), "user nobody"),
    ];
    for (service, named) in cases {
        let text = refusal(&process(), &service);
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn manifests_are_for_k3s_and_mount_only_what_the_node_permits() {
    let pod = |path: &str| {
        let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" },
            "spec": { "volumes": [{ "name": "v", "hostPath": { "path": path } }] } });
        json!({ "manifests": { "Pod/a": object } })
    };
    insta::assert_snapshot!(refusal(&docker(), &pod("/srv/films")),
        @"service web cannot run on the docker orchestrator of this node: it consists of Kubernetes manifests, which only the k3s orchestrator can apply");
    let k3s = Capabilities { kind: Kind::K3s, bind_prefixes: vec!["/srv".into()], ..docker() };
    assert_eq!(refusal(&k3s, &pod("/srv/films")), "fits");
    for path in ["/", "/srv/../etc"] {
        let refused = refusal(&k3s, &pod(path));
        assert!(
            refused.contains("not below a directory that this node permits (/srv)"),
            "{refused}"
        );
    }
}

#[test]
fn a_device_must_be_among_those_that_the_node_permits() {
    let with =
        |path: &str| json!({"image": "w", "command": ["w"], "devices": {path: {"path": path}}});
    assert_eq!(refusal(&docker(), &with("/dev/bus/usb/001")), "fits");
    assert_eq!(refusal(&process(), &with("/dev/ttyS0")), "fits");
    insta::assert_snapshot!(refusal(&docker(), &with("/dev/sda")),
        @"service web cannot run on the docker orchestrator of this node: the device /dev/sda is not among those that this node permits (/dev/bus, /dev/ttyS0)");
    let k3s = Capabilities { kind: Kind::K3s, ..docker() };
    assert!(refusal(&k3s, &with("/dev/ttyS0")).contains("no `devices`"));
}

#[test]
fn what_an_orchestrator_cannot_take_from_a_service_or_give_it_is_refused_by_name() {
    let weak = Capabilities { confines: false, hardens: false, ..docker() };
    for (confinement, named) in [
        (json!({"no_new_privileges": true}), "no-new-privileges"),
        (json!({"ulimits": {"nofile": {"soft": 1, "hard": 1}}}), "`ulimits`"),
        (json!({"cap_drop": ["ALL"]}), "`cap_drop`"),
    ] {
        let service = json!({"image": "w", "confinement": confinement});
        assert_eq!(refusal(&docker(), &service), "fits");
        let text = refusal(&weak, &service);
        assert!(text.contains(named), "{text}");
    }
}
