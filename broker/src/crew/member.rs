//! One task of a crew: gives each of its connections a turn when it was woken or its time has come.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::turns::Turns;
use super::{Desk, Served};
use crate::reason::DisconnectReason;

/// Turns after which other tasks of the runtime have theirs, among them the one that watches the
/// sockets.
const TURNS: usize = 64;

/// Time after which they have it in any case: turns with much to do are long.
const SLICE: Duration = Duration::from_millis(1);

/// Room in a list that is kept once the list is empty.
const KEPT: usize = 256;

/// A task that serves connections until its desk is closed and the last of them has ended.
pub(super) struct Member {
    desk: Arc<Desk>,
    connections: Vec<Option<Box<dyn Served>>>,
    /// How many there are.
    count: usize,
    /// Those that have a turn now.
    turns: Turns,
    arrived: Vec<(u32, Box<dyn Served>)>,
    woken: Vec<u32>,
    /// When a connection is to be polled, at most one moment for each.
    alarms: BTreeSet<(Instant, u32)>,
    /// Wakes the task for the first alarm.
    timer: Option<Pin<Box<Sleep>>>,
    /// Connections that say goodbye.
    leaving: JoinSet<()>,
}

impl Member {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self {
            desk,
            connections: Vec::new(),
            count: 0,
            turns: Turns::default(),
            arrived: Vec::new(),
            woken: Vec::new(),
            alarms: BTreeSet::new(),
            timer: None,
            leaving: JoinSet::new(),
        }
    }

    /// Takes what has come up at the desk, after the turn of one; `Pending` if nothing has.
    fn poll_desk(&mut self, after: Option<u32>, waker: &Waker) -> Poll<bool> {
        let polled = self.desk.poll_work(&mut self.arrived, &mut self.woken, waker);
        for (number, connection) in self.arrived.drain(..) {
            let at = index(number);
            if self.connections.len() <= at {
                self.connections.resize_with(at + 1, || None);
            }
            if let Some(place) = self.connections.get_mut(at) {
                *place = Some(connection);
                self.count += 1;
                self.turns.push(number, false);
            }
        }
        let first = after.and_then(|after| self.turns.hop(&self.woken, after));
        for number in self.woken.drain(..).skip(usize::from(first.is_some())) {
            let connection = self.connections.get(index(number)).and_then(Option::as_ref);
            self.turns.push(number, connection.is_some_and(|known| known.has_much_to_do()));
        }
        self.arrived.shrink_to(KEPT);
        self.woken.shrink_to(KEPT);
        polled
    }

    fn turn(&mut self, number: u32) {
        let place = self.connections.get_mut(index(number));
        let Some(connection) = place.and_then(Option::as_mut) else { return };
        let outlet = connection.outlet();
        outlet.begin_turn();
        let waker = Waker::from(Arc::clone(outlet));
        let serve = || connection.poll_serve(&mut Context::from_waker(&waker));
        let outcome = catch_unwind(AssertUnwindSafe(serve));
        let deadline = match outcome {
            Ok(Poll::Pending) => connection.deadline(),
            Ok(Poll::Ready(_)) | Err(_) => None,
        };
        let alarm = connection.alarm();
        // One that is early is left: moving it with each packet would cost more than an idle turn.
        if let Some(late) = alarm.filter(|at| deadline.is_none_or(|deadline| deadline < *at)) {
            self.alarms.remove(&(late, number));
            *alarm = None;
        }
        if let (Some(deadline), None) = (deadline, *alarm) {
            *alarm = Some(deadline);
            self.alarms.insert((deadline, number));
        }
        match outcome {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(reason)) => self.end(number, Some(reason)),
            Err(_) => self.end(number, None),
        }
    }

    /// Lets a connection end, which may have to wait; at once, without a reason.
    fn end(&mut self, number: u32, reason: Option<DisconnectReason>) {
        let place = self.connections.get_mut(index(number));
        let Some(connection) = place.and_then(Option::take) else { return };
        self.count -= 1;
        self.desk.leave(number);
        connection.outlet().stand_up();
        let Some(reason) = reason else {
            tracing::error!("the turn of a connection panicked");
            return;
        };
        let mut farewell = connection.finish(reason);
        let mut try_once = || farewell.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match catch_unwind(AssertUnwindSafe(&mut try_once)) {
            Ok(Poll::Pending) => {
                self.leaving.spawn(farewell);
            }
            Ok(Poll::Ready(())) => {}
            Err(_) => tracing::error!("the end of a connection panicked"),
        }
    }

    /// Gives those a turn whose time has come, and waits for the next.
    fn poll_alarms(&mut self, cx: &mut Context<'_>) {
        let now = now();
        while let Some(&(at, number)) = self.alarms.first().filter(|(at, _)| *at <= now) {
            self.alarms.remove(&(at, number));
            if let Some(Some(connection)) = self.connections.get_mut(index(number)) {
                *connection.alarm() = None;
                self.turns.push(number, false);
            }
        }
        let Some((first, _)) = self.alarms.first() else { return };
        let first = tokio::time::Instant::from_std(*first);
        let timer = match &mut self.timer {
            Some(timer) => {
                if timer.deadline() != first {
                    timer.as_mut().reset(first);
                }
                timer
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(first))),
        };
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl Future for Member {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (mut is_closed, mut has_more) = (false, true);
        let end = now() + SLICE;
        for _ in 0..TURNS {
            if this.turns.is_empty() {
                match this.poll_desk(None, cx.waker()) {
                    Poll::Ready(is_open) => is_closed = !is_open,
                    Poll::Pending => {}
                }
            }
            let Some(number) = this.turns.pop() else {
                has_more = false;
                break;
            };
            this.turn(number);
            if this.poll_desk(Some(number), cx.waker()) == Poll::Ready(false) {
                is_closed = true;
            }
            if now() >= end {
                break;
            }
        }
        this.poll_alarms(cx);
        while let Poll::Ready(Some(ended)) = this.leaving.poll_join_next(cx) {
            crate::listener::report(ended);
        }
        if is_closed && this.count == 0 && this.leaving.is_empty() {
            return Poll::Ready(());
        }
        if has_more || !this.turns.is_empty() {
            cx.waker().wake_by_ref();
        } else {
            this.turns.shrink();
        }
        Poll::Pending
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.desk.abandon();
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
