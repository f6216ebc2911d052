//! The session as a state machine: packets in, effects out, on a clock that the test holds.

use bytes::Bytes;

use super::*;
use crate::acl::Rule;
use crate::packet::RetainHandling;
use crate::principal::{Principal, Role};

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
        dialect: Dialect::of(protocol),
        key: Arc::new(ClientKey {
            principal: Arc::new(Principal::anonymous()),
            client_id: "c".into(),
        }),
        clean_start: true,
        keep_alive: NonZeroU16::new(10),
        expiry: Duration::ZERO,
        inflight: 2,
        will: Some(Arc::new(Will {
            message: Message::new("open/will".parse().unwrap(), Bytes::new(), Qos::AtMostOnce),
            delay: Duration::ZERO,
            expiry: None,
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
        expiry: None,
        properties: None,
    }
}

fn handle(session: &mut Session, publish: IncomingPublish) -> Result<Effect, DisconnectReason> {
    session.handle(Incoming::Publish(publish), Instant::now())
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
    assert!(matches!(effect, Ok(Effect::Publish { pkid: 0, .. })));
    let effect = handle(&mut session, publish("open/a", 1));
    assert!(matches!(effect, Ok(Effect::Publish { pkid: 7, .. })));
    let effect = handle(&mut session, publish("open/a", 2));
    assert!(
        matches!(effect, Ok(Effect::Publish { message, pkid: 7 }) if message.qos == Qos::ExactlyOnce)
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
    let effect = handle(&mut session(Protocol::V5), publish("closed", 2));
    assert!(matches!(
        effect,
        Ok(Effect::Denied { answer: Ok(Some(Outgoing::PubRec { pkid: 7, denied: true })), .. })
    ));
    let effect = handle(&mut session(Protocol::V4), publish("closed", 0));
    let ended = Err::<(), _>(DisconnectReason::NotAuthorized);
    assert!(
        matches!(effect, Ok(Effect::Denied { answer, .. }) if answer.as_ref().err() == ended.as_ref().err())
    );
}

#[test]
fn where_nothing_is_retained_the_flag_ends_5_0_and_is_lost_in_3_1_1() {
    let retained = || IncomingPublish { retain: true, ..publish("open/a", 1) };
    let without = |protocol| {
        let limits = Limits { retained_messages: 0, ..Limits::default() };
        let policy = Policy { acl: policy().acl.clone(), limits };
        Session { policy: Arc::new(policy), ..session(protocol) }
    };
    assert_eq!(
        handle(&mut without(Protocol::V5), retained()).unwrap_err(),
        DisconnectReason::RetainNotSupported
    );
    let effect = handle(&mut without(Protocol::V4), retained());
    assert!(matches!(effect, Ok(Effect::Publish { message, .. }) if !message.retain));
    let effect = handle(&mut session(Protocol::V5), retained());
    assert!(matches!(effect, Ok(Effect::Publish { message, .. }) if message.retain));
}

#[test]
fn of_the_servers_own_topics_only_shadows_are_written() {
    let rule = Rule::new(Role::Anonymous, &["$aws/#", "$SYS/#"], &[]).unwrap();
    let policy = Policy { acl: Acl::new(vec![rule]), limits: Limits::default() };
    let mut session = Session { policy: Arc::new(policy), ..session(Protocol::V5) };
    for (topic, allowed) in [
        ("$aws/things/t/shadow/get", true),
        ("$aws/events/x", false),
        ("$aws/things", false),
        ("$awsome/things/x", false),
        ("$SYS/a", false),
    ] {
        let effect = handle(&mut session, publish(topic, 0));
        assert_eq!(matches!(effect, Ok(Effect::Publish { .. })), allowed, "{topic}");
    }
}

#[test]
fn a_message_expires_when_its_publisher_says() {
    let now = Instant::now();
    let mut session = session_at(Protocol::V5, now);
    let publish = IncomingPublish { expiry: Some(5), ..publish("open/a", 0) };
    let effect = session.handle(Incoming::Publish(publish), now);
    let Ok(Effect::Publish { message, .. }) = effect else { panic!("{effect:?}") };
    assert!(!message.has_expired(now + Duration::from_secs(4)));
    assert_eq!(message.seconds_left(now + Duration::from_millis(2_500)), Some(3));
    assert!(message.has_expired(now + Duration::from_secs(5)));
}

#[test]
fn a_goodbye_may_change_how_long_the_session_is_kept_but_not_begin_it() {
    let goodbye =
        |seconds| Incoming::Disconnect { with_will: false, session_expiry: Some(seconds) };
    let mut kept = session(Protocol::V5);
    kept.agreement.expiry = Duration::from_mins(1);
    assert_eq!(kept.handle(goodbye(5), Instant::now()).unwrap_err(), DisconnectReason::ByClient);
    assert_eq!(kept.agreement.expiry, Duration::from_secs(5));
    kept.handle(goodbye(u32::MAX), Instant::now()).unwrap_err();
    assert_eq!(kept.agreement.expiry, Limits::default().session_expiry);
    let error = session(Protocol::V5).handle(goodbye(5), Instant::now()).unwrap_err();
    assert_eq!(error, DisconnectReason::ProtocolError);
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

fn requested(path: &str) -> RequestedFilter {
    RequestedFilter {
        path: path.into(),
        qos: Qos::ExactlyOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
    }
}

fn subscribe(filters: Vec<RequestedFilter>, id: Option<u32>) -> Result<Effect, DisconnectReason> {
    let subscribe = IncomingSubscribe { pkid: 3, id, filters };
    session(Protocol::V5).handle(Incoming::Subscribe(subscribe), Instant::now())
}

#[test]
fn each_filter_gets_its_own_answer() {
    let filters =
        ["open/+", "#", "a#", "$share/g/open/a", "$share/g/#", "$share/g", "$share/+/open/a"];
    let effect = subscribe(filters.map(requested).into(), Some(9));
    let Ok(Effect::Subscribe { pkid: 3, requests }) = effect else { panic!("{effect:?}") };
    let answers: Vec<_> = requests.iter().map(|r| r.as_ref().map(|s| s.options.id)).collect();
    let id = NonZeroU32::new(9);
    assert_eq!(
        answers,
        [
            Ok(id),
            Err(&SubscribeAnswer::NotAuthorized),
            Err(&SubscribeAnswer::Invalid),
            Ok(id),
            Err(&SubscribeAnswer::NotAuthorized),
            Err(&SubscribeAnswer::Invalid),
            Err(&SubscribeAnswer::Invalid),
        ]
    );
    let shared = requests[3].as_ref().unwrap().shared.clone().unwrap();
    assert_eq!((&*shared.0, shared.1.as_str()), ("g", "open/a"));
}

#[test]
fn an_identifier_of_zero_and_no_local_in_a_group_break_the_protocol() {
    let zero = subscribe(vec![requested("open/a")], Some(0));
    assert_eq!(zero.unwrap_err(), DisconnectReason::ProtocolError);
    let no_local = RequestedFilter { no_local: true, ..requested("$share/g/open/a") };
    let effect = subscribe(vec![no_local], None);
    assert_eq!(effect.unwrap_err(), DisconnectReason::ProtocolError);
}

#[test]
fn more_filters_than_a_session_may_have_are_refused_unseen() {
    let filters = (0..257).map(|_| requested("open/a")).collect();
    let effect = subscribe(filters, None);
    let Ok(Effect::Subscribe { requests, .. }) = effect else { panic!("{effect:?}") };
    assert_eq!(requests, vec![Err(SubscribeAnswer::QuotaExceeded); 257]);
    let filters = vec![String::from("open/a"); 257];
    let unsubscribe = Incoming::Unsubscribe { pkid: 3, filters };
    let effect = session(Protocol::V5).handle(unsubscribe, Instant::now());
    let Ok(Effect::Unsubscribe { filters, .. }) = effect else { panic!("{effect:?}") };
    assert_eq!(filters, vec![None; 257]);
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
    let will = |reason| session(Protocol::V5).take_will(reason).is_some();
    assert!(will(DisconnectReason::ConnectionLost));
    assert!(will(DisconnectReason::ByClientWithWill));
    assert!(will(DisconnectReason::TakenOver));
    assert!(!will(DisconnectReason::ByClient));
    assert!(!will(DisconnectReason::ServerShutdown));
}
