//! Very many CONNECTs, and those who do not get so far.

use std::sync::Arc;
use std::time::Duration;

use crate::campaign::{campaign, scale};
use crate::hostile::{Dice, End, at_once, hit, many};
use crate::raw::{V4, V5, connect, frame, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_client_ids_without_end() {
    campaign("CONNECTs with random ids", "", async |target| {
        let addr = target.plain;
        many(10_000 * scale(), move |n| async move {
            let mut dice = Dice(n as u64 + 1);
            let id = format!("{:x}", dice.next());
            let version = if n % 2 == 0 { V4 } else { V5 };
            let connect = connect(version, "service/s", &id, 60, &[]);
            let answer = hit(addr, &connect, End::ResetAfterAnswer).await;
            // Flags, and the code "accepted".
            assert_eq!((answer[0], &answer[2..4]), (0x20, &[0, 0][..]));
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_whose_credentials_are_wrong() {
    campaign("wrong credentials", "", async |target| {
        let addr = target.plain;
        many(2_000 * scale(), move |n| async move {
            let bytes = connect(V5, &format!("who/{n}"), "x", 60, &[]);
            let answer = hit(addr, &bytes, End::ResetAfterAnswer).await;
            assert_eq!((answer[0], answer[3]), (0x20, 0x86));
        })
        .await;
        assert!(target.metric("auth_failures_total", "") >= 2_000);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_to_be_kept_for_ever() {
    campaign("sessions to be kept", "expiry_ms=1000", async |target| {
        let addr = target.plain;
        many(2_000 * scale(), move |n| async move {
            // Kept for as long as the client likes, with a filter for everything.
            let connect =
                connect(V5, "service/s", &format!("k{n}"), 60, &[0x11, 255, 255, 255, 255]);
            let subscribe = frame(0x82, &[&[0, 1, 0][..], &text("#"), &[1]].concat());
            drop(hit(addr, &[connect, subscribe].concat(), End::ResetAfterAnswer).await);
        })
        .await;
        // 100 of a principal at most, and those for a second.
        assert!(target.metric("away_sessions", "") <= 100);
        let begin = std::time::Instant::now();
        while target.metric("away_sessions", "") > 0 {
            assert!(begin.elapsed() < Duration::from_secs(20), "sessions stay");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

fn login(name: &str, password: &str) -> Vec<u8> {
    let start = [&text("MQTT")[..], &[5, 0xc2, 0, 60, 0], &text(name)].concat();
    frame(0x10, &[&start[..], &text(name), &text(password)].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_that_are_guessed() {
    campaign("guessed passwords", "", async |target| {
        let addr = target.plain;
        let from_elsewhere = async {
            // Another address, whose first login takes its turn between the guesses.
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
            let mut stream = socket.connect(addr).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &login("ada", "enigma"))
                .await
                .unwrap();
            let begin = std::time::Instant::now();
            let mut answer = [0; 4];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
            assert_eq!((answer[0], answer[3]), (0x20, 0));
            assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        };
        let guesses = many(150 * scale(), move |n| async move {
            let name = if n % 2 == 0 { "ada".to_owned() } else { format!("eve{n}") };
            let answer = hit(addr, &login(&name, "guess"), End::ResetAfterAnswer).await;
            assert_eq!((answer[0], answer[3]), (0x20, 0x86));
        });
        tokio::join!(guesses, from_elsewhere);
    })
    .await;
}

/// How a client begins.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_handshakes_without_end() {
    let hello: Arc<[u8]> = client_hello().into();
    campaign("TLS handshakes that are not ended", "", async |target| {
        let addr = target.tls;
        at_once(1_000, 3_000 * scale(), |_| {
            let hello = Arc::clone(&hello);
            async move {
                let answer = hit(addr, &hello, End::ResetAfterAnswer).await;
                // A handshake record: the key exchange and the signature are done.
                assert_eq!(answer.first(), Some(&0x16));
            }
        })
        .await;
    })
    .await;
}
