//! The decision about one packet on a wire between two network namespaces: lost, refused by a full
//! queue, or delivered, and when. What is lost here, TCP itself must repair. Pure: time is an
//! argument, randomness is handed in.

use std::time::Duration;

use rand::{Rng, RngExt as _};

use super::schedule::scaled;
use super::{Direction, Profile};

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketFate {
    /// It arrives then; never before an earlier one of the same direction.
    Deliver(Duration),
    /// It is lost on the way.
    Lost,
    /// The queue before the link has no room for it.
    Overflow,
}

/// Both directions of a wire.
#[derive(Debug, Clone, Default)]
pub struct PacketWire {
    up: Lane,
    down: Lane,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    /// When the last packet has left.
    free_at: Duration,
    last_arrival: Duration,
}

impl PacketWire {
    /// Decides about a packet that comes now. Times are since any fixed instant and do not run
    /// backwards. Of a profile, delay, jitter, rates, queue and loss (per packet of up to a KiB)
    /// count; the rest is about connections, of which a wire knows nothing.
    pub fn send<R: Rng + ?Sized>(
        &mut self,
        now: Duration,
        direction: Direction,
        bytes: usize,
        profile: &Profile,
        rng: &mut R,
    ) -> PacketFate {
        let lane = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        let (rate, bytes) = (profile.rate(direction), bytes as u64);
        let free_at = lane.free_at.max(now);
        let left_at = if rate == 0 {
            now
        } else {
            let waiting = free_at.saturating_sub(now).as_nanos() * u128::from(rate) / 1_000_000_000;
            if waiting + u128::from(bytes) > u128::from(profile.queue_bytes) {
                return PacketFate::Overflow;
            }
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            free_at.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
        };
        lane.free_at = left_at;
        // What is lost on the air has used the air.
        let parts = bytes.div_ceil(1_024).max(1);
        if (0..parts).any(|_| rng.random::<f64>() < profile.loss_per_kib) {
            return PacketFate::Lost;
        }
        let jitter = scaled(Duration::from_millis(profile.jitter_ms), rng.random::<f64>());
        let at = left_at.saturating_add(profile.delay()).saturating_add(jitter);
        lane.last_arrival = lane.last_arrival.max(at);
        PacketFate::Deliver(lane.last_arrival)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn sent(profile: &Profile, packets: &[(u64, usize)]) -> Vec<PacketFate> {
        let (mut wire, mut rng) = (PacketWire::default(), StdRng::seed_from_u64(1));
        let send = |(at, bytes): &(u64, usize)| {
            wire.send(Duration::from_millis(*at), Direction::Up, *bytes, profile, &mut rng)
        };
        packets.iter().map(send).collect()
    }

    fn ms(millis: u64) -> PacketFate {
        PacketFate::Deliver(Duration::from_millis(millis))
    }

    #[test]
    fn a_packet_takes_its_delay_and_the_time_of_its_bytes() {
        let profile = Profile {
            delay_ms: 50,
            rate_up_bytes_per_s: 100_000,
            queue_bytes: 2_000,
            ..Profile::perfect()
        };
        let fates = sent(&profile, &[(0, 1_000), (0, 1_000), (0, 1_000), (15, 1_000)]);
        assert_eq!(fates, [ms(60), ms(70), PacketFate::Overflow, ms(80)]);
    }

    #[test]
    fn as_many_are_lost_as_the_profile_says() {
        let profile =
            Profile { loss_per_kib: 0.2, stall_ms: 1, stall_cap_ms: 1, ..Profile::perfect() };
        let fates = sent(&profile, &vec![(0, 900); 10_000]);
        let lost = fates.iter().filter(|fate| **fate == PacketFate::Lost).count();
        assert!((1_800..2_200).contains(&lost), "{lost} of 10000");
    }

    proptest! {
        #[test]
        fn packets_stay_in_order_and_the_rate_is_never_exceeded(
            seed: u64,
            delay_ms in 0..500_u64,
            jitter_ms in 0..500_u64,
            rate in 1_000..1_000_000_u64,
            packets in prop::collection::vec((0..50_u64, 40..1_500_usize), 1..100),
        ) {
            let profile = Profile {
                delay_ms, jitter_ms, rate_up_bytes_per_s: rate, ..Profile::perfect()
            };
            let (mut wire, mut rng) = (PacketWire::default(), StdRng::seed_from_u64(seed));
            let (mut now, mut last, mut bytes) = (Duration::ZERO, Duration::ZERO, 0_u64);
            for (pause, size) in packets {
                now += Duration::from_millis(pause);
                let fate = wire.send(now, Direction::Up, size, &profile, &mut rng);
                let PacketFate::Deliver(at) = fate else { continue };
                prop_assert!(at >= last && at >= now + profile.delay());
                last = at;
                bytes += size as u64;
            }
            let limit = u128::from(bytes.saturating_sub(1_500)) * 1_000_000_000 / u128::from(rate);
            prop_assert!(bytes == 0 || last.as_nanos() + 1_000_000 >= limit);
        }
    }
}
