//! What is reported of the link itself. All of it changes all the time, and telling costs the very
//! bytes that are counted: so it is told at most once an hour, and only what left its dead-band.

use std::time::Duration;

use gnomon_sync::Moment;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::link::{Quality, Traffic};

/// Told no more often.
const PAUSE: Duration = Duration::from_hours(1);
/// Below these, values do not differ enough to be news.
const RTT_MS: u64 = 100;
const CONNECTIONS: u64 = 5;
const BYTES: u64 = 256 * 1024;

/// What the agent knows of the link.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) traffic: Traffic,
    pub(super) quality: Quality,
    told: Option<Moment>,
}

/// The member `link` of the node's report; counted since the agent started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Told {
    rtt_ms: u64,
    connections: u64,
    keep_alive_s: u64,
    mqtt: u64,
    bytes: Bytes,
}

/// By purpose; `overhead` is what TLS and MQTT add, and keep-alives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Bytes {
    desired: u64,
    reported: u64,
    overhead: u64,
}

impl Link {
    /// What to report, beside what is reported already.
    pub(super) fn tell(&self, now: Moment, held: Option<&Value>) -> Option<Value> {
        let is_early = self.told.is_some_and(|told| now.saturating_since(told) < PAUSE);
        if self.quality.connections == 0 || is_early {
            return held.cloned();
        }
        let new = self.present();
        let before = held.and_then(|held| serde_json::from_value::<Told>(held.clone()).ok());
        if before.is_some_and(|before| is_no_news(&before, &new)) {
            return held.cloned();
        }
        serde_json::to_value(new).ok()
    }

    /// It is reported as `new`, and was as `held`.
    pub(super) fn reported(&mut self, now: Moment, held: Option<&Value>, new: Option<&Value>) {
        if held != new {
            self.told = Some(now);
        }
    }

    fn present(&self) -> Told {
        let (Traffic { desired, reported, .. }, total) = (self.traffic, self.traffic.total());
        let Quality { rtt_ms, connections, keep_alive_s, mqtt, .. } = self.quality;
        let overhead = total.saturating_sub(desired).saturating_sub(reported);
        Told {
            rtt_ms: rtt_ms.unwrap_or_default(),
            connections,
            keep_alive_s,
            mqtt,
            bytes: Bytes { desired, reported, overhead },
        }
    }
}

fn is_no_news(held: &Told, new: &Told) -> bool {
    let is_near = |a: u64, b: u64, floor: u64| {
        let (less, more) = (a.min(b), a.max(b));
        more - less <= floor || more < less.saturating_mul(2)
    };
    held.mqtt == new.mqtt
        && is_near(held.keep_alive_s, new.keep_alive_s, 0)
        && is_near(held.rtt_ms, new.rtt_ms, RTT_MS)
        && is_near(held.connections, new.connections, CONNECTIONS)
        && is_near(held.bytes.desired, new.bytes.desired, BYTES)
        && is_near(held.bytes.reported, new.bytes.reported, BYTES)
        && is_near(held.bytes.overhead, new.bytes.overhead, BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Moment {
        Moment::from_millis(minutes * 60_000)
    }

    /// What is told goes at once.
    fn told(link: &mut Link, now: Moment, held: Option<&Value>) -> Option<Value> {
        let new = link.tell(now, held);
        link.reported(now, held, new.as_ref());
        new
    }

    #[test]
    fn a_link_that_stays_what_it_is_is_told_once() {
        let mut link = Link::default();
        assert_eq!(told(&mut link, at(0), None), None, "there was none yet");
        link.quality =
            Quality { rtt_ms: Some(80), connections: 1, keep_alive_s: 30, ..link.quality };
        let first = told(&mut link, at(1), None).unwrap();
        assert_eq!(first["rtt_ms"], 80);
        for minute in 2..600 {
            link.quality.rtt_ms = Some(60 + minute % 90);
            link.traffic.bytes_out += 300;
            let told = told(&mut link, at(minute), Some(&first));
            assert_eq!(told.as_ref(), Some(&first));
        }
    }

    #[test]
    fn a_bad_link_is_told_at_most_every_hour() {
        let mut link = Link::default();
        link.quality.connections = 1;
        let mut held = told(&mut link, at(0), None).unwrap();
        let mut times = 0;
        for minute in 0..60 * 24 {
            link.quality.connections += 7;
            link.quality.rtt_ms = Some(if minute % 2 == 0 { 50 } else { 5_000 });
            let now = told(&mut link, at(minute), Some(&held)).unwrap();
            times += u32::from(now != held);
            held = now;
        }
        assert!((5..=24).contains(&times), "{times} times in a day");
    }
}
