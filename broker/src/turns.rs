//! Who may do costly work next: a few at a time, those who go on before those who begin, and each
//! address in turn, so that one that asks without end holds up itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// How often in a row somebody goes on while others wait to begin.
const IN_A_ROW: u8 = 8;

/// The queue for costly work.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

/// What a turn is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something on which no work was spent yet: if there is too much to do, it waits, and when its
    /// time is over nothing is lost.
    Begin,
    /// Something that has begun, and whose end makes room for others.
    GoOn,
}

/// A lock, since connections come and end their work on any thread; held for one operation.
#[derive(Debug)]
struct State {
    free: usize,
    beginning: Queue,
    going_on: Queue,
    /// How many went on since somebody began.
    in_a_row: u8,
}

/// Those that wait, by address.
#[derive(Debug, Default)]
struct Queue {
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

/// Until it is somebody's turn; whoever drops it gives up.
#[derive(Debug)]
pub(crate) enum Wait {
    /// There was no need to wait; taken out with the answer.
    Over(Option<Turn>),
    /// For this.
    Queued(oneshot::Receiver<Turn>),
}

impl Future for Wait {
    type Output = Turn;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        // The sender is dropped only after it has sent.
        match self.get_mut() {
            Self::Over(turn) => Poll::Ready(turn.take().unwrap_or(Turn { turns: None })),
            Self::Queued(turn) => {
                Pin::new(turn).poll(cx).map(|turn| turn.unwrap_or(Turn { turns: None }))
            }
        }
    }
}

impl Turns {
    /// So many at a time, at least one.
    pub(crate) fn new(at_once: usize) -> Self {
        let free = at_once.max(1);
        let (beginning, going_on) = (Queue::default(), Queue::default());
        Self(Arc::new(Mutex::new(State { free, beginning, going_on, in_a_row: 0 })))
    }

    /// Asks for a turn of this address.
    pub(crate) fn ask(&self, address: IpAddr, step: Step) -> Wait {
        let mut state = self.state();
        if state.free > 0 {
            state.free -= 1;
            return Wait::Over(Some(Turn { turns: Some(self.clone()) }));
        }
        let (sender, receiver) = oneshot::channel();
        match step {
            Step::Begin => state.beginning.push(address, sender),
            Step::GoOn => state.going_on.push(address, sender),
        }
        Wait::Queued(receiver)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        if self.in_a_row < IN_A_ROW
            && let Some(next) = self.going_on.pop()
        {
            self.in_a_row += 1;
            return Some(next);
        }
        self.in_a_row = 0;
        self.beginning.pop().or_else(|| self.going_on.pop())
    }
}

impl Queue {
    fn push(&mut self, address: IpAddr, sender: oneshot::Sender<Turn>) {
        let queue = self.waiting.entry(address).or_default();
        if queue.is_empty() {
            self.order.push_back(address);
        }
        queue.push_back(sender);
    }

    /// The one that has waited longest of the next address that somebody still waits at.
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
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
    use std::task::Waker;

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
        let begin = |n| turns.ask(address(n), Step::Begin);
        let first = begin(1).now().unwrap();
        let mut flood: Vec<_> = (0..100).map(|_| begin(1)).collect();
        assert!(flood.iter_mut().all(|wait| wait.now().is_none()));
        let mut other = begin(2);
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
    fn who_goes_on_is_before_those_who_begin_but_not_forever() {
        let turns = Turns::new(1);
        let mut held = turns.ask(address(1), Step::Begin).now();
        let mut beginning: Vec<_> = (0..2).map(|_| turns.ask(address(1), Step::Begin)).collect();
        let mut going_on: Vec<_> = (0..20).map(|_| turns.ask(address(1), Step::GoOn)).collect();
        let mut order = String::new();
        for _ in 0..22 {
            drop(held.take());
            let begins = beginning.iter_mut().find_map(Now::now);
            order.push(if begins.is_some() { 'b' } else { 'g' });
            held = begins.or_else(|| going_on.iter_mut().find_map(Now::now));
            assert!(held.is_some(), "somebody has a turn: {order}");
            beginning.retain(|wait| !is_over(wait));
            going_on.retain(|wait| !is_over(wait));
        }
        assert_eq!(order, "ggggggggbggggggggbgggg");
    }

    /// Whether its turn was had.
    fn is_over(wait: &Wait) -> bool {
        matches!(wait, Wait::Queued(turn) if turn.is_terminated())
    }

    #[test]
    fn who_gives_up_takes_no_turn_and_leaves_nothing() {
        let turns = Turns::new(2);
        let ask = |n| turns.ask(address(n), if n % 2 == 0 { Step::Begin } else { Step::GoOn });
        let held = [ask(1).now(), ask(1).now()];
        let mut waits: Vec<_> = (0..10).map(ask).collect();
        assert!(waits.iter_mut().all(|wait| wait.now().is_none()));
        drop(waits);
        drop(held);
        let state = turns.state();
        assert_eq!(state.free, 2);
        for queue in [&state.beginning, &state.going_on] {
            assert!(queue.waiting.is_empty() && queue.order.is_empty());
        }
    }
}
