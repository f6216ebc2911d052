//! What the demo says: titles, spinners on a terminal, plain lines otherwise. All on stderr.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// How often a long wait says where it stands, where there is no spinner.
const STILL_EVERY: Duration = Duration::from_secs(5);

/// Where the story is told.
pub(super) struct Screen {
    terminal: bool,
    started: Instant,
    steps: std::cell::Cell<usize>,
}

/// A wait that is shown until it is dropped.
pub(super) struct Waiting {
    bar: Option<ProgressBar>,
    what: String,
    started: Instant,
    told: Instant,
}

impl Screen {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, started: Instant::now(), steps: std::cell::Cell::new(0) }
    }

    /// How long the demo has been running.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins a step of the story.
    pub(super) fn step(&self, title: &str) {
        let number = self.steps.get() + 1;
        self.steps.set(number);
        let at = self.elapsed().as_secs_f64();
        let line = format!("{number}. {title}");
        let line = if self.terminal { format!("\u{1b}[1m{line}\u{1b}[0m") } else { line };
        output::talk(&format!("\n[{at:5.1} s] {line}"));
    }

    /// Tells one fact.
    pub(super) fn say(&self, text: &str) {
        let start = if self.terminal { "        · " } else { "          " };
        for line in text.lines() {
            output::talk(&format!("{start}{line}"));
        }
    }

    /// Begins a wait.
    pub(super) fn wait(&self, what: &str) -> Waiting {
        let bar = self.terminal.then(|| spinner(what));
        let now = Instant::now();
        Waiting { bar, what: what.to_owned(), started: now, told: now }
    }
}

impl Waiting {
    /// Shows what was last seen.
    pub(super) fn update(&mut self, seen: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {seen}", self.what));
        } else if self.told.elapsed() >= STILL_EVERY {
            self.told = Instant::now();
            let seconds = self.started.elapsed().as_secs();
            output::talk(&format!("          ... {} for {seconds} s: {seen}", self.what));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("          {spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
