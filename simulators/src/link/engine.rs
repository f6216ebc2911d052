//! Runs a link's modem: feeds it time, settings and segments, and hands out what it decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connection::Ends;
use super::counters::Tally;
use super::modem::{ConnectionId, Modem, Output, Segment};
use super::{Direction, Settings};

/// What a segment carries. The permit is its share of its stream's window.
#[derive(Debug)]
pub(super) enum Load {
    Data(Vec<u8>, OwnedSemaphorePermit),
    Fin,
    Reset,
}

#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) at: Instant,
    pub(super) load: Load,
}

/// The way from the engine to the tasks of one connection. Each channel is bounded by the window
/// of the stream that feeds it.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) up: mpsc::UnboundedSender<Delivery>,
    pub(super) down: mpsc::UnboundedSender<Delivery>,
    pub(super) kill: CancellationToken,
    pub(super) ends: Arc<Ends>,
}

#[derive(Debug)]
pub(super) enum Command {
    Open { id: ConnectionId, wires: Wires },
    Close { id: ConnectionId },
}

pub(super) struct Engine {
    pub(super) settings: watch::Receiver<Settings>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) up: mpsc::Receiver<Segment<Load>>,
    pub(super) down: mpsc::Receiver<Segment<Load>>,
    pub(super) air: watch::Sender<bool>,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: CancellationToken,
}

impl Engine {
    pub(super) async fn run(mut self, seed: u64) {
        let started = Instant::now();
        let profile = self.settings.borrow_and_update().profile.clone();
        let mut modem = Modem::new(Duration::ZERO, profile, StdRng::seed_from_u64(seed));
        let mut wires = BTreeMap::new();
        loop {
            modem.advance(started.elapsed());
            while let Some(output) = modem.poll_output() {
                self.carry_out(output, started, &mut wires);
            }
            let wake = instant(started, modem.next_wake());
            tokio::select! {
                // Orders come before traffic: what is sent after them must meet them.
                biased;
                () = self.stop.cancelled() => return,
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let settings = self.settings.borrow_and_update();
                    modem.set_profile(started.elapsed(), &settings.profile);
                    modem.set_down(started.elapsed(), settings.down);
                }
                Some(command) = self.commands.recv() => match command {
                    Command::Open { id, wires: new } => {
                        modem.open(started.elapsed(), id);
                        wires.insert(id, new);
                    }
                    Command::Close { id } => {
                        modem.close(id);
                        wires.remove(&id);
                    }
                },
                segment = next_segment(
                    &mut self.up, modem.has_room(Direction::Up),
                    &mut self.down, modem.has_room(Direction::Down),
                ) => modem.push(segment),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn carry_out(
        &self,
        output: Output<Load>,
        started: Instant,
        wires: &mut BTreeMap<ConnectionId, Wires>,
    ) {
        match output {
            Output::Deliver { segment, at, stalled } => {
                self.tally.stalls.add(u64::from(stalled));
                let Some(to) = wires.get(&segment.connection) else { return };
                let channel = match segment.chunk.direction {
                    Direction::Up => &to.up,
                    Direction::Down => &to.down,
                };
                let delivery = Delivery { at: instant(started, Some(at)), load: segment.load };
                if channel.send(delivery).is_err() {
                    tracing::trace!(connection = segment.connection.0, "receiver is gone");
                }
            }
            Output::Lost { segment } => match segment.load {
                Load::Data(bytes, _) => self.tally.bytes_lost.add(bytes.len() as u64),
                Load::Fin | Load::Reset => {
                    if let Some(wires) = wires.get(&segment.connection) {
                        wires.ends.mark(segment.chunk.direction);
                    }
                }
            },
            Output::Reset { connection } => {
                self.tally.reset.add(1);
                if let Some(wires) = wires.remove(&connection) {
                    wires.kill.cancel();
                }
                tracing::debug!(connection = connection.0, "connection reset by the link");
            }
            Output::Air { is_up } => {
                self.tally.outages.add(u64::from(!is_up));
                self.air.send_replace(is_up);
                tracing::info!(is_up, "link turned");
            }
        }
    }
}

async fn next_segment(
    up: &mut mpsc::Receiver<Segment<Load>>,
    up_has_room: bool,
    down: &mut mpsc::Receiver<Segment<Load>>,
    down_has_room: bool,
) -> Segment<Load> {
    tokio::select! {
        Some(segment) = up.recv(), if up_has_room => segment,
        Some(segment) = down.recv(), if down_has_room => segment,
        else => std::future::pending().await,
    }
}

fn instant(started: Instant, at: Option<Duration>) -> Instant {
    const FAR: Duration = Duration::from_hours(30 * 24);
    started + at.unwrap_or(FAR).min(FAR)
}
