//! How much somebody may ask for: one bucket for each who calls, which fills with time. Pure; the
//! time is an argument.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use gnomon_schemas::id::{DeviceName, NodeName};
use gnomon_sync::Moment;

/// How fast, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In a second, in the long run.
    pub per_second: NonZeroU32,
    /// At once, after a silence.
    pub burst: NonZeroU32,
}

impl Rate {
    /// So many in a second, and so many at once; zero counts as one.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        const fn at_least_one(number: u32) -> NonZeroU32 {
            match NonZeroU32::new(number) {
                Some(number) => number,
                None => NonZeroU32::MIN,
            }
        }
        Self { per_second: at_least_one(per_second), burst: at_least_one(burst) }
    }

    /// So many KiB of bodies in a second, and eight times that at once, but no less than the
    /// largest body.
    pub fn of_bodies(kib_per_second: NonZeroU32) -> Self {
        let per_second = kib_per_second.get().saturating_mul(1024);
        Self::new(per_second, per_second.saturating_mul(8).max(LARGEST_BODY))
    }

    /// How long it takes until so many more may be asked for, in nanoseconds.
    fn nanos(self, count: u64) -> u64 {
        count.saturating_mul(SECOND) / u64::from(self.per_second.get())
    }
}

/// What everyone may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests of one token or one access key.
    pub requests: Rate,
    /// Bytes of bodies of the same.
    pub bytes: Rate,
    /// Requests from one address that nobody has proven to be somebody.
    pub strangers: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            requests: Rate::new(2000, 10_000),
            bytes: Rate::of_bodies(NonZeroU32::new(8192).unwrap_or(NonZeroU32::MIN)),
            strangers: Rate::new(500, 2000),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// A token of the API, by its id.
    Token(String),
    /// A node, by its certificate.
    Node(NodeName),
    /// A thing, by its certificate.
    Thing(DeviceName),
    /// A client of AWS, by the id of its access key.
    Key(String),
    /// Somebody at this address; of IPv6, in its network of 64 bits.
    Stranger(IpAddr),
    /// Somebody who is one too many to be told apart.
    Crowd,
}

impl Asker {
    /// Somebody at this address.
    pub fn stranger(at: IpAddr) -> Self {
        match at.to_canonical() {
            IpAddr::V4(at) => Self::Stranger(at.into()),
            IpAddr::V6(at) => {
                let network = at.to_bits() & (u128::MAX << 64);
                Self::Stranger(Ipv6Addr::from_bits(network).into())
            }
        }
    }

    /// The kind, for a metric.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Node(_) => "node",
            Self::Thing(_) => "thing",
            Self::Key(_) => "access_key",
            Self::Stranger(_) | Self::Crowd => "stranger",
        }
    }

    const fn is_stranger(&self) -> bool {
        matches!(self, Self::Stranger(_) | Self::Crowd)
    }
}

/// It is too much; after this time it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much was asked for; ask again in {} ms", wait.as_millis())]
pub struct TooMuch {
    /// How long to wait.
    pub wait: Duration,
}

/// What everyone has asked for.
#[derive(Debug)]
pub struct Limiter {
    limits: RateLimits,
    requests: Buckets,
    bytes: Buckets,
}

impl Limiter {
    /// Nobody has asked for anything.
    pub fn new(limits: RateLimits) -> Self {
        Self { limits, requests: Buckets::default(), bytes: Buckets::default() }
    }

    /// Somebody makes a request.
    pub fn ask(&mut self, asker: &Asker, now: Moment) -> Result<(), TooMuch> {
        let RateLimits { requests, bytes, strangers } = self.limits;
        match asker {
            Asker::Stranger(_) | Asker::Crowd => {
                return self.requests.take(asker, strangers, now, 1);
            }
            // It has one reason to ask in months, and each time is remembered in the audit log.
            Asker::Node(_) => return self.requests.take(asker, NODES, now, NODE_COST),
            Asker::Token(_) | Asker::Thing(_) | Asker::Key(_) => {}
        }
        // The bytes of the requests before, which were not known when those began.
        self.bytes.take(asker, bytes, now, 0)?;
        self.requests.take(asker, requests, now, 1)
    }

