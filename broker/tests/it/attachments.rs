//! The application's own attachment: order, back-pressure, publishing, disconnecting.

use gnomon_broker::{
    AttachConfig, Attachment, AttachmentEvent, DisconnectReason, Protocol, PublishError, Qos, Role,
    SessionId,
};

use crate::harness::{Running, eventually, start, within};
use crate::raw::{Packet, Raw, V4, V5};

fn attach(running: &Running, filter: &str, capacity: usize) -> Attachment {
    let filters = vec![filter.parse().unwrap()];
    running.broker.attach(AttachConfig { filters, capacity })
}

async fn next(attachment: &mut Attachment) -> AttachmentEvent {
    within("an event", attachment.next()).await.expect("the broker runs")
}

async fn connected(attachment: &mut Attachment) -> SessionId {
    let event = next(attachment).await;
    let AttachmentEvent::Connected { session, .. } = event else { panic!("{event:?}") };
    session
}

async fn payload(attachment: &mut Attachment) -> Vec<u8> {
    let event = next(attachment).await;
    let AttachmentEvent::Publish { payload, .. } = event else { panic!("{event:?}") };
    payload.to_vec()
}

#[tokio::test]
async fn the_events_of_a_session_are_complete_and_in_order() {
    let running = start().await;
    let mut attachment = attach(&running, "gnomon/1/+/u/+", 10);
    let mut node = Raw::connect(running.addr, V5, "node/site-1", "id").await;
    let AttachmentEvent::Connected { session, principal, client_id, protocol, peer } =
        next(&mut attachment).await
    else {
        panic!("Connected comes first")
    };
    assert_eq!((&*principal.name, principal.role), ("site-1", Role::Node));
    assert_eq!((&*client_id, protocol), ("id", Protocol::V5));
    assert_eq!(peer, node.stream.local_addr().unwrap());

    node.publish("gnomon/1/site-1/u/hello", Some(1), b"1").await;
    node.publish("gnomon/1/site-1/u/ack", None, b"2").await;
    node.send(&[0xe0, 0]).await;
    for (name, expected_qos) in [("hello", Qos::AtLeastOnce), ("ack", Qos::AtMostOnce)] {
        let AttachmentEvent::Publish { session: from, topic, qos, .. } =
            next(&mut attachment).await
        else {
            panic!("the messages come next")
        };
        assert_eq!((from, qos), (Some(session), expected_qos));
        assert_eq!(topic.as_str(), format!("gnomon/1/site-1/u/{name}"));
    }
    let AttachmentEvent::Disconnected { session: ended, reason, .. } = next(&mut attachment).await
    else {
        panic!("Disconnected comes last")
    };
    assert_eq!((ended, reason), (session, DisconnectReason::ByClient));
}

#[tokio::test]
async fn a_later_session_has_a_greater_id() {
    let running = start().await;
    let mut attachment = attach(&running, "none", 10);
    let _first = Raw::connect(running.addr, V4, "service/s", "c").await;
    let first = connected(&mut attachment).await;
    let _second = Raw::connect(running.addr, V4, "service/s", "c").await;
    let (mut later, mut ended) = (None, None);
    for _ in 0..2 {
        match next(&mut attachment).await {
            AttachmentEvent::Connected { session, .. } => later = Some(session),
            AttachmentEvent::Disconnected { session, .. } => ended = Some(session),
            AttachmentEvent::Publish { .. } => panic!("nothing was published"),
        }
    }
    assert_eq!(ended, Some(first));
    assert!(later > Some(first));
}

