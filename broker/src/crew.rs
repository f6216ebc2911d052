//! Who serves the connections that have a session: a few tasks, one for each worker of the runtime,
//! and no task for each connection, which would cost more memory than the connection itself.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::outlet::Outlet;
use crate::reason::DisconnectReason;

mod desk;
mod member;
#[cfg(test)]
mod tests;
mod turns;

pub(crate) use desk::{Desk, Place};
use member::Member;

/// How often the runtime of a broker should look for events of the system, in polls of tasks
/// (`tokio::runtime::Builder::event_interval`): a task of the crew works for about a millisecond,
/// and who has just asked for something should not wait for sixty of those.
pub const EVENT_INTERVAL: u32 = 8;

/// What a connection does at its end.
pub(crate) type Farewell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that a crew serves.
pub(crate) trait Served: Send {
    /// Goes on until it has to wait or others have their turn; ready at its end.
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<DisconnectReason>;

    /// Whether its last turn ended before it had done everything, or nearly so.
    fn has_much_to_do(&self) -> bool;

    /// Where its messages wait. Whatever wakes it wakes the connection.
    fn outlet(&self) -> &Arc<Outlet>;

    /// When it is to be polled, if nothing happens before.
    fn deadline(&self) -> Option<Instant>;

    /// When it will be polled for its deadline, as it was noted last.
    fn alarm(&mut self) -> &mut Option<Instant>;

    /// Ends it.
    fn finish(self: Box<Self>, reason: DisconnectReason) -> Farewell;
}

/// The tasks that serve connections; dropping it ends them, and the connections.
#[derive(Debug)]
pub(crate) struct Crew {
    desks: Box<[Arc<Desk>]>,
    /// A lock, since whoever waits for the end takes them; held for that alone.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Where the next connection goes.
    turn: AtomicUsize,
}

impl Crew {
    /// Starts one on the runtime of the caller.
    pub(crate) fn start() -> Self {
        let workers = tokio::runtime::Handle::current().metrics().num_workers().max(1);
        let desks: Box<[_]> = (0..workers).map(|_| Arc::new(Desk::default())).collect();
        // What bounds a turn is the number of packets, not how often something is asked for.
        let start = |desk: &Arc<Desk>| {
            tokio::spawn(tokio::task::unconstrained(Member::new(Arc::clone(desk))))
        };
        let tasks = Mutex::new(desks.iter().map(start).collect());
        Self { desks, tasks, turn: AtomicUsize::new(0) }
    }

    /// Serves a connection from now on.
    pub(crate) fn take(&self, connection: Box<dyn Served>) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.desks.len().max(1);
        if let Some(desk) = self.desks.get(turn) {
            desk.arrive(connection);
        }
    }

    /// The tasks, for whoever waits for their end.
    pub(crate) fn tasks(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// No connection is taken any more: the tasks end with the last one.
    pub(crate) fn close(&self) {
        self.desks.iter().for_each(|desk| desk.close());
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.tasks().iter().for_each(JoinHandle::abort);
    }
}
