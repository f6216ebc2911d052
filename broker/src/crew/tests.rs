//! Tests of a crew: turns, alarms, and what a panic ends.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::mailbox::{Mailbox, Room};
use crate::outbox::Bounds;

/// A connection that counts its turns and does what it is told.
struct Counting {
    outlet: Arc<Outlet>,
    turns: Arc<AtomicUsize>,
    alarm: Option<Instant>,
    deadline: Option<Instant>,
    does: fn(usize) -> Poll<DisconnectReason>,
}

impl Served for Counting {
    fn poll_serve(&mut self, _: &mut Context<'_>) -> Poll<DisconnectReason> {
        let turn = self.turns.fetch_add(1, Ordering::SeqCst) + 1;
        if turn > 1 {
            self.deadline = None;
        }
        (self.does)(turn)
    }

    fn has_much_to_do(&self) -> bool {
        false
    }

    fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn alarm(&mut self) -> &mut Option<Instant> {
        &mut self.alarm
    }

    fn finish(self: Box<Self>, _: DisconnectReason) -> Farewell {
        Box::pin(async move { drop(self) })
    }
}

/// A connection in a crew: its outlet and its turns. Once it has ended, nobody else has those.
fn join(
    crew: &Crew,
    deadline: Option<Instant>,
    does: fn(usize) -> Poll<DisconnectReason>,
) -> (Arc<Outlet>, Arc<AtomicUsize>) {
    let bounds = Bounds { messages: 1, bytes: 1 };
    let room = Room { present: bounds, away: bounds, received: 1 };
    let outlet = Outlet::new(Mailbox::new(room, 1, false));
    let turns = Arc::new(AtomicUsize::new(0));
    let connection = Counting {
        outlet: Arc::clone(&outlet),
        turns: Arc::clone(&turns),
        alarm: None,
        deadline,
        does,
    };
    crew.take(Box::new(connection));
    (outlet, turns)
}

async fn reaches(turns: &AtomicUsize, count: usize) {
    let reached = async {
        while turns.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap();
}

async fn ends(crew: &Crew) {
    crew.close();
    for task in crew.tasks() {
        tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    }
}

fn until_second(turn: usize) -> Poll<DisconnectReason> {
    if turn < 2 { Poll::Pending } else { Poll::Ready(DisconnectReason::ByClient) }
}

#[tokio::test]
async fn a_connection_has_a_turn_when_it_comes_and_for_each_waking() {
    let crew = Crew::start();
    let until_third =
        |turn| if turn < 3 { Poll::Pending } else { Poll::Ready(DisconnectReason::ByClient) };
    let (outlet, turns) = join(&crew, None, until_third);
    reaches(&turns, 1).await;
    outlet.wake();
    reaches(&turns, 2).await;
    outlet.wake();
    ends(&crew).await;
    assert_eq!((turns.load(Ordering::SeqCst), Arc::strong_count(&turns)), (3, 1));
}

#[tokio::test]
async fn a_deadline_gives_a_turn_and_not_before_its_time() {
    let crew = Crew::start();
    let deadline = Instant::now() + Duration::from_millis(20);
    let (_, turns) = join(&crew, Some(deadline), until_second);
    let (_, late) = join(&crew, Some(deadline + Duration::from_hours(1)), |_| Poll::Pending);
    reaches(&turns, 2).await;
    assert!(Instant::now() >= deadline);
    assert_eq!(late.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let crew = Crew::start();
    let (_, broken) = join(&crew, None, |_| panic!("a defect of one connection"));
    let (outlet, turns) = join(&crew, None, until_second);
    reaches(&turns, 1).await;
    outlet.wake();
    ends(&crew).await;
    assert_eq!((broken.load(Ordering::SeqCst), Arc::strong_count(&broken)), (1, 1));
    assert_eq!((turns.load(Ordering::SeqCst), Arc::strong_count(&turns)), (2, 1));
}

#[tokio::test]
async fn the_end_of_a_crew_drops_connections_that_come_too_late() {
    let crew = Crew::start();
    let (_, turns) = join(&crew, None, |_| Poll::Pending);
    reaches(&turns, 1).await;
    for task in crew.tasks() {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let (_, late) = join(&crew, None, |_| Poll::Pending);
    assert_eq!((Arc::strong_count(&turns), Arc::strong_count(&late)), (1, 1));
}
