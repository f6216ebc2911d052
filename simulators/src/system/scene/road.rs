//! What lies between one site and the cloud while a scenario is played: the emulator's link model,
//! and the agent's attempts to connect. Pure; all times are milliseconds of the world.

use std::collections::VecDeque;
use std::time::Duration;

use gnomon_edge::link::retry::{Met, Retry};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::super::event::Event;
use super::super::line::Line;
use crate::link::{
    Chunk, ConnectionState, Direction, DirectionState, Fate, OutageConnect, Profile, schedule,
};
use crate::link::{Outage, draw_reset};

/// What MQTT, TLS and the receipt add to a message.
const MESSAGE_OVERHEAD: u64 = 70;
/// What a connection costs, the first and a resumed one; measured on real fleets.
const FIRST_CONNECTION: u64 = 3_600;
const CONNECTION: u64 = 1_600;
/// How long a broken connection is believed in, if the profile does not say.
const HANGS: u64 = 90_000;
/// When a system asks again whether somebody is there, and when the agent gives an attempt up.
const ASKS: [u64; 5] = [0, 1_000, 3_000, 7_000, 15_000];
const PATIENCE: u64 = 20_000;
/// Round trips until a link is up: TCP, TLS, MQTT, the subscription.
const ROUND_TRIPS: u32 = 4;
/// A link that lived this long was a good one.
const GOOD_LIFE: u64 = 10_000;

pub(super) struct Road {
    pub(super) is_off: bool,
    pub(super) bytes: u64,
    /// When the site's write, answer and step are due.
    pub(super) work: [Option<u64>; 3],
    profile: Profile,
    outage: Outage,
    dial: Dial,
    retry: Retry,
    connections: u64,
    state: ConnectionState,
    reset_at: Option<u64>,
    up: Way,
    down: Way,
    rng: StdRng,
}

/// How the agent stands to the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dial {
    /// It tries then.
    Waits(u64),
    /// It asks since then, and nobody answers.
    Asks(u64),
    /// Somebody answers; it is done then.
    Shakes { since: u64, until: u64 },
    /// It is connected since then.
    Up(u64),
}

#[derive(Default)]
struct Way {
    state: DirectionState,
    /// When those arrive that have left; the others wait.
    arrive: VecDeque<u64>,
    /// When the next can leave.
    blocked: Option<u64>,
}

impl Road {
    pub(super) fn new(profile: &Profile, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let profile = simulated(profile);
        Self {
            is_off: false,
            bytes: 0,
            work: [None; 3],
            outage: Outage::new(Duration::ZERO, &profile, &mut rng),
            dial: Dial::Waits(0),
            retry: Retry::new(StdRng::seed_from_u64(seed ^ 1)),
            connections: 0,
            state: ConnectionState::open(Duration::ZERO, &profile, &mut rng),
            profile,
            reset_at: None,
            up: Way::default(),
            down: Way::default(),
            rng,
        }
    }

    pub(super) fn order(&mut self, now: u64, is_there: bool) {
        self.outage.order(at(now), !is_there, &self.profile);
    }

    pub(super) fn behave(&mut self, now: u64, profile: &Profile) {
        self.profile = simulated(profile);
        self.outage.begin_profile(at(now), &self.profile, &mut self.rng);
    }

    pub(super) fn turn_off(&mut self, now: u64) {
        self.is_off = true;
        self.work = [None; 3];
        self.dial = Dial::Waits(now);
    }

    pub(super) fn turn_on(&mut self, now: u64) {
        self.is_off = false;
        self.retry.reset();
        self.dial = Dial::Waits(now);
    }

    /// When something happens here next.
    pub(super) fn next(&self) -> Option<u64> {
        let dial = match self.dial {
            Dial::Waits(until) | Dial::Shakes { until, .. } => Some(until),
            Dial::Asks(since) => Some(since + PATIENCE),
            Dial::Up(_) => None,
        };
        let dial = dial.filter(|_| !self.is_off);
        let ways = [&self.up, &self.down].into_iter().filter(|way| way.state.is_up);
        let ways = ways.flat_map(|way| [way.arrive.front().copied(), way.blocked]);
        let outage = self.outage.next_change().map(up_to_millis);
        let own = [dial, outage, self.reset_at];
        own.into_iter().chain(ways).chain(self.work).flatten().min()
    }

    /// What happens here now.
    pub(super) fn pass(
        &mut self,
        now: u64,
        site: u16,
        line: &mut Line,
        cloud_is_there: bool,
    ) -> Vec<Event> {
        self.outage.advance(at(now), &self.profile, &mut self.rng);
        let is_up = self.outage.is_up();
        for way in [&mut self.up, &mut self.down] {
            way.state.is_up = is_up;
        }
        let mut events = self.ends(now, site, line, is_up);
        if events.is_empty() && !self.is_off {
            events.extend(self.dial(now, site, is_up, cloud_is_there));
        }
        if events.is_empty() {
            events.extend(self.carry(now, site, line));
        }
        events
    }

