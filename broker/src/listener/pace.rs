//! Newcomers are worked on a few at a time, so that those who are here already are served while
//! thousands come in at once. Who waits costs nothing but its socket: a turn lasts for one step
//! that needs no waiting, so whoever is slow, or silent, holds up nobody.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::addresses::network;
use crate::limits::Limits;
use crate::turns::{Step, Turns, Wait};

/// How many newcomers are worked on at the same time: unless it is configured, all workers of the
/// caller's runtime but one, which is left to those who are here.
pub(crate) fn turns(limits: &Limits) -> Turns {
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let at_once = Some(limits.newcomers).filter(|at_once| *at_once > 0);
    Turns::new(at_once.unwrap_or(workers.saturating_sub(1)))
}

/// The turns of one newcomer.
#[derive(Debug)]
pub(super) struct Pace {
    turns: Turns,
    address: IpAddr,
    /// How long it has waited for all its turns, in microseconds.
    waited: AtomicU64,
}

impl Pace {
    pub(super) fn new(turns: Turns, address: IpAddr) -> Self {
        Self { turns, address: network(address), waited: AtomicU64::new(0) }
    }

    /// Works whenever there is a turn.
    pub(super) const fn work<F: Future + Unpin>(&self, step: Step, work: F) -> Paced<'_, F> {
        Paced { pace: self, step, work, wait: None }
    }

    /// How long the newcomer has waited for its turns.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    fn note(&self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Work that is done in turns.
#[derive(Debug)]
pub(super) struct Paced<'a, F> {
    pace: &'a Pace,
    step: Step,
    work: F,
    /// For the next turn, and since when.
    wait: Option<(Wait, Instant)>,
}

impl<F: Future + Unpin> Future for Paced<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { pace, step, work, wait } = self.get_mut();
        let (mut turn, since) =
            wait.take().unwrap_or_else(|| (pace.turns.ask(pace.address, *step), Instant::now()));
        match Pin::new(&mut turn).poll(cx) {
            Poll::Pending => {
                *wait = Some((turn, since));
                Poll::Pending
            }
            Poll::Ready(turn) => {
                pace.note(since.elapsed());
                let polled = Pin::new(work).poll(cx);
                drop(turn);
                polled
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::task::Waker;

    use super::*;

    fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_waits_for_the_network_holds_up_nobody() {
        let turns = Turns::new(1);
        let pace = || Pace::new(turns.clone(), [10, 0, 0, 1].into());
        let (silent, other) = (pace(), pace());
        let mut silent = silent.work(Step::Begin, pending::<()>());
        for _ in 0..3 {
            assert!(poll_once(&mut silent).is_pending());
            let mut done = other.work(Step::Begin, std::future::ready(7));
            assert_eq!(poll_once(&mut done), Poll::Ready(7));
        }
    }

    #[test]
    fn nobody_is_worked_on_without_a_turn_and_the_wait_is_counted() {
        let turns = Turns::new(1);
        let pace = Pace::new(turns.clone(), [10, 0, 0, 1].into());
        let mut busy = turns.ask([10, 0, 0, 2].into(), Step::GoOn);
        let Poll::Ready(busy) = poll_once(&mut busy) else { panic!("the first turn is free") };
        let mut polls = 0;
        let work = poll_fn(|_| {
            polls += 1;
            if polls < 2 { Poll::Pending } else { Poll::Ready(()) }
        });
        let mut paced = pace.work(Step::Begin, work);
        assert!(poll_once(&mut paced).is_pending() && poll_once(&mut paced).is_pending());
        drop(busy);
        assert!(poll_once(&mut paced).is_pending(), "its first turn");
        assert!(poll_once(&mut paced).is_ready(), "its second one");
        assert_eq!(polls, 2);
        assert!(pace.waited() < Duration::from_mins(1));
    }

    #[test]
    fn work_that_panics_gives_its_turn_back() {
        let turns = Turns::new(1);
        let pace = Pace::new(turns, [10, 0, 0, 1].into());
        let broken = poll_fn(|_| -> Poll<()> { panic!("a test") });
        let mut broken = pace.work(Step::Begin, broken);
        let polling = std::panic::AssertUnwindSafe(|| poll_once(&mut broken));
        assert!(std::panic::catch_unwind(polling).is_err());
        assert!(poll_once(&mut pace.work(Step::Begin, std::future::ready(()))).is_ready());
    }
}
