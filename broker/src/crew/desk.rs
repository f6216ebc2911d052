//! What one task of a crew has to do next: connections that come, and those that were woken.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::Served;

/// Where a connection is known at its desk.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    desk: Arc<Desk>,
    number: u32,
}

impl Place {
    /// The connection has its turn soon.
    pub(crate) fn wake(&self) {
        self.desk.add(|work| work.woken.push(self.number));
    }
}

/// The work of one task.
#[derive(Default)]
pub(crate) struct Desk {
    /// A lock, since all who wake connections add to it; held for that alone.
    work: Mutex<Work>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Work {
    arrived: Vec<(u32, Box<dyn Served>)>,
    woken: Vec<u32>,
    /// Numbers that had a connection before.
    free: Vec<u32>,
    /// How many numbers there are.
    numbers: u32,
    is_closed: bool,
    is_abandoned: bool,
    /// The task, while it waits.
    waker: Option<Waker>,
}

impl Desk {
    /// A connection comes, and has its first turn.
    pub(super) fn arrive(self: &Arc<Self>, connection: Box<dyn Served>) {
        let mut work = self.work();
        let number = work.free.pop().unwrap_or_else(|| {
            work.numbers += 1;
            work.numbers - 1
        });
        drop(work);
        connection.outlet().sit(Place { desk: Arc::clone(self), number });
        let mut arriving = Some(connection);
        self.add(|work| {
            if !work.is_abandoned {
                work.arrived.extend(arriving.take().map(|connection| (number, connection)));
            }
        });
    }

    /// The task ends with the last connection.
    pub(super) fn close(&self) {
        self.add(|work| work.is_closed = true);
    }

    /// The task is gone, and so are connections that come.
    pub(super) fn abandon(&self) {
        let mut work = self.work();
        work.is_abandoned = true;
        let arrived = std::mem::take(&mut work.arrived);
        drop(work);
        drop(arrived);
    }

    /// A connection has ended.
    pub(super) fn leave(&self, number: u32) {
        self.work().free.push(number);
    }

    /// Takes what there is to do, if there is something; `Ready(false)` once there never will be.
    pub(super) fn poll_work(
        &self,
        arrived: &mut Vec<(u32, Box<dyn Served>)>,
        woken: &mut Vec<u32>,
        waker: &Waker,
    ) -> Poll<bool> {
        let mut work = self.work();
        if work.arrived.is_empty() && work.woken.is_empty() {
            if work.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
                work.waker = Some(waker.clone());
            }
            return if work.is_closed { Poll::Ready(false) } else { Poll::Pending };
        }
        std::mem::swap(&mut work.arrived, arrived);
        std::mem::swap(&mut work.woken, woken);
        Poll::Ready(true)
    }

    fn add(&self, add: impl FnOnce(&mut Work)) {
        let mut work = self.work();
        add(&mut work);
        let waker = work.waker.take();
        drop(work);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
