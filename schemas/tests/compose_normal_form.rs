//! Compose snippets and the normal form that each one means.

use gnomon_schemas::compose;
use serde_json::{Value, json};

fn environment(name: &str) -> Option<String> {
    match name {
        "TAG" => Some("1.2".to_owned()),
        "TOKEN" => Some("t0ken".to_owned()),
        _ => None,
    }
}

fn files(path: &str) -> std::io::Result<String> {
    match path {
        "conf/app.toml" => Ok("a = $1\n".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    }
}

/// The service `a` that these lines describe, as JSON, without its image.
fn service(lines: &str) -> Value {
    let lines = lines.replace('\n', "\n    ");
    let text = format!(
        "services:\n  a:\n    image: i\n    {lines}\n  b: {{ image: i, healthcheck: {{ test: t }} }}\n\
         volumes: {{ data: , more: {{}} }}\nconfigs: {{ c: {{ content: x }} }}\n\
         secrets: {{ s: {{ content: x }} }}\n"
    );
    match compose::read(&text, &environment, &files) {
        Err(errors) => json!(errors.to_string()),
        Ok(app) => {
            let mut app = app.to_value();
            let service = app.pointer_mut("/services/a").map(Value::take).unwrap_or_default();
            let Value::Object(mut members) = service else { return service };
            members.remove("image");
            members.into()
        }
    }
}

fn check(cases: &[(&str, Value)]) {
    for (lines, expected) in cases {
        assert_eq!(service(lines), *expected, "{lines}");
    }
}

#[test]
fn commands_are_lists_or_split_as_a_shell_would() {
    check(&[
        ("command: a 'b c' \"d\" $$e", json!({"command": ["a", "b c", "d", "$e"]})),
        ("command: [a, 'b c', 1, true]", json!({"command": ["a", "b c", "1", "true"]})),
        ("command: []\nentrypoint: ''", json!({"command": [], "entrypoint": []})),
        ("command:\nentrypoint: ~", json!({})),
        ("entrypoint: /bin/run --tag ${TAG}", json!({"entrypoint": ["/bin/run", "--tag", "1.2"]})),
    ]);
}

#[test]
fn environment_is_a_mapping_or_a_list() {
    let both = json!({"environment": {"A": "1", "B": "x=y", "TOKEN": "t0ken"}});
    check(&[
        ("environment: { A: 1, B: x=y, TOKEN: }", both.clone()),
        ("environment:\n  - B=x=y\n  - A=1\n  - TOKEN", both),
        (
            "environment: { A: 1.10, B: 010, C: yes, D: '', E: true }",
            json!({"environment": {"A": "1.10", "B": "010", "C": "yes", "D": "", "E": "true"}}),
        ),
        ("environment: { A: \"${TAG}-${NONE:-x}\" }", json!({"environment": {"A": "1.2-x"}})),
        ("environment: {}", json!({})),
        ("labels: [x.y=1, z]", json!({"labels": {"x.y": "1", "z": ""}})),
    ]);
}

#[test]
fn capabilities_devices_and_limits_of_the_kernel_have_one_form() {
    let confined = |value: Value| json!({ "confinement": value });
    check(&[
        (
            "cap_add: [NET_ADMIN, cap_sys_time]\ncap_drop: [ALL]",
            confined(json!({"cap_add": ["NET_ADMIN", "SYS_TIME"], "cap_drop": ["ALL"]})),
        ),
        (
            "read_only: true\nsecurity_opt: ['no-new-privileges:true']",
            confined(json!({"read_only": true, "no_new_privileges": true})),
        ),
        ("read_only: false\nsecurity_opt: ['no-new-privileges=false']\ncap_add: []", json!({})),
        (
            "ulimits: { nofile: 1024, NPROC: { soft: 10, hard: 20 }, core: -1 }",
            confined(json!({"ulimits": {"nofile": {"soft": 1024, "hard": 1024},
                "nproc": {"soft": 10, "hard": 20}, "core": {}}})),
        ),
        (
            "devices: [/dev/a, '/dev/b:r', '/dev/c:/dev/d:wr', {source: /dev/e, target: /dev/f, permissions: m}]",
            json!({"devices": {
                "/dev/a": {"path": "/dev/a"}, "/dev/b": {"path": "/dev/b", "access": "r"},
                "/dev/d": {"path": "/dev/c", "access": "rw"},
                "/dev/f": {"path": "/dev/e", "access": "m"}}}),
        ),
    ]);
}

#[test]
fn the_order_of_an_update_is_kept_and_the_usual_one_is_not_written() {
    check(&[
        ("deploy: { update_config: { order: start-first } }", json!({"update": "start-first"})),
        ("deploy: { update_config: { order: stop-first } }", json!({})),
    ]);
}

#[test]
fn ports_have_a_short_and_a_long_form() {
    let full = json!({"ports": [
        {"container": 80, "host": 8080, "host_ip": "127.0.0.1", "protocol": "udp"}]});
    check(&[
        ("ports: ['80']", json!({"ports": [{"container": 80}]})),
        ("ports: [80]", json!({"ports": [{"container": 80}]})),
        ("ports: ['8080:80']", json!({"ports": [{"container": 80, "host": 8080}]})),
        ("ports: ['127.0.0.1:8080:80/udp']", full.clone()),
        ("ports: [{target: 80, published: '8080', host_ip: 127.0.0.1, protocol: udp}]", full),
        ("ports: ['127.0.0.1::80']", json!({"ports": [{"container": 80, "host_ip": "127.0.0.1"}]})),
        (
            "ports: ['[::1]:8080:80/tcp']",
            json!({"ports": [{"container": 80, "host": 8080, "host_ip": "::1"}]}),
        ),
        (
            "ports: ['8001-8002:81-82']",
            json!({"ports": [{"container": 81, "host": 8001}, {"container": 82, "host": 8002}]}),
        ),
    ]);
}

#[test]
fn volumes_have_a_short_and_a_long_form() {
    let named = json!({"volumes": {"/d": {"volume": {"name": "data", "read_only": true}}}});
    let bind = json!({"volumes": {"/d": {"bind": {"path": "/srv"}}}});
    check(&[
        ("volumes: ['data:/d:ro']", named.clone()),
        ("volumes: [{type: volume, source: data, target: /d/, read_only: true}]", named),
        ("volumes: ['/srv/:/d/']", bind.clone()),
        ("volumes: [{type: bind, source: /srv, target: /d, read_only: false}]", bind),
        (
            "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 16m}}]",
            json!({"volumes": {"/t": {"tmpfs": {"size_bytes": 16_777_216}}}}),
        ),
        ("volumes: [{type: tmpfs, target: /t}]", json!({"volumes": {"/t": {"tmpfs": {}}}})),
    ]);
}

#[test]
fn configs_and_secrets_appear_where_compose_puts_them() {
    check(&[
        ("configs: [c]", json!({"configs": {"/c": {"source": "c"}}})),
        ("secrets: [s]", json!({"secrets": {"/run/secrets/s": {"source": "s"}}})),
        (
            "configs: [{source: c, target: /etc/c, mode: 0440}]",
            json!({"configs": {"/etc/c": {"source": "c", "mode": 0o440}}}),
        ),
        (
            "secrets: [{source: s, target: key, mode: 0o400}]",
            json!({"secrets": {"/run/secrets/key": {"source": "s", "mode": 0o400}}}),
        ),
        (
            "secrets: [{source: s, target: /etc/key, mode: '0444'}]",
            json!({"secrets": {"/etc/key": {"source": "s"}}}),
        ),
    ]);
}

#[test]
fn health_checks_have_every_form_of_test() {
    let shell = json!({"healthcheck": {"test": {"shell": "a b"}}});
    check(&[
        ("healthcheck: {test: a b}", shell.clone()),
        ("healthcheck: {test: [CMD-SHELL, a b]}", shell.clone()),
        (
            "healthcheck: {test: [CMD, a, b c]}",
            json!({"healthcheck": {"test": {"exec": ["a", "b c"]}}}),
        ),
        ("healthcheck: {test: [NONE]}", json!({})),
        ("healthcheck: {disable: true}", json!({})),
        ("healthcheck: {test: t, disable: true}", json!({})),
        (
            "healthcheck: {test: a b, interval: 30s, timeout: 0.5m, retries: 3, start_period: 0s}",
            shell,
        ),
        (
            "healthcheck: {test: t, interval: 1m30s, timeout: 500ms, retries: 7, start_period: 2h}",
            json!({"healthcheck": {"test": {"shell": "t"}, "interval_ms": 90_000, "timeout_ms": 500,
                "retries": 7, "start_period_ms": 7_200_000}}),
        ),
    ]);
}

#[test]
fn restart_and_stop_have_every_form() {
    check(&[
        ("restart: no", json!({})),
        ("restart: \"no\"", json!({})),
        ("restart: always", json!({"restart": "always"})),
        ("restart: unless-stopped", json!({"restart": "unless-stopped"})),
        ("restart: on-failure", json!({"restart": {"on-failure": {}}})),
        ("restart: on-failure:3", json!({"restart": {"on-failure": {"max_retries": 3}}})),
        (
            "stop_signal: INT\nstop_grace_period: 1m",
            json!({"stop_signal": "SIGINT", "stop_grace_period_ms": 60_000}),
        ),
        ("stop_signal: SIGINT\nstop_grace_period: 10s", json!({"stop_signal": "SIGINT"})),
        ("user: 1000:1000\nworking_dir: /w", json!({"user": "1000:1000", "working_dir": "/w"})),
    ]);
}

#[test]
fn dependencies_have_a_short_and_a_long_form() {
    check(&[
        ("depends_on: [b]", json!({"depends_on": {"b": "started"}})),
        ("depends_on: {b: {condition: service_started}}", json!({"depends_on": {"b": "started"}})),
        ("depends_on: {b: {condition: service_healthy}}", json!({"depends_on": {"b": "healthy"}})),
        (
            "depends_on: {b: {condition: service_completed_successfully}}",
            json!({"depends_on": {"b": "completed_successfully"}}),
        ),
    ]);
}

#[test]
fn resources_and_replicas_come_from_deploy() {
    check(&[
        ("deploy: {replicas: 3}", json!({"replicas": 3})),
        ("deploy: {replicas: 1, resources: {limits: {}}}", json!({})),
        (
            "deploy: {resources: {limits: {cpus: '0.25', memory: 64m, pids: 10}, \
          reservations: {cpus: 0.1, memory: 32M}}}",
            json!({"resources": {
            "limits": {"cpu_millis": 250, "memory_bytes": 67_108_864, "pids": 10},
            "reservations": {"cpu_millis": 100, "memory_bytes": 33_554_432}}}),
        ),
    ]);
}

#[test]
fn a_host_command_stands_beside_the_image() {
    check(&[
        (
            "x-gnomon-process: {command: sh -c 'a b', working_dir: /srv, health_test: [CMD, t]}",
            json!({"process": {"command": ["sh", "-c", "a b"], "working_dir": "/srv",
                "health_test": {"exec": ["t"]}}}),
        ),
        ("x-else: {anything: [goes, '${']}", json!({})),
    ]);
}

#[test]
fn contents_come_from_the_text_a_file_or_a_variable() {
    let text = "
version: '3.9'
name: shop
services: { a: { command: run } }
configs:
  inline: { content: 'v=${TAG}' }
  file: { file: ./conf/./app.toml }
  variable: { environment: TOKEN }
secrets:
  key: { environment: TOKEN }
volumes:
  data: { labels: { a: b } }
x-note: [1, 2]
";
    let compose = compose::read_named(text, &environment, &files).unwrap();
    assert_eq!(compose.name.unwrap().as_str(), "shop");
    assert_eq!(
        compose.app.to_value(),
        json!({
            "services": {"a": {"command": ["run"]}},
            "configs": {
                "inline": {"content": "v=1.2"},
                "file": {"content": "a = $1\n"},
                "variable": {"content": "t0ken"},
            },
            "secrets": {"key": {"content": "t0ken"}},
            "volumes": {"data": {"labels": {"a": "b"}}},
        })
    );
}

#[test]
fn anchors_and_merge_keys_mean_what_yaml_says() {
    let text = "
x-base: &base { image: base, restart: always, environment: &env { A: 1, B: 2 } }
x-more: &more { image: more, user: app }
services:
  one: *base
  two: { <<: *base, image: own }
  three: { <<: [*more, *base], environment: { <<: *env, B: 3 } }
";
    let app = compose::read(text, &environment, &files).unwrap().to_value();
    let env = json!({"A": "1", "B": "2"});
    assert_eq!(
        app["services"],
        json!({
            "one": {"image": "base", "restart": "always", "environment": env},
            "two": {"image": "own", "restart": "always", "environment": env},
            "three": {"image": "more", "restart": "always", "user": "app",
                      "environment": {"A": "1", "B": "3"}},
        })
    );
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_matter() {
    let text = "services:\n  a:\n    image: i\n    command: |\n      x\n      y\n";
    let unix = compose::read(text, &environment, &files).unwrap();
    let dos = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(compose::read(&dos, &environment, &files).unwrap(), unix);
}

#[test]
fn the_trial_of_a_revision_is_part_of_the_app_and_its_default_is_left_out() {
    for (text, trial) in [
        ("{}", Value::Null),
        ("{settle: 30s, rollback: on}", Value::Null),
        ("{settle: 1m30s, rollback: 'off'}", json!({"settle_ms": 90_000, "rollback": false})),
        ("{update_window: '22:30-04:00'}", json!({"update_window": "22:30-04:00"})),
        ("{settle: '0'}", json!({"settle_ms": 0})),
    ] {
        let text = format!("services: {{a: {{image: i}}}}\nx-gnomon: {text}\nx-other: 1");
        let app = compose::read(&text, &environment, &files).unwrap().to_value();
        assert_eq!(app["trial"], trial, "{text}");
    }
}

#[test]
fn a_schedule_belongs_to_its_service_and_not_to_its_containers() {
    check(&[
        ("x-gnomon: {schedule: 0 3 * * *}", json!({"schedule": {"cron": "0 3 * * *"}})),
        (
            "x-gnomon: {schedule: '*/5 * * * *', missed: skip}",
            json!({"schedule": {"cron": "*/5 * * * *", "missed": "skip"}}),
        ),
        ("x-gnomon: {}", json!({})),
    ]);
    let read = |cron: &str| {
        let text = format!("services: {{a: {{image: i, x-gnomon: {{schedule: '{cron}'}}}}}}");
        compose::read(&text, &environment, &files).unwrap()
    };
    let (one, other) = (read("0 3 * * *"), read("0 4 * * *"));
    let name = "a".parse().unwrap();
    assert_eq!(one.service_digest(&name), other.service_digest(&name));
    assert_ne!(one.revision(), other.revision());
}
