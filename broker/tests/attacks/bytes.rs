//! Bytes that are no packets: random ones, packets that are cut off or of which a bit is wrong,
//! lengths that are lies, texts that are none.

use crate::campaign::{campaign, scale};
use crate::hostile::{Dice, End, hit, many};
use crate::raw::{V4, V5, Version, connect, frame, publish, text};

/// A packet of every kind that a client sends, with many properties.
fn corpus(version: Version) -> Vec<Vec<u8>> {
    let none: &[u8] = if version == V4 { &[] } else { &[0] };
    let with = |first, body: &[&[u8]]| frame(first, &body.concat());
    let mut packets = vec![
        publish(version, "a/b", None, b"payload"),
        publish(version, "a/é", Some(7), b"payload"),
        with(0x35, &[&text("r"), &[0, 9], none, b"x"]),
        frame(0x40, &[0, 1]),
        frame(0x50, &[0, 1]),
        frame(0x62, &[0, 9]),
        frame(0x70, &[0, 1]),
        with(0x82, &[&[0, 3], none, &text("a/+/#"), &[1], &text("$share/g/x"), &[2]]),
        with(0xa2, &[&[0, 4], none, &text("a/+/#")]),
        vec![0xc0, 0],
        vec![0xe0, 0],
    ];
    if version == V5 {
        let properties = [
            &[0x01, 1, 0x02, 0, 0, 0, 9, 0x23, 0, 1][..],
            &[0x08],
            &text("re/ply"),
            &[0x09, 0, 2, 1, 2, 0x03],
            &text("type"),
            &[0x26],
            &text("k"),
            &text("v"),
        ]
        .concat();
        let len = [u8::try_from(properties.len()).unwrap()];
        packets.push(with(0x32, &[&text("p"), &[0, 5], &len, &properties, b"x"]));
        packets.push(frame(0xe0, &[4, 5, 0x11, 0, 0, 0, 1]));
        packets.push(frame(0x40, &[0, 1, 0x10, 0]));
    }
    packets
}

/// A CONNECT with everything in it.
fn full_connect(version: Version) -> Vec<u8> {
    let level = if version == V4 { 4 } else { 5 };
    let (own, of_will): (&[u8], &[u8]) = match version {
        V4 => (&[], &[]),
        V5 => (&[8, 0x11, 0, 0, 0, 0, 0x21, 0, 9], &[5, 0x18, 0, 0, 0, 0]),
    };
    let parts =
        [&text("id")[..], of_will, &text("will/t"), &text("gone"), &text("service/s"), &text("pw")];
    frame(0x10, &[&text("MQTT")[..], &[level, 0xce, 0, 60], own, &parts.concat()].concat())
}

/// What is sent: with a whole session around what is wrong, or at its very beginning.
fn sessions(version: Version) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let connect = connect(version, "service/s", "b", 60, &[]);
    let within = corpus(version).into_iter().map(move |packet| (connect.clone(), packet));
    within.chain([(Vec::new(), full_connect(version))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_packet_cut_off_at_every_byte() {
    campaign("packets cut off", "", async |target| {
        let addr = target.plain;
        let cuts: Vec<Vec<u8>> = [V4, V5]
            .into_iter()
            .flat_map(sessions)
            .flat_map(|(start, packet)| {
                (0..packet.len()).map(move |at| [&start[..], &packet[..at]].concat())
            })
            .collect();
        many(cuts.len(), move |n| {
            let bytes = cuts[n].clone();
            async move { drop(hit(addr, &bytes, End::Polite).await) }
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_packet_with_every_bit_flipped() {
    campaign("packets with a wrong bit", "", async |target| {
        let addr = target.plain;
        let flips: Vec<Vec<u8>> = [V4, V5]
            .into_iter()
            .flat_map(sessions)
            .flat_map(|(start, packet)| {
                (0..packet.len() * 8).map(move |bit| {
                    let mut wrong = packet.clone();
                    wrong[bit / 8] ^= 1 << (bit % 8);
                    [&start[..], &wrong, &[0xc0, 0]].concat()
                })
            })
            .collect();
        many(flips.len(), move |n| {
            let bytes = flips[n].clone();
            async move { drop(hit(addr, &bytes, End::Polite).await) }
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_on_every_listener() {
    campaign("random bytes", "", async |target| {
        let addrs = [target.plain, target.tls, target.websocket, target.proxied];
        many(1_000 * scale(), move |n| async move {
            let mut dice = Dice(n as u64 * 0x9e37_79b9 + 1);
            let random = dice.bytes(1 + n % 600);
            let start = match n / 4 % 3 {
                0 => Vec::new(),
                1 => connect(V5, "service/s", "r", 60, &[]),
                _ => vec![[0x10, 0x30, 0x32, 0x82, 0xe0][n % 5]],
            };
            drop(hit(addrs[n % 4], &[start, random].concat(), End::Polite).await);
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_that_are_lies_and_texts_that_are_none() {
    campaign("lies about lengths and texts", "", async |target| {
        let addr = target.plain;
        let deep = "a/".repeat(30_000);
        let long = "x".repeat(60_000);
        let bad: Vec<Vec<u8>> = vec![
            vec![0x30, 0xff, 0xff, 0xff, 0x7f],
            vec![0x82, 0xff, 0xff, 0xff, 0xff, 0x7f],
            vec![0x10, 0xff, 0xff, 0xff, 0x7f],
            publish(V5, &deep, Some(1), b""),
            publish(V5, &long, Some(1), b""),
            frame(0x82, &[&[0, 1, 0][..], &text(&deep), &[0]].concat()),
            frame(0x82, &[&[0, 1, 0][..], &text(&"+/".repeat(200)), &[0]].concat()),
            frame(0x32, &[0, 3, 0xff, 0xfe, 0xfd, 0, 1, 0]),
            frame(0x32, &[0, 3, b'a', 0, b'b', 0, 1, 0]),
            frame(0x32, &[0, 3, 0xed, 0xa0, 0x80, 0, 1, 0]),
            frame(0x82, &[0, 1, 0, 0, 2, 0xc3, 0x28, 0]),
            frame(0x32, &[0, 2, b'a', b'#', 0, 1, 0]),
            frame(0x32, &[0, 0, 0, 1, 0]),
            // A property that says it is longer than the packet; one that comes twice.
            frame(0x32, &[0, 1, b'a', 0, 1, 0x7f, 0x26, 0xff, 0xff]),
            frame(0x32, &[0, 1, b'a', 0, 1, 4, 0x01, 1, 0x01, 1]),
            // Nine kilobytes of user properties.
            frame(
                0x32,
                &[
                    &text("a")[..],
                    &[0, 1, 0xa8, 0x46],
                    &[0x26, 0, 1, b'k', 0, 1, b'v'].repeat(1_288),
                ]
                .concat(),
            ),
        ];
        many(bad.len() * 20 * scale(), move |n| {
            let start = connect(V5, "service/s", "lies", 60, &[]);
            let bytes = [start, bad[n % bad.len()].clone()].concat();
            async move { drop(hit(addr, &bytes, End::Polite).await) }
        })
        .await;
    })
    .await;
}
