//! What holds for every profile, every seed and every traffic.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

proptest! {
    #[test]
    fn a_stream_keeps_its_order(
        profile in profiles(), traffic in traffic(), seed: u64,
    ) {
        for departures in run(&profile, &traffic, seed) {
            let mut last = Duration::ZERO;
            for departure in departures {
                prop_assert!(departure.arrives >= last);
                prop_assert!(departure.arrives >= departure.leaves + profile.delay());
                last = departure.arrives;
            }
        }
    }

    #[test]
    fn a_rate_is_never_exceeded_over_any_window_beyond_the_burst(
        profile in profiles(), traffic in traffic(), seed: u64,
    ) {
        let mut all: Vec<_> = run(&profile, &traffic, seed).into_iter().flatten().collect();
        all.sort_by_key(|departure| departure.leaves);
        let rate = u128::from(profile.rate_up_bytes_per_s);
        let burst = u128::from(burst_bytes(profile.rate_up_bytes_per_s));
        for (first, from) in all.iter().enumerate() {
            let mut bytes = 0;
            for to in all.iter().skip(first) {
                bytes += u128::from(to.bytes);
                let window = to.leaves.checked_sub(from.leaves).unwrap().as_nanos();
                let allowed = (rate * window).div_ceil(1_000_000_000) + burst + 1;
                prop_assert!(rate == 0 || bytes <= allowed, "{bytes} in {window} ns");
            }
        }
    }

    #[test]
    fn a_perfect_link_delivers_everything_at_once(traffic in traffic(), seed: u64) {
        for departure in run(&Profile::perfect(), &traffic, seed).into_iter().flatten() {
            prop_assert_eq!(departure.arrives, departure.asked);
        }
    }

    #[test]
    fn a_link_that_is_down_delivers_nothing_and_draws_nothing(
        profile in profiles(), bytes in 0_u64..2048, seed: u64,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut connection = ConnectionState::open(Duration::ZERO, &profile, &mut rng);
        let mut untouched = StdRng::seed_from_u64(seed);
        ConnectionState::open(Duration::ZERO, &profile, &mut untouched);
        let mut line = DirectionState { is_up: false, ..DirectionState::new() };
        let chunk = Chunk { direction: Direction::Up, bytes };
        let fate =
            schedule(Duration::ZERO, chunk, &profile, &mut rng, &mut line, &mut connection);
        prop_assert_eq!(fate, Fate::Down);
        prop_assert_eq!(rng.random::<u64>(), untouched.random::<u64>());
    }

    #[test]
    fn the_same_seed_gives_the_same_fates(profile in profiles(), traffic in traffic(), seed: u64) {
        prop_assert_eq!(run(&profile, &traffic, seed), run(&profile, &traffic, seed));
    }
}

#[derive(Clone, Debug)]
struct Offer {
    after: Duration,
    stream: usize,
    bytes: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Departure {
    asked: Duration,
    leaves: Duration,
    arrives: Duration,
    bytes: u64,
}

/// Sends the traffic through one direction in line order; departures by stream.
fn run(profile: &Profile, traffic: &[Offer], seed: u64) -> Vec<Vec<Departure>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut line = DirectionState::new();
    let mut streams: Vec<_> =
        (0..3).map(|_| ConnectionState::open(Duration::ZERO, profile, &mut rng)).collect();
    let mut departures = vec![Vec::new(); 3];
    let (mut clock, mut asked) = (Duration::ZERO, Duration::ZERO);
    for offer in traffic {
        asked += offer.after;
        clock = clock.max(asked);
        let chunk = Chunk { direction: Direction::Up, bytes: offer.bytes };
        loop {
            let stream = &mut streams[offer.stream];
            match schedule(clock, chunk, profile, &mut rng, &mut line, stream) {
                Fate::Deliver { at, .. } => {
                    let departure =
                        Departure { asked, leaves: clock, arrives: at, bytes: offer.bytes };
                    departures[offer.stream].push(departure);
                    break;
                }
                Fate::Wait { until } => {
                    assert!(until > clock, "a wait that ends at once would spin");
                    clock = until;
                }
                Fate::Forgotten => break,
                Fate::Down => panic!("nobody took the link down"),
            }
        }
    }
    departures
}

fn traffic() -> impl Strategy<Value = Vec<Offer>> {
    let offer = (0_u64..50_000, 0_usize..3, 0_u64..=SEGMENT_BYTES as u64)
        .prop_map(|(us, stream, bytes)| Offer { after: Duration::from_micros(us), stream, bytes });
    prop::collection::vec(offer, 1..60)
}

prop_compose! {
    fn profiles()(
        delay_ms in 0_u64..500, jitter_ms in 0_u64..500,
        rate_up_bytes_per_s in prop_oneof![Just(0), 1_u64..5_000, 5_000_u64..5_000_000],
        loss_per_kib in prop_oneof![Just(0.0), 0.0..1.0], loss_repeat in 0.0..1.0,
        stall_ms in 1_u64..500, nat_idle_ms in prop_oneof![Just(0), 1_u64..100],
    ) -> Profile {
        Profile {
            delay_ms, jitter_ms, rate_up_bytes_per_s, loss_per_kib, loss_repeat,
            stall_ms, stall_cap_ms: stall_ms * 8, nat_idle_ms, ..Profile::perfect()
        }
    }
}