#[tokio::test]
async fn a_message_is_acknowledged_only_once_there_is_room_for_it() {
    let running = start().await;
    let mut attachment = attach(&running, "a", 2);
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    // `Connected` and the first message fill the room; the rest waits outside.
    for n in 1..=50_u16 {
        raw.publish("a", Some(n), &n.to_be_bytes()).await;
    }
    assert_eq!(raw.packet().await, Packet { first: 0x40, body: vec![0, 1] });
    let taken = "messages_total{direction=\"in\"}";
    running.metric_reaches(taken, 2).await;
    assert_eq!(running.metric(taken), 2, "the connection is not read any further");
    connected(&mut attachment).await;
    for n in 1..=50_u16 {
        assert_eq!(payload(&mut attachment).await, n.to_be_bytes());
    }
    for n in 2..=50_u16 {
        assert_eq!(raw.packet().await.body, n.to_be_bytes());
    }
}

#[tokio::test]
async fn a_full_attachment_does_not_hold_up_who_has_nothing_for_it() {
    let running = start().await;
    let mut other = Raw::connect(running.addr, V4, "service/s", "other").await;
    let mut busy = Raw::connect(running.addr, V5, "service/s", "busy").await;
    let _attachment = attach(&running, "a", 2);
    // Both sessions announce themselves, which fills the room.
    other.ping().await;
    busy.ping().await;
    busy.publish("a", Some(1), b"waits").await;
    running.metric_reaches("messages_total{direction=\"in\"}", 1).await;
    other.subscribe("b", 0).await;
    other.publish("b", None, b"flows").await;
    assert_eq!(other.message().await.1, b"flows");
}

#[tokio::test]
async fn an_attachment_learns_of_sessions_that_were_there_before_it() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    let mut attachment = attach(&running, "a", 10);
    raw.publish("a", None, b"x").await;
    let session = connected(&mut attachment).await;
    assert_eq!(payload(&mut attachment).await, b"x");
    let silent = Raw::connect(running.addr, V5, "service/s", "silent").await;
    let mut late = attach(&running, "a", 10);
    let known = [connected(&mut late).await, connected(&mut late).await];
    assert!(known.contains(&session));
    drop(silent);
}

#[tokio::test]
async fn a_dropped_attachment_sets_the_waiting_free() {
    let running = start().await;
    let mut attachment = attach(&running, "a", 1);
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    connected(&mut attachment).await;
    raw.publish("a", Some(1), b"fits").await;
    raw.publish("a", Some(2), b"waits").await;
    assert_eq!(raw.packet().await.body, [0, 1]);
    drop(attachment);
    assert_eq!(raw.packet().await.body, [0, 2]);
    raw.publish("a", Some(3), b"for nobody").await;
    assert_eq!(raw.packet().await.body, [0, 3]);
}

#[tokio::test]
async fn a_publisher_reaches_sessions_and_other_attachments() {
    let running = start().await;
    let mut attachment = attach(&running, "none", 10);
    let mut other = attach(&running, "a", 1);
    let publisher = attachment.publisher();
    assert_eq!(publisher.publish("b", "x".into(), Qos::AtLeastOnce).unwrap(), 0);
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    connected(&mut attachment).await;
    connected(&mut other).await;
    raw.subscribe("a", 1).await;
    assert_eq!(publisher.publish("a", "x".into(), Qos::AtLeastOnce).unwrap(), 1);
    assert_eq!(raw.message().await, ("a".into(), b"x".to_vec()));
    let full = publisher.publish("a", "y".into(), Qos::AtLeastOnce);
    assert!(matches!(full, Err(PublishError::AttachmentFull)));
    let event = next(&mut other).await;
    assert!(matches!(event, AttachmentEvent::Publish { session: None, .. }), "{event:?}");
    raw.ping().await;
    assert!(matches!(
        publisher.publish("a/+", "x".into(), Qos::AtMostOnce),
        Err(PublishError::Topic(_))
    ));
}

#[tokio::test]
async fn a_publisher_ends_a_session() {
    let running = start().await;
    let mut attachment = attach(&running, "none", 10);
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    let session = connected(&mut attachment).await;
    let publisher = attachment.publisher();
    assert!(publisher.disconnect(session, DisconnectReason::Administrative));
    raw.ends_with(0x98).await;
    eventually("the session is gone", || {
        !publisher.disconnect(session, DisconnectReason::Administrative)
    })
    .await;
}
