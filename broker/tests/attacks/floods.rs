//! Floods of filters, retained messages and wills, with the limits in force.

use crate::campaign::{campaign, scale};
use crate::hostile::{at_once, many};
use crate::raw::{Raw, V4, V5, frame, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_wildcard_filters() {
    campaign("wildcard filters", "", async |target| {
        let addr = target.plain;
        // A few at once: each packet costs what 2,000 small ones cost.
        at_once(6, 40 * scale(), move |n| async move {
            let mut raw = Raw::connect(addr, V5, "service/s", &format!("f{n}")).await;
            let filters: Vec<u8> = (0..250)
                .flat_map(|m| [&text(&format!("+/{n}/+/{m}/#"))[..], &[0]].concat())
                .collect();
            raw.send(&frame(0x82, &[&[0, 1, 0][..], &filters].concat())).await;
            let answer = raw.packet().await;
            assert!(answer.body[3..].iter().all(|code| *code == 0));
            // One packet with more than a session may have in all.
            let more: Vec<u8> =
                (0..2_000).flat_map(|_| [&text("a/+")[..], &[0]].concat()).collect();
            raw.send(&frame(0x82, &[&[0, 2, 0][..], &more].concat())).await;
            assert!(raw.packet().await.body[3..].iter().all(|code| *code == 0x97));
            for m in 0..50 {
                raw.publish(&format!("x/{n}/y/{m}/z"), None, b"x").await;
            }
            raw.ping_among_messages().await;
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_without_end_and_who_wants_all_of_them() {
    campaign("retained messages", "retained=2000", async |target| {
        let addr = target.plain;
        many(8 * scale(), move |n| async move {
            let mut raw = Raw::connect(addr, V4, "service/s", &format!("r{n}")).await;
            for m in 0..1_000 {
                raw.publish_with(1, &format!("r/{n}/{m}"), 0, &[], &[7; 200]).await;
            }
            for _ in 0..4 {
                raw.subscribe_among_messages("r/#", 0).await;
            }
            raw.ping_among_messages().await;
        })
        .await;
        assert_eq!(target.metric("retained_messages", ""), 2_000);
        assert!(target.metric("dropped_messages_total", "retained_full") >= 6_000);
        // What is kept is wanted: deleted, it is gone.
        let mut raw = Raw::connect(addr, V4, "service/s", "r").await;
        for n in 0..8 * scale() {
            for m in 0..1_000 {
                raw.publish_with(1, &format!("r/{n}/{m}"), 0, &[], b"").await;
            }
        }
        raw.ping().await;
        assert_eq!(target.metric("retained_messages", ""), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wills_that_all_come_at_once() {
    campaign("wills", "expiry_ms=1000", async |target| {
        let addr = target.plain;
        let mut hearer = Raw::connect(addr, V4, "service/h", "hearer").await;
        hearer.subscribe("will/#", 0).await;
        let count = 400 * scale();
        let mut heard = tokio::spawn(async move {
            for _ in 0..count {
                hearer.message().await;
            }
        });
        many(count, move |n| async move {
            let mut raw = Raw::open(addr, V5).await;
            // Half of them after a delay, for which the session is kept.
            let delay = u8::from(n % 2 == 0);
            let parts = [
                &text("MQTT")[..],
                &[5, 0x86, 0, 60, 5, 0x11, 0, 0, 0, delay],
                &text(&format!("w{n}")),
                &[5, 0x18, 0, 0, 0, delay],
                &text(&format!("will/{n}")),
                &text(&"x".repeat(4_000)),
                &text("service/s"),
            ];
            raw.send(&frame(0x10, &parts.concat())).await;
            assert_eq!(raw.packet().await.first, 0x20);
            raw.stream.set_zero_linger().unwrap();
        })
        .await;
        crate::harness::within("all wills", &mut heard).await.unwrap();
    })
    .await;
}
