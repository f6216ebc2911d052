//! Many connections that fight for the same sessions.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::campaign::{campaign, scale};
use crate::harness::within;
use crate::hostile::{many, open};
use crate::raw::{V5, connect, frame, publish, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn races_for_a_few_client_ids() {
    campaign("takeover races", "expiry_ms=500", async |target| {
        let addr = target.plain;
        many(2_000 * scale(), move |n| async move {
            let filter = ["$share/g/a", "a", "$share/g/#"][n % 3];
            let expiry = [0x11, 0, 0, 0, u8::from(n % 5 < 3)];
            let mut start = connect(V5, "service/s", &format!("same{}", n % 4), 60, &expiry);
            start[9] = if n % 7 < 3 { 0x82 } else { 0x80 };
            let qos = [0, 1, 2][n / 3 % 3];
            let subscribe = frame(0x82, &[&[0, 1, 0][..], &text(filter), &[qos]].concat());
            let message = publish(V5, "a", Some(1), &[7; 500]);
            let bytes = [start, subscribe, message.clone(), message].concat();
            let Some(mut stream) = open(addr).await else { return };
            // Another one may take over at any byte.
            let _sent = within("send", stream.write_all(&bytes)).await;
            let mut some = [0; 600];
            let _read = within("an answer", stream.read(&mut some)).await;
            let _gone = stream.set_zero_linger();
        })
        .await;
        target.metric_is("away_sessions", 0).await;
        assert!(target.metric("takeovers_total", "") > 0);
    })
    .await;
}
