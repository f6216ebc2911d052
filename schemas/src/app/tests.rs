//! The laws of the normal form.

use serde_json::{Value, json};

use super::*;

#[test]
fn the_normal_form_survives_its_document() {
    let document = everything();
    let app = AppSpec::from_document(&document).unwrap();
    assert_eq!(app.to_value(), document);
    assert_eq!(AppSpec::from_document(&app.to_value()), Ok(app));
}

#[test]
fn defaults_and_order_do_not_show_in_the_normal_form() {
    let plain =
        json!({"services": {"a": {"image": "i", "ports": [{"container": 1}, {"container": 2}]}}});
    let verbose = json!({
        "services": {"a": {
            "image": "i", "environment": {}, "replicas": 1, "stop_grace_period_ms": 10_000,
            "restart": "no", "resources": {"limits": {}}, "volumes": {}, "labels": {},
            "ports": [{"container": 2, "protocol": "tcp"}, {"container": 1}, {"container": 2}],
        }},
        "volumes": {}, "configs": {}, "secrets": {},
    });
    let app = AppSpec::from_document(&verbose).unwrap();
    assert_eq!(app.to_value(), plain);
    assert_eq!(app.revision(), AppSpec::from_document(&plain).unwrap().revision());
}

#[test]
fn no_null_is_in_any_document() {
    fn check(value: &Value) {
        match value {
            Value::Null => panic!("a null"),
            Value::Array(items) => items.iter().for_each(check),
            Value::Object(members) => members.values().for_each(check),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    check(&AppSpec::from_document(&everything()).unwrap().to_value());
    check(&plain(&ServiceSpec::default()));
    check(&AppStatus::new(crate::version::Version(1), AppState::Pending).to_value());
    check(&plain(&ServiceStatus::new(ServiceState::Running)));
}

#[test]
fn a_revision_is_the_digest_of_canonical_json() {
    // printf '{"services":{"a":{"image":"é"},"b":{"image":"i"}}}' | sha256sum
    let revision = Revision::of(&json!({"services": {"b": {"image": "i"}, "a": {"image": "é"}}}));
    assert_eq!(revision.to_string(), "0fadb760c6acbc5d382d5322ebd80bf4");
    assert_eq!(revision.to_string().parse(), Ok(revision));
    assert_eq!(revision.short(), revision.to_string()[..12]);
    assert_eq!(serde_json::to_value(revision).unwrap(), json!(revision.to_string()));
    for bad in ["", "12", &"G".repeat(32), &"A".repeat(32), &"é".repeat(16)] {
        assert_eq!(bad.parse::<Revision>(), Err(ParseRevisionError));
    }
}

#[test]
fn a_field_that_is_not_known_is_refused_with_its_path() {
    let refused = |document: Value| AppSpec::from_document(&document).unwrap_err().to_string();
    let start = "the app does not have the expected form at ";
    let error = refused(json!({"services": {"a": {"image": "i", "tty": true}}}));
    assert!(error.starts_with(&format!("{start}services.a.tty: unknown field `tty`")), "{error}");
    let error = refused(json!({"services": {"a": {"ports": [{"container": 0}]}}}));
    assert!(error.starts_with(&format!("{start}services.a.ports[0].container: ")), "{error}");
    let error = refused(json!({"services": {"a/b": {"image": "i"}}}));
    assert!(error.contains("'/' at position 1"), "{error}");
    assert!(AppSpec::from_document(&json!([])).is_err());
    assert!(AppSpec::from_document(&json!({})).is_err());
}

#[test]
fn the_content_of_a_secret_is_never_printed() {
    let app = AppSpec::from_document(&everything()).unwrap();
    assert!(!format!("{app:?}").contains("hunter2"));
    assert_eq!(app.secrets.values().next().unwrap().content.expose(), "hunter2");
    for bad in
        [json!("hunter2"), json!({"content": 1, "hunter2": 1}), json!({"content": ["hunter2"]})]
    {
        let mut document = everything();
        document["secrets"]["key"] = bad;
        let error = AppSpec::from_document(&document).unwrap_err();
        let printed = format!("{error} {error:?}").replace("secrets.key.hunter2", "");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn a_digest_changes_with_what_its_service_depends_on_and_nothing_else() {
    let before = AppSpec::from_document(&everything()).unwrap();
    let digests = |app: &AppSpec| {
        let digest = |name: &str| app.service_digest(&name.parse().unwrap()).unwrap();
        (digest("web"), digest("db"))
    };
    let changed = |pointer: &str, value: Value| {
        let mut document = everything();
        *document.pointer_mut(pointer).unwrap() = value;
        let after = AppSpec::from_document(&document).unwrap();
        assert_ne!(after.revision(), before.revision(), "{pointer}");
        let ((web, db), (web_now, db_now)) = (digests(&before), digests(&after));
        (web != web_now, db != db_now)
    };
    assert_eq!(changed("/services/web/image", json!("j")), (true, false));
    assert_eq!(changed("/services/db/image", json!("j")), (false, true));
    assert_eq!(changed("/configs/page/content", json!("new")), (true, false));
    assert_eq!(changed("/secrets/key/content", json!("new")), (true, false));
    assert_eq!(changed("/configs/unused/content", json!("new")), (false, false));
    assert_eq!(changed("/services/web/depends_on/db", json!("started")), (false, false));
    assert_eq!(changed("/services/db/replicas", json!(3)), (false, false));
    assert_eq!(before.service_digest(&"none".parse().unwrap()), None);
}

#[test]
fn services_start_after_those_they_depend_on() {
    let app = app_of(&[("a", &["c"]), ("b", &[]), ("c", &["d", "b"]), ("d", &[])]);
    assert_eq!(order(&app), ["b", "d", "c", "a"]);
    let circle = app_of(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &["gone"])]);
    assert_eq!(order(&circle), ["d", "a", "b", "c"]);
}

#[test]
fn a_circle_is_named_from_its_first_service_to_itself() {
    for (services, expected) in [
        (
            &[("a", &["a"][..])][..],
            "services.a.depends_on.a: the services wait for each other: a -> a",
        ),
        (
            &[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"])],
            "services.b.depends_on.c: the services wait for each other: b -> c -> d -> b",
        ),
    ] {
        assert_eq!(app_of(services).validate().unwrap_err().to_string(), expected);
    }
    assert_eq!(app_of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]).validate(), Ok(()));
}

#[test]
fn counts_and_sizes_are_bounded() {
    let names: Vec<String> = (0..=limits::SERVICES).map(|n| format!("s{n}")).collect();
    let services: Vec<_> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    assert_eq!(problem(&app_of(&services)), "services: has 65 entries, at most 64 are allowed");

    let mut app = app_of(&[("a", &[])]);
    let service = app.services.values_mut().next().unwrap();
    service.environment = (0..513).map(|n| (format!("V{n}"), String::new())).collect();
    let expected = "services.a.environment: has 513 entries, at most 512 are allowed";
    assert_eq!(problem(&app), expected);

    let mut app = app_of(&[("a", &[])]);
    let content = "x".repeat(limits::CONTENT_BYTES + 1);
    app.configs.insert("c".parse().unwrap(), ConfigSpec { content });
    assert_eq!(problem(&app), "configs.c.content: has 131073 bytes, at most 131072 are allowed");

    let content = "x".repeat(limits::CONTENT_BYTES);
    for name in ["c", "d"] {
        app.configs.insert(name.parse().unwrap(), ConfigSpec { content: content.clone() });
    }
    assert!(problem(&app).starts_with("the app: has 262"), "{}", problem(&app));
}

#[test]
fn a_refusal_names_a_bounded_number_of_problems() {
    let names: Vec<String> = (0..limits::SERVICES).map(|n| format!("s{n}")).collect();
    let services: Vec<_> = names.iter().map(|name| (name.as_str(), &["gone"][..])).collect();
    let refused = app_of(&services).validate().unwrap_err();
    assert_eq!(refused.problems().len(), limits::PROBLEMS);
}

#[test]
fn host_ports_collide_only_on_the_same_address_and_protocol() {
    let port = |host: Option<u16>, ip: Option<&str>, protocol| Port {
        container: 80.try_into().unwrap(),
        host: host.map(|host| host.try_into().unwrap()),
        host_ip: ip.map(|ip| ip.parse().unwrap()),
        protocol,
    };
    let any = port(Some(80), None, Protocol::Tcp);
    for (other, expected) in [
        (any, true),
        (port(Some(80), Some("10.0.0.1"), Protocol::Tcp), true),
        (port(Some(80), Some("0.0.0.0"), Protocol::Tcp), true),
        (port(Some(81), None, Protocol::Tcp), false),
        (port(Some(80), None, Protocol::Udp), false),
        (port(None, None, Protocol::Tcp), false),
    ] {
        assert_eq!((any.collides(&other), other.collides(&any)), (expected, expected), "{other:?}");
    }
    let local = port(Some(80), Some("127.0.0.1"), Protocol::Tcp);
    assert!(!local.collides(&port(Some(80), Some("10.0.0.1"), Protocol::Tcp)));
}

#[test]
fn the_host_command_is_the_process_or_the_entrypoint_with_the_command() {
    let argv = |service: Value| {
        let service: ServiceSpec = serde_json::from_value(service).unwrap();
        service.host_argv().join(" ")
    };
    assert_eq!(argv(json!({"image": "i"})), "");
    assert_eq!(argv(json!({"entrypoint": ["a"], "command": ["b", "c"]})), "a b c");
    assert_eq!(argv(json!({"command": ["b"], "process": {"command": ["sh"]}})), "sh");
    let service: ServiceSpec = serde_json::from_value(json!({
        "healthcheck": {"test": {"shell": "in"}, "retries": 9},
        "process": {"command": ["sh"], "health_test": {"shell": "out"}},
    }))
    .unwrap();
    let check = service.host_healthcheck().unwrap();
    assert_eq!((check.test, check.retries), (HealthTest::Shell("out".to_owned()), 9));
}

#[test]
fn a_status_survives_its_document_and_new_fields() {
    let mut status = AppStatus::new(crate::version::Version(7), AppState::Degraded);
    status.reason = Some("web is not healthy".to_owned());
    status.revision = Some(Revision::from_bytes([7; 16]));
    let web = ServiceStatus {
        healthy: Some(false),
        restarts: 2,
        exit_code: Some(-1),
        ..ServiceStatus::new(ServiceState::Unhealthy)
    };
    status.services.insert("web".parse().unwrap(), web);
    let mut document = status.to_value();
    assert_eq!(
        document,
        json!({
            "desired_version": 7, "state": "degraded", "reason": "web is not healthy",
            "revision": "07070707070707070707070707070707",
            "services": {"web": {
                "state": "unhealthy", "healthy": false, "restarts": 2, "exit_code": -1}},
        })
    );
    document["since"] = json!("another build");
    assert_eq!(AppStatus::from_document(&document).unwrap(), status);
}

fn problem(app: &AppSpec) -> String {
    app.validate().unwrap_err().to_string()
}

fn order(app: &AppSpec) -> Vec<&str> {
    app.start_order().into_iter().map(ServiceName::as_str).collect()
}

fn app_of(services: &[(&str, &[&str])]) -> AppSpec {
    let mut app = AppSpec::default();
    for (name, needs) in services {
        let needs = needs.iter().map(|need| (need.parse().unwrap(), Condition::Started));
        let service = ServiceSpec {
            image: Some("i".to_owned()),
            depends_on: needs.collect(),
            ..ServiceSpec::default()
        };
        app.services.insert(name.parse().unwrap(), service);
    }
    app
}

/// A document in normal form that uses every field.
fn everything() -> Value {
    json!({
        "services": {
            "db": {"image": "db:1", "healthcheck": {"test": {"shell": "ping"}}, "replicas": 2},
            "web": {
                "image": "registry.example:5000/shop/web:1@sha256:00",
                "entrypoint": ["/bin/run"],
                "command": ["--port", "80"],
                "process": {"command": ["sh"], "working_dir": "/srv", "health_test": {"exec": ["t"]}},
                "environment": {"A": "1"},
                "ports": [{"container": 80, "host": 8080, "host_ip": "127.0.0.1", "protocol": "udp"}],
                "volumes": {
                    "/b": {"bind": {"path": "/srv", "read_only": true}},
                    "/d": {"volume": {"name": "data", "read_only": true}},
                    "/t": {"tmpfs": {"size_bytes": 1024}},
                },
                "configs": {"/page": {"source": "page", "mode": 0o400}},
                "secrets": {"/run/secrets/key": {"source": "key"}},
                "healthcheck": {
                    "test": {"exec": ["t"]}, "interval_ms": 1000, "timeout_ms": 500, "retries": 5,
                    "start_period_ms": 10,
                },
                "restart": {"on-failure": {"max_retries": 3}},
                "depends_on": {"db": "healthy"},
                "resources": {
                    "limits": {"cpu_millis": 500, "memory_bytes": 67_108_864, "pids": 10},
                    "reservations": {"cpu_millis": 100, "memory_bytes": 1024},
                },
                "replicas": 0,
                "stop_grace_period_ms": 5000,
                "stop_signal": "SIGINT",
                "working_dir": "/w",
                "user": "1000:1000",
                "labels": {"a.b": "c"},
            },
        },
        "volumes": {"data": {"labels": {"a": "b"}}},
        "configs": {"page": {"content": "hi"}, "unused": {"content": ""}},
        "secrets": {"key": {"content": "hunter2"}},
    })
}
