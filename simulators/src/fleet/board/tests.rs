//! The board, told by hand.

use super::*;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn state(in_sync: bool, version: u64) -> What {
    What::State { in_sync, version }
}

#[test]
fn each_site_counts_from_its_own_start_and_once() {
    let mut board = Board::new(2);
    board.enter(s(0), Phase::Ramp);
    board.awaits(s(1), 0);
    board.awaits(s(5), 1);
    board.told(s(2), 0, What::Up);
    board.told(s(3), 0, state(true, 1));
    board.told(s(4), 0, state(false, 1));
    board.told(s(5), 0, state(true, 1));
    board.told(s(6), 1, What::Up);
    assert_eq!((board.seen().in_sync, board.up()), (1, 2));
    board.told(s(9), 1, state(true, 1));
    let report = board.leave(s(10), true).unwrap();
    assert_eq!((report.awaited, report.came), (2, 2));
    assert_eq!(report.curve, [(3.0, 1), (9.0, 2)]);
    let took = report.took.unwrap();
    assert!((took.max_ms - 4_000.0).abs() < 5.0, "{took:?}");
    assert!((took.p50_ms - 2_000.0).abs() < 5.0, "{took:?}");
}

#[test]
fn a_write_is_reached_also_by_a_site_that_is_faster_than_the_answer() {
    let mut board = Board::new(3);
    board.enter(s(10), Phase::Write(1));
    board.told(s(11), 0, state(false, 7));
    assert_eq!(board.seen().reached, 0, "it is not known yet what to wait for");
    board.wrote(0, 7);
    board.wrote(1, 4);
    board.wrote(2, 5);
    board.told(s(13), 1, state(false, 4));
    board.told(s(14), 2, state(false, 4));
    assert_eq!(board.seen().reached, 2, "an older version does not count");
    board.told(s(15), 2, state(true, 6));
    assert_eq!(board.seen().reached, 3, "a newer one does");
    let report = board.leave(s(16), true).unwrap();
    assert_eq!(report.curve, [(1.0, 1), (3.0, 2), (5.0, 3)]);
}

#[test]
fn lost_links_and_failed_attempts_are_told_apart_and_reasons_are_bounded() {
    let mut board = Board::new(1);
    board.enter(s(0), Phase::StormBack);
    board.told(s(1), 0, What::Up);
    board.told(s(1), 0, What::Up);
    for number in 0..50 {
        board.told(s(2), 0, What::Down(format!("reason {number}")));
    }
    assert_eq!(board.up(), 0);
    assert_eq!(board.reasons().len(), REASONS + 1);
    assert_eq!(board.reasons().values().sum::<u64>(), 50);
    let report = board.leave(s(3), false).unwrap();
    assert_eq!((report.drops, report.failed_attempts), (1, 49));
    assert!(!report.complete);
}

#[test]
fn probes_count_for_the_phase_they_fall_into() {
    let mut board = Board::new(1);
    board.enter(s(0), Phase::Steady);
    for millis in 1..=100 {
        board.probed(Probe::Broker(Duration::from_millis(millis)));
    }
    board.probed(Probe::Lost);
    assert_eq!(board.take_slowest(), Some(Duration::from_millis(100)));
    assert_eq!(board.take_slowest(), None);
    let report = board.leave(s(1), true).unwrap();
    let broker = report.broker.unwrap();
    assert_eq!((broker.count, report.probes_lost, report.api), (100, 1, None));
    assert!((broker.p99_ms - 99.0).abs() < 0.2, "{broker:?}");
    assert_eq!(broker.buckets.iter().map(|(_, count)| count).sum::<u64>(), 100);
}

#[test]
fn a_curve_of_many_sites_is_thinned_and_keeps_its_end() {
    let came: Vec<_> = (1..=10_000).map(Duration::from_millis).collect();
    let curve = curve(&came);
    assert!(curve.len() <= POINTS + 1, "{}", curve.len());
    assert_eq!(curve.last(), Some(&(10.0, 10_000)));
}
