//! One connection through the link: reads both ends into the modem, writes what it lets through.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Direction;
use super::counters::{Count, Tally};
use super::engine::{Command, Delivery, Load, Wires};
use super::gate::Gate;
use super::modem::{ConnectionId, Segment};
use super::schedule::{Chunk, SEGMENT_BYTES};

/// What a stream has under way at most, between the read and the write.
const WINDOW_BYTES: usize = 256 * 1024;
/// Kept small, so that a sender feels a full modem and not the kernel's generosity.
pub(super) const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// What the connections of a link have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) target: SocketAddr,
    pub(super) gate: Gate,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) up: mpsc::Sender<Segment<Load>>,
    pub(super) down: mpsc::Sender<Segment<Load>>,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: CancellationToken,
}

/// Notices when the ends of both streams have been dealt with.
#[derive(Debug, Default)]
pub(super) struct Ends {
    seen: AtomicU8,
    both: CancellationToken,
}

impl Ends {
    pub(super) fn mark(&self, direction: Direction) {
        let bit = match direction {
            Direction::Up => 1,
            Direction::Down => 2,
        };
        if self.seen.fetch_or(bit, Ordering::AcqRel) | bit == 3 {
            self.both.cancel();
        }
    }
}

/// Carries a connection from its client's first byte to its end.
pub(super) async fn carry(mut client: TcpStream, id: ConnectionId, mut shared: Shared) {
    if shared.gate.refuses() {
        shared.tally.refused.add(1);
        return abort(&client);
    }
    let stop = shared.stop.clone();
    let connected = tokio::select! {
        () = stop.cancelled() => return abort(&client),
        connected = connect(&client, &mut shared) => connected,
    };
    let mut target = match connected {
        Ok(Some(target)) => target,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(target_address = %shared.target, %error, "cannot reach the target");
            shared.tally.refused.add(1);
            return abort(&client);
        }
    };
    if exchange(&mut client, &mut target, id, &shared).await == Outcome::Reset {
        abort(&client);
        abort(&target);
    }
}

/// Connects to the target once the link is up; nothing when the client has given up by then.
async fn connect(client: &TcpStream, shared: &mut Shared) -> io::Result<Option<TcpStream>> {
    if !shared.gate.is_up() {
        tokio::select! {
            () = shared.gate.wait_up() => {}
            () = given_up(client) => return Ok(None),
        }
        if client.ready(Interest::READABLE | Interest::WRITABLE).await?.is_read_closed() {
            return Ok(None);
        }
    }
    let socket = match shared.target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    let target = timeout(CONNECT_DEADLINE, socket.connect(shared.target)).await??;
    target.set_nodelay(true)?;
    client.set_nodelay(true)?;
    Ok(Some(target))
}

/// Returns when a client that nobody answers has closed its end.
async fn given_up(client: &TcpStream) {
    while client.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed()) {
        // What it has sent keeps the socket ready: look again now and then.
        sleep(Duration::from_secs(1)).await;
    }
}

#[derive(PartialEq)]
enum Outcome {
    Over,
    Reset,
}

async fn exchange(
    client: &mut TcpStream,
    target: &mut TcpStream,
    id: ConnectionId,
    shared: &Shared,
) -> Outcome {
    let (up, up_deliveries) = mpsc::unbounded_channel();
    let (down, down_deliveries) = mpsc::unbounded_channel();
    let (kill, ends) = (CancellationToken::new(), Arc::new(Ends::default()));
    let wires = Wires { up, down, kill: kill.clone(), ends: ends.clone() };
    if shared.commands.send(Command::Open { id, wires }).await.is_err() {
        return Outcome::Reset;
    }
    let (client_reads, client_writes) = client.split();
    let (target_reads, target_writes) = target.split();
    let side = |direction| Side { id, direction, shared, kill: &kill, ends: &ends };
    let (up, down) = (side(Direction::Up), side(Direction::Down));
    let moved = async {
        tokio::join!(
            up.read(client_reads, Some(&shared.tally.bytes_up)),
            up.write(target_writes, up_deliveries, None),
            down.read(target_reads, None),
            down.write(client_writes, down_deliveries, Some(&shared.tally.bytes_down)),
        );
    };
    let outcome = tokio::select! {
        () = shared.stop.cancelled() => Outcome::Reset,
        () = kill.cancelled() => Outcome::Reset,
        () = ends.both.cancelled() => Outcome::Over,
        () = moved => Outcome::Over,
    };
    if shared.commands.send(Command::Close { id }).await.is_err() {
        tracing::trace!(connection = id.0, "closed after its link");
    }
    outcome
}

