//! What holds for every Compose file: no text panics or grows, equal meaning is one revision.

use gnomon_schemas::app::{AppSpec, Revision};
use gnomon_schemas::compose::{self, ComposeErrorKind, ComposeErrors};
use proptest::prelude::*;

const STATION: &str = include_str!("../../examples/station.yaml");

fn read(text: &str) -> Result<AppSpec, ComposeErrors> {
    let environment = |name: &str| (name == "HOME").then(|| "/root".to_owned());
    compose::read(text, &environment, &|path| Ok(format!("content of {path}")))
}

fn revision(text: &str) -> Revision {
    read(text).map_err(|errors| format!("{text}\n{errors}")).expect("is a valid app").revision()
}

/// The kind of the only error.
fn only_error(text: &str) -> ComposeErrorKind {
    let errors = read(text).expect_err("is refused");
    assert_eq!((errors.errors().len(), errors.more()), (1, 0), "{errors}");
    errors.errors().first().expect("there is one").kind.clone()
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        drop(read(&text));
    }

    #[test]
    fn no_text_of_the_characters_of_yaml_panics(
        text in "([-:?,\\[\\]{}#&*!|>'\"%@` \t\r\n\\\\~<$.a0\u{0}\u{feff}é]|services|<<: ){0,60}",
    ) {
        drop(read(&text));
    }

    #[test]
    fn no_damage_to_a_good_file_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, "[ -~\n]{0,3}"), 1..6),
    ) {
        let mut text: Vec<char> = STATION.chars().collect();
        for (at, cut, put) in edits {
            let at = at.index(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        if let Ok(app) = read(&text) {
            prop_assert_eq!(AppSpec::from_document(&app.to_value()), Ok(app));
        }
    }

    #[test]
    fn no_scalar_in_any_place_panics(scalar in "[ -~]{0,12}", place in 0..PLACES.len()) {
        let place = PLACES.get(place).copied().unwrap_or_default();
        let text = format!("services: {{a: {{image: i, {}}}}}", place.replace('@', &quoted(&scalar)));
        if let Ok(app) = read(&text) {
            prop_assert_eq!(app.validate(), Ok(()));
        }
    }
}

const PLACES: [&str; 18] = [
    "command: @",
    "user: @",
    "working_dir: @",
    "environment: [@]",
    "environment: {@: @}",
    "ports: [@]",
    "ports: [{target: @, host_ip: @}]",
    "volumes: [@]",
    "volumes: [{type: tmpfs, target: /t, tmpfs: {size: @}}]",
    "configs: [{source: @, target: @, mode: @}]",
    "healthcheck: {test: [CMD, @], interval: @}",
    "restart: @",
    "cap_add: [@]",
    "security_opt: [@]",
    "devices: [@]",
    "ulimits: {nofile: @}",
    "stop_signal: @",
    "deploy: {replicas: @, resources: {limits: {cpus: @, memory: @}}}",
];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn different_ways_to_write_the_same_are_one_revision() {
    let short = "
services:
  web:
    image: nginx:1
    command: run --port 80
    environment: [B=2, A=1]
    ports: ['8080:80', '9090:90']
    volumes: ['data:/data', '/srv/:/srv/:ro']
    configs: [page]
    depends_on: [db]
    healthcheck: { test: [CMD-SHELL, ping -c 1], interval: 60s }
    deploy: { resources: { limits: { memory: 1g, cpus: 0.5 } } }
  db: { image: db }
volumes: { data: }
configs: { page: { content: hi } }
";
    let long = r#"
version: "3"
x-common: &common { stop_grace_period: 10s, restart: "no" }
volumes: { data: {} }
configs: { page: { content: "hi" } }
services:
  db: { <<: *common, image: 'db' }
  web:
    <<: *common
    deploy:
      replicas: 1
      resources: { limits: { cpus: "0.500", memory: 1024mb } }
    healthcheck: { retries: 3, timeout: 30s, interval: 1m, test: ping -c 1, start_period: 0s }
    depends_on: { db: { condition: service_started } }
    configs: [{ source: page, target: /page, mode: 0444 }]
    volumes:
      - { type: bind, source: /srv, target: /srv, read_only: true }
      - { type: volume, source: data, target: /data }
    ports:
      - { target: 90, published: 9090 }
      - { target: 80, published: "8080", protocol: tcp }
    environment: { A: 1, B: "2" }
    command: ["run", "--port", "80"]
    image: nginx:${TAG:-1}
"#;
    assert_eq!(read(short).map(|app| app.to_value()), read(long).map(|app| app.to_value()));
    assert_eq!(revision(short), revision(long));
}

#[test]
fn every_difference_in_meaning_is_another_revision() {
    let base = "image: i, ports: ['80:80'], volumes: ['data:/d'], healthcheck: {test: t}";
    let variants = [
        "image: j, ports: ['80:80'], volumes: ['data:/d'], healthcheck: {test: t}",
        "image: i, ports: ['81:80'], volumes: ['data:/d'], healthcheck: {test: t}",
        "image: i, ports: ['80:80/udp'], volumes: ['data:/d'], healthcheck: {test: t}",
        "image: i, ports: ['80:80'], volumes: ['data:/d:ro'], healthcheck: {test: t}",
        "image: i, ports: ['80:80'], volumes: ['/data:/d'], healthcheck: {test: t}",
        "image: i, ports: ['80:80'], volumes: ['data:/d'], healthcheck: {test: [CMD, t]}",
        "image: i, ports: ['80:80'], volumes: ['data:/d'], healthcheck: {test: t, retries: 4}",
        "image: i, ports: ['80:80'], volumes: ['data:/d'], healthcheck: {disable: true}",
    ];
    let added = [
        "command: x",
        "command: []",
        "entrypoint: x",
        "environment: {A: ''}",
        "configs: [c]",
        "configs: [{source: c, mode: 0400}]",
        "secrets: [c]",
        "restart: always",
        "restart: on-failure",
        "restart: on-failure:1",
        "depends_on: [b]",
        "depends_on: {b: {condition: service_healthy}}",
        "deploy: {replicas: 0}",
        "deploy: {resources: {limits: {memory: 1g}}}",
        "deploy: {resources: {reservations: {memory: 1g}}}",
        "stop_grace_period: 11s",
        "stop_signal: SIGTERM",
        "working_dir: /",
        "user: root",
        "labels: {a: b}",
        "x-gnomon-process: {command: x}",
    ];
    let file = |service: &str| {
        format!(
            "services: {{a: {{{service}}}, b: {{image: i, healthcheck: {{test: t}}}}}}\n\
             volumes: {{data: }}\nconfigs: {{c: {{content: x}}}}\nsecrets: {{c: {{content: x}}}}"
        )
    };
    let services = [base.to_owned()]
        .into_iter()
        .chain(variants.map(str::to_owned))
        .chain(added.map(|key| format!("{base}, {key}")));
    let mut revisions: Vec<_> = services.map(|service| revision(&file(&service))).collect();
    revisions.push(revision(&file(base).replacen("content: x", "content: y", 1)));
    let count = revisions.len();
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), count);
}

