//! `gnomon-sim report`: what reports of `gnomon-sim fleet` say, in other forms.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use gnomon_sim::report::{Report, compare, html, page};

/// Look at reports of `gnomon-sim fleet`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set two runs side by side.
    Compare {
        /// The report of the first run
        first: PathBuf,
        /// The report of the second run
        second: PathBuf,
        /// How the result is printed
        #[arg(long, short, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Print a report as one page of HTML that needs nothing else.
    Html {
        /// The report
        report: PathBuf,
    },
    /// Print several runs as one table in Markdown.
    Table {
        /// The reports, one column each
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// Put the table between the marks of this page instead
        #[arg(long, value_name = "PAGE")]
        into: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let read = |at: &PathBuf| Report::read(at);
    match &args.command {
        Command::Compare { first, second, output } => {
            let rows = compare::rows(&read(first)?, &read(second)?);
            match output {
                Format::Text => super::print_text(&compare::table(&rows)),
                Format::Json => super::print_line(&rows),
            }
        }
        Command::Html { report } => super::print_text(&html::page(&read(report)?)),
        Command::Table { reports, into } => {
            let reports = reports.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            match into.as_deref() {
                Some(at) => Ok(page::write(Path::new(at), &reports)?),
                None => super::print_text(&page::table(&reports)),
            }
        }
    }
}
