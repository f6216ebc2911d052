//! Shadows of things through kills, backups and restores.

use std::path::Path;
use std::process::Command;

use reqwest::{Method, StatusCode};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use serde_json::{Value, json};

use crate::access::token;
use crate::bench::{Api, Cloud, DEADLINE};
use crate::enrolment::{Joined, request};
use crate::process::{api, signal, start};
use crate::site::tls;

const SHADOW: &str = "/things/pump-7/shadow";

async fn update(api: &Api, path: &str, desired: &Value) -> Option<u64> {
    let body = json!({ "state": { "desired": desired } });
    let response = api.request(Method::POST, path).json(&body).send().await.ok()?;
    assert_eq!(response.status(), StatusCode::OK);
    response.json::<Value>().await.ok()?["version"].as_u64()
}

async fn get(api: &Api, path: &str) -> (StatusCode, Value) {
    let response = api.request(Method::GET, path).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// Has the cloud sign a certificate for a thing.
async fn certify(api: &Api, thing: &str) -> Joined {
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = request(&key);
    let path = format!("/v1/things/{thing}/certificates");
    let made = api.request(Method::POST, &path).json(&json!({ "csr_pem": csr }));
    let made = made.send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Value = made.json().await.unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let (certificate, ca) = (text("certificate_pem"), text("ca_pem"));
    Joined { key: key.serialize_pem(), certificate, ca }
}

/// What a thing is answered that asks for its shadow over MQTT; `None`: it is not let in.
async fn ask(mqtt: &str, thing: &str, joined: &Joined) -> Option<Value> {
    say(mqtt, thing, joined, &[("get", Value::Null)]).await
}

/// What a thing is answered to the last of what it says about its shadow over MQTT.
async fn say(
    mqtt: &str,
    thing: &str,
    joined: &Joined,
    requests: &[(&str, Value)],
) -> Option<Value> {
    let (host, port) = mqtt.rsplit_once(':').unwrap();
    let mut options = MqttOptions::new(thing, host, port.parse().unwrap());
    let tls = TlsConfiguration::Rustls(std::sync::Arc::new(tls(joined)));
    options.set_transport(Transport::tls_with_config(tls));
    let (client, mut events) = AsyncClient::new(options, 10);
    let shadow = format!("$aws/things/{thing}/shadow");
    client.try_subscribe(format!("{shadow}/+/accepted"), QoS::AtLeastOnce).unwrap();
    client.try_subscribe(format!("{shadow}/+/rejected"), QoS::AtLeastOnce).unwrap();
    let (mut left, mut subscribed) = (requests.iter(), 0);
    let mut publish = || {
        let Some((operation, body)) = left.next() else { return false };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let topic = format!("{shadow}/{operation}");
        client.try_publish(topic, QoS::AtLeastOnce, false, body).unwrap();
        true
    };
    let answer = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    subscribed += 1;
                    if subscribed == 2 {
                        publish();
                    }
                }
                Ok(Event::Incoming(Packet::Publish(said))) => {
                    if !publish() {
                        return Some(serde_json::from_slice(&said.payload).unwrap());
                    }
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    };
    tokio::time::timeout(DEADLINE, answer).await.unwrap()
}

