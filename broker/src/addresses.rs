//! How many connections each address has, and how fast it opens new ones. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use crate::metrics::Rejection;
use crate::rate::{Allowance, Rate};

#[derive(Debug)]
struct Visitor {
    open: usize,
    allowance: Allowance,
}

/// The addresses that have connections, or had too recently to be forgotten.
#[derive(Debug)]
pub(crate) struct Addresses {
    visitors: HashMap<IpAddr, Visitor>,
    most_open: usize,
    rate: Option<Rate>,
    /// How many there may be before those without connections are forgotten.
    room: usize,
}

/// The least number of addresses that are looked through at once.
const ROOM: usize = 1_024;

impl Addresses {
    /// At most so many connections per address, opened at most so fast.
    pub(crate) fn new(most_open: usize, rate: Option<Rate>) -> Self {
        Self { visitors: HashMap::new(), most_open, rate, room: ROOM }
    }

    /// Lets a connection of an address in.
    pub(crate) fn enter(&mut self, address: IpAddr, now: Instant) -> Result<(), Rejection> {
        let address = network(address);
        if self.visitors.len() >= self.room {
            self.visitors.retain(|_, v| v.open > 0 || !v.allowance.is_whole(now));
            self.room = ROOM.max(self.visitors.len() * 2);
        }
        let new = || Visitor { open: 0, allowance: Allowance::new(now) };
        let visitor = self.visitors.entry(address).or_insert_with(new);
        if visitor.open >= self.most_open {
            return Err(Rejection::TooManyOfAddress);
        }
        if self.rate.is_some_and(|rate| !visitor.allowance.take(rate, now)) {
            return Err(Rejection::TooFast);
        }
        visitor.open += 1;
        Ok(())
    }

    /// A connection of an address has ended.
    pub(crate) fn leave(&mut self, address: IpAddr) {
        let address = network(address);
        let rate = self.rate;
        if let Some(visitor) = self.visitors.get_mut(&address) {
            visitor.open = visitor.open.saturating_sub(1);
            if visitor.open == 0 && rate.is_none() {
                self.visitors.remove(&address);
            }
        }
    }
}

/// What one visitor can have many of counts as one: the lower half of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_others_have_theirs() {
        let mut addresses = Addresses::new(2, None);
        let now = Instant::now();
        let mut enter = |text: &str| addresses.enter(text.parse().unwrap(), now);
        assert_eq!(enter("10.0.0.1"), Ok(()));
        assert_eq!(enter("::ffff:10.0.0.1"), Ok(()));
        assert_eq!(enter("10.0.0.1"), Err(Rejection::TooManyOfAddress));
        assert_eq!(enter("10.0.0.2"), Ok(()));
        assert_eq!(enter("2001:db8::1"), Ok(()));
        assert_eq!(enter("2001:db8::2"), Ok(()));
        assert_eq!(enter("2001:db8::3"), Err(Rejection::TooManyOfAddress));
        assert_eq!(enter("2001:db8:0:1::1"), Ok(()));
        addresses.leave("10.0.0.1".parse().unwrap());
        assert_eq!(addresses.enter("10.0.0.1".parse().unwrap(), now), Ok(()));
    }

    #[test]
    fn an_address_opens_so_many_a_second() {
        let mut addresses = Addresses::new(100, Rate::new(10, 2));
        let now = Instant::now();
        let address = "10.0.0.1".parse().unwrap();
        let mut enter = |at| addresses.enter(address, at);
        assert_eq!([enter(now), enter(now)], [Ok(()), Ok(())]);
        assert_eq!(enter(now), Err(Rejection::TooFast));
        assert_eq!(enter(now + Duration::from_millis(100)), Ok(()));
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let mut addresses = Addresses::new(1, Rate::new(1_000, 1));
        let start = Instant::now();
        for n in 0..100_000_u32 {
            let now = start + Duration::from_millis(u64::from(n) * 2);
            let address = IpAddr::V4(n.into());
            addresses.enter(address, now).unwrap();
            addresses.leave(address);
        }
        assert!(addresses.visitors.len() <= ROOM);
    }
}
