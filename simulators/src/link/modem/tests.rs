//! The link as a whole: queue, outage, resets, one line for many connections.

use rand::SeedableRng;

use super::*;

#[test]
fn a_full_queue_takes_no_more_until_the_rate_has_drained_it() {
    let mut modem =
        modem(Profile { rate_up_bytes_per_s: 10_000, queue_bytes: 2048, ..Profile::perfect() });
    modem.open(ms(0), ConnectionId(1));
    let mut sent = 0;
    while modem.has_room(Direction::Up) {
        modem.push(segment(1, Direction::Up, 1024));
        modem.advance(ms(0));
        sent += 1;
    }
    assert_eq!(sent, 4 + 2, "a burst went out, a queue is held");
    assert!(modem.has_room(Direction::Down), "the other way has its own queue");
    let wake = modem.next_wake().unwrap();
    modem.advance(wake);
    assert!(modem.has_room(Direction::Up));
}

#[test]
fn an_outage_holds_the_queue_and_its_end_lets_it_go_in_order() {
    let mut modem = modem(Profile::perfect());
    modem.open(ms(0), ConnectionId(1));
    modem.set_down(ms(0), true);
    modem.push(segment(1, Direction::Up, 1));
    modem.push(segment(1, Direction::Up, 2));
    modem.advance(ms(0));
    assert!(matches!(modem.poll_output(), Some(Output::Air { is_up: false })));
    assert!(modem.poll_output().is_none());
    assert_eq!(modem.next_wake(), None);
    modem.set_down(ms(5), false);
    modem.advance(ms(5));
    assert!(matches!(modem.poll_output(), Some(Output::Air { is_up: true })));
    assert_eq!(delivered(&mut modem), [(1, 1, ms(5)), (1, 2, ms(5))]);
}

#[test]
fn an_outage_resets_its_connections_when_their_hang_is_over() {
    let mut modem = modem(Profile { outage_hang_ms: Some(30), ..Profile::perfect() });
    modem.open(ms(0), ConnectionId(1));
    modem.push(segment(1, Direction::Up, 9));
    modem.set_down(ms(0), true);
    modem.advance(ms(0));
    assert!(matches!(modem.poll_output(), Some(Output::Air { is_up: false })));
    assert_eq!(modem.next_wake(), Some(ms(30)));
    modem.advance(ms(30));
    assert!(matches!(modem.poll_output(), Some(Output::Reset { connection: ConnectionId(1) })));
    modem.set_down(ms(40), false);
    modem.advance(ms(40));
    assert!(matches!(modem.poll_output(), Some(Output::Air { is_up: true })));
    assert_eq!(delivered(&mut modem), [], "a connection that is gone sends nothing");
}

#[test]
fn a_random_reset_hits_once_and_a_milder_profile_takes_it_back() {
    let harsh = Profile { resets_per_minute: 0.9, ..Profile::perfect() };
    let mut modem = modem(harsh.clone());
    modem.open(ms(0), ConnectionId(1));
    assert!(modem.next_wake().is_some());
    modem.set_profile(ms(0), &Profile::perfect());
    assert_eq!(modem.next_wake(), None);
    modem.set_profile(ms(0), &harsh);
    let at = modem.next_wake().unwrap();
    modem.advance(at);
    assert!(matches!(modem.poll_output(), Some(Output::Reset { .. })));
    assert_eq!(modem.next_wake(), None);
}

#[test]
fn connections_share_the_line_first_come_first_served() {
    let mut modem = modem(Profile { rate_up_bytes_per_s: 1_000, ..Profile::perfect() });
    for id in [1, 2] {
        modem.open(ms(0), ConnectionId(id));
    }
    for id in [1, 1, 1, 1, 2, 1, 2] {
        modem.push(segment(id, Direction::Up, 1000));
    }
    let mut order = Vec::new();
    modem.advance(ms(0));
    while let Some(wake) = modem.next_wake() {
        order.extend(delivered(&mut modem));
        modem.advance(wake);
    }
    order.extend(delivered(&mut modem));
    let ids: Vec<_> = order.iter().map(|(id, _, _)| *id).collect();
    assert_eq!(ids, [1, 1, 1, 1, 2, 1, 2]);
    assert_eq!(order.last().unwrap().2, ms(2904), "7000 bytes less the burst at 1000 per second");
}

#[test]
fn a_forgotten_connection_loses_what_it_sends() {
    let mut modem = modem(Profile { nat_idle_ms: 10, ..Profile::perfect() });
    modem.open(ms(0), ConnectionId(1));
    modem.push(segment(1, Direction::Down, 7));
    modem.advance(ms(11));
    assert!(matches!(modem.poll_output(), Some(Output::Lost { .. })));
    assert!(modem.poll_output().is_none());
}

fn modem(profile: Profile) -> Modem<()> {
    Modem::new(ms(0), profile, StdRng::seed_from_u64(1))
}

fn segment(id: u64, direction: Direction, bytes: u64) -> Segment<()> {
    Segment { connection: ConnectionId(id), chunk: Chunk { direction, bytes }, load: () }
}

fn delivered(modem: &mut Modem<()>) -> Vec<(u64, u64, Duration)> {
    std::iter::from_fn(|| modem.poll_output())
        .map(|output| match output {
            Output::Deliver { segment, at, .. } => (segment.connection.0, segment.chunk.bytes, at),
            other @ (Output::Lost { .. } | Output::Reset { .. } | Output::Air { .. }) => {
                panic!("{other:?}")
            }
        })
        .collect()
}

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}
