//! Who may do costly work next: a few at a time, and each address in turn, so that one that asks
//! without end holds up itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The queue for costly work.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

/// A lock, since connections come and end their work on any thread; held for one operation.
#[derive(Debug)]
struct State {
    free: usize,
    waiting: BTreeMap<IpAddr, VecDeque<oneshot::Sender<Turn>>>,
    /// The addresses that wait, the next one first.
    order: VecDeque<IpAddr>,
}

/// The right to work, given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Taken out when there is nobody to give it back to.
    turns: Option<Turns>,
}

impl Turns {
    /// So many at a time, at least one.
    pub(crate) fn new(at_once: usize) -> Self {
        let free = at_once.max(1);
        let state = State { free, waiting: BTreeMap::new(), order: VecDeque::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits for a turn of this address.
    pub(crate) async fn take(&self, address: IpAddr) -> Turn {
        let receiver = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Turn { turns: Some(self.clone()) };
            }
            let (sender, receiver) = oneshot::channel();
            state.enqueue(address, sender);
            receiver
        };
        // The sender is dropped only after it has sent.
        receiver.await.unwrap_or(Turn { turns: None })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enqueue(&mut self, address: IpAddr, sender: oneshot::Sender<Turn>) {
        let queue = self.waiting.entry(address).or_default();
        if queue.is_empty() {
            self.order.push_back(address);
        }
        queue.push_back(sender);
    }

    /// The one that has waited longest of the next address that somebody still waits at.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(address) = self.order.pop_front() {
            let Some(queue) = self.waiting.get_mut(&address) else { continue };
            let mut next = queue.pop_front();
            while next.as_ref().is_some_and(oneshot::Sender::is_closed) {
                next = queue.pop_front();
            }
            if queue.is_empty() {
                self.waiting.remove(&address);
            } else {
                self.order.push_back(address);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else { return };
        loop {
            let next = {
                let mut state = turns.state();
                let next = state.next();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            // Who gave up meanwhile sends it back.
            match next.send(Self { turns: Some(turns.clone()) }) {
                Ok(()) => return,
                Err(mut unused) => unused.turns = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Polls a future once; enough, since turns are given at once.
    trait Now: Future + Unpin {
        fn now(&mut self) -> Option<Self::Output> {
            match Pin::new(self).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            }
        }
    }

    impl<F: Future + Unpin> Now for F {}

    fn address(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    #[test]
    fn one_address_that_asks_without_end_holds_up_itself() {
        let turns = Turns::new(1);
        let first = Box::pin(turns.take(address(1))).now().unwrap();
        let mut flood: Vec<_> = (0..100).map(|_| Box::pin(turns.take(address(1)))).collect();
        assert!(flood.iter_mut().all(|wait| wait.now().is_none()));
        let mut other = Box::pin(turns.take(address(2)));
        assert!(other.now().is_none());
        drop(first);
        let second = flood[0].now().unwrap();
        assert!(other.now().is_none());
        drop(second);
        assert!(flood[1].now().is_none(), "the other address is next");
        drop(other.now().unwrap());
        assert!(flood[1].now().is_some());
    }

    #[test]
    fn who_gives_up_takes_no_turn_and_leaves_nothing() {
        let turns = Turns::new(2);
        let held = [Box::pin(turns.take(address(1))).now(), Box::pin(turns.take(address(1))).now()];
        let mut waits: Vec<_> = (0..10).map(|n| Box::pin(turns.take(address(n)))).collect();
        assert!(waits.iter_mut().all(|wait| wait.now().is_none()));
        drop(waits);
        drop(held);
        assert_eq!(turns.state().free, 2);
        assert!(turns.state().waiting.is_empty() && turns.state().order.is_empty());
    }
}