#[test]
fn aliases_cannot_make_a_file_grow() {
    let mut bomb = "x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.extend([format!("x-{level}: &a{level} [{aliases}]\n")]);
    }
    assert_eq!(only_error(&bomb), ComposeErrorKind::TooMuchExpanded);

    let long = "x".repeat(500_000);
    let aliases = vec!["*long"; 1000].join(", ");
    let bomb = format!("x-a: &long {long}\nx-b: [{aliases}]\nservices: {{a: {{image: i}}}}");
    assert_eq!(only_error(&bomb), ComposeErrorKind::TooMuchExpanded);

    let keys: Vec<String> = (0..1000).map(|key| format!("k{key}: 1")).collect();
    let merges = vec!["{<<: *m}"; 1000].join(", ");
    let bomb = format!("x-a: &m {{{}}}\nx-b: [{merges}]\n", keys.join(", "));
    assert_eq!(only_error(&bomb), ComposeErrorKind::TooMuchExpanded);
}

#[test]
fn variables_cannot_make_a_file_grow() {
    let environment = |_: &str| Some("x".repeat(100_000));
    let uses = vec!["'$A$A$A'"; 1000].join(", ");
    let text = format!("services: {{a: {{image: i, command: [{uses}]}}}}");
    let errors = compose::read(&text, &environment, &|_| Ok(String::new())).expect_err("too large");
    let first = errors.errors().first().expect("there is one");
    assert_eq!(first.kind, ComposeErrorKind::TooMuchInterpolated);
}

#[test]
fn large_and_deep_texts_are_refused_by_size() {
    let large = "#".repeat(compose::TEXT_BYTES + 1);
    assert!(matches!(only_error(&large), ComposeErrorKind::TooLarge { .. }));
    for unit in
        ["[", "{a: ", "- ", "? ", "a:\n", "!t ", "&a ", "'", "*a ", "\"\\x", "|\n", "- |\n "]
    {
        let text = unit.repeat(1_000_000 / unit.len());
        assert!(read(&text).is_err(), "{unit:?}");
    }
    let deep: String = (0..40).map(|level| " ".repeat(level) + "a:\n").collect();
    assert!(matches!(only_error(&deep), ComposeErrorKind::TooDeep { .. }));
    let many = format!("services: [{}]", "a, ".repeat(100_000));
    assert_eq!(only_error(&many), ComposeErrorKind::TooMuchExpanded);
}

#[test]
fn every_example_is_a_valid_app() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut read_files = 0;
    for entry in std::fs::read_dir(folder).expect("the examples are there") {
        let path = entry.expect("a directory can be listed").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("an example can be read");
        let files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let compose = compose::read_named(&text, &|_| None, &files);
        let compose = compose.map_err(|e| e.in_file(&path.to_string_lossy()).to_string());
        let name = compose.expect("an example is valid").name.expect("an example has a name");
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(name.as_str()));
        read_files += 1;
    }
    assert!(read_files >= 2);
}

#[test]
fn the_first_example_runs_as_host_processes_too() {
    let app = read(include_str!("../../examples/hello.yaml")).expect("is valid");
    for service in app.services.values() {
        assert_eq!(service.host_argv().first(), Some(&"sh"));
    }
}
