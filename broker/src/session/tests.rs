//! The session as a state machine: packets in, effects out, on a clock that the test holds.

use bytes::Bytes;

use super::*;
use crate::acl::Rule;
use crate::principal::Role;

/// Access rules that let anyone do anything below `open/`.
pub(crate) fn policy() -> Arc<Policy> {
    let rules = [Role::Anonymous, Role::Node].map(|role| Rule {
        role,
        publish: vec!["open/#".parse().unwrap()],
        subscribe: vec!["open/#".parse().unwrap()],
    });
    Arc::new(Policy { acl: Acl::new(rules.into()), limits: Limits::default() })
}

fn session_at(protocol: Protocol, now: Instant) -> Session {
    let agreement = Agreement {
        protocol,
        principal: Arc::new(Principal::anonymous()),
        client_id: "c".into(),
        keep_alive: Some(Duration::from_secs(10)),
        inflight: 2,
        maximum_packet: 1_000,
        will: Some(Arc::new(Message {
            topic: "open/will".parse().unwrap(),
            payload: Bytes::new(),
            qos: Qos::AtMostOnce,
            properties: None,
        })),
    };
    Session::new(agreement, policy(), now)
}

fn session(protocol: Protocol) -> Session {
    session_at(protocol, Instant::now())
}

fn publish(topic: &str, qos: u8) -> IncomingPublish {
    IncomingPublish {
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        alias: None,
        payload: Bytes::from_static(b"x"),
        qos,
        retain: false,
        pkid: if qos == 0 { 0 } else { 7 },
        has_subscription_id: false,
        properties: None,
    }
}

fn handle(session: &mut Session, publish: IncomingPublish) -> Result<Effect, DisconnectReason> {
    session.handle(Incoming::Publish(publish))
}

fn topic_of(effect: Result<Effect, DisconnectReason>) -> String {
    match effect {
        Ok(Effect::Publish { message, .. }) => message.topic.to_string(),
        other => panic!("a message was expected, not {other:?}"),
    }
}

#[test]
fn a_message_is_routed_and_acknowledged_by_its_qos() {
    let mut session = session(Protocol::V4);
    let effect = handle(&mut session, publish("open/a", 0));
    assert!(matches!(effect, Ok(Effect::Publish { ack: None, .. })));
    let effect = handle(&mut session, publish("open/a", 1));
    assert!(matches!(effect, Ok(Effect::Publish { ack: Some(7), .. })));
    assert_eq!(
        handle(&mut session, publish("open/a", 2)).unwrap_err(),
        DisconnectReason::QosNotSupported
    );
}

#[test]
fn a_denied_message_is_answered_in_5_0_and_ends_3_1_1() {
    let effect = handle(&mut session(Protocol::V5), publish("closed", 1));
    assert!(matches!(
        effect,
        Ok(Effect::Denied { answer: Ok(Some(Outgoing::PubAck { pkid: 7, denied: true })), .. })
    ));
    let effect = handle(&mut session(Protocol::V5), publish("closed", 0));
    assert!(matches!(effect, Ok(Effect::Denied { answer: Ok(None), .. })));
    let effect = handle(&mut session(Protocol::V4), publish("closed", 0));
    let ended = Err::<(), _>(DisconnectReason::NotAuthorized);
    assert!(
        matches!(effect, Ok(Effect::Denied { answer, .. }) if answer.as_ref().err() == ended.as_ref().err())
    );
}

#[test]
fn a_retained_message_ends_5_0_and_loses_its_flag_in_3_1_1() {
    let retained = || IncomingPublish { retain: true, ..publish("open/a", 1) };
    assert_eq!(
        handle(&mut session(Protocol::V5), retained()).unwrap_err(),
        DisconnectReason::RetainNotSupported
    );
    assert_eq!(topic_of(handle(&mut session(Protocol::V4), retained())), "open/a");
}

#[test]
fn a_bad_topic_name_ends_the_session() {
    for bad in ["", "open/+", "open/#", "open/\0"] {
        let effect = handle(&mut session(Protocol::V4), publish(bad, 0));
        assert_eq!(effect.unwrap_err(), DisconnectReason::TopicNameInvalid, "{bad:?}");
    }
    let not_text = IncomingPublish { topic: Bytes::from_static(b"open/\xff"), ..publish("", 0) };
    let effect = handle(&mut session(Protocol::V5), not_text);
    assert_eq!(effect.unwrap_err(), DisconnectReason::TopicNameInvalid);
}