/// One direction of one connection.
struct Side<'a> {
    id: ConnectionId,
    direction: Direction,
    shared: &'a Shared,
    kill: &'a CancellationToken,
    ends: &'a Ends,
}

impl Side<'_> {
    /// Reads a stream into the modem until it ends. Waits for the window and for the modem's
    /// queue, so that the sender does too.
    async fn read(&self, from: ReadHalf<'_>, count: Option<&Count>) {
        let window = Arc::new(Semaphore::new(WINDOW_BYTES));
        loop {
            let whole = u32::try_from(SEGMENT_BYTES).unwrap_or(u32::MAX);
            let Ok(mut permit) = window.clone().acquire_many_owned(whole).await else { return };
            match next_bytes(&from).await {
                Ok(bytes) if bytes.is_empty() => return self.send(self.direction, Load::Fin).await,
                Ok(bytes) => {
                    if let Some(count) = count {
                        count.add(bytes.len() as u64);
                    }
                    // Small chunks cost memory too: none takes less than 64 bytes of the window.
                    drop(permit.split(SEGMENT_BYTES.saturating_sub(bytes.len().max(64))));
                    self.send(self.direction, Load::Data(bytes, permit)).await;
                }
                Err(error) => {
                    tracing::debug!(connection = self.id.0, %error, "stream ended badly");
                    return self.send(self.direction, Load::Reset).await;
                }
            }
        }
    }

    /// Writes what the modem lets through, when it is due and the link is up.
    async fn write(
        &self,
        mut to: WriteHalf<'_>,
        mut deliveries: mpsc::UnboundedReceiver<Delivery>,
        count: Option<&Count>,
    ) {
        let mut gate = self.shared.gate.clone();
        while let Some(delivery) = deliveries.recv().await {
            // A timer rounds up to its next tick, which a perfect link has no time for.
            if delivery.at > Instant::now() {
                sleep_until(delivery.at).await;
            }
            gate.wait_up().await;
            let written = match delivery.load {
                Load::Data(bytes, _permit) => write_counted(&mut to, &bytes, count).await,
                Load::Fin => {
                    let shut = to.shutdown().await;
                    self.ends.mark(self.direction);
                    shut
                }
                Load::Reset => return self.kill.cancel(),
            };
            if let Err(error) = written {
                tracing::debug!(connection = self.id.0, %error, "receiver is gone");
                return self.send(self.direction.opposite(), Load::Reset).await;
            }
        }
    }

    async fn send(&self, direction: Direction, load: Load) {
        let bytes = match &load {
            Load::Data(bytes, _) => bytes.len() as u64,
            Load::Fin | Load::Reset => 0,
        };
        let line = match direction {
            Direction::Up => &self.shared.up,
            Direction::Down => &self.shared.down,
        };
        let chunk = Chunk { direction, bytes };
        if line.send(Segment { connection: self.id, chunk, load }).await.is_err() {
            self.kill.cancel();
        }
    }
}

/// Waits for bytes before it takes memory for them: an idle connection holds none.
async fn next_bytes(from: &ReadHalf<'_>) -> io::Result<Vec<u8>> {
    loop {
        from.readable().await?;
        let mut bytes = vec![0; SEGMENT_BYTES];
        match from.try_read(&mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                bytes.shrink_to_fit();
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn write_counted(
    to: &mut WriteHalf<'_>,
    bytes: &[u8],
    count: Option<&Count>,
) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = to.write(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = rest.get(written..).unwrap_or_default();
        if let Some(count) = count {
            count.add(written as u64);
        }
    }
    Ok(())
}

/// Makes the coming close a reset, as a dead link's peer would see it.
pub(super) fn abort(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "cannot make the close a reset");
    }
}
