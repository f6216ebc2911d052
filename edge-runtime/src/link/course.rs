//! Where to connect next, and with which MQTT: the endpoints in their order, beginning with the
//! last good one; 3.1.1 where a broker takes the connection and does not answer to MQTT 5. Pure.

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V3,
}

/// How far a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Nobody answered, or not who should.
    Nothing,
    /// TLS was spoken, MQTT was not answered, or its version was refused.
    NoMqtt,
    /// The broker answered, and refused.
    Refusal,
    /// The link was up.
    Up,
}

/// The endpoints, and what is known of them.
#[derive(Debug)]
pub(super) struct Course {
    versions: Vec<Version>,
    at: usize,
    /// Whether this endpoint was tried with the other version since it was last come to.
    both_tried: bool,
}

impl Course {
    /// So many endpoints; `good` is the last one that worked.
    pub(super) fn new(endpoints: usize, good: Option<usize>) -> Self {
        let at = good.filter(|good| *good < endpoints).unwrap_or(0);
        Self { versions: vec![Version::V5; endpoints], at, both_tried: false }
    }

    /// The endpoint to try, and how.
    pub(super) fn next(&self) -> (usize, Version) {
        (self.at, self.versions.get(self.at).copied().unwrap_or(Version::V5))
    }

    /// How that went.
    pub(super) fn ended(&mut self, reached: Reached) {
        let endpoints = self.versions.len().max(1);
        match (reached, self.versions.get_mut(self.at)) {
            (Reached::Up, _) => self.both_tried = false,
            (Reached::NoMqtt, Some(version)) if !self.both_tried => {
                self.both_tried = true;
                *version = other(*version);
            }
            (Reached::NoMqtt, Some(version)) => {
                *version = Version::V5;
                self.go_on(endpoints);
            }
            (Reached::Nothing | Reached::Refusal | Reached::NoMqtt, _) => self.go_on(endpoints),
        }
    }

    const fn go_on(&mut self, endpoints: usize) {
        self.both_tried = false;
        self.at = (self.at + 1) % endpoints;
    }
}

const fn other(version: Version) -> Version {
    match version {
        Version::V5 => Version::V3,
        Version::V3 => Version::V5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(course: &mut Course, endings: &[Reached]) -> Vec<(usize, Version)> {
        let step = |reached: &Reached| {
            let tried = course.next();
            course.ended(*reached);
            tried
        };
        endings.iter().map(step).collect()
    }

    #[test]
    fn endpoints_are_tried_in_their_order_from_the_last_good_one_on() {
        use Reached::{Nothing, Refusal, Up};
        let mut course = Course::new(3, Some(1));
        let tried = run(&mut course, &[Up, Up, Nothing, Refusal, Nothing, Up, Up]);
        let places: Vec<_> = tried.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [1, 1, 1, 2, 0, 1, 1]);
        assert!(tried.iter().all(|(_, version)| *version == Version::V5));
        assert_eq!(Course::new(2, Some(7)).next().0, 0, "an endpoint that is no more");
    }

    #[test]
    fn a_broker_without_mqtt_5_is_spoken_to_in_3_1_1_at_once_and_from_then_on() {
        use Reached::{NoMqtt, Nothing, Up};
        use Version::{V3, V5};
        let mut course = Course::new(2, None);
        let tried = run(&mut course, &[NoMqtt, Up, Up, Nothing, Nothing, Up]);
        assert_eq!(tried, [(0, V5), (0, V3), (0, V3), (0, V3), (1, V5), (0, V3)]);
    }

    #[test]
    fn a_broker_that_speaks_neither_does_not_hold_up_the_next_endpoint() {
        use Reached::NoMqtt;
        use Version::{V3, V5};
        let mut course = Course::new(2, None);
        let tried = run(&mut course, &[NoMqtt; 5]);
        assert_eq!(tried, [(0, V5), (0, V3), (1, V5), (1, V3), (0, V5)]);
    }
}