#[test]
fn an_alias_stands_for_the_topic_it_was_last_set_to() {
    let mut session = session(Protocol::V5);
    let aliased = |topic: &str, alias| IncomingPublish { alias: Some(alias), ..publish(topic, 0) };
    assert_eq!(topic_of(handle(&mut session, aliased("open/a", 2))), "open/a");
    assert_eq!(topic_of(handle(&mut session, aliased("open/b", 1))), "open/b");
    assert_eq!(topic_of(handle(&mut session, aliased("", 2))), "open/a");
    assert_eq!(topic_of(handle(&mut session, aliased("open/c", 2))), "open/c");
    assert_eq!(topic_of(handle(&mut session, aliased("", 2))), "open/c");
    for (topic, alias) in [("", 3), ("open/a", 0), ("open/a", 17), ("open/a", u16::MAX)] {
        let effect = handle(&mut session, aliased(topic, alias));
        assert_eq!(effect.unwrap_err(), DisconnectReason::TopicAliasInvalid, "{topic} {alias}");
    }
}

#[test]
fn an_alias_of_a_denied_topic_stays_denied() {
    let mut session = session(Protocol::V5);
    let set = IncomingPublish { alias: Some(1), ..publish("closed", 0) };
    assert!(matches!(handle(&mut session, set), Ok(Effect::Denied { .. })));
    let used = IncomingPublish { alias: Some(1), ..publish("", 0) };
    assert!(matches!(handle(&mut session, used), Ok(Effect::Denied { .. })));
}

#[test]
fn each_filter_gets_its_own_answer() {
    let filters = ["open/+", "#", "a#", "$share/g/open/a", "open/x"].map(|path| RequestedFilter {
        path: path.into(),
        qos: 2,
        no_local: false,
    });
    let subscribe = IncomingSubscribe { pkid: 3, has_id: false, filters: filters.into() };
    let effect = session(Protocol::V5).handle(Incoming::Subscribe(subscribe));
    let Ok(Effect::Subscribe { pkid: 3, requests }) = effect else { panic!("{effect:?}") };
    let answers: Vec<_> = requests.into_iter().map(|r| r.map(|s| s.options.qos)).collect();
    assert_eq!(
        answers,
        [
            Ok(Qos::AtLeastOnce),
            Err(SubscribeAnswer::NotAuthorized),
            Err(SubscribeAnswer::Invalid),
            Err(SubscribeAnswer::NoSharedSubscriptions),
            Ok(Qos::AtLeastOnce),
        ]
    );
}

#[test]
fn more_filters_than_a_session_may_have_are_refused_unseen() {
    let filters = || vec![String::from("open/a"); 257];
    let requested =
        filters().into_iter().map(|path| RequestedFilter { path, qos: 0, no_local: false });
    let subscribe = IncomingSubscribe { pkid: 3, has_id: false, filters: requested.collect() };
    let effect = session(Protocol::V5).handle(Incoming::Subscribe(subscribe));
    let Ok(Effect::Subscribe { requests, .. }) = effect else { panic!("{effect:?}") };
    assert_eq!(requests, vec![Err(SubscribeAnswer::QuotaExceeded); 257]);
    let effect =
        session(Protocol::V5).handle(Incoming::Unsubscribe { pkid: 3, filters: filters() });
    let Ok(Effect::Unsubscribe { filters, .. }) = effect else { panic!("{effect:?}") };
    assert_eq!(filters, vec![None; 257]);
}

#[test]
fn the_window_holds_qos_1_back_and_lets_qos_0_pass() {
    let mut session = session(Protocol::V5);
    let message = Arc::new(Message {
        topic: "open/a".parse().unwrap(),
        payload: Bytes::new(),
        qos: Qos::AtLeastOnce,
        properties: None,
    });
    let queued = |qos| Queued { message: Arc::clone(&message), qos };
    for expected in [1, 2] {
        let packet = session.deliver(queued(Qos::AtLeastOnce));
        assert!(matches!(packet, Some(Outgoing::Publish { pkid, .. }) if pkid == expected));
    }
    assert!(!session.can_deliver());
    assert!(session.deliver(queued(Qos::AtLeastOnce)).is_none());
    assert!(session.deliver(queued(Qos::AtMostOnce)).is_some());
    assert!(matches!(session.handle(Incoming::PubAck { pkid: 1 }), Ok(Effect::Nothing)));
    assert!(session.can_deliver());
}

#[test]
fn the_keep_alive_runs_from_the_last_bytes_received() {
    let start = Instant::now();
    let mut session = session_at(Protocol::V4, start);
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(session.deadline(), Some(after(15)));
    assert_eq!(session.check_time(after(14)), Ok(()));
    session.received(after(14));
    assert_eq!(session.check_time(after(28)), Ok(()));
    assert_eq!(session.check_time(after(29)), Err(DisconnectReason::KeepAliveTimeout));
}

#[test]
fn the_will_is_published_unless_the_client_said_goodbye() {
    let will = |reason| session(Protocol::V5).into_will(reason).is_some();
    assert!(will(DisconnectReason::ConnectionLost));
    assert!(will(DisconnectReason::ByClientWithWill));
    assert!(will(DisconnectReason::TakenOver));
    assert!(!will(DisconnectReason::ByClient));
    assert!(!will(DisconnectReason::ServerShutdown));
}
