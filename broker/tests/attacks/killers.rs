//! What kills the broker that the codec comes from (ADR 0002), each many times.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::campaign::{campaign, scale};
use crate::harness::within;
use crate::hostile::{End, hit, many, open};
use crate::raw::{Raw, V4, V5, connect, frame, publish, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_at_each_step_of_a_session() {
    campaign("resets at each step", "", async |target| {
        let addr = target.plain;
        let steps = [
            Vec::new(),
            connect(V5, "service/s", "flaky", 60, &[]),
            subscribe("a", 1),
            publish(V5, "a", Some(1), b"x"),
            publish(V5, "a", Some(2), b"x")[..5].to_vec(),
        ];
        many(400 * scale(), move |n| {
            let bytes = steps[..=n % steps.len()].concat();
            let end = if n % 2 == 0 { End::Reset } else { End::ResetAfterAnswer };
            let end = if bytes.is_empty() { End::Reset } else { end };
            async move { drop(hit(addr, &bytes, end).await) }
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_leave_while_messages_flow() {
    campaign("leaving subscribers", "", async |target| {
        let addr = target.plain;
        let flood = tokio::spawn(async move {
            let mut publisher = Raw::connect(addr, V4, "service/s", "p").await;
            for n in 1_u64.. {
                publisher.publish("a", None, b"x").await;
                if n % 64 == 0 {
                    publisher.ping().await;
                }
            }
        });
        many(300 * scale(), move |n| async move {
            let bye: &[u8] = if n % 2 == 0 { &[0xe0, 0] } else { &[] };
            let bytes = [connect(V4, "service/s", &format!("l{n}"), 60, &[]), subscribe4("a", 1)];
            let Some(mut stream) = open(addr).await else { return };
            let _sent = stream.write_all(&bytes.concat()).await;
            let mut some = [0; 1_000];
            let _read = within("messages", stream.read_exact(&mut some)).await;
            let _sent = stream.write_all(bye).await;
            let _gone = stream.set_zero_linger();
        })
        .await;
        flood.abort();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_any_language_groups_that_end_and_properties_for_old_clients() {
    campaign("topics, groups, properties", "", async |target| {
        let addr = target.plain;
        many(200 * scale(), move |n| async move {
            // A member that leaves its group with a message that it did not acknowledge.
            let who = "service/s";
            let mut member = Raw::connect(addr, V4, who, &format!("m/{n}")).await;
            member.subscribe(&format!("$share/g{n}/é/{n}"), 1).await;
            let mut old = Raw::connect(addr, V4, who, &format!("o+{n}")).await;
            old.subscribe(&format!("é/{n}"), 1).await;
            let mut new = Raw::connect(addr, V5, who, &format!("n#{n}")).await;
            let properties = [&[0x26][..], &text("k"), &text("v"), &[2, 0, 0, 0, 9]].concat();
            new.publish_with(2, &format!("é/{n}"), 1, &properties, b"x").await;
            assert_eq!(old.message().await.1, b"x");
            assert_eq!(member.message().await.1, b"x");
            member.stream.set_zero_linger().unwrap();
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_only_a_server_or_only_the_other_version_sends() {
    campaign("packets of the wrong side", "", async |target| {
        let addr = target.plain;
        many(480 * scale(), move |n| async move {
            let version = if n % 2 == 0 { V4 } else { V5 };
            let first = u8::try_from(n / 2 % 16).unwrap() << 4 | [0, 2, 6, 15][n / 32 % 4];
            let body = [&[0, 1, 0, 0][..], &[0x1f; 9]][n / 128 % 2];
            let bytes = [connect(version, "service/s", "w", 60, &[]), frame(first, body)];
            drop(hit(addr, &bytes.concat(), End::Polite).await);
        })
        .await;
    })
    .await;
}

fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    frame(0x82, &[&[0, 1, 0][..], &text(filter), &[qos]].concat())
}

fn subscribe4(filter: &str, qos: u8) -> Vec<u8> {
    frame(0x82, &[&[0, 1][..], &text(filter), &[qos]].concat())
}
