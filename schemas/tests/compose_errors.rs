//! Compose snippets that are refused, and the exact words with which each one is.

use gnomon_schemas::compose::{self, ComposeErrorKind};

fn errors(text: &str) -> String {
    let environment = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let files = |_: &str| Err(std::io::Error::other("no such file"));
    match compose::read(text, &environment, &files) {
        Ok(app) => format!("accepted: {}", app.to_value()),
        Err(errors) => errors.in_file("f").to_string(),
    }
}

/// The errors of a service `web` with these lines, which begin at line 4.
fn service_errors(lines: &str) -> String {
    let lines = lines.replace('\n', "\n    ");
    errors(&format!("services:\n  web:\n    image: i\n    {lines}\n"))
}

fn check(read: fn(&str) -> String, cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, read(text)))
        .filter(|(_, expected, found)| *found != **expected)
        .map(|(text, expected, found)| format!("{text}\n  expected {expected}\n  found    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn keys_without_a_meaning_are_named_with_their_line() {
    check(service_errors, UNSUPPORTED);
}

#[test]
fn values_of_the_wrong_form_are_named_with_the_form() {
    check(service_errors, WRONG_FORMS);
}

#[test]
fn what_no_orchestrator_could_run_is_named_with_its_line() {
    check(service_errors, INVALID);
}

#[test]
fn the_whole_file_is_checked() {
    check(errors, FILES);
}

#[test]
fn variables_that_are_missing_are_named() {
    check(service_errors, VARIABLES);
}

#[test]
fn yaml_that_is_not_plain_is_refused_where_it_stands() {
    check(errors, NOT_PLAIN);
}

#[test]
fn many_errors_are_reported_together_in_the_order_of_the_text() {
    let text = "services:\n  a:\n    image: i\n    tty: true\n    init: true\n  b:\n    ports: x\nfoo: 1\n";
    let expected = [
        "f:4:5: services.a.tty is not supported",
        "f:5:5: services.a.init is not supported",
        "f:7:12: services.b.ports must be a list",
        "f:8:1: foo is not supported",
    ];
    assert_eq!(errors(text), expected.join("\n"));
    let keys: Vec<String> = (0..100).map(|n| format!("    k{n}: x")).collect();
    let text = format!("services:\n  a:\n    image: i\n{}", keys.join("\n"));
    let all = errors(&text);
    assert_eq!(all.lines().count(), 33);
    assert!(all.ends_with("\nand 68 more errors"), "{all}");
}

#[test]
fn what_is_secret_does_not_reach_an_error() {
    let text =
        "services: {a: {image: i, secrets: [s, s]}}\nsecrets: {s: {content: '${SECRET}', x: 1}}";
    let printed = errors(text);
    assert!(printed.contains("secrets.s.x is not supported"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn an_error_carries_its_place_and_kind() {
    let refused = compose::read("services:\n  a: { tty: true }", &|_| None, &|_| Ok(String::new()));
    let errors = refused.unwrap_err();
    let [error] = errors.errors() else { panic!("{errors}") };
    assert_eq!((error.at.line, error.at.column, error.path.as_str()), (2, 8, "services.a.tty"));
    assert!(matches!(error.kind, ComposeErrorKind::Unsupported { hint: None }));
    assert_eq!(errors.to_string(), "2:8: services.a.tty is not supported");
}

const UNSUPPORTED: &[(&str, &str)] = &[
    ("privileged: true", "f:4:5: services.web.privileged is not supported"),
    ("x-gnomon-proces: {}", "f:4:5: services.web.x-gnomon-proces is not supported"),
    (
        "build: .",
        "f:4:5: services.web.build is not supported; build and push the image, then name it with `image`",
    ),
    (
        "healthcheck:\n  test: t\n  start_interval: 1s",
        "f:6:7: services.web.healthcheck.start_interval is not supported",
    ),
    (
        "deploy:\n  resources:\n    limits:\n      gpus: 1",
        "f:7:11: services.web.deploy.resources.limits.gpus is not supported",
    ),
    (
        "deploy: {resources: {reservations: {pids: 1}}}",
        "f:4:41: services.web.deploy.resources.reservations.pids is not supported",
    ),
    (
        "depends_on:\n  web: {condition: service_started, restart: true}",
        "f:5:41: services.web.depends_on.web.restart is not supported",
    ),
    (
        "ports:\n  - target: 80\n    mode: host",
        "f:6:9: services.web.ports[0].mode is not supported",
    ),
    (
        "volumes:\n  - {type: tmpfs, target: /t, read_only: true}",
        "f:5:35: services.web.volumes[0].read_only is not supported",
    ),
];

const WRONG_FORMS: &[(&str, &str)] = &[
    (
        "command: a 'b",
        "f:4:14: services.web.command must be a command with its quotes closed, not `a 'b`",
    ),
    ("command: {a: b}", "f:4:14: services.web.command must be a text or a list"),
    ("depends_on: x", "f:4:17: services.web.depends_on must be a mapping or a list"),
    ("environment: x", "f:4:18: services.web.environment must be a mapping or a list"),
    (
        "environment: [A=1, A=2]",
        "f:4:24: services.web.environment[1] is given twice; the first is on line 4",
    ),
    ("environment: {A: [1]}", "f:4:22: services.web.environment.A must be a text"),
    ("ports: 80", "f:4:12: services.web.ports must be a list"),
    (
        "ports: ['80:']",
        "f:4:13: services.web.ports[0] must be a port such as `80`, `8080:80`, `127.0.0.1:8080:80/udp` or `8080-8081:80-81`, not `80:`",
    ),
    (
        "ports: ['8000-8001:80']",
        "f:4:13: services.web.ports[0] must be a port such as `80`, `8080:80`, `127.0.0.1:8080:80/udp` or `8080-8081:80-81`, not `8000-8001:80`",
    ),
    (
        "ports: ['80/sctp']",
        "f:4:13: services.web.ports[0] must be a port such as `80`, `8080:80`, `127.0.0.1:8080:80/udp` or `8080-8081:80-81`, not `80/sctp`",
    ),
    ("ports: [{published: 80}]", "f:4:13: services.web.ports[0] needs `target`"),
    (
        "ports: [{target: 0}]",
        "f:4:22: services.web.ports[0].target must be a port from 1 to 65535, not `0`",
    ),
    (
        "volumes: [/data]",
        "f:4:15: services.web.volumes[0] has no source; give the volume a name and declare it under `volumes`",
    ),
    (
        "volumes: ['./data:/data']",
        "f:4:15: services.web.volumes[0] names `./data`, which is relative to this file; a site has no such path: use an absolute one, a named volume or a config",
    ),
    (
        "volumes: ['data:/data:z']",
        "f:4:15: services.web.volumes[0] must be mounted `ro` or `rw`, not `z`",
    ),
    ("volumes: [{target: /x}]", "f:4:15: services.web.volumes[0] needs `type`"),
    (
        "volumes: [{type: npipe, target: /x}]",
        "f:4:22: services.web.volumes[0].type must be `volume`, `bind` or `tmpfs`, not `npipe`",
    ),
    (
        "configs: [{source: a, mode: 440}]",
        "f:4:33: services.web.configs[0].mode must be permission bits in octal, such as `0440`, not `440`",
    ),
    (
        "configs: [a b]",
        "f:4:15: services.web.configs[0] is badly named: resource names consist of a-z, A-Z, 0-9, '.', '_' and '-'; ' ' at position 1 is not one of them",
    ),
    ("healthcheck: {interval: 1s}", "f:4:18: services.web.healthcheck needs `test`"),
    (
        "healthcheck: {test: []}",
        "f:4:25: services.web.healthcheck.test must be a text, or a list that begins with `CMD`, `CMD-SHELL` or `NONE`",
    ),
    (
        "healthcheck: {test: [curl, x]}",
        "f:4:25: services.web.healthcheck.test must be a text, or a list that begins with `CMD`, `CMD-SHELL` or `NONE`",
    ),
    (
        "healthcheck: {test: t, interval: 10}",
        "f:4:38: services.web.healthcheck.interval must be a duration such as `1m30s` or `500ms`, not `10`",
    ),
    (
        "healthcheck: {test: t, retries: -1}",
        "f:4:37: services.web.healthcheck.retries must be a whole number, not `-1`",
    ),
    (
        "healthcheck: {disable: maybe}",
        "f:4:18: services.web.healthcheck needs `test`\nf:4:28: services.web.healthcheck.disable must be `true` or `false`, not `maybe`",
    ),
    (
        "restart: sometimes",
        "f:4:14: services.web.restart must be `no`, `always`, `on-failure`, `on-failure:<retries>` or `unless-stopped`, not `sometimes`",
    ),
    (
        "restart: on-failure:x",
        "f:4:14: services.web.restart must be `no`, `always`, `on-failure`, `on-failure:<retries>` or `unless-stopped`, not `on-failure:x`",
    ),
    (
        "stop_signal: SIGFOO",
        "f:4:18: services.web.stop_signal must be a signal such as `SIGTERM` or `SIGINT`, not `SIGFOO`",
    ),
    (
        "depends_on: {db: {condition: ready}}",
        "f:4:34: services.web.depends_on.db.condition must be `service_started`, `service_healthy` or `service_completed_successfully`, not `ready`",
    ),
    ("depends_on: {db: {}}", "f:4:22: services.web.depends_on.db needs `condition`"),
    (
        "deploy: {replicas: many}",
        "f:4:24: services.web.deploy.replicas must be a whole number, not `many`",
    ),
    (
        "deploy: {resources: {limits: {cpus: 0.0001, memory: 1x}}}",
        "f:4:41: services.web.deploy.resources.limits.cpus must be a number of processors such as `0.5`, to the thousandth, not `0.0001`\nf:4:57: services.web.deploy.resources.limits.memory must be a size such as `64m` or `1gb`, not `1x`",
    ),
    ("x-gnomon-process: {working_dir: /}", "f:4:23: services.web.x-gnomon-process needs `command`"),
    ("user:", "f:4:5: services.web.user must be a text; it is empty"),
];

const INVALID: &[(&str, &str)] = &[
    ("depends_on: [db]", "f:4:18: services.web.depends_on[0]: there is no service named db"),
    (
        "depends_on: [web]",
        "f:4:18: services.web.depends_on[0]: the services wait for each other: web -> web",
    ),
    (
        "depends_on:\n  web: {condition: service_healthy}",
        "f:5:12: services.web.depends_on.web: waits for web to be healthy, but web has no healthcheck\nf:5:12: services.web.depends_on.web: the services wait for each other: web -> web",
    ),
    (
        "volumes: ['data:/data']",
        "f:4:15: services.web.volumes[0]: the volume data is not declared at the top level",
    ),
    (
        "configs:\n  - page",
        "f:5:9: services.web.configs[0]: the config page is not declared at the top level",
    ),
    (
        "secrets:\n  - key",
        "f:5:9: services.web.secrets[0]: the secret key is not declared at the top level",
    ),
    (
        "volumes: ['/etc/../root:/x']",
        "f:4:15: services.web.volumes[0]: must be an absolute path without `.`, `..`, `//` or a final `/`",
    ),
    (
        "volumes: ['/x:/a/../b']",
        "f:4:15: services.web.volumes[0]: must be an absolute path without `.`, `..`, `//` or a final `/`",
    ),
    (
        "volumes: ['/x:b']",
        "f:4:15: services.web.volumes[0]: must be an absolute path without `.`, `..`, `//` or a final `/`",
    ),
    (
        "volumes: ['/a:/x', '/b:/x']",
        "f:4:24: services.web.volumes[1] is given twice; the first is on line 4",
    ),
    (
        "ports: ['80:80', '127.0.0.1:80:81']",
        "f:4:22: services.web.ports[1]: the host port 80 is already taken by services.web",
    ),
    (
        "ports: ['80:80']\ndeploy: {replicas: 2}",
        "f:4:13: services.web.ports[0]: 2 replicas cannot share the host port 80",
    ),
    (
        "deploy:\n  resources:\n    limits: {memory: 1k}",
        "f:6:26: services.web.deploy.resources.limits.memory: is 1024 bytes, must be from 6291456 to 1125899906842624 bytes",
    ),
    (
        "deploy:\n  resources:\n    limits: {cpus: 1}\n    reservations: {cpus: 2}",
        "f:7:30: services.web.deploy.resources.reservations.cpus: is more than the limit of 1000 thousandths of a processor",
    ),
    (
        "labels: {io.gnomon.app: x}",
        "f:4:29: services.web.labels.io.gnomon.app: labels that begin with `io.gnomon.` are reserved",
    ),
    (
        "environment: {'A=B': x}",
        "f:4:26: services.web.environment.A=B: is not a name for an environment variable",
    ),
    (
        "environment: {A: \"x\\0y\"}",
        "f:4:22: services.web.environment.A: must not hold a NUL character",
    ),
    (
        "healthcheck: {test: t, interval: 0s}",
        "f:4:38: services.web.healthcheck.interval: is 0 ms, must be from 1 to 86400000 ms",
    ),
    (
        "stop_grace_period: 2h",
        "f:4:24: services.web.stop_grace_period: is 7200000 ms, must be from 0 to 3600000 ms",
    ),
    ("user: -u", "f:4:11: services.web.user: is not a user such as `1000`, `1000:1000` or `app`"),
    (
        "working_dir: a",
        "f:4:18: services.web.working_dir: must be an absolute path without `.`, `..`, `//` or a final `/`",
    ),
    (
        "x-gnomon-process: {command: []}",
        "f:4:33: services.web.x-gnomon-process.command: must not be empty",
    ),
    (
        "x-gnomon-process: {command: a, health_test: [CMD, '']}",
        "f:4:49: services.web.x-gnomon-process.health_test: must not be empty",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "services: {a: {image: i}}\nx-gnomon: {settle: 3, rollback: maybe}",
        "f:2:20: x-gnomon.settle must be a duration such as `1m30s` or `500ms`, not `3`\n\
         f:2:33: x-gnomon.rollback must be `on` or `off`, not `maybe`",
    ),
    (
        "services: {a: {image: i}}\nx-gnomon:\n  settle: 25h",
        "f:3:11: x-gnomon.settle: is 90000000 ms, must be from 0 to 86400000 ms",
    ),
    (
        "services: {a: {image: i}}\nx-gnomon: {settel: 3s, x-more: 1}",
        "f:2:12: x-gnomon.settel is not supported\nf:2:24: x-gnomon.x-more is not supported",
    ),
    (
        "services:\n  a:\n    image: i\n    x-gnomon: {schedule: '0 3 * *', missed: twice}",
        "f:4:26: services.a.x-gnomon.schedule is no schedule: a schedule is five fields of cron \
         such as `0 3 * * *`, in UTC: it has another number of fields\n\
         f:4:45: services.a.x-gnomon.missed must be `once` or `skip`, not `twice`",
    ),
    (
        "services:\n  a:\n    image: i\n    x-gnomon: {missed: skip, when: 1}",
        "f:4:16: services.a.x-gnomon.missed needs `schedule`\n\
         f:4:30: services.a.x-gnomon.when is not supported",
    ),
    (
        "services:\n  a: {image: i, restart: always, x-gnomon: {schedule: 0 3 * * *}}\n  \
         b: {image: i, depends_on: [a]}",
        "f:2:44: services.a.x-gnomon: a schedule is for a service with `restart: no` or \
         `on-failure`, which ends by itself\n\
         f:3:30: services.b.depends_on[0]: waits for a, which runs by a schedule; nothing can wait \
         for that",
    ),
    ("services: {a: {image: i}}\nx-gnomon: on", "f:2:11: x-gnomon must be a mapping"),
    ("", "f:1:1: the file is empty; a Compose file needs `services`"),
    ("# nothing\n", "f:1:1: the file is empty; a Compose file needs `services`"),
    ("- a", "f:1:1: the file must be a mapping"),
    ("a", "f:1:1: the file must be a mapping"),
    ("name: x", "f:1:1: the file needs `services`"),
    ("services: {}", "f:1:11: services: an app needs at least one service"),
    ("services:", "f:1:1: services must be a mapping"),
    (
        "services: {a: {}}",
        "f:1:15: services.a: needs an image, or a command for the process orchestrator",
    ),
    ("services: {a: }", "f:1:12: services.a must be a mapping"),
    (
        "services: {A/b: {image: i}}",
        "f:1:12: services.A/b is badly named: service names consist of a-z, A-Z, 0-9, '.', '_' and '-'; '/' at position 1 is not one of them",
    ),
    (
        "services: {a: {image: -i}}",
        "f:1:23: services.a.image: is not an image reference such as `registry.example/name:tag`",
    ),
    (
        "name: My App\nservices: {a: {image: i}}",
        "f:1:7: name is badly named: app names consist of a-z, 0-9 and '-'; 'M' at position 0 is not one of them",
    ),
    (
        "services: {a: {image: i}}\nnetworks: {}",
        "f:2:1: networks is not supported; the services of an app reach each other by their names",
    ),
    (
        "services: {a: {image: i}}\nvolumes: {v: {driver: nfs}}",
        "f:2:15: volumes.v.driver is not supported",
    ),
    (
        "services: {a: {image: i}}\nconfigs: {c: {}}",
        "f:2:14: configs.c needs exactly one of `content`, `file` and `environment`",
    ),
    (
        "services: {a: {image: i}}\nconfigs: {c: {content: a, file: b}}",
        "f:2:14: configs.c needs exactly one of `content`, `file` and `environment`",
    ),
    (
        "services: {a: {image: i}}\nconfigs: {c: {file: ../b}}",
        "f:2:21: configs.c.file must name a file below the Compose file, without `..`, not `../b`",
    ),
    (
        "services: {a: {image: i}}\nconfigs: {c: {file: /etc/passwd}}",
        "f:2:21: configs.c.file must name a file below the Compose file, without `..`, not `/etc/passwd`",
    ),
    (
        "services: {a: {image: i}}\nconfigs: {c: {file: b}}",
        "f:2:21: configs.c.file cannot be read from `b`: no such file",
    ),
    (
        "services: {a: {image: i}}\nsecrets: {c: {environment: NONE}}",
        "f:2:28: secrets.c.environment needs the variable NONE, which is not set (`${NONE:-}` stands for an empty default)",
    ),
    (
        "services: {a: {image: i}}\nsecrets: {c: {external: true}}",
        "f:2:14: secrets.c needs exactly one of `content`, `file` and `environment`\nf:2:15: secrets.c.external is not supported",
    ),
    ("services: {a: {image: i}}\nsecrets: {c: hunter2}", "f:2:14: secrets.c must be a mapping"),
    (
        "services:\n  a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [c]}\n  c: {image: i, depends_on: [b]}",
        "f:3:30: services.b.depends_on[0]: the services wait for each other: b -> c -> b",
    ),
    (
        "services:\n  a: {image: i, ports: ['80:1']}\n  b: {image: i, ports: ['80:2']}",
        "f:3:25: services.b.ports[0]: the host port 80 is already taken by services.a",
    ),
    (
        "services:\n  a: {image: i, restart: always}\n  b:\n    image: i\n    depends_on:\n      a: {condition: service_completed_successfully}",
        "f:6:10: services.b.depends_on.a: waits for a to complete, but a is restarted whenever it ends; use `no` or `on-failure`",
    ),
];

const VARIABLES: &[(&str, &str)] = &[
    (
        "command: run ${PORT}",
        "f:4:14: services.web.command needs the variable PORT, which is not set (`${PORT:-}` stands for an empty default)",
    ),
    (
        "command: run ${PORT:?say which}",
        "f:4:14: services.web.command needs the variable PORT: say which",
    ),
    (
        "command: run $5",
        "f:4:14: services.web.command has a bad variable expression at `$5`; write `$$` for a dollar sign",
    ),
    (
        "environment: {PORT: }",
        "f:4:19: services.web.environment.PORT needs the variable PORT, which is not set (`${PORT:-}` stands for an empty default)",
    ),
    (
        "environment:\n  - PORT",
        "f:5:9: services.web.environment[0] needs the variable PORT, which is not set (`${PORT:-}` stands for an empty default)",
    ),
];

const NOT_PLAIN: &[(&str, &str)] = &[
    (
        "services: [",
        "f:2:1: the file is not valid YAML: while parsing a node, did not find expected node content",
    ),
    (
        "services:\n\t- a",
        "f:2:2: the file is not valid YAML: tabs disallowed within this context (block indentation)",
    ),
    (
        "a: 1\n b: 2",
        "f:2:3: the file is not valid YAML: mapping values are not allowed in this context",
    ),
    (
        "services: {a: {image: i}}\n---\nb: 1",
        "f:2:1: the file has more than one YAML document; put each app in a file of its own",
    ),
    (
        "services:\n  a:\n    image: i\n    image: j\n",
        "f:4:5: services.a.image is given twice; the first is on line 3",
    ),
    (
        "services:\n  a: {image: i}\n  a: {image: i}\n",
        "f:3:3: services.a is given twice; the first is on line 2",
    ),
    (
        "services:\n  a: {image: !!str i}",
        "f:2:14: services.a.image has a YAML tag; tags are not supported",
    ),
    ("services: &s {a: *s}", "f:1:18: services.a is an alias for something that it is part of"),
    (
        "services: {a: *nope}",
        "f:1:15: the file is not valid YAML: while parsing node, found unknown anchor",
    ),
    ("? [a]\n: b", "f:1:3: the file has a key that is not a plain text"),
    (
        "services: {a: {<<: 1, image: i}}",
        "f:1:16: services.a.<< must be a mapping or a list of mappings to merge",
    ),
];
