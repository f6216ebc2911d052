//! The task that watches the sockets of a broker.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use super::Socket;
use super::slots::{Happened, Slots};

/// Events that are taken from the system at once.
const EVENTS: usize = 256;

/// Sockets whose peer has gone that are told so at once.
const ENDS: usize = 8;

/// Watches sockets until it is dropped; those that are left never become ready again.
#[derive(Debug)]
pub(crate) struct Watch {
    registry: mio::Registry,
    pub(super) slots: Arc<Slots>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts to watch, on the runtime of the caller.
    pub(crate) fn start() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let slots = Arc::new(Slots::default());
        #[expect(deprecated, reason = "what replaces it is unsafe; a Poll keeps its descriptor")]
        let poll = AsyncFd::new(poll)?;
        let task = tokio::spawn(run(poll, Arc::clone(&slots)));
        Ok(Self { registry, slots, task })
    }

    /// Takes a socket that does not block.
    pub(crate) fn socket(&self, stream: TcpStream) -> io::Result<Socket> {
        Socket::new(stream, &self.registry, &self.slots)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut poll: AsyncFd<Poll>, slots: Arc<Slots>) {
    let mut events = Events::with_capacity(EVENTS);
    let mut ended = VecDeque::new();
    loop {
        if let Err(error) = turn(&mut poll, &mut events, &slots, &mut ended).await {
            tracing::error!(%error, "the sockets of the broker cannot be watched");
            return;
        }
        // Those that were woken have their turn.
        tokio::task::yield_now().await;
    }
}

/// Waits for events, unless there are some left, and wakes the tasks that they concern: those whose
/// peer has gone a few at a time, so that thousands that go at once do not hold up the others.
async fn turn(
    poll: &mut AsyncFd<Poll>,
    events: &mut Events,
    slots: &Slots,
    ended: &mut VecDeque<Happened>,
) -> io::Result<()> {
    if ended.is_empty() {
        let mut guard = poll.readable_mut().await?;
        take(guard.get_inner_mut(), events)?;
        if events.iter().count() < EVENTS {
            guard.clear_ready();
        }
    } else {
        take(poll.get_mut(), events)?;
    }
    for happened in events.iter().map(Happened::of) {
        if happened.is_end() {
            ended.push_back(happened);
        } else {
            slots.note(happened);
        }
    }
    ended.drain(..ended.len().min(ENDS)).for_each(|happened| slots.note(happened));
    if ended.is_empty() {
        ended.shrink_to(EVENTS);
    }
    Ok(())
}

fn take(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
    match poll.poll(events, Some(Duration::ZERO)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        outcome => outcome,
    }
}
