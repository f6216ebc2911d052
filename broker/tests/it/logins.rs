//! Clients that log in with passwords and tokens, and how those who guess do not hold up the others.

use std::sync::Arc;
use std::time::Duration;

use gnomon_broker::{
    Acl, Anonymous, Authenticator, BrokerConfig, Chain, Limits, ListenerConfig, Passwords,
    TokenKey, Tokens,
};

use crate::harness::{Running, start_config};
use crate::raw::{Raw, V4, V5, connect, frame, text};

/// The password `enigma`, cheap to check.
const ENIGMA: &str = "$argon2id$v=19$m=512,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$\
                      +0uNJw/PfKjbrhsYEriwyCcvfBEUjIjH3M+X8EIahPk";

const RULES: &str = r#"
[[rule]]
role = "device"
publish = ["t/{name}/#"]
subscribe = ["t/{name}/#"]

[[rule]]
role = "service"
name = "ada"
subscribe = ["t/#"]
"#;

async fn start() -> Running {
    let key = TokenKey::new(&[7; 32]).unwrap();
    let tokens = format!("pump-1:{}", key.hash("a token"));
    let links: Vec<Arc<dyn Authenticator>> = vec![
        Arc::new(Tokens::parse(key, &tokens).unwrap()),
        Arc::new(Passwords::parse(&format!("ada:{ENIGMA}:service\n")).unwrap()),
        Arc::new(Anonymous),
    ];
    start_config(BrokerConfig {
        listeners: vec![ListenerConfig { addr: ([127, 0, 0, 1], 0).into(), tls: None }],
        limits: Limits { password_checks: 1, ..Limits::default() },
        acl: Acl::from_toml(RULES).unwrap(),
        authenticator: Arc::new(Chain::new(links)),
    })
    .await
}

/// A CONNECT of 5.0 with a user name and a password.
pub(crate) fn login(name: &str, password: &str) -> Vec<u8> {
    let start = [&text("MQTT")[..], &[5, 0xc2, 0, 60, 0], &text("c")].concat();
    frame(0x10, &[&start[..], &text(name), &text(password)].concat())
}

async fn code_of(running: &Running, connect: &[u8]) -> (Raw, u8) {
    let mut raw = Raw::open(running.addr, V5).await;
    raw.send(connect).await;
    let answer = raw.packet().await;
    assert_eq!(answer.first, 0x20);
    (raw, answer.body[1])
}

#[tokio::test]
async fn a_password_a_token_or_nothing_opens_what_the_rules_say() {
    let running = start().await;
    let (mut ada, code) = code_of(&running, &login("ada", "enigma")).await;
    assert_eq!((code, ada.subscribe("t/+/x", 0).await), (0, 0));
    let (mut pump, code) = code_of(&running, &login("pump-1?SDK=X&Version=1", "a token")).await;
    assert_eq!((code, pump.subscribe("t/pump-2/#", 0).await), (0, 0x87));
    pump.publish("t/pump-1/x", Some(1), b"5").await;
    assert_eq!(pump.expect_ack(0x40).await, 1);
    assert_eq!(ada.message().await, ("t/pump-1/x".into(), b"5".to_vec()));
    let (mut stranger, code) = code_of(&running, &connect(V5, "", "s", 60, &[])).await;
    assert_eq!((code, stranger.subscribe("t/pump-1/x", 0).await), (0, 0x87));
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_counted_by_its_reason() {
    let running = start().await;
    for (name, password) in [("ada", "Enigma"), ("eve", "enigma"), ("pump-1", "enigma")] {
        assert_eq!(code_of(&running, &login(name, password)).await.1, 0x86, "{name}");
    }
    assert_eq!(code_of(&running, &connect(V5, "ada", "c", 60, &[])).await.1, 0x86);
    running.metric_reaches("auth_failures_total{reason=\"bad_credentials\"}", 4).await;
    let mut old = Raw::open(running.addr, V4).await;
    let start = [&text("MQTT")[..], &[4, 0xc2, 0, 60], &text("c")].concat();
    old.send(&frame(0x10, &[&start[..], &text("ada"), &text("no")].concat())).await;
    assert_eq!(old.packet().await.body, [0, 4]);
    let count = "handshake_seconds_count{stage=\"authentication\"}";
    assert_eq!(running.metric(count), 0, "only of those who came in");
}

#[tokio::test]
async fn who_returns_does_not_wait_behind_those_who_guess() {
    let running = start().await;
    assert_eq!(code_of(&running, &login("ada", "enigma")).await.1, 0);
    let mut guesses = Vec::new();
    for n in 0..60 {
        let mut raw = Raw::open(running.addr, V5).await;
        raw.send(&login(&format!("eve{n}"), "guess")).await;
        guesses.push(raw);
    }
    let begin = std::time::Instant::now();
    assert_eq!(code_of(&running, &login("ada", "enigma")).await.1, 0);
    let took = begin.elapsed();
    let failures = running.metric("auth_failures_total{reason=\"bad_credentials\"}");
    assert!(failures < 60 || took < Duration::from_millis(50), "{took:?} behind {failures}");
    for mut guess in guesses {
        assert_eq!(guess.packet().await.body[1], 0x86);
    }
}
