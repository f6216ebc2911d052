//! Memory and disk depend on the documents that there are and were last held, not on how long an
//! outage was or how often something was tried.

use super::channel::Channel;
use super::event::Role;
use super::violation::{Invariant, Violation, ensure};

/// Bytes beyond the documents that a machine may take for each half, in its description.
const PER_HALF: usize = 1_500;
/// Bytes that a machine may take beyond its halves.
const FIXED: usize = 4_000;
/// How many times a document may be kept at once: current, base, and in batches under way.
const COPIES: usize = 16;

pub(super) fn check(channel: &Channel) -> Result<(), Violation> {
    let halves = channel.ledger.known() + 1;
    let largest = channel.ledger.largest() * 4;
    let limit = halves * (PER_HALF + COPIES * largest) + FIXED;
    for (name, length) in [
        ("writer", format!("{:?}", channel.writer).len()),
        ("reader", format!("{:?}", channel.reader).len()),
    ] {
        ensure(length <= limit, Invariant::Bounded, || {
            format!("the {name} takes {length} bytes for {halves} halves; {limit} are allowed")
        })?;
    }
    for role in [Role::Writer, Role::Reader] {
        let disk = channel.disk(role);
        ensure(disk.rows() <= 2 * halves + 1, Invariant::Bounded, || {
            format!("the {role:?}'s disk has {} rows for {halves} halves", disk.rows())
        })?;
        ensure(disk.bytes() <= limit, Invariant::Bounded, || {
            format!("the {role:?}'s disk has {} bytes for {halves} halves", disk.bytes())
        })?;
    }
    Ok(())
}
