//! One campaign: bursts of faults with everybody at work, peace after each, and the verdict.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::RunArgs;
use crate::check::{Violation, check};
use crate::fault::Fault;
use crate::history::{APP, Entry, Event, Outcome};
use crate::machine;
use crate::nemesis;
use crate::operator::{Devices, OPERATORS, Operator};
use crate::peace::{self, Peace};
use crate::report::{Run, Struck};
use crate::schedule::{Burst, Schedule};
use crate::stage::cloud::TERMS;
use crate::stage::site::Site;
use crate::stage::{IS_BOX, NODES, Stage, logs};
use crate::watcher;

/// Where everybody writes down what happens.
#[derive(Clone)]
pub(crate) struct Recorder {
    began: Instant,
    entries: mpsc::Sender<Entry>,
}

impl Recorder {
    /// It, and what is written down.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Entry>) {
        let (entries, written) = mpsc::channel();
        (Self { began: Instant::now(), entries }, written)
    }

    pub(crate) fn record(&self, event: Event) {
        let at_ms = self.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        // The campaign may be over already for who is late.
        let _late = self.entries.send(Entry { at_ms, event });
    }
}

/// Everybody and everything.
struct Campaign {
    stage: Stage,
    operators: Vec<Operator>,
    devices: Vec<Devices>,
    recorder: Recorder,
    written: mpsc::Receiver<Entry>,
    history: Vec<Entry>,
    factor: f64,
    run: Run,
}

/// Runs it; says whether every promise was kept.
pub(crate) fn run(args: &RunArgs) -> Result<bool> {
    let folder = &args.out;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let name = format!("run-{}-{}", args.seed, std::process::id());
    eprintln!(
        "campaign: seed {}, {} minutes, into {}/{name}",
        args.seed,
        args.minutes,
        folder.display()
    );
    let stage = Stage::set(args.seed, &TERMS);
    let (recorder, written) = Recorder::new();
    let door = stage.cloud.door().clone();
    let mut campaign = Campaign {
        operators: (0..OPERATORS).map(|it| Operator::new(&door, args.seed, it)).collect(),
        devices: (0..NODES.len()).map(|it| Devices::of(&stage, args.seed, it)).collect(),
        stage,
        recorder,
        written,
        history: Vec::new(),
        factor: 1.0,
        run: Run::new(args),
    };
    let over = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        watcher::watch_all(scope, &campaign.stage, &campaign.recorder, &over);
        // A step that fails is a panic; whoever looks on must not wait for what does not come.
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| campaign.go(args)));
        over.store(true, Ordering::SeqCst);
        campaign.stage.power_off();
        found
    });
    campaign.end(&folder.join(name), found.unwrap_or_else(|_| vec![broken_off()]))
}

fn broken_off() -> Violation {
    let what = "a step of the campaign failed; its reason stands above".to_owned();
    Violation { promise: crate::check::Promise::Equal, at_ms: 0, what }
}

impl Campaign {
    /// Burst after burst, until the time is over or a promise is broken.
    fn go(&mut self, args: &RunArgs) -> Vec<Violation> {
        for node in NODES.map(str::to_owned) {
            let (key, outcome) = (APP.to_owned(), Outcome::Unknown);
            self.recorder.record(Event::Wrote { node, key, value: 0, condition: None, outcome });
        }
        let quiet = Burst { number: 0, faults: Vec::new() };
        self.factor = machine::factor();
        let mut found = self.make_peace(&quiet);
        let mut schedule = Schedule::new(args.seed, &IS_BOX, &args.only);
        let end = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
        while found.is_empty() && Instant::now() < end {
            let burst = schedule.next_burst();
            if !args.burst.is_empty() && !args.burst.contains(&burst.number) {
                if args.burst.iter().all(|wanted| *wanted < burst.number) {
                    break;
                }
                continue;
            }
            eprint!("{burst}");
            self.storm(&burst);
            found = self.make_peace(&burst);
        }
        found
    }

    fn storm(&mut self, burst: &Burst) {
        let rest = &AtomicBool::new(false);
        let Self { stage, operators, devices, recorder, .. } = self;
        let recorder = &*recorder;
        thread::scope(|scope| {
            for operator in operators {
                scope.spawn(move || operator.work(recorder, rest));
            }
            for devices in devices {
                scope.spawn(move || devices.work(recorder, rest));
            }
            let struck = thread::scope(|scope| {
                scope.spawn(|| nemesis::strike(burst, stage, recorder)).join()
            });
            rest.store(true, Ordering::SeqCst);
            struck.expect("a fault that could not be made or mended");
        });
    }

