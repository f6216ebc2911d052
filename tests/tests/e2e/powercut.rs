//! A site in a box whose power is cut at random moments: the daemon, the containers and the agent
//! die at once, and the agent's disk forgets what was not synced. `ROUNDS=n SEED=n` chooses.

mod checks;
mod site_box;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gnomon_tests::eventually::let_pass;
use gnomon_tests::{Cloud, eventually};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::app::gnomon;
use site_box::SiteBox;

/// Rounds unless said otherwise: one of each kind but one, in less than a minute.
const ROUNDS: u32 = 3;

/// Until all is as it should be after a start: the daemon's own recovery is in it.
const RECOVERY: Duration = Duration::from_mins(3);

/// What is under way when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Another value: every container is replaced.
    Deploy,
    /// Another app comes or goes.
    Update,
    /// A revision that fails, and the way back from it.
    Rollback,
    /// Values that the site reports.
    Report,
}

const KINDS: [Work; 4] = [Work::Deploy, Work::Update, Work::Rollback, Work::Report];

impl Work {
    /// The longest time until the power goes: beyond its usual end.
    const fn longest(self) -> Duration {
        match self {
            Self::Deploy | Self::Update => Duration::from_millis(2_500),
            Self::Rollback => Duration::from_secs(4),
            Self::Report => Duration::from_millis(1_500),
        }
    }
}

/// What the operator wishes, and what the site said that it has taken.
#[derive(Debug, Clone, Default)]
struct Wish {
    value: u32,
    /// Whether the newest revision of the app fails.
    is_bad: bool,
    has_extra: bool,
    /// The last value that the agent said it reports, and the last that it was given.
    acked: u32,
    given: u32,
}

struct Stage {
    cloud: Cloud,
    site: SiteBox,
    folder: TempDir,
    wish: Wish,
}

impl Stage {
    fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cloud = Cloud::start(folder.path());
        let node = format!("box-{}", std::process::id());
        let mut site = SiteBox::join(&cloud, folder.path(), &node);
        site.power_on();
        site.docker().make_images();
        Self { cloud, site, folder, wish: Wish::default() }
    }

    fn apply(&self, text: &str) {
        let file = self.folder.path().join("app.yaml");
        std::fs::write(&file, text).unwrap();
        let file = file.to_string_lossy();
        let output = gnomon(&self.cloud, &["apply", "-f", &file, "--node", self.site.node()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn apply_probe(&self) {
        let text = COMPOSE.replace('@', &self.wish.value.to_string());
        self.apply(&if self.wish.is_bad { text + BAD } else { text });
    }

    /// Begins something and does not wait for its end.
    fn begin(&mut self, work: Work) {
        match work {
            Work::Deploy => {
                self.wish.value += 1;
                self.wish.is_bad = false;
                self.apply_probe();
            }
            Work::Update => {
                self.wish.has_extra = !self.wish.has_extra;
                if self.wish.has_extra {
                    self.apply(EXTRA);
                } else {
                    let args = ["delete", "app", "extra", "--node", self.site.node()];
                    assert!(gnomon(&self.cloud, &args).status.success());
                }
            }
            Work::Rollback => {
                self.wish.is_bad = true;
                self.apply_probe();
            }
            Work::Report => {}
        }
    }

    /// Lets the time pass until the power goes; reports meanwhile, if that is the work.
    fn pass(&mut self, work: Work, time: Duration) {
        if work != Work::Report {
            return let_pass(time);
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.wish.given += 1;
            if self.site.report(self.wish.given) {
                self.wish.acked = self.wish.given;
            }
        }
    }

    /// Waits until the site is as it should be, and looks at everything.
    fn check(&self) {
        eventually("the site to be as wished", RECOVERY, || {
            let look = checks::look(&self.cloud, &self.site, &self.wish);
            look.map_err(|why| Plain(format!("{why}\n{}", self.site.tail())))
        });
        checks::nothing_was_lost(&self.site);
    }
}

/// A text that is shown as it is.
struct Plain(String);

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Three services, the second after the first, a volume and a secret.
const COMPOSE: &str = r#"
name: probe
x-gnomon: { settle: 1s }
x-service: &service
  image: gnomon-demo:1
  restart: always
  environment: { VALUE: "@" }
  stop_grace_period: 1s
  secrets: [word]
  entrypoint: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
secrets:
  word: { content: hush }
volumes:
  data: {}
services:
  first:
    <<: *service
    volumes: ["data:/data"]
  second:
    <<: *service
    depends_on: [first]
  third:
    <<: *service
    image: gnomon-demo:2
"#;

/// A job that fails for good: the revision is bad at once.
const BAD: &str = r#"
  migrate:
    image: gnomon-demo:1
    environment: { VALUE: "bad" }
    entrypoint: [sh, -c, "exit 3"]
"#;

const EXTRA: &str = r#"
name: extra
x-gnomon: { settle: 1s }
volumes:
  more: {}
services:
  only:
    image: gnomon-demo:1
    restart: always
    environment: { VALUE: extra }
    stop_grace_period: 1s
    volumes: ["more:/more"]
    entrypoint: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]
"#;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn power_cuts_at_random_moments_lose_nothing_and_leave_nothing_behind() {
    let seed = number("SEED").unwrap_or_else(|| std::process::id().into());
    let rounds = number("ROUNDS").and_then(|rounds| rounds.try_into().ok()).unwrap_or(ROUNDS);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut stage = Stage::set();
    let mut tally = Tally::default();
    stage.begin(Work::Deploy);
    stage.check();
    for round in 0..rounds {
        let work = KINDS[usize::try_from(seed + u64::from(round)).unwrap() % KINDS.len()];
        let time = work.longest().mul_f64(rng.random_range(0.0..1.0));
        if work == Work::Rollback {
            // There must be a good revision to go back to.
            checks::is_good(&stage.cloud, &stage.site);
        }
        stage.begin(work);
        stage.pass(work, time);
        stage.site.cut_power();
        stage.site.power_on();
        let began = Instant::now();
        stage.check();
        let took = began.elapsed();
        tally.count(work, took);
        eprintln!(
            "round {round} of {rounds} (SEED={seed}): power cut {time:?} into {work:?}, as wished \
             {took:?} after the start"
        );
    }
    eprintln!("SEED={seed}: {tally}");
}

/// The power cuts so far, by what they cut, and the longest way back.
#[derive(Debug, Default)]
struct Tally {
    cuts: BTreeMap<Work, u32>,
    longest: Option<(Duration, Work)>,
}

impl Tally {
    fn count(&mut self, work: Work, took: Duration) {
        *self.cuts.entry(work).or_default() += 1;
        self.longest = self.longest.max(Some((took, work)));
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cuts = self.cuts.iter().map(|(work, cuts)| format!("{cuts} in {work:?}"));
        let (all, cuts) = (self.cuts.values().sum::<u32>(), cuts.collect::<Vec<_>>().join(", "));
        write!(f, "{all} power cuts ({cuts}), all as wished")?;
        let Some((took, work)) = self.longest else { return Ok(()) };
        write!(f, ", longest way back {:.1} s, of {work:?}", took.as_secs_f64())
    }
}
