//! When the node's certificate is to be renewed: after two thirds of its life and a bit more, which
//! differs from node to node. Pure; the time is an argument. [`agent`] carries it out.

pub mod agent;
#[cfg(test)]
mod tests;

use std::time::Duration;

use gnomon_sync::Moment;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// From when to when a certificate is good, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first of them.
    pub begins_s: u64,
    /// The last of them.
    pub ends_s: u64,
}

impl Validity {
    /// How long it is in all.
    pub const fn life(self) -> Duration {
        Duration::from_secs(self.ends_s.saturating_sub(self.begins_s))
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The certificate is renewed now.
    Renew,
    /// Nothing before this time has passed.
    Wait(Duration),
}

/// The state of the one certificate that the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    validity: Validity,
    /// Where in the window this node is: 0 is its beginning, `u16::MAX` its end.
    place: u16,
    /// Not before this moment, whatever the date says.
    earliest: Moment,
}

/// A node whose clock is wrong sees its certificate end too early; so a look at the date is never
/// farther off than this, and neither is a correction of the clock.
const LONGEST: Duration = Duration::from_hours(1);
/// The longest wait of a node whose certificate has run out.
const WITHOUT_LINK: Duration = Duration::from_mins(15);

impl Renewal {
    /// A certificate in PEM, as it was found; `None` if it cannot be read.
    pub fn of(certificate_pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        let validity = Validity {
            begins_s: seconds(certificate.validity().not_before.timestamp()),
            ends_s: seconds(certificate.validity().not_after.timestamp()),
        };
        // The same at each start, so that a node that starts often does not renew earlier.
        let digest: [u8; 32] = Sha256::digest(&der).into();
        let place = u16::from_be_bytes([digest[0], digest[1]]);
        Some(Self::new(validity, place))
    }

    const fn new(validity: Validity, place: u16) -> Self {
        Self { validity, place, earliest: Moment::from_millis(0) }
    }

    /// From when to when the certificate is good.
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The date from which on it is renewed: the window begins after two thirds of its life and
    /// is a twelfth of it wide, so that nodes that joined together do not come together.
    pub fn due_s(&self) -> u64 {
        let life = self.validity.life().as_secs();
        let window = life / 12;
        let within = window.saturating_mul(self.place.into()) / u64::from(u16::MAX);
        self.validity.begins_s.saturating_add(life.saturating_mul(2) / 3).saturating_add(within)
    }

    /// What is to be done at this date.
    pub fn next(&self, now: Moment, date_s: u64) -> Next {
        let pause = self.earliest.saturating_since(now);
        if !pause.is_zero() {
            return Next::Wait(pause.min(LONGEST));
        }
        match self.due_s().checked_sub(date_s) {
            None | Some(0) => Next::Renew,
            Some(left) => Next::Wait(Duration::from_secs(left).min(LONGEST)),
        }
    }

    /// It was renewed. The new one is not renewed before a third of its life has passed here,
    /// although the date may say so: then the node's clock is ahead, and would ask without end.
    pub fn renewed(&mut self, now: Moment, mut fresh: Self) {
        fresh.earliest = now + fresh.validity.life() / 3;
        *self = fresh;
    }

    /// It could not be renewed; it is tried again after this time.
    pub fn failed(&mut self, now: Moment, wait: Duration) {
        self.earliest = now + wait;
    }

    /// How long to wait before the next try, of a wait like that: once the certificate has run out there
    /// is no link before there is a new one.
    pub fn pause(&self, wait: Duration, date_s: u64) -> Duration {
        if date_s > self.validity.ends_s { wait.min(WITHOUT_LINK) } else { wait }
    }

    /// The first and the longest wait between two tries: short beside what is left of its life.
    pub fn waits(&self) -> (Duration, Duration) {
        let life = self.validity.life();
        let first = (life / 1000).clamp(Duration::from_secs(1), Duration::from_mins(5));
        let longest = (life / 50).clamp(Duration::from_secs(2), Duration::from_hours(6));
        (first, longest)
    }
}
