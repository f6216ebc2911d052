//! One case for each thing that can happen to a chunk.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

#[test]
fn a_perfect_link_delivers_at_once() {
    let mut line = Line::new(Profile::perfect());
    assert_eq!(line.send(0, Direction::Up, 1024), deliver(0));
    assert_eq!(line.send(0, Direction::Down, 1024), deliver(0));
}

#[test]
fn the_first_byte_up_waits_for_the_handshake_and_the_next_only_for_the_delay() {
    let mut line = Line::new(Profile { delay_ms: 50, ..Profile::perfect() });
    assert_eq!(line.send(0, Direction::Up, 10), deliver(150));
    assert_eq!(line.send(0, Direction::Down, 10), deliver(50));
    assert_eq!(line.send(1000, Direction::Up, 10), deliver(1050));
}

#[test]
fn a_used_up_rate_says_when_to_ask_again_and_keeps_its_word() {
    let mut line = Line::new(Profile { rate_up_bytes_per_s: 1000, ..Profile::perfect() });
    for _ in 0..4 {
        assert_eq!(line.send(0, Direction::Up, 1024), deliver(0), "within the burst");
    }
    assert_eq!(line.send(0, Direction::Up, 500), Fate::Wait { until: ms(500) });
    assert_eq!(line.send(499, Direction::Up, 500), Fate::Wait { until: ms(500) });
    assert_eq!(line.send(500, Direction::Up, 500), deliver(500));
    assert_eq!(line.send(0, Direction::Down, 9000), deliver(0), "the other way is its own");
}

#[test]
fn a_faster_profile_forgives_the_debt_of_a_slow_one() {
    let mut line = Line::new(Profile { rate_up_bytes_per_s: 1, ..Profile::perfect() });
    for _ in 0..4 {
        line.send(0, Direction::Up, 1024);
    }
    line.profile.rate_up_bytes_per_s = 1_000_000;
    let Fate::Wait { until } = line.send(0, Direction::Up, 1024) else { panic!("no wait") };
    assert!(until < ms(3), "{until:?}");
}

#[test]
fn a_lost_segment_stalls_its_stream_and_no_other() {
    let lossy =
        Profile { loss_per_kib: 1.0, stall_ms: 200, stall_cap_ms: 200, ..Profile::perfect() };
    let mut line = Line::new(lossy);
    let stalled = Fate::Deliver { at: ms(200), stalled: ms(200) };
    assert_eq!(line.send(0, Direction::Up, 10), stalled);
    line.profile = Profile::perfect();
    assert_eq!(line.send(5, Direction::Up, 10), deliver(200), "queued behind the lost segment");
    line.connection = ConnectionState::open(ms(5), &line.profile, &mut line.rng);
    assert_eq!(line.send(5, Direction::Up, 10), deliver(5), "another connection is not held");
}

#[test]
fn retransmissions_double_up_to_the_cap() {
    let mut line = Line::new(Profile {
        loss_per_kib: 1.0,
        loss_repeat: 1.0,
        stall_ms: 100,
        stall_cap_ms: 350,
        ..Profile::perfect()
    });
    let total = ms(100 + 200 + 12 * 350 + 350);
    assert_eq!(line.send(0, Direction::Up, 1), Fate::Deliver { at: total, stalled: total });
}

#[test]
fn an_idle_connection_is_forgotten_for_good_and_a_busy_one_is_not() {
    let mut line = Line::new(Profile { nat_idle_ms: 1000, ..Profile::perfect() });
    assert_eq!(line.send(1000, Direction::Up, 1), deliver(1000));
    assert_eq!(line.send(2000, Direction::Down, 1), deliver(2000), "either way keeps it awake");
    assert_eq!(line.send(3001, Direction::Up, 1), Fate::Forgotten);
    assert_eq!(line.send(3001, Direction::Down, 1), Fate::Forgotten);
    line.profile.nat_idle_ms = 0;
    assert_eq!(line.send(3002, Direction::Up, 1), Fate::Forgotten);
}

#[test]
fn resets_come_about_as_often_as_asked() {
    let profile = Profile { resets_per_minute: 0.3, ..Profile::perfect() };
    let mut rng = StdRng::seed_from_u64(7);
    let minute = Duration::from_mins(1);
    let hit = (0..10_000)
        .filter(|_| draw_reset(Duration::ZERO, &profile, &mut rng).is_some_and(|at| at <= minute))
        .count();
    assert!((2_800..3_200).contains(&hit), "{hit}");
    assert_eq!(draw_reset(Duration::ZERO, &Profile::perfect(), &mut rng), None);
}

#[test]
fn losses_come_about_as_often_as_asked() {
    let profile = Profile { loss_per_kib: 0.1, stall_ms: 1, stall_cap_ms: 1, ..Profile::perfect() };
    let mut line = Line::new(profile);
    let lost = (0..10_000)
        .filter(|now| line.send(*now * 10, Direction::Up, 1024) != deliver(*now * 10))
        .count();
    assert!((900..1_100).contains(&lost), "{lost}");
}

struct Line {
    profile: Profile,
    rng: StdRng,
    states: [DirectionState; 2],
    connection: ConnectionState,
}

impl Line {
    fn new(profile: Profile) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let connection = ConnectionState::open(Duration::ZERO, &profile, &mut rng);
        Self { profile, rng, states: [DirectionState::new(), DirectionState::new()], connection }
    }

    fn send(&mut self, now_ms: u64, direction: Direction, bytes: u64) -> Fate {
        let [up, down] = &mut self.states;
        let state = if direction == Direction::Up { up } else { down };
        let chunk = Chunk { direction, bytes };
        schedule(ms(now_ms), chunk, &self.profile, &mut self.rng, state, &mut self.connection)
    }
}

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn deliver(at_ms: u64) -> Fate {
    Fate::Deliver { at: ms(at_ms), stalled: Duration::ZERO }
}
