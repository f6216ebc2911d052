//! A writer and a reader over a network that loses, repeats, reorders and delays, with crashes of
//! either end between any two effects: whatever happens, protocol.md's invariants hold.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "test harness")]
#![expect(clippy::indexing_slicing, reason = "test harness")]

mod world;

use proptest::prelude::*;
use world::{Action, End, World};

fn action() -> impl Strategy<Value = Action> {
    let end = || prop_oneof![Just(End::Writer), Just(End::Reader)];
    prop_oneof![
        6 => (0..3_u8, 0..4_u8, any::<u8>()).prop_map(|(k, f, v)| Action::Set(k, f, v)),
        1 => (0..3_u8).prop_map(Action::Delete),
        2 => prop::collection::vec((0..3_u8, prop::option::of(any::<u8>())), 1..5)
            .prop_map(Action::Together),
        20 => end().prop_map(Action::Step),
        12 => any::<u8>().prop_map(Action::Arrive),
        3 => any::<u8>().prop_map(Action::Repeat),
        3 => any::<u8>().prop_map(Action::Lose),
        2 => end().prop_map(Action::Crash),
        2 => Just(Action::LinkDown),
        4 => Just(Action::LinkUp),
        4 => (0..40_000_u16).prop_map(Action::Wait),
        1 => Just(Action::Backup),
        1 => Just(Action::RestoreBackup),
        1 => Just(Action::WipeReader),
    ]
}

/// `make pair CASES=n` runs more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_500)
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_safe_and_converges(seed: u64, window in 1..4_u8, actions in actions()) {
        let mut world = World::new(seed, window, 16 * 1024);
        for action in &actions {
            world.act(action);
            world.check();
        }
        world.settle();
    }

    #[test]
    fn small_batches_and_many_tombstones_converge(seed: u64, actions in actions()) {
        let mut world = World::new(seed, 2, 48);
        for action in &actions {
            world.act(action);
            world.check();
        }
        world.settle();
    }
}

#[test]
fn a_deletion_that_everyone_forgot_is_still_a_deletion() {
    let mut world = World::new(1, 1, 16 * 1024);
    world.act(&Action::Backup);
    for round in 0..300_u16 {
        world.put_named(&format!("device/d{round}"), 1);
    }
    world.settle();
    let backup_of_reader = world.reader_disk();
    for round in 0..300_u16 {
        world.delete_named(&format!("device/d{round}"));
        world.settle();
    }
    world.put_named("device/d7", 2);
    world.restore_reader(backup_of_reader);
    world.settle();
    assert_eq!(world.reader_keys(), ["device/d7"]);
}