    /// Whether the connection ends, and who notices.
    fn ends(&mut self, now: u64, site: u16, line: &mut Line, is_up: bool) -> Vec<Event> {
        let is_lost = self.outage.hang_ends(at(now));
        let is_reset = self.reset_at.take_if(|at| *at <= now).is_some();
        let is_one_sided = is_up && !self.is_off && line.site != line.broker;
        if (line.site.is_none() && line.broker.is_none()) || !(is_lost || is_reset || is_one_sided)
        {
            return Vec::new();
        }
        for (way, is_up) in [(&mut self.up, true), (&mut self.down, false)] {
            line.packets(is_up).clear();
            way.arrive.clear();
            way.blocked = None;
        }
        self.reset_at = None;
        if let Dial::Up(since) = self.dial {
            if now.saturating_sub(since) >= GOOD_LIFE {
                self.retry.reset();
            }
            self.wait(now, Met::Refusal);
        }
        vec![Event::SiteHangsUp(site), Event::BrokerHangsUp(site)]
    }

    fn wait(&mut self, now: u64, met: Met) {
        self.dial = Dial::Waits(now + up_to_millis(self.retry.next_delay(met)).max(1));
    }

    fn dial(&mut self, now: u64, site: u16, is_up: bool, cloud_is_there: bool) -> Option<Event> {
        match self.dial {
            Dial::Waits(until) if until <= now => {
                if is_up {
                    self.shake(now, now);
                } else if self.profile.outage_connect == OutageConnect::Refuse {
                    self.wait(now, Met::NoNetwork);
                } else {
                    self.dial = Dial::Asks(now);
                }
            }
            Dial::Asks(since) if since + PATIENCE <= now => self.wait(now, Met::Silence),
            Dial::Asks(since) if is_up => {
                let heard = ASKS.map(|ask| since + ask).into_iter().find(|ask| *ask >= now);
                if let Some(heard) = heard {
                    self.shake(since, heard);
                }
            }
            Dial::Shakes { since, .. } if !is_up => self.dial = Dial::Asks(since),
            Dial::Shakes { until, .. } if until <= now => {
                if !cloud_is_there {
                    self.wait(now, Met::NoService);
                    return None;
                }
                self.dial = Dial::Up(now);
                self.bytes += if self.connections == 0 { FIRST_CONNECTION } else { CONNECTION };
                self.connections += 1;
                self.state = ConnectionState::open(at(now), &self.profile, &mut self.rng);
                let reset = draw_reset(at(now), &self.profile, &mut self.rng);
                self.reset_at = reset.map(up_to_millis);
                return Some(Event::Connect(site));
            }
            Dial::Waits(_) | Dial::Asks(_) | Dial::Shakes { .. } | Dial::Up(_) => {}
        }
        None
    }

    fn shake(&mut self, since: u64, from: u64) {
        let round_trip = (self.profile.delay_ms * 2 + self.profile.jitter_ms).max(1);
        let until = from + round_trip * u64::from(ROUND_TRIPS);
        self.dial = Dial::Shakes { since, until };
    }

    /// Lets messages leave and arrive.
    fn carry(&mut self, now: u64, site: u16, line: &mut Line) -> Vec<Event> {
        let mut events = Vec::new();
        for (way, direction) in [(&mut self.up, Direction::Up), (&mut self.down, Direction::Down)] {
            let is_up = direction == Direction::Up;
            let packets = line.packets(is_up);
            way.blocked = None;
            // Those that somebody else took are gone.
            way.arrive.truncate(packets.len());
            while let Some(packet) = packets.get(way.arrive.len()) {
                let topic = packet.topic.to_string().len();
                let bytes = (topic + packet.bytes.len()) as u64 + MESSAGE_OVERHEAD;
                let chunk = Chunk { direction, bytes };
                let (rng, profile) = (&mut self.rng, &self.profile);
                match schedule(at(now), chunk, profile, rng, &mut way.state, &mut self.state) {
                    Fate::Deliver { at, .. } => {
                        self.bytes += bytes;
                        way.arrive.push_back(up_to_millis(at));
                    }
                    Fate::Wait { until } => {
                        way.blocked = Some(up_to_millis(until).max(now + 1));
                        break;
                    }
                    Fate::Down | Fate::Forgotten => break,
                }
            }
            // What left before an outage and would arrive in it waits for its end.
            while way.state.is_up && way.arrive.front().is_some_and(|at| *at <= now) {
                way.arrive.pop_front();
                events.push(Event::Arrive { site, up: is_up, at: 0 });
            }
        }
        events
    }
}

/// Without keep-alives nothing may be forgotten; and every broken connection is noticed some time.
fn simulated(profile: &Profile) -> Profile {
    let hangs = profile.outage_hang_ms.unwrap_or(HANGS);
    Profile { nat_idle_ms: 0, outage_hang_ms: Some(hangs), ..profile.clone() }
}

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn up_to_millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