    /// Waits for it, writes down how it came, and looks at the whole history.
    fn make_peace(&mut self, burst: &Burst) -> Vec<Violation> {
        let bounds = burst.faults.iter().map(|planned| planned.fault.facts().bound());
        let base = bounds.max().unwrap_or(Duration::from_mins(1));
        let before = self.factor;
        let was_restored = burst.faults.iter().any(|it| it.fault == Fault::CloudRestored);
        let peace = peace::come(
            &self.stage,
            || base.mul_f64(machine::factor().max(before)),
            |site| {
                if was_restored && peace::is_shut_out(site) {
                    self.let_in_again(site);
                }
            },
        );
        let number = burst.number;
        let after = match peace {
            Peace::Equal { after, ends } => {
                self.recorder.record(Event::Peace { burst: number, ends });
                self.stage.cloud.back_up();
                after
            }
            Peace::Never { after, differences } => {
                let after_ms = after.as_millis().try_into().unwrap_or(u64::MAX);
                self.recorder.record(Event::Unrest { burst: number, after_ms, differences });
                after
            }
        };
        self.history.extend(self.written.try_iter());
        self.history.sort_by_key(|entry| entry.at_ms);
        let found = check(&self.history);
        eprintln!(
            "burst {number}: {} faults, as it should be after {after:.1?}",
            burst.faults.len()
        );
        self.run.struck(burst, Struck { after, is_broken: !found.is_empty() });
        found
    }

    /// How many certificates were renewed meanwhile.
    fn renewals(&self) -> u64 {
        let path = "/v1/audit?action=node.renew&limit=1000";
        let answer = self.stage.cloud.door().api().call("GET", path, None);
        let entries = answer.map(|(_, mut body)| body["entries"].take());
        entries.and_then(|it| it.as_array().map(|all| all.len() as u64)).unwrap_or(0)
    }

    /// A backup does not know a certificate that was made after it: docs/operations.md says that its
    /// node joins again.
    fn let_in_again(&self, site: &Site) {
        let node = site.node.clone();
        eprintln!("{node} has a certificate that the backup does not know, and joins again");
        self.recorder.record(Event::AgentEnded { node: node.clone() });
        site.hold();
        site.enrol(self.stage.cloud.door(), &["--force"]).expect("a new certificate");
        site.release();
        self.recorder.record(Event::LetInAgain { node });
    }

    /// The verdict, on the screen and in files.
    fn end(mut self, at: &Path, violations: Vec<Violation>) -> Result<bool> {
        self.history.extend(self.written.try_iter());
        self.history.sort_by_key(|entry| entry.at_ms);
        self.run.counts = counts(&self.history);
        self.run.counts.insert("renewals".to_owned(), self.renewals());
        self.run.errors = logs::errors(self.stage.folder.path());
        eprintln!("{:#?}\nlogged at ERROR: {:#?}", self.run.counts, self.run.errors);
        self.run.violations = violations;
        for violation in &self.run.violations {
            eprintln!("BROKEN {violation}");
        }
        let is_kept = self.run.violations.is_empty();
        if !is_kept {
            std::fs::create_dir_all(at)?;
            logs::keep(self.stage.folder.path(), at);
            let lines: Vec<_> =
                self.history.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
            std::fs::write(at.join("history.jsonl"), lines.join("\n"))?;
            eprintln!("logs and the history are in {}", at.display());
        }
        let file = at.with_extension("json");
        std::fs::write(&file, serde_json::to_vec_pretty(&self.run)?)
            .with_context(|| format!("writing {}", file.display()))?;
        let verdict = if is_kept { "every promise was kept" } else { "a promise was broken" };
        eprintln!("{verdict}: {} faults; to repeat it: {}", self.run.injected(), self.run.command);
        Ok(is_kept)
    }
}

/// What was done meanwhile, by kind.
pub(crate) fn counts(history: &[Entry]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for Entry { event, .. } in history {
        let kind = serde_json::to_value(event).unwrap_or_default();
        let mut name = kind["event"].as_str().unwrap_or_default().to_owned();
        if let Event::Wrote { outcome, .. } = event {
            let outcome = serde_json::to_value(outcome).unwrap_or_default();
            let outcome = outcome.as_object().and_then(|it| it.keys().next().cloned());
            name = format!("{name} {}", outcome.as_deref().unwrap_or("unknown"));
        }
        *counts.entry(name).or_default() += 1;
    }
    counts
}
