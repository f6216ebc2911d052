//! Identities that are revoked: out at once, and not in again.

use gnomon_broker::{Principal, Revocation, Role};

use crate::harness::start;
use crate::raw::{Raw, V4, V5, connect};

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
    crate::harness::eventually("no session", || running.metric("away_sessions") == 0).await;
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
