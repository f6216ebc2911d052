//! What facts about the cloud mean. Pure.

use std::time::Duration;

/// When the cloud says that something is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthConfig {
    /// With less room than this, in bytes, on the disk of the data folder.
    pub min_free: u64,
    /// So long before a certificate runs out.
    pub certificate_notice: Duration,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { min_free: 256 << 20, certificate_notice: Duration::from_hours(14 * 24) }
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Does the core answer?
    Core,
    /// Can the store be written to?
    Store,
    /// Is there room on the disk?
    Disk,
    /// Does the broker listen?
    Broker,
    /// Are the certificates good?
    Certificates,
    /// Is the clock right?
    Clock,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Core, Self::Store, Self::Disk, Self::Broker, Self::Certificates, Self::Clock];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Store => "store",
            Self::Disk => "disk",
            Self::Broker => "broker",
            Self::Certificates => "certificates",
            Self::Clock => "clock",
        }
    }

    /// Whether the cloud does no work without it. What is not written may still be read, and
    /// who is sent away for that could not read either.
    const fn is_vital(self) -> bool {
        match self {
            Self::Core | Self::Broker => true,
            Self::Store | Self::Disk | Self::Certificates | Self::Clock => false,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Why the core did not answer.
    pub core: Option<&'static str>,
    /// Why the last commit failed.
    pub last_commit: Option<&'static str>,
    /// How much room there is; `None`: the system does not say.
    pub free_bytes: Option<u64>,
    /// How large the store is.
    pub store_bytes: u64,
    /// Whether every listener of the broker is open.
    pub broker_listens: bool,
    /// Certificates, and when they run out, in seconds since 1970.
    pub certificates: Vec<(&'static str, i64)>,
    /// The date, in seconds since 1970.
    pub unix_s: u64,
    /// How long ago the clock jumped.
    pub clock_jumped: Option<Duration>,
}

/// Something that is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// Its stable name, for machines.
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub message: Box<str>,
}

/// How the cloud is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is not well.
    pub findings: Vec<Finding>,
}

impl Finding {
    /// A finding.
    pub fn new(check: Check, code: &'static str, message: impl Into<Box<str>>) -> Self {
        Self { check, code, message: message.into() }
    }
}

impl Report {
    /// Whether a check has found nothing.
    pub fn is_ok(&self, check: Check) -> bool {
        self.findings.iter().all(|finding| finding.check != check)
    }

    /// Whether the cloud can do its work at all.
    pub fn is_ready(&self) -> bool {
        self.findings.iter().all(|finding| !finding.check.is_vital())
    }
}

/// No clock that is right shows an earlier date: the first day of 2026.
const EARLIEST_S: u64 = 1_767_225_600;

/// How long a jump of the clock is spoken of.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Says what the facts mean.
pub fn judge(facts: &Facts, config: &HealthConfig) -> Report {
    let mut findings = Vec::new();
    let mut find = |check, code, message: String| findings.push(Finding::new(check, code, message));
    if let Some(code) = facts.core {
        let message = "the core does not answer; the log says more, and a restart loses nothing";
        find(Check::Core, code, message.to_owned());
    }
    match facts.last_commit {
        Some("store_full") => {
            let message = "the store's disk is full: reads go on, writes are refused; free space";
            find(Check::Store, "store_full", message.to_owned());
        }
        Some(code) => {
            let message = "the store cannot be written: reads go on; the log says why".to_owned();
            find(Check::Store, code, message);
        }
        None => {}
    }
    match facts.free_bytes {
        Some(free) if free >= config.min_free => {}
        Some(free) => {
            let (free, least) = (free >> 20, config.min_free >> 20);
            let message = format!(
                "{free} MiB are free on the disk of the data folder, less than \
                the {least} MiB of health.min_free_mib; free space or make the disk larger"
            );
            find(Check::Disk, "disk_low", message);
        }
        None => {
            let message = "the system does not say how much room the disk has".to_owned();
            find(Check::Disk, "disk_unknown", message);
        }
    }
    if !facts.broker_listens {
        let message = "the broker takes no connections; the log says why, restart the cloud";
        find(Check::Broker, "broker_down", message.to_owned());
    }
    findings.extend(facts.certificates.iter().filter_map(|it| certificate(it, facts, config)));
    findings.extend(clock(facts));
    Report { findings }
}

