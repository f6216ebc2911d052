//! How long two clients of the attacked process wait for an answer: one of the broker, one of a
//! thread beside it that only sends back what it gets.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::raw::{V5, connect, frame, publish, text};

/// How often each client asks.
const EVERY: Duration = Duration::from_millis(4);

/// The waiting times of one client in one span of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(Vec<Duration>);

impl Waits {
    /// The time in which this share of the answers came.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index below the length"
        )]
        let at = (sorted.len() as f64 * share) as usize;
        sorted.get(at).or(sorted.last()).copied().unwrap_or_default()
    }

    pub(crate) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worst = self.quantile(1.0);
        write!(f, "p99 {:.1?} worst {worst:.1?} of {}", self.p99(), self.0.len())
    }
}

/// A client on a thread of its own that asks again and again.
pub(crate) struct Prober {
    turns: Sender<Sender<Waits>>,
    thread: JoinHandle<()>,
}

impl Prober {
    /// A client that publishes with `QoS` 1 and waits until it has the message and its
    /// acknowledgement.
    pub(crate) fn of_broker(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&connect(V5, "service/probe", "probe", 600, &[])).unwrap();
        assert_eq!(packet(&mut stream), 0x20);
        stream.write_all(&frame(0x82, &[&[0, 1, 0][..], &text("probe"), &[0]].concat())).unwrap();
        assert_eq!(packet(&mut stream), 0x90);
        Self::start(move || {
            stream.write_all(&publish(V5, "probe", Some(1), b"x")).unwrap();
            let mut answers = [packet(&mut stream), packet(&mut stream)];
            answers.sort_unstable();
            assert_eq!(answers, [0x30, 0x40]);
        })
    }

    /// A client of the thread that sends back what it gets.
    pub(crate) fn of_echo(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::start(move || {
            stream.write_all(&[7; 16]).unwrap();
            stream.read_exact(&mut [0; 16]).unwrap();
        })
    }

    fn start(mut ask: impl FnMut() + Send + 'static) -> Self {
        let (turns, requests) = mpsc::channel::<Sender<Waits>>();
        let thread = std::thread::spawn(move || {
            let mut waits = Waits::default();
            loop {
                let begin = Instant::now();
                ask();
                waits.0.push(begin.elapsed());
                match requests.recv_timeout(EVERY) {
                    Ok(answer) => answer.send(std::mem::take(&mut waits)).unwrap(),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Self { turns, thread }
    }

    /// What it waited since it was asked the last time.
    pub(crate) fn take(&self) -> Waits {
        let (answer, waits) = mpsc::channel();
        self.turns.send(answer).expect("the probe client is served");
        waits.recv_timeout(crate::harness::DEADLINE).expect("the probe client is served")
    }

    /// Ends the client.
    pub(crate) fn end(self) {
        drop(self.turns);
        self.thread.join().expect("the probe client is served");
    }
}

/// Reads a packet of less than 128 bytes and returns its first byte.
fn packet(stream: &mut TcpStream) -> u8 {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    stream.read_exact(&mut vec![0; usize::from(header[1])]).unwrap();
    header[0]
}
