//! Identities that are revoked: out at once, and not in again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use gnomon_broker::{
    AttachConfig, AuthError, Authenticator, BrokerConfig, CertificateSubject, Credentials, Limits,
    ListenerConfig, Principal, Revocation, Role,
};

use crate::harness::{acl, eventually, start, start_config};
use crate::raw::{Raw, V4, V5, connect};

/// Lets the service `s` in, once it is told to answer, until it is shut out.
#[derive(Debug)]
struct Slow {
    was_asked: AtomicBool,
    answers: Mutex<mpsc::Receiver<()>>,
    is_shut: AtomicBool,
}

impl Authenticator for Slow {
    fn authenticate(&self, _: &Credentials<'_>) -> Result<Principal, AuthError> {
        let is_shut = self.is_shut.load(Ordering::SeqCst);
        self.was_asked.store(true, Ordering::SeqCst);
        self.answers.lock().unwrap().recv().unwrap();
        if is_shut { Err(AuthError::NotAuthorized) } else { Ok(Principal::new("s", Role::Service)) }
    }

    fn still_admits(&self, _: &Principal, _: Option<&CertificateSubject>) -> bool {
        !self.is_shut.load(Ordering::SeqCst)
    }

    fn is_costly(&self, _: &Credentials<'_>) -> bool {
        true
    }
}

#[tokio::test]
async fn who_is_shut_out_between_the_check_and_the_session_does_not_get_in() {
    let (answer, answers) = mpsc::channel();
    let (was_asked, is_shut) = (AtomicBool::new(false), AtomicBool::new(false));
    let slow = Arc::new(Slow { was_asked, answers: Mutex::new(answers), is_shut });
    let listeners = vec![ListenerConfig { addr: ([127, 0, 0, 1], 0).into(), tls: None }];
    let authenticator = Arc::clone(&slow) as Arc<dyn Authenticator>;
    let limits = Limits::default();
    let config = BrokerConfig { listeners, limits, acl: acl(), authenticator };
    let running = start_config(config).await;
    let publisher =
        running.broker.attach(AttachConfig { filters: vec![], capacity: 9 }).publisher();
    let principal = Principal::new("s", Role::Service);

    answer.send(()).unwrap();
    let mut early = Raw::connect(running.addr, V5, "service/s", "early").await;
    slow.was_asked.store(false, Ordering::SeqCst);
    let mut late = Raw::open(running.addr, V5).await;
    late.send(&connect(V5, "service/s", "late", 60, &[])).await;
    eventually("the check", || slow.was_asked.load(Ordering::SeqCst)).await;
    slow.is_shut.store(true, Ordering::SeqCst);
    assert_eq!(publisher.end_sessions(&principal, |_| false), 1, "the late one is not there yet");
    early.ends_with(0x87).await;
    answer.send(()).unwrap();
    assert_eq!(late.packet().await.body[..2], [0, 0x87]);
    running.is_empty().await;
}

#[tokio::test]
async fn sessions_end_that_no_event_has_told_of_and_others_stay() {
    let running = start().await;
    let mut others = Raw::connect(running.addr, V5, "service/other", "c").await;
    let mut gone = Raw::connect(running.addr, V5, "node/s", "c").await;
    let mut kept = Raw::connect(running.addr, V5, "service/s", "c").await;
    // Nobody takes its events.
    let attachment = running.broker.attach(AttachConfig { filters: vec![], capacity: 1 });
    let publisher = attachment.publisher();
    assert_eq!(publisher.end_sessions(&Principal::new("s", Role::Service), |_| true), 0);
    assert_eq!(publisher.end_sessions(&Principal::new("t", Role::Node), |_| false), 0);
    assert_eq!(publisher.end_sessions(&Principal::new("s", Role::Node), |_| false), 1);
    gone.ends_with(0x87).await;
    drop(attachment);
    kept.ping().await;
    others.ping().await;
}

#[tokio::test]
async fn a_revoked_principal_is_disconnected_at_once_and_stays_out() {
    let running = start().await;
    let mut others = Raw::connect(running.addr, V5, "service/other", "c").await;
    let mut sessions = Vec::new();
    for version in [V4, V5] {
        let id = format!("{version:?}");
        sessions.push(Raw::connect(running.addr, version, "service/s", &id).await);
    }
    let (away, _) = Raw::resume(running.addr, V5, "away", true, &[0x11, 0, 0, 0, 60]).await;
    drop(away);
    running.metric_reaches("away_sessions", 1).await;
    let revocation = Revocation::Principal(Principal::new("s", Role::Service));
    assert_eq!(running.broker.revoke(&revocation), 3);
    for raw in &mut sessions {
        raw.ends_with(0x87).await;
    }
    eventually("no session", || running.metric("away_sessions") == 0).await;
    let mut again = Raw::open(running.addr, V5).await;
    again.send(&connect(V5, "service/s", "c", 60, &[])).await;
    assert_eq!(again.packet().await.body[..2], [0, 0x87]);
    others.ping().await;
    assert!(running.broker.pardon(&revocation));
    Raw::connect(running.addr, V5, "service/s", "c").await.ping().await;
}

#[tokio::test]
async fn a_revoked_client_that_does_not_read_is_cut_off_too() {
    let running = start().await;
    let raw = Raw::connect(running.addr, V4, "service/s", "c").await;
    running.broker.revoke(&Revocation::Principal(Principal::new("s", Role::Service)));
    running.metric_reaches("disconnects_total{reason=\"revoked\"}", 1).await;
    drop(raw);
}
