//! `gnomon-sim explore`: visits every state of a small world.

use anyhow::bail;
use clap::Args;
use gnomon_sim::world::{Limits, explore};
use indicatif::{ProgressBar, ProgressStyle};

/// Visit every state of a small world: one writer, one reader, and a network that loses, repeats
/// and reorders.
///
/// Exit code 1 if an invariant breaks in any of them; then a shortest way there is printed.
#[derive(Debug, Args)]
pub(crate) struct ExploreArgs {
    /// How many shadows there are
    #[arg(long, default_value_t = Limits::default().shadows, value_parser = clap::value_parser!(u8).range(1..=3))]
    shadows: u8,
    /// How many changes happen, deletions included
    #[arg(long, default_value_t = Limits::default().changes)]
    changes: u8,
    /// How often each end crashes
    #[arg(long, default_value_t = Limits::default().crashes)]
    crashes: u8,
    /// How often the reader's disk is lost
    #[arg(long, default_value_t = Limits::default().wipes)]
    wipes: u8,
    /// How many different messages the network holds in each direction
    #[arg(long, default_value_t = Limits::default().under_way)]
    under_way: usize,
    /// How many batches may be in flight
    #[arg(long, default_value_t = Limits::default().window)]
    window: u8,
    /// How many bytes a batch may have; 1 makes every change a batch of its own
    #[arg(long, default_value_t = Limits::default().max_batch)]
    max_batch: usize,
    /// The most states that are visited
    #[arg(long, default_value_t = Limits::default().states)]
    states: usize,
}

pub(crate) fn run(args: &ExploreArgs) -> anyhow::Result<()> {
    let ExploreArgs { shadows, changes, crashes, wipes, under_way, window, max_batch, states } =
        *args;
    let limits = Limits { shadows, changes, crashes, wipes, under_way, window, max_batch, states };
    let style = ProgressStyle::with_template("{spinner} {pos} states, {per_sec}");
    let progress = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let explored = explore(limits, |states| progress.set_position(states as u64));
    progress.finish_and_clear();
    if let Some((violation, way)) = &explored.failure {
        super::print_text(&format!("{}\n", way.join("\n")))?;
        bail!("{violation}");
    }
    let all = if explored.is_complete { "all states" } else { "not all states" };
    super::print_text(&format!(
        "{} states ({all}), {} steps, at most {} steps deep: every invariant holds\n",
        explored.states, explored.steps, explored.depth
    ))
}
