//! Publishing and subscribing, with the client that Gnomon uses and byte by byte.

use rumqttc::QoS;
use rumqttc::v5::mqttbytes::QoS as QoS5;

use crate::clients::{self, Seen};
use crate::harness::start;
use crate::raw::{Packet, Raw, V4, V5, frame, text};

#[tokio::test]
async fn both_versions_hear_each_other_at_both_qos() {
    let running = start().await;
    let (old, mut old_events) = clients::v4(clients::options_v4(running.addr, "service/s", "old"));
    let (new, mut new_events) = clients::v5(clients::options_v5(running.addr, "service/s", "new"));
    old.subscribe("to/old/+", QoS::AtLeastOnce).await.unwrap();
    new.subscribe("to/new/#", QoS5::AtLeastOnce).await.unwrap();
    old_events.expect(&Seen::Subscribed("[Success(AtLeastOnce)]".into())).await;
    new_events.expect(&Seen::Subscribed("[Success(AtLeastOnce)]".into())).await;

    old.publish("to/new/a", QoS::AtMostOnce, false, "zero").await.unwrap();
    new_events.expect(&Seen::Message("to/new/a".into(), b"zero".to_vec())).await;
    old.publish("to/new/a/b", QoS::AtLeastOnce, false, "one").await.unwrap();
    new_events.expect(&Seen::Message("to/new/a/b".into(), b"one".to_vec())).await;
    old_events.expect(&Seen::Acked).await;

    new.publish("to/old/a", QoS5::AtMostOnce, false, "zero").await.unwrap();
    old_events.expect(&Seen::Message("to/old/a".into(), b"zero".to_vec())).await;
    new.publish("to/old/b", QoS5::AtLeastOnce, false, "one").await.unwrap();
    old_events.expect(&Seen::Message("to/old/b".into(), b"one".to_vec())).await;
    new_events.expect(&Seen::Acked).await;
}

#[tokio::test]
async fn a_thousand_messages_arrive_in_order() {
    let running = start().await;
    let (subscriber, mut seen) = clients::v5(clients::options_v5(running.addr, "service/s", "sub"));
    subscriber.subscribe("n", QoS5::AtLeastOnce).await.unwrap();
    seen.expect(&Seen::Subscribed("[Success(AtLeastOnce)]".into())).await;
    let (publisher, mut acks) = clients::v4(clients::options_v4(running.addr, "service/s", "pub"));
    tokio::spawn(async move {
        for n in 0..1_000 {
            publisher.publish("n", QoS::AtLeastOnce, false, n.to_string()).await.unwrap();
        }
    });
    for n in 0..1_000 {
        acks.expect(&Seen::Acked).await;
        assert_eq!(seen.next().await, Seen::Message("n".into(), n.to_string().into_bytes()));
    }
}

#[tokio::test]
async fn the_terms_of_5_0_say_what_differs_from_the_standard_and_from_the_wish() {
    let running = start().await;
    let day = [0x11, 0, 1, 0x51, 0x80];
    // (the wished expiry of the session, what is told of it)
    for (n, (wished, told)) in
        [([0x11, 0, 0, 0, 9], &[][..]), ([0x11, 255, 255, 255, 254], &day)].into_iter().enumerate()
    {
        let mut raw = Raw::open(running.addr, V5).await;
        raw.send(&crate::raw::connect(V5, "service/s", "", 0, &wished)).await;
        let Packet { first: 0x20, body } = raw.packet().await else { panic!("a CONNACK") };
        // No maximum QoS, and nothing that is not available.
        let mut expected = told.to_vec();
        expected.extend([0x21, 3, 0xe8, 0x27, 0, 0x10, 0, 0, 0x12]);
        expected.extend(text(&format!("auto-{}", n + 1)));
        expected.extend([0x22, 0, 16, 0x13, 0x04, 0xb0]);
        assert_eq!(&body[3..], expected);
    }
}

