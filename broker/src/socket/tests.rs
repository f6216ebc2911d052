//! Sockets against plain ones of the runtime.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn pair(watch: &Watch) -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    (watch.socket(accepted.into_std().unwrap()).unwrap(), peer)
}

#[tokio::test]
async fn bytes_travel_both_ways_however_they_are_cut() {
    let watch = Watch::start().unwrap();
    let (mut socket, mut peer) = pair(&watch).await;
    let mut got = [0; 3];
    for round in 0..100_u8 {
        peer.write_all(&[round, 1, 2]).await.unwrap();
        socket.read_exact(&mut got[..1]).await.unwrap();
        socket.read_exact(&mut got[1..]).await.unwrap();
        assert_eq!(got, [round, 1, 2]);
        socket.write_all(&got).await.unwrap();
        peer.read_exact(&mut got).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_socket_goes_on_when_the_peer_reads() {
    const MANY: usize = 32 * 1024 * 1024;
    let watch = Watch::start().unwrap();
    let (mut socket, mut peer) = pair(&watch).await;
    let writing = tokio::spawn(async move {
        socket.write_all(&vec![7; MANY]).await.unwrap();
        socket.shutdown().await.unwrap();
        socket
    });
    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), MANY);
    writing.await.unwrap();
}

#[tokio::test]
async fn the_end_is_seen_after_the_last_bytes_and_by_who_waits() {
    let watch = Watch::start().unwrap();
    for waits in [false, true] {
        let (mut socket, mut peer) = pair(&watch).await;
        peer.write_all(b"last").await.unwrap();
        let reading = async {
            let mut all = Vec::new();
            socket.read_to_end(&mut all).await.unwrap();
            all
        };
        let all = if waits {
            let reading = async { tokio::join!(reading, async { drop(peer) }).0 };
            reading.await
        } else {
            drop(peer);
            reading.await
        };
        assert_eq!(all, b"last");
    }
}

#[tokio::test]
async fn many_more_than_one_look_takes_are_all_woken() {
    const SOCKETS: usize = 700;
    let watch = Watch::start().unwrap();
    let mut peers = Vec::new();
    let mut reading = tokio::task::JoinSet::new();
    for _ in 0..SOCKETS {
        let (mut socket, peer) = pair(&watch).await;
        peers.push(peer);
        reading.spawn(async move { socket.read_u8().await.unwrap() });
    }
    for peer in &mut peers {
        peer.write_u8(9).await.unwrap();
    }
    assert_eq!(reading.join_all().await, [9; SOCKETS]);
}

#[tokio::test]
async fn a_place_that_was_given_back_serves_another() {
    let watch = Watch::start().unwrap();
    for _ in 0..50 {
        let (mut socket, mut peer) = pair(&watch).await;
        peer.write_all(b"x").await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'x');
    }
    assert!(watch.slots.take().place < 64, "the places of closed sockets are used again");
}
