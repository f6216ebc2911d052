//! What wins over what, and that the example is true.

use super::*;

const EXAMPLE: &str = include_str!("../../gnomon-cloud.example.toml");

#[test]
fn the_example_loads_and_shows_every_option() {
    let file: File = toml::from_str(EXAMPLE).unwrap();
    let File {
        data,
        http,
        https,
        insecure_http,
        tls_certificate,
        tls_key,
        names,
        mqtt,
        advertise,
        log_format,
        limits: _,
        sync: _,
        history: _,
        enrolment: _,
        audit: _,
        aws: _,
        health: _,
        traces: _,
    } = file.clone();
    assert!(data.is_some() && http.is_some() && mqtt.is_some() && names.is_some());
    assert!(https.is_some() && insecure_http.is_some());
    assert!(tls_certificate.is_none() && tls_key.is_none(), "they would have to be there");
    assert!(EXAMPLE.contains("# tls_certificate = ") && EXAMPLE.contains("# tls_key = "));
    assert!(advertise.is_some() && log_format.is_some());
    each_part_is_whole(file.clone());
    Config::merge(ServeArgs::default(), file).unwrap();
}

fn each_part_is_whole(file: File) {
    let File { limits, sync, history, enrolment, audit, aws, health, traces, .. } = file;
    let FileEnrolment { certificate_days, expired_grace_days, approve_unknown, pending } =
        enrolment;
    assert!(approve_unknown.is_some() && pending.is_some() && expired_grace_days.is_some());
    let FileAudit { entries, days } = audit;
    assert!(certificate_days.is_some() && entries.is_some() && days.is_some());
    let FileLimits {
        nodes,
        shadows_per_node,
        watchers,
        watch_queue,
        http_connections,
        mqtt_connections,
        mqtt_newcomers,
        mqtt_connections_per_address,
        mqtt_connects_per_second,
        mqtt_connects_at_once,
        requests_per_second,
        requests_at_once,
        body_kib_per_second,
        strangers_per_second,
        strangers_at_once,
    } = limits;
    let rates = [
        requests_per_second,
        requests_at_once,
        body_kib_per_second,
        strangers_per_second,
        strangers_at_once,
    ];
    assert!(rates.iter().all(Option::is_some));
    assert!(mqtt_newcomers.is_some() && mqtt_connections_per_address.is_some());
    assert!(mqtt_connects_per_second.is_some() && mqtt_connects_at_once.is_some());
    let all = [nodes, shadows_per_node, watchers, watch_queue, http_connections, mqtt_connections];
    assert!(all.iter().all(Option::is_some));
    let FileSync { window, max_batch_bytes } = sync;
    assert!(window.is_some() && max_batch_bytes.is_some());
    let FileHistory { versions, days } = history;
    assert!(versions.is_some() && days.is_some());
    let FileAws { access_keys, document_bytes, shadows_per_thing } = aws;
    assert!(access_keys.is_some() && document_bytes.is_some() && shadows_per_thing.is_some());
    let FileHealth { min_free_mib, certificate_notice_days } = health;
    assert!(min_free_mib.is_some() && certificate_notice_days.is_some());
    let FileTraces { endpoint, ratio } = traces;
    assert!(endpoint.is_some() && ratio.is_some());
}

#[test]
fn traces_need_a_collector_and_a_part() {
    let load = |text: &str| {
        let file = toml::from_str(&format!("data = \"/a\"\n[traces]\n{text}")).unwrap();
        Config::merge(ServeArgs::default(), file)
    };
    assert_eq!(load("ratio = 0.5").unwrap().traces, TracesConfig { endpoint: None, ratio: 0.5 });
    for bad in ["endpoint = \"collector:4318\"", "ratio = 1.1", "ratio = -0.1", "ratio = nan"] {
        let error = load(bad).unwrap_err().to_string();
        assert!(error.starts_with("traces."), "{bad}: {error}");
    }
}

#[test]
fn the_example_shows_the_defaults() {
    let example = toml::from_str(EXAMPLE).unwrap();
    let example = Config::merge(ServeArgs::default(), example).unwrap();
    let args = ServeArgs { data: Some("/var/lib/gnomon-cloud".into()), ..ServeArgs::default() };
    let mut default = Config::merge(args, File::default()).unwrap();
    default.advertise.clone_from(&example.advertise);
    default.https = example.https;
    default.access_keys.clone_from(&example.access_keys);
    default.traces.endpoint.clone_from(&example.traces.endpoint);
    assert_eq!(format!("{example:?}"), format!("{default:?}"));
}

#[test]
fn a_flag_wins_over_the_file() {
    let file = toml::from_str("data = \"/a\"\nhttp = \"127.0.0.1:1\"").unwrap();
    let args = ServeArgs { data: Some("/b".into()), ..ServeArgs::default() };
    let config = Config::merge(args, file).unwrap();
    assert_eq!(config.data, Path::new("/b"));
    assert_eq!(config.http.port(), 1);
}

#[test]
fn plain_http_beyond_loopback_must_be_asked_for() {
    let args = |insecure_http| ServeArgs {
        data: Some("/b".into()),
        http: Some("0.0.0.0:7780".parse().unwrap()),
        insecure_http,
        ..ServeArgs::default()
    };
    let refused = Config::merge(args(false), File::default()).unwrap_err();
    assert!(matches!(refused, ConfigError::Insecure { .. }), "{refused}");
    Config::merge(args(true), File::default()).unwrap();
    let half = toml::from_str("data = \"/a\"\ntls_key = \"k.pem\"").unwrap();
    assert!(matches!(Config::merge(ServeArgs::default(), half), Err(ConfigError::HalfTls)));
}

#[test]
fn a_misspelt_option_is_an_error_that_names_it() {
    let error = toml::from_str::<File>("htpp = \"127.0.0.1:1\"").unwrap_err();
    assert!(error.to_string().contains("htpp"), "{error}");
    assert!(toml::from_str::<File>("[limits]\nnodes = 0").is_err());
    for days in ["0", "-1", "0.0001", "1e9", "nan"] {
        let text = format!("[enrolment]\ncertificate_days = {days}");
        assert!(toml::from_str::<File>(&text).is_err(), "{days}");
    }
    assert!(toml::from_str::<File>("[enrolment]\ncertificate_days = 0.5").is_ok());
    assert!(toml::from_str::<File>("advertise = \"cloud\"").is_err());
}

#[test]
fn without_a_data_folder_nothing_starts() {
    let error = Config::merge(ServeArgs::default(), File::default()).unwrap_err();
    assert!(matches!(error, ConfigError::NoData));
}

#[test]
fn hosts_and_addresses_can_be_advertised() {
    for (text, host) in [
        ("cloud.example.org:8883", "cloud.example.org"),
        ("10.0.0.1:1", "10.0.0.1"),
        ("[2001:db8::1]:8883", "2001:db8::1"),
    ] {
        let advertise: Advertise = text.parse().unwrap();
        assert_eq!(advertise.host(), host);
        assert_eq!(advertise.to_string(), text);
    }
    for bad in ["", ":1", "host", "host:", "host:x", "host:0", "a b:1", "2001:db8::1:8883"] {
        assert!(bad.parse::<Advertise>().is_err(), "{bad} was accepted");
    }
}
