//! Starting and stopping.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use gnomon_broker::{Acl, AttachConfig, Broker, BrokerConfig, Limits, ListenerConfig, StartError};
use tokio::net::TcpStream;

use crate::harness::{ByUsername, start, within};
use crate::raw::{Raw, V4, V5};

fn config(listeners: Vec<ListenerConfig>) -> BrokerConfig {
    BrokerConfig {
        listeners,
        limits: Limits::default(),
        acl: Acl::default(),
        authenticator: Arc::new(ByUsername),
    }
}

#[tokio::test]
async fn a_port_that_the_system_chose_is_reported() {
    let any = ListenerConfig { addr: ([127, 0, 0, 1], 0).into(), tls: None };
    let broker = Broker::start(config(vec![any.clone(), any])).await.unwrap();
    let ports: Vec<_> = broker.addrs().iter().map(|bound| bound.addr.port()).collect();
    assert!(ports.iter().all(|port| *port != 0) && ports[0] != ports[1], "{ports:?}");
}

#[tokio::test]
async fn a_start_that_cannot_be_is_an_error_that_names_the_address() {
    assert!(matches!(Broker::start(config(Vec::new())).await, Err(StartError::NoListener)));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = Broker::start(config(vec![ListenerConfig { addr, tls: None }])).await.unwrap_err();
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_returns() {
    let running = start().await;
    let mut attachment = running.broker.attach(AttachConfig { filters: Vec::new(), capacity: 10 });
    let mut old = Raw::connect(running.addr, V4, "service/s", "old").await;
    let mut new = Raw::connect(running.addr, V5, "service/s", "new").await;
    let silent = Raw::open(running.addr, V4).await;
    let publisher = attachment.publisher();
    within("shutdown", running.broker.shutdown(Duration::from_secs(10))).await;
    new.ends_with(0x8b).await;
    old.ends_with(0).await;
    drop(silent);
    assert!(TcpStream::connect(running.addr).await.is_err());
    within("the end of the events", async { while attachment.next().await.is_some() {} }).await;
    assert!(publisher.publish("a", "x".into(), gnomon_broker::Qos::AtMostOnce).is_err());
}

#[tokio::test]
async fn a_shutdown_does_not_wait_longer_than_its_grace_for_a_stuck_application() {
    let running = start().await;
    // Room for one event, which nobody takes: the session cannot report its end.
    let attachment = running.broker.attach(AttachConfig { filters: Vec::new(), capacity: 1 });
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    within("shutdown", running.broker.shutdown(Duration::from_millis(200))).await;
    raw.ends_with(0x8b).await;
    drop(attachment);
}

#[tokio::test]
async fn a_broker_that_is_dropped_ends_its_connections() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V4, "service/s", "c").await;
    drop(running);
    assert_eq!(raw.next().await, None);
}
