//! Who may do what, and what a refusal looks like from outside.

use gnomon_broker::{Acl, BrokerConfig, CertificateAuthenticator, Limits, ListenerConfig};

use crate::harness::{start, start_config};
use crate::raw::{Raw, V4, V5, connect, frame, text};

#[tokio::test]
async fn a_node_that_asks_for_anothers_topics_is_refused_and_the_other_hears_nothing() {
    let running = start().await;
    let mut victim = Raw::connect(running.addr, V5, "node/site-2", "c").await;
    assert_eq!(victim.subscribe("gnomon/1/site-2/d/+", 1).await, 1);
    let mut service = Raw::connect(running.addr, V5, "service/s", "c").await;
    assert_eq!(service.subscribe("gnomon/1/+/u/+", 0).await, 0);

    let mut thief = Raw::connect(running.addr, V5, "node/site-1", "c").await;
    for filter in ["gnomon/1/site-2/d/+", "gnomon/1/+/d/+", "#", "gnomon/1/site-1/d/#"] {
        assert_eq!(thief.subscribe(filter, 1).await, 0x87, "{filter}");
    }
    for topic in ["gnomon/1/site-2/u/ack", "gnomon/1/site-2/d/batch"] {
        thief.publish(topic, Some(5), b"forged").await;
        let answer = thief.packet().await;
        assert_eq!((answer.first, &answer.body[..3]), (0x40, &[0, 5, 0x87][..]));
        thief.publish(topic, None, b"forged").await;
    }
    thief.publish("gnomon/1/site-1/u/ack", None, b"own").await;
    assert_eq!(service.message().await, ("gnomon/1/site-1/u/ack".into(), b"own".to_vec()));
    victim.ping().await;
    assert_eq!(running.metric("denied_actions_total{reason=\"publish\"}"), 4);
    assert_eq!(running.metric("denied_actions_total{reason=\"subscribe\"}"), 4);
}

#[tokio::test]
async fn a_3_1_1_client_is_refused_by_0x80_and_by_hanging_up() {
    let running = start().await;
    let mut bystander = Raw::connect(running.addr, V4, "node/site-2", "c").await;
    let mut thief = Raw::connect(running.addr, V4, "node/site-1", "c").await;
    assert_eq!(thief.subscribe("gnomon/1/site-2/d/+", 1).await, 0x80);
    assert_eq!(thief.subscribe("gnomon/1/site-1/d/+", 1).await, 1);
    thief.publish("gnomon/1/site-2/u/ack", None, b"forged").await;
    thief.ends_with(0).await;
    bystander.ping().await;
    running.metric_reaches("disconnects_total{reason=\"not_authorized\"}", 1).await;
}

#[tokio::test]
async fn by_default_a_stranger_may_connect_and_nothing_else() {
    let running = start_config(BrokerConfig {
        listeners: vec![ListenerConfig { addr: ([127, 0, 0, 1], 0).into(), tls: None }],
        limits: Limits::default(),
        acl: Acl::default(),
        authenticator: std::sync::Arc::new(CertificateAuthenticator),
    })
    .await;
    let mut stranger = Raw::connect(running.addr, V5, "", "c").await;
    assert_eq!(stranger.subscribe("a", 0).await, 0x87);
    stranger.publish("a", Some(1), b"x").await;
    assert_eq!(stranger.packet().await.body[..3], [0, 1, 0x87]);

    let mut guess = Raw::open(running.addr, V5).await;
    guess.send(&connect(V5, "admin", "c", 60, &[])).await;
    let answer = guess.packet().await;
    assert_eq!((answer.first, &answer.body[..2]), (0x20, &[0, 0x86][..]));
    assert_eq!(guess.next().await, None);
    running.metric_reaches("auth_failures_total{reason=\"bad_credentials\"}", 1).await;
}

#[tokio::test]
async fn the_same_client_id_of_another_principal_is_another_session() {
    let running = start().await;
    let mut first = Raw::connect(running.addr, V5, "node/site-1", "same").await;
    let mut second = Raw::connect(running.addr, V5, "node/site-2", "same").await;
    first.ping().await;
    second.ping().await;
    assert_eq!(running.metric("takeovers_total"), 0);
}

#[tokio::test]
async fn a_will_outside_the_rules_is_refused_at_the_connect() {
    let running = start().await;
    for (version, level, code) in [(V4, 4, [0, 5]), (V5, 5, [0, 0x87])] {
        let none: &[u8] = if version == V4 { &[] } else { &[0] };
        let body = [
            &text("MQTT")[..],
            &[level, 0x86, 0, 60],
            none,
            &text("c"),
            none,
            &text("gnomon/1/site-2/u/ack"),
            &text("forged"),
            &text("node/site-1"),
        ]
        .concat();
        let mut raw = Raw::open(running.addr, version).await;
        raw.send(&frame(0x10, &body)).await;
        let answer = raw.packet().await;
        assert_eq!((answer.first, &answer.body[..2]), (0x20, &code[..]));
        assert_eq!(raw.next().await, None);
    }
}
