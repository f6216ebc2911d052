//! Bad input is normal: a typed error, nothing changed, everybody else served.

use gnomon_schemas::topic::{Heading, MessageKind, Topic};
use gnomon_tests::{Cloud, Mqtt, Site};
use rumqttc::v5::Incoming;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{PubAckReason, SubscribeReasonCode};
use serde_json::json;

use crate::app::{apply, converged, gnomon, shadow};

fn topic(node: &str, heading: Heading, kind: MessageKind) -> String {
    Topic { node: node.parse().unwrap(), heading, kind }.to_string()
}

fn connected(packet: &Incoming) -> Option<()> {
    matches!(packet, Incoming::ConnAck(_)).then_some(())
}

fn reason_of(packet: &Incoming) -> Option<PubAckReason> {
    if let Incoming::PubAck(ack) = packet { Some(ack.reason) } else { None }
}

fn codes_of(packet: &Incoming) -> Option<Vec<SubscribeReasonCode>> {
    if let Incoming::SubAck(ack) = packet { Some(ack.return_codes.clone()) } else { None }
}

#[test]
fn a_client_without_a_certificate_gets_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let mut stranger = Mqtt::connect(&cloud, None, "stranger");
    let error = stranger.next(connected).unwrap_err();
    assert!(error.to_lowercase().contains("certificate"), "{error}");
}

#[test]
fn a_node_cannot_read_or_write_what_is_another_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let victim = Site::join(&cloud, folder.path(), "victim");
    assert!(apply(&cloud, folder.path(), "victim", 1));
    converged(&cloud, "victim");
    let mut rogue = Site::join(&cloud, folder.path(), "rogue");
    assert_eq!(rogue.stop(), Some(0));
    let before = shadow(&cloud, "victim");

    let mut client = Mqtt::connect(&cloud, Some(rogue.data()), "rogue");
    client.next(connected).unwrap();
    client.publish(&topic("victim", Heading::FromSite, MessageKind::Hello), b"\xa0");
    let reason = client.next(reason_of);
    assert_eq!(reason, Ok(PubAckReason::NotAuthorized));
    for filter in [Topic::all_to(&"victim".parse().unwrap()), "#".to_owned(), "+/1/#".to_owned()] {
        client.client.subscribe(filter, QoS::AtLeastOnce).unwrap();
        let codes = client.next(codes_of);
        assert_eq!(codes, Ok(vec![SubscribeReasonCode::NotAuthorized]));
    }
    assert_eq!(shadow(&cloud, "victim"), before);
    drop(victim);
}

#[test]
fn rubbish_from_a_node_changes_nothing_and_the_cloud_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let mut site = Site::join(&cloud, folder.path(), "site-1");
    assert!(apply(&cloud, folder.path(), "site-1", 1));
    converged(&cloud, "site-1");
    assert_eq!(site.stop(), Some(0));
    let before = shadow(&cloud, "site-1");

    let mut client = Mqtt::connect(&cloud, Some(site.data()), "site-1");
    client.next(connected).unwrap();
    for kind in [MessageKind::Hello, MessageKind::Batch, MessageKind::Ack, MessageKind::Fetch] {
        for rubbish in [&b""[..], b"\xff", b"\xa0", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"{}"]
        {
            client.publish(&topic("site-1", Heading::FromSite, kind), rubbish);
            let _answered = client.next(reason_of);
        }
    }
    assert_eq!(shadow(&cloud, "site-1"), before);
    drop(client);
    site.start();
    assert!(apply(&cloud, folder.path(), "site-1", 2));
    converged(&cloud, "site-1");
}

#[test]
fn the_command_line_says_what_was_wrong_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    cloud.api.join_token("site-1");
    let file = folder.path().join("bad.yaml");
    std::fs::write(&file, "services:\n  web:\n    image: a\n    privileged: true\n").unwrap();
    let file = file.to_string_lossy();
    let refused = |args: &[&str], code: i32, words: &str| {
        let output = gnomon(&cloud, args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(words), "{args:?}: {errors}");
        assert!(output.stdout.is_empty(), "{args:?} wrote to stdout");
    };
    let set = ["shadow", "set", "site-1", "device/p1", "rate=1"];
    refused(&["apply", "-f", &file, "--node", "site-1", "--app", "a"], 5, "bad.yaml:4:5");
    refused(&["get", "apps", "--node", "nowhere"], 3, "nowhere");
    refused(&["shadow", "set", "nowhere", "node", "a=1"], 3, "nowhere");
    assert!(gnomon(&cloud, &set).status.success());
    refused(&[&set[..], &["--if-version", "7"]].concat(), 4, "version 1");
    let big = folder.path().join("big.json");
    std::fs::write(&big, json!({ "x": "y".repeat(300 * 1024) }).to_string()).unwrap();
    refused(&["shadow", "set", "site-1", "device/p1", "-f", &big.to_string_lossy()], 5, "limit");
    let (_, body) = cloud.api.get("/v1/nodes/site-1/shadows/device/p1");
    assert_eq!(body["desired"]["version"], 1, "{body}");
    assert_eq!(body["desired"]["document"], json!({"rate": 1}));
}
