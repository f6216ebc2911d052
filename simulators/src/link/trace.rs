//! A recorded link: how long a round trip took, how much was lost and how fast it was, over time, as
//! lines of CSV; and the profile that an emulated link has at a moment of it. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use super::{InvalidProfile, Profile};

/// The first line.
pub const HEAD: &str = "time_s,rtt_ms,loss,rate_bytes_per_s";
/// The most points of a trace: a day of seconds.
const MOST: usize = 86_400;
/// The longest round trip.
const LONGEST_MS: f64 = 60_000.0;

/// A recorded link; at least one point, in the order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace(Vec<Point>);

/// How it was from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Since the beginning.
    pub at: Duration,
    /// A round trip; none: nothing came back.
    pub rtt_ms: Option<f64>,
    /// How many of the packets were lost, from 0 to 1.
    pub loss: f64,
    /// Bytes a second, each way; 0: not limited, or not measured.
    pub rate: u64,
}

/// What a link is at a moment of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// How it behaves.
    pub profile: Profile,
    /// Whether anything passes.
    pub is_up: bool,
    /// When it next changes, since the beginning.
    pub until: Duration,
}

/// Why a text is no trace.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParseTraceError {
    /// The first line is another one.
    #[error("the first line of a trace is `{HEAD}`")]
    Head,
    /// There is nothing below it.
    #[error("the trace has no line below the first")]
    Empty,
    /// There is too much below it.
    #[error("line {line}: a trace has at most {MOST} lines")]
    TooLong {
        /// The first line that is too much.
        line: usize,
    },
    /// A line has more or fewer fields.
    #[error("line {line}: four fields with commas between belong here ({HEAD})")]
    Fields {
        /// The line.
        line: usize,
    },
    /// A field is no such number.
    #[error("line {line}: {field} is {found:?}; {wanted} belongs here")]
    Field {
        /// The line.
        line: usize,
        /// The field's name.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// Time goes back, or does not begin at zero.
    #[error("line {line}: times begin at 0 and grow from line to line")]
    Order {
        /// The line.
        line: usize,
    },
}

impl Trace {
    /// Reads a trace.
    pub fn parse(text: &str) -> Result<Self, ParseTraceError> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, line)| line.trim() != HEAD) {
            return Err(ParseTraceError::Head);
        }
        let mut points: Vec<Point> = Vec::new();
        for (line, text) in lines.filter(|(_, text)| !text.trim().is_empty()) {
            if points.len() == MOST {
                return Err(ParseTraceError::TooLong { line });
            }
            let point = point(line, text)?;
            let is_next = match points.last() {
                None => point.at.is_zero(),
                Some(last) => point.at > last.at,
            };
            if !is_next {
                return Err(ParseTraceError::Order { line });
            }
            points.push(point);
        }
        if points.is_empty() { Err(ParseTraceError::Empty) } else { Ok(Self(points)) }
    }

    /// A trace of points that were just measured; none if they are no trace.
    pub fn of(points: Vec<Point>) -> Option<Self> {
        let text = Self(points).to_csv();
        Self::parse(&text).ok()
    }

    /// As a file has it.
    pub fn to_csv(&self) -> String {
        let mut out = format!("{HEAD}\n");
        for Point { at, rtt_ms, loss, rate } in &self.0 {
            let rtt = rtt_ms.map(|rtt| format!("{rtt:.1}")).unwrap_or_default();
            writeln!(out, "{:.3},{rtt},{loss:.3},{rate}", at.as_secs_f64())
                .expect("a string takes text");
        }
        out
    }

    /// How long it is: the last point lasts as long as the one before it.
    pub fn length(&self) -> Duration {
        let last = self.0.last().map_or(Duration::ZERO, |point| point.at);
        let before = self.0.iter().rev().nth(1).map_or(Duration::ZERO, |point| point.at);
        let step = last.saturating_sub(before);
        last + if step.is_zero() { Duration::from_secs(1) } else { step }
    }

    /// What the link is at a time, over and over again; what the trace does not say is as in `base`.
    pub fn at(&self, now: Duration, base: &Profile) -> Result<Moment, InvalidProfile> {
        let length = self.length().as_nanos().max(1);
        let round = now.as_nanos() / length;
        let began = nanos(round * length);
        let within = now.saturating_sub(began);
        let next = self.0.partition_point(|point| point.at <= within);
        let point = next.checked_sub(1).and_then(|at| self.0.get(at)).copied();
        let point = point.unwrap_or(Point { at: Duration::ZERO, rtt_ms: None, loss: 0.0, rate: 0 });
        let ends = self.0.get(next).map_or_else(|| self.length(), |point| point.at);
        let profile = point.profile(base);
        profile.check()?;
        Ok(Moment { profile, is_up: point.rtt_ms.is_some(), until: began + ends })
    }
}

