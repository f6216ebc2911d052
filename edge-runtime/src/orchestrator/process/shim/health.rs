//! When to run a health check and what its results mean, as Docker has it: pure but for the probe.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gnomon_schemas::app::{HealthCheck, HealthTest};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::orchestrator::process::record::{Launch, Verdict};

/// The state of a health check; the caller hands in the time.
#[derive(Debug)]
pub(super) struct Checker {
    check: HealthCheck,
    start_period_ends: Instant,
    next: Option<Instant>,
    failures: u32,
    verdict: Verdict,
}

impl Checker {
    pub(super) fn new(check: HealthCheck, started: Instant) -> Self {
        let start_period_ends = started + Duration::from_millis(check.start_period_ms);
        let next = Some(started + Duration::from_millis(check.interval_ms));
        Self { check, start_period_ends, next, failures: 0, verdict: Verdict::Starting }
    }

    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// When to probe next; `None` while a probe runs.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The test to run if it is time; its result is due before another one begins.
    pub(super) fn begin(&mut self, now: Instant) -> Option<(HealthTest, Duration)> {
        self.next.filter(|next| *next <= now)?;
        self.next = None;
        Some((self.check.test.clone(), Duration::from_millis(self.check.timeout_ms)))
    }

    /// Takes the result of a probe. A failure within the start period does not count, until the
    /// first success has ended it.
    pub(super) fn finish(&mut self, passed: bool, now: Instant) -> Verdict {
        self.next = Some(now + Duration::from_millis(self.check.interval_ms));
        let starts = self.verdict == Verdict::Starting && now < self.start_period_ends;
        if passed {
            self.failures = 0;
            self.verdict = Verdict::Healthy;
        } else if !starts {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.check.retries {
                self.verdict = Verdict::Unhealthy;
            }
        }
        self.verdict
    }
}

/// The command of a program of the service: its environment, its directory, its user, a process
/// group of its own.
pub(super) fn command(launch: &Launch, argv: &[String]) -> Command {
    let mut words = argv.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words).env_clear().envs(&launch.env).current_dir(&launch.dir);
    command.stdin(Stdio::null()).process_group(0);
    if let Some(owner) = launch.owner {
        command.gid(owner.gid).uid(owner.uid);
    }
    command
}

/// Runs a test; one that takes too long is killed and has failed.
pub(super) fn probe(launch: &Launch, test: &HealthTest, timeout: Duration) -> bool {
    let argv = match test {
        HealthTest::Exec(argv) => argv.clone(),
        HealthTest::Shell(script) => vec!["/bin/sh".to_owned(), "-c".to_owned(), script.clone()],
    };
    let mut command = command(launch, &argv);
    match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
        Ok(child) => wait(child, timeout).unwrap_or(false),
        Err(_) => false,
    }
}

fn wait(mut child: Child, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        let now = Instant::now();
        if now >= deadline {
            let group = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
            killpg(group, Signal::SIGKILL)?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(pause.min(deadline - now));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Healthy, Starting, Unhealthy};

    fn checker(start_period_ms: u64, started: Instant) -> Checker {
        let test = HealthTest::Shell("true".into());
        let check =
            HealthCheck { interval_ms: 10, retries: 2, start_period_ms, ..HealthCheck::new(test) };
        Checker::new(check, started)
    }

    #[test]
    fn the_first_probe_comes_one_interval_after_the_start_and_the_next_after_its_result() {
        let started = Instant::now();
        let at = |ms| started + Duration::from_millis(ms);
        let mut checker = checker(0, started);
        assert_eq!(checker.begin(at(9)), None);
        assert!(checker.begin(at(10)).is_some());
        assert_eq!((checker.next(), checker.begin(at(50))), (None, None));
        checker.finish(true, at(60));
        assert_eq!(checker.next(), Some(at(70)));
    }

    #[test]
    fn only_failures_in_a_row_make_it_unhealthy() {
        let now = Instant::now();
        let mut checker = checker(0, now);
        let verdicts: Vec<_> = [false, true, false, true, false, false, true]
            .into_iter()
            .map(|passed| checker.finish(passed, now))
            .collect();
        assert_eq!(verdicts, [Starting, Healthy, Healthy, Healthy, Healthy, Unhealthy, Healthy]);
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_until_the_first_success() {
        let started = Instant::now();
        let soon = started + Duration::from_millis(50);
        let mut checker = checker(100, started);
        (0..5).for_each(|_| assert_eq!(checker.finish(false, soon), Starting));
        assert_eq!(checker.finish(true, soon), Healthy);
        checker.finish(false, soon);
        assert_eq!(checker.finish(false, soon), Unhealthy);
    }
}