fn gnomon(args: &[&str], data: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon-cloud"));
    let output = command.args(args).arg("--data").arg(data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_to_things_is_there_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..5 {
        let (mut child, ready) = start(dir.path());
        let api = api(&ready, dir.path());
        if round > 0 {
            let (status, shadow) = get(&api, SHADOW).await;
            assert_eq!(status, StatusCode::OK);
            let found = shadow["version"].as_u64().unwrap();
            // One more may have been written of which nobody was told.
            assert!((last..=last + 1).contains(&found), "{last} was answered, {found} is there");
            assert_eq!(shadow["state"]["desired"]["n"], found);
            last = found;
        }
        // Kills it in the middle of the writes.
        let pid = child.id();
        let killer = tokio::spawn({
            let api = api.clone();
            async move {
                for n in 0..10 + 7 * round {
                    update(&api, &format!("{SHADOW}?name=other"), &json!({ "n": n })).await;
                }
                nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid.try_into().unwrap()),
                    nix::sys::signal::Signal::SIGKILL,
                )
            }
        });
        while let Some(version) = update(&api, SHADOW, &json!({ "n": last + 1 })).await {
            assert_eq!(version, last + 1);
            last = version;
        }
        killer.await.unwrap().unwrap();
        child.wait().unwrap();
    }
    let report = gnomon(&["check"], dir.path());
    assert_eq!(report["problems"], json!([]));
    assert_eq!((&report["things"], &report["thing_shadows"]), (&json!(1), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_thing_wants_over_mqtt_is_in_the_audit_log_and_what_it_reports_is_not() {
    let cloud = Cloud::start().await;
    let joined = certify(&cloud.api, "pump-7").await;
    let mqtt = cloud.mqtt().to_string();
    let reported = |n: u64| json!({ "state": { "reported": { "n": n } } });
    let requests = [
        ("update", reported(1)),
        ("update", json!({ "state": { "desired": { "n": 2 } } })),
        ("update", json!({ "state": { "desired": { "n": 3 } }, "version": 99 })),
        ("update", reported(2)),
        ("get", Value::Null),
        ("delete", Value::Null),
    ];
    let last = say(&mqtt, "pump-7", &joined, &requests).await.unwrap();
    assert_eq!(last["version"], 3, "{last}");
    let log = cloud.api.get("/v1/audit?by=thing/pump-7").await;
    let told: Vec<_> = log["entries"].as_array().unwrap().iter().collect();
    let of = |action: &str| {
        json!({ "by": "thing/pump-7", "action": action, "target": "pump-7", "tenant": "default",
                "outcome": "done" })
    };
    assert_eq!(told.len(), 2, "{log}");
    for (entry, expected) in told.iter().zip([of("thing.delete"), of("thing.update")]) {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&entry[name], value, "{log}");
        }
    }
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cloud_knows_its_things_and_goes_on_with_later_versions() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = files.path().join("backup");
    let (mut child, ready) = start(dir.path());
    let first = api(&ready, dir.path());
    assert_eq!(update(&first, SHADOW, &json!({ "price": 1 })).await, Some(1));
    let named = format!("{SHADOW}?name=config");
    assert_eq!(update(&first, &named, &json!({ "a": 1 })).await, Some(1));
    let gone = first.request(Method::DELETE, &named).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::OK);
    let early = certify(&first, "pump-7").await;
    let (acme, _) =
        token(&first, &json!({ "name": "a", "role": "publisher", "tenant": "acme" })).await;
    assert_eq!(update(&acme, "/things/theirs/shadow", &json!({ "a": 1 })).await, Some(1));
    gnomon(&["backup", file.to_str().unwrap()], dir.path());
    assert_eq!(update(&first, SHADOW, &json!({ "price": 2 })).await, Some(2));
    let late = certify(&first, "pump-7").await;
    signal(&child, nix::sys::signal::Signal::SIGTERM);
    assert!(child.wait().unwrap().success());

    let restored = gnomon(&["restore", file.to_str().unwrap(), "--replace"], dir.path());
    assert!(restored["rows"].as_u64() > Some(3), "{restored}");
    let (mut child, ready) = start(dir.path());
    let second = api(&ready, dir.path());
    let (_, shadow) = get(&second, SHADOW).await;
    assert_eq!(shadow["state"]["desired"]["price"], 1, "what came after the backup is lost");
    let version = shadow["version"].as_u64().unwrap();
    assert!(version > 2, "a client that has seen version 2 must not take it for an earlier one");
    assert_eq!(update(&second, SHADOW, &json!({ "price": 3 })).await, Some(version + 1));
    assert_eq!(get(&second, &named).await.0, StatusCode::NOT_FOUND);
    let acme = second.with_token(&acme.token);
    let things = acme.get("/v1/things").await;
    let theirs = json!([{ "thing": "theirs", "tenant": "acme", "shadows": 1 }]);
    assert_eq!(things["things"], theirs, "what is whose is in the backup");
    assert_eq!(get(&acme, SHADOW).await.0, StatusCode::NOT_FOUND);
    let again = update(&second, &named, &json!({ "a": 2 })).await.unwrap();
    assert!(again > 2, "a deleted shadow goes on behind what clients may have seen: {again}");

    let mqtt = ready["mqtt"].as_str().unwrap();
    let answer = ask(mqtt, "pump-7", &early).await.expect("its certificate is in the backup");
    assert_eq!(answer["state"]["desired"]["price"], 3);
    assert_eq!(ask(mqtt, "pump-7", &late).await, None, "its certificate came after the backup");
    signal(&child, nix::sys::signal::Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
    assert_eq!(gnomon(&["check"], dir.path())["problems"], json!([]));
}
