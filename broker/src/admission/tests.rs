//! Tests of the decision on a CONNECT.

use bytes::Bytes;

use super::*;
use crate::packet::Login;
use crate::session::tests::policy;

fn connect(protocol: Protocol) -> Connect {
    Connect {
        protocol,
        client_id: "c".into(),
        clean_start: true,
        keep_alive: 60,
        login: None,
        will: None,
        session_expiry: 0,
        wants_reasons: true,
        receive_maximum: u16::MAX,
        maximum_packet: u32::MAX,
        has_auth_method: false,
    }
}

fn will(topic: &'static [u8]) -> RawWill {
    RawWill {
        topic: Bytes::from_static(topic),
        payload: Bytes::new(),
        qos: 0,
        retain: false,
        delay: 0,
        expiry: None,
        properties: None,
    }
}

fn decide(connect: Connect) -> Result<(Agreement, Terms), Refusal> {
    let policy = policy();
    check(&connect, &policy.limits)?;
    admit(connect, Arc::new(Principal::anonymous()), SessionId(7), &policy)
}

fn refused(connect: Connect) -> Refusal {
    decide(connect).unwrap_err()
}

#[test]
fn a_client_without_id_gets_one_unless_it_wants_its_session_back() {
    let nameless = |protocol, clean_start| Connect {
        client_id: String::new(),
        clean_start,
        ..connect(protocol)
    };
    let (agreement, terms) = decide(nameless(Protocol::V5, true)).unwrap();
    assert_eq!(&*agreement.key.client_id, "auto-7");
    assert_eq!(terms.assigned_client_id.as_deref(), Some(&*agreement.key.client_id));
    assert!(decide(nameless(Protocol::V4, true)).is_ok());
    assert_eq!(refused(nameless(Protocol::V4, false)), Refusal::ClientId);
}

#[test]
fn a_long_keep_alive_and_none_are_capped_where_the_client_can_be_told() {
    let asked = |protocol, keep_alive| {
        let (agreement, terms) = decide(Connect { keep_alive, ..connect(protocol) }).unwrap();
        (agreement.keep_alive.map(NonZeroU16::get), terms.server_keep_alive)
    };
    assert_eq!(asked(Protocol::V5, 60), (Some(60), None));
    assert_eq!(asked(Protocol::V5, 0), (Some(1200), Some(1200)));
    assert_eq!(asked(Protocol::V5, 2000), (Some(1200), Some(1200)));
    assert_eq!(asked(Protocol::V4, 2000), (Some(2000), None));
    assert_eq!(asked(Protocol::V4, 0), (None, None));
}

#[test]
fn the_smaller_window_wins() {
    let window = |receive_maximum| {
        decide(Connect { receive_maximum, ..connect(Protocol::V5) }).unwrap().0.inflight
    };
    assert_eq!((window(5), window(1000)), (5, 100));
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let v5 = || connect(Protocol::V5);
    let with_will = |will| Connect { will: Some(will), ..v5() };
    let cases = [
        (Connect { has_auth_method: true, ..v5() }, Refusal::AuthMethod),
        (Connect { receive_maximum: 0, ..v5() }, Refusal::ProtocolError),
        (Connect { maximum_packet: 0, ..v5() }, Refusal::ProtocolError),
        (Connect { client_id: "a\0".into(), ..v5() }, Refusal::ClientId),
        (Connect { client_id: "x".repeat(257), ..v5() }, Refusal::ClientId),
        (with_will(will(b"open/+")), Refusal::WillTopic),
        (with_will(will(b"\xff")), Refusal::WillTopic),
        (with_will(will(b"closed")), Refusal::NotAuthorized),
        (with_will(RawWill { qos: 3, ..will(b"open/a") }), Refusal::ProtocolError),
        (with_will(will(b"$SYS/a")), Refusal::NotAuthorized),
    ];
    for (connect, refusal) in cases {
        assert_eq!(refused(connect), refusal);
    }
}

#[test]
fn a_session_is_kept_as_long_as_asked_and_allowed() {
    let kept = |protocol, clean_start, session_expiry| {
        let connect = Connect { clean_start, session_expiry, ..connect(protocol) };
        let (agreement, terms) = decide(connect).unwrap();
        let told = terms.session_expiry.unwrap_or(session_expiry);
        assert_eq!(agreement.expiry.as_secs(), u64::from(told));
        told
    };
    assert_eq!(kept(Protocol::V5, true, 0), 0);
    assert_eq!(kept(Protocol::V5, true, 60), 60);
    assert_eq!(kept(Protocol::V5, false, u32::MAX), 24 * 3600);
    assert_eq!(kept(Protocol::V4, true, 0), 0);
    assert_eq!(kept(Protocol::V4, false, 0), 3600);
}

#[test]
fn a_will_keeps_its_delay_and_counts_its_expiry_from_its_publication() {
    let raw = RawWill { retain: true, delay: 5, expiry: Some(7), qos: 2, ..will(b"open/a") };
    let (agreement, _) = decide(Connect { will: Some(raw), ..connect(Protocol::V5) }).unwrap();
    let will = agreement.will.unwrap();
    assert_eq!(will.delay, Duration::from_secs(5));
    let now = std::time::Instant::now();
    let message = will.message(now);
    assert!(message.retain);
    assert_eq!(message.qos, Qos::ExactlyOnce);
    assert_eq!(message.seconds_left(now), Some(7));
}

#[test]
fn a_password_is_not_in_the_debug_text() {
    let login = Login { username: "u".into(), password: "secret".into() };
    assert!(!format!("{login:?}").contains("secret"));
}