impl Point {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked when read"
    )]
    fn profile(&self, base: &Profile) -> Profile {
        let rtt_ms = self.rtt_ms.unwrap_or_default();
        // A lost segment is sent again after about two round trips, and never before 200 ms.
        let stall_ms = ((rtt_ms * 2.0) as u64).max(200);
        Profile {
            delay_ms: (rtt_ms / 2.0).round() as u64,
            rate_up_bytes_per_s: self.rate,
            rate_down_bytes_per_s: self.rate,
            loss_per_kib: self.loss,
            loss_repeat: self.loss,
            stall_ms,
            stall_cap_ms: base.stall_cap_ms.max(stall_ms),
            outage_every_ms: 0,
            ..base.clone()
        }
    }
}

fn point(line: usize, text: &str) -> Result<Point, ParseTraceError> {
    let fields: Vec<_> = text.split(',').map(str::trim).collect();
    let [time, rtt, loss, rate] = fields.as_slice() else {
        return Err(ParseTraceError::Fields { line });
    };
    let number = |field, found: &str, wanted, most: f64| {
        let value = found.parse::<f64>().ok().filter(|value| (0.0..=most).contains(value));
        value.ok_or_else(|| ParseTraceError::Field { line, field, found: found.to_owned(), wanted })
    };
    let seconds = number("time_s", time, "a number of seconds up to a year", 3.2e7)?;
    let rtt_ms = match *rtt {
        "" => None,
        rtt => Some(number("rtt_ms", rtt, "a number up to 60000, or nothing", LONGEST_MS)?),
    };
    let loss = number("loss", loss, "a number from 0 to 1", 1.0)?;
    let wanted = "a whole number, 0 for unlimited";
    let found = || (*rate).to_owned();
    let wrong =
        || ParseTraceError::Field { line, field: "rate_bytes_per_s", found: found(), wanted };
    let rate = rate.parse().map_err(|_| wrong())?;
    Ok(Point { at: Duration::from_secs_f64(seconds), rtt_ms, loss, rate })
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trace(lines: &str) -> Result<Trace, ParseTraceError> {
        Trace::parse(&format!("{HEAD}\n{lines}"))
    }

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_moment_of_a_trace_is_the_last_point_before_it_and_the_trace_begins_again() {
        let trace = trace("0,80,0.01,50000\n2,,1,0\n3.5,300,0,8000\n").unwrap();
        let base = Profile { jitter_ms: 7, ..Profile::perfect() };
        let at = |seconds| trace.at(secs(seconds), &base).unwrap();
        let first = at(1.0);
        assert_eq!((first.profile.delay_ms, first.profile.jitter_ms, first.is_up), (40, 7, true));
        assert_eq!((first.profile.rate_up_bytes_per_s, first.until), (50_000, secs(2.0)));
        assert!(!at(2.0).is_up, "nothing came back");
        assert_eq!((at(3.5).profile.delay_ms, at(3.5).until), (150, secs(5.0)));
        assert_eq!(trace.length(), secs(5.0));
        assert_eq!(at(6.0).profile.delay_ms, 40, "it begins again");
        assert_eq!(at(6.0).until, secs(7.0));
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        assert_eq!(Trace::parse("time,rtt\n0,1\n"), Err(ParseTraceError::Head));
        assert_eq!(trace(""), Err(ParseTraceError::Empty));
        assert_eq!(trace("0,1,0\n"), Err(ParseTraceError::Fields { line: 2 }));
        assert_eq!(trace("1,1,0,0\n"), Err(ParseTraceError::Order { line: 2 }));
        assert_eq!(trace("0,1,0,0\n0,1,0,0\n"), Err(ParseTraceError::Order { line: 3 }));
        for line in ["0,-1,0,0", "0,1,1.5,0", "0,1,0,1.5", "x,1,0,0", "0,NaN,0,0", "0,1,0,-1"] {
            let error = trace(line).unwrap_err();
            assert!(matches!(error, ParseTraceError::Field { line: 2, .. }), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_was_recorded_is_read_as_it_was(
            steps in prop::collection::vec((1..5_000_u64, 0..9_000_u64, 0..=1_000_u64, 0..9_000_000_u64), 1..50),
        ) {
            let mut at = Duration::ZERO;
            let mut points = Vec::new();
            for (step, rtt, loss, rate) in steps {
                let rtt_ms = (rtt > 100).then_some(f64::from(u32::try_from(rtt).unwrap()) / 10.0);
                let loss = f64::from(u32::try_from(loss).unwrap()) / 1_000.0;
                points.push(Point { at, rtt_ms, loss, rate });
                at += Duration::from_millis(step);
            }
            let trace = Trace::of(points.clone()).unwrap();
            prop_assert_eq!(&trace.0, &points);
            for point in points {
                let moment = trace.at(point.at, &Profile::perfect()).unwrap();
                prop_assert_eq!(moment.is_up, point.rtt_ms.is_some());
            }
        }
    }
}