    /// A request of somebody has brought so many bytes.
    pub fn spend(&mut self, asker: &Asker, now: Moment, bytes: u64) {
        if !asker.is_stranger() {
            self.bytes.spend(asker, self.limits.bytes, now, bytes);
        }
    }
}

const LARGEST_BODY: u32 = 1 << 20;
/// A node may ask ten times at once, and then every half minute.
const NODES: Rate = Rate::new(1, 300);
const NODE_COST: u64 = 30;
const SECOND: u64 = 1_000_000_000;
/// The most who are told apart.
const ASKERS: usize = 16_384;
/// The longest anyone waits.
const LONGEST: u64 = 60 * SECOND;

/// For each the moment, in nanoseconds, at which its bucket is full again.
#[derive(Debug, Default)]
struct Buckets {
    full_at: BTreeMap<Asker, u64>,
    swept: u64,
}

impl Buckets {
    /// Takes so many out of the bucket, if it has them.
    fn take(&mut self, asker: &Asker, rate: Rate, now: Moment, count: u64) -> Result<(), TooMuch> {
        let now = nanos(now);
        let asker = self.told_apart(asker, now);
        let full_at = self.full_at.get(asker).copied().unwrap_or(now).max(now);
        let taken = full_at.saturating_add(rate.nanos(count));
        let over = (taken - now).saturating_sub(rate.nanos(rate.burst.get().into()));
        if over > 0 {
            return Err(TooMuch { wait: Duration::from_nanos(over.min(LONGEST)) });
        }
        if taken > now {
            self.full_at.insert(asker.clone(), taken);
        }
        Ok(())
    }

    /// Takes so many out of the bucket, which may then owe some.
    fn spend(&mut self, asker: &Asker, rate: Rate, now: Moment, count: u64) {
        let now = nanos(now);
        let most = rate.nanos(rate.burst.get().into()).saturating_add(LONGEST);
        let asker = self.told_apart(asker, now);
        let full_at = self.full_at.get(asker).copied().unwrap_or(now).max(now);
        let full_at = full_at.saturating_add(rate.nanos(count)).min(now.saturating_add(most));
        self.full_at.insert(asker.clone(), full_at);
    }

    /// Whose bucket it is: the asker's own, unless there are too many of them. Full buckets need
    /// no place; they are looked for at most once a second.
    fn told_apart<'a>(&mut self, asker: &'a Asker, now: u64) -> &'a Asker {
        if self.full_at.len() < ASKERS || self.full_at.contains_key(asker) {
            return asker;
        }
        if now.saturating_sub(self.swept) >= SECOND {
            self.swept = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() < ASKERS { asker } else { &Asker::Crowd }
    }
}