#[tokio::test]
async fn a_subscription_is_granted_its_qos_and_ends_when_asked() {
    let running = start().await;
    for version in [V4, V5] {
        let mut raw = Raw::connect(running.addr, version, "service/s", "c").await;
        assert_eq!(raw.subscribe("a/+", 2).await, 2);
        raw.publish("a/b", None, b"1").await;
        assert_eq!(raw.message().await, ("a/b".into(), b"1".to_vec()));
        let properties: &[u8] = if version == V4 { &[] } else { &[0] };
        let filters = [text("a/+"), text("never")].concat();
        raw.send(&frame(0xa2, &[&[0, 3], properties, &filters].concat())).await;
        let expected: &[u8] = if version == V4 { &[0, 3] } else { &[0, 3, 0, 0, 0x11] };
        assert_eq!(raw.packet().await, Packet { first: 0xb0, body: expected.into() });
        raw.publish("a/b", None, b"2").await;
        raw.ping().await;
    }
}

#[tokio::test]
async fn an_alias_and_properties_reach_subscribers_resolved() {
    let running = start().await;
    let mut old = Raw::connect(running.addr, V4, "service/s", "old").await;
    let mut new = Raw::connect(running.addr, V5, "service/s", "new").await;
    old.subscribe("#", 0).await;
    new.subscribe("#", 0).await;
    let mut publisher = Raw::connect(running.addr, V5, "service/s", "pub").await;
    let user_property = [&[0x26][..], &text("k"), &text("v")].concat();
    for (topic, alias) in [("a/1", 1), ("a/2", 2), ("", 1), ("", 2)] {
        let properties = [&[0x23, 0, alias][..], &user_property].concat();
        let len = u8::try_from(properties.len()).unwrap();
        let body = [&text(topic)[..], &[len], &properties, b"x"].concat();
        publisher.send(&frame(0x30, &body)).await;
    }
    for topic in ["a/1", "a/2", "a/1", "a/2"] {
        assert_eq!(old.message().await, (topic.into(), b"x".to_vec()));
        let packet = new.packet().await;
        let expected = [&text(topic)[..], &[7], &user_property, b"x"].concat();
        assert_eq!(packet, Packet { first: 0x30, body: expected });
    }
}

#[tokio::test]
async fn a_client_that_wants_no_echo_gets_none() {
    let running = start().await;
    let mut quiet = Raw::connect(running.addr, V5, "service/s", "quiet").await;
    assert_eq!(quiet.subscribe("a", 0x04).await, 0);
    quiet.publish("a", None, b"own").await;
    quiet.ping().await;
    let mut other = Raw::connect(running.addr, V5, "service/s", "other").await;
    other.publish("a", None, b"other").await;
    assert_eq!(quiet.message().await, ("a".into(), b"other".to_vec()));
}

#[tokio::test]
async fn reserved_topics_reach_only_who_names_them() {
    let running = start().await;
    let mut all = Raw::connect(running.addr, V4, "service/s", "all").await;
    all.subscribe("#", 0).await;
    let mut shadow = Raw::connect(running.addr, V4, "service/s", "shadow").await;
    shadow.subscribe("$aws/things/+/shadow/#", 0).await;
    shadow.publish("$aws/things/t/shadow/get", None, b"x").await;
    assert_eq!(shadow.message().await.0, "$aws/things/t/shadow/get");
    all.ping().await;
}

#[tokio::test]
async fn what_is_switched_off_is_refused_by_its_code() {
    let limits = gnomon_broker::Limits { retained_messages: 0, ..Default::default() };
    let running = crate::harness::start_with(limits).await;
    let mut raw = Raw::open(running.addr, V5).await;
    raw.send(&crate::raw::connect(V5, "service/s", "c", 60, &[])).await;
    let properties = raw.packet().await.body;
    assert!(properties.windows(2).any(|pair| pair == [0x25, 0]), "{properties:02x?}");
    raw.publish_with(0x01, "a", 0, &[], b"x").await;
    raw.ends_with(0x9a).await;
}