fn certificate(
    &(name, not_after_s): &(&'static str, i64),
    facts: &Facts,
    config: &HealthConfig,
) -> Option<Finding> {
    let left = not_after_s.saturating_sub_unsigned(facts.unix_s);
    let what = match name {
        "ca" => "the authority's certificate (ca.pem): every node has to join a new cloud",
        "server" => "the server's certificate (server.pem): restart the cloud, it makes a new one",
        _ => "the certificate of tls_certificate: put a new one in its place",
    };
    if left <= 0 {
        let message = format!("out of date is {what}");
        return Some(Finding::new(Check::Certificates, "certificate_expired", message));
    }
    let notice = i64::try_from(config.certificate_notice.as_secs()).unwrap_or(i64::MAX);
    (left < notice).then(|| {
        let message = format!("in {} days runs out {what}", left / 86_400);
        Finding::new(Check::Certificates, "certificate_expires", message)
    })
}

fn clock(facts: &Facts) -> Option<Finding> {
    if facts.unix_s < EARLIEST_S {
        let message = "the clock shows a date before 2026: tokens and certificates are judged by \
                       it; set it, and let NTP keep it";
        return Some(Finding::new(Check::Clock, "clock_wrong", message));
    }
    facts.clock_jumped.filter(|ago| *ago < REMEMBERED).map(|_| {
        let message = "the clock has jumped in the last ten minutes; times in the history, the \
                       audit log and of presence are off by that";
        Finding::new(Check::Clock, "clock_jumped", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn well() -> Facts {
        Facts {
            core: None,
            last_commit: None,
            free_bytes: Some(1 << 30),
            store_bytes: 1000,
            broker_listens: true,
            certificates: vec![("ca", 2_000_000_000), ("server", 2_000_000_000)],
            unix_s: NOW_S,
            clock_jumped: None,
        }
    }

    fn codes(facts: &Facts) -> (bool, Vec<&'static str>) {
        let report = judge(facts, &HealthConfig::default());
        (report.is_ready(), report.findings.iter().map(|finding| finding.code).collect())
    }

    #[test]
    fn a_cloud_that_is_well_has_nothing_to_say() {
        assert_eq!(codes(&well()), (true, vec![]));
    }

    #[test]
    fn without_a_core_or_a_broker_no_work_is_done() {
        let stuck = Facts { core: Some("core_stuck"), ..well() };
        assert_eq!(codes(&stuck), (false, vec!["core_stuck"]));
        let deaf = Facts { broker_listens: false, ..well() };
        assert_eq!(codes(&deaf), (false, vec!["broker_down"]));
    }

    #[test]
    fn a_store_that_cannot_be_written_can_be_read() {
        for code in ["store_full", "store_failed"] {
            assert_eq!(codes(&Facts { last_commit: Some(code), ..well() }), (true, vec![code]));
        }
    }

    #[test]
    fn a_disk_that_fills_is_told_of_before_it_is_full() {
        let at = |free_bytes| codes(&Facts { free_bytes, ..well() });
        assert_eq!(at(Some(256 << 20)), (true, vec![]));
        assert_eq!(at(Some((256 << 20) - 1)), (true, vec!["disk_low"]));
        assert_eq!(at(None), (true, vec!["disk_unknown"]));
    }

    #[test]
    fn a_certificate_is_told_of_two_weeks_before_it_runs_out() {
        let day = 86_400;
        let at = |left: i64| {
            let certificates = vec![("given", NOW_S.cast_signed() + left)];
            codes(&Facts { certificates, ..well() }).1
        };
        assert_eq!(at(14 * day), Vec::<&str>::new());
        assert_eq!(at(14 * day - 1), ["certificate_expires"]);
        assert_eq!(at(0), ["certificate_expired"]);
        assert_eq!(at(i64::MIN / 2), ["certificate_expired"]);
    }

    #[test]
    fn a_clock_that_is_wrong_or_jumped_is_told_of() {
        let late = Facts { unix_s: 1_000_000, ..well() };
        assert_eq!(codes(&late).1, ["clock_wrong"]);
        let jumped = |ago| Facts { clock_jumped: Some(Duration::from_mins(ago)), ..well() };
        assert_eq!(codes(&jumped(9)).1, ["clock_jumped"]);
        assert_eq!(codes(&jumped(10)).1, Vec::<&str>::new());
    }
}