const fn nanos(moment: Moment) -> u64 {
    moment.as_millis().saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(per_second: u32, burst: u32) -> RateLimits {
        let rate = Rate::new(per_second, burst);
        RateLimits { requests: rate, bytes: Rate::new(100, 1000), strangers: rate }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_millis(ms)
    }

    fn token(name: &str) -> Asker {
        Asker::Token(name.to_owned())
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_so_many_a_second() {
        let mut limiter = Limiter::new(limits(10, 3));
        let mut ask = |ms| limiter.ask(&token("a"), at(ms)).map_err(|error| error.wait);
        assert_eq!([ask(0), ask(0), ask(0)], [Ok(()); 3]);
        assert_eq!(ask(0), Err(Duration::from_millis(100)));
        assert_eq!(ask(99), Err(Duration::from_millis(1)));
        assert_eq!((ask(100), ask(100).is_err()), (Ok(()), true));
        assert_eq!([ask(10_000), ask(10_000), ask(10_000)], [Ok(()); 3]);
        assert!(ask(10_000).is_err(), "a long silence buys no more than a burst");
    }

    #[test]
    fn nobody_is_held_up_by_what_another_asks_for() {
        let mut limiter = Limiter::new(limits(1, 1));
        assert!(limiter.ask(&token("a"), at(0)).is_ok());
        assert!(limiter.ask(&token("a"), at(0)).is_err());
        assert!(limiter.ask(&token("b"), at(0)).is_ok());
        assert!(limiter.ask(&Asker::Node("a".parse().unwrap()), at(0)).is_ok());
    }

    #[test]
    fn bytes_are_paid_for_afterwards_and_a_debt_has_an_end() {
        let mut limiter = Limiter::new(limits(1000, 1000));
        limiter.spend(&token("a"), at(0), 1000);
        assert!(limiter.ask(&token("a"), at(0)).is_ok());
        limiter.spend(&token("a"), at(0), 50);
        let refused = limiter.ask(&token("a"), at(0)).unwrap_err();
        assert_eq!(refused.wait, Duration::from_millis(500));
        assert!(limiter.ask(&token("a"), at(500)).is_ok());
        limiter.spend(&token("a"), at(500), u64::MAX);
        assert_eq!(limiter.ask(&token("a"), at(500)).unwrap_err().wait, Duration::from_mins(1));
    }

    #[test]
    fn a_network_of_ipv6_is_one_stranger_and_a_mapped_address_is_ipv4() {
        let stranger = |text: &str| Asker::stranger(text.parse().unwrap());
        assert_eq!(stranger("2001:db8::1"), stranger("2001:db8::ffff:1"));
        assert_ne!(stranger("2001:db8::1"), stranger("2001:db8:0:1::1"));
        assert_eq!(stranger("::ffff:10.0.0.1"), stranger("10.0.0.1"));
    }

    #[test]
    fn a_flood_of_strangers_is_one_crowd_and_those_who_are_known_go_on() {
        let mut limiter = Limiter::new(limits(1, 1));
        let known = token("a");
        assert!(limiter.ask(&known, at(0)).is_ok());
        for number in 0..200_000_u32 {
            let asker = Asker::stranger(IpAddr::V4(number.into()));
            assert!(
                limiter.ask(&asker, at(0)).is_ok()
                    || usize::try_from(number).unwrap() >= ASKERS - 1
            );
        }
        assert!(limiter.requests.full_at.len() <= ASKERS + 1);
        assert!(limiter.ask(&known, at(1000)).is_ok(), "it has its own bucket");
        let late = Asker::stranger(IpAddr::V4(u32::MAX.into()));
        assert!(limiter.ask(&late, at(10_000)).is_ok(), "full buckets make room");
        assert!(limiter.requests.full_at.len() < 100);
    }

    proptest! {
        #[test]
        fn no_more_than_the_burst_and_the_rate_allow_ever_gets_through(
            per_second in 1..500_u32, burst in 1..50_u32,
            gaps in prop::collection::vec(0..300_u64, 1..300),
        ) {
            let mut limiter = Limiter::new(limits(per_second, burst));
            let (mut now, mut passed) = (0, 0_u64);
            for gap in gaps {
                now += gap;
                let outcome = limiter.ask(&token("a"), at(now));
                passed += u64::from(outcome.is_ok());
                if let Err(TooMuch { wait }) = outcome {
                    let then = now + u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap();
                    let mut later = Limiter { limits: limiter.limits, requests: Buckets {
                        full_at: limiter.requests.full_at.clone(), swept: 0,
                    }, bytes: Buckets::default() };
                    prop_assert!(later.ask(&token("a"), at(then)).is_ok(), "the wait is enough");
                }
            }
            let most = u64::from(burst) + now * u64::from(per_second) / 1000 + 1;
            prop_assert!(passed <= most, "{passed} of {most}");
        }
    }
}
