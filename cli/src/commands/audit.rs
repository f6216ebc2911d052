//! `gnomon audit`: who did what.

use crate::output::age::date;
use crate::output::{self, Format, table};
use crate::session::Session;

/// Show who did what, the newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what this author did, such as admin or token/ci-5f0c1e2a.
    #[arg(long, value_name = "AUTHOR")]
    by: Option<String>,
    /// Only this, or all that begins with it, such as shadow or node.delete.
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only to this, or to what is below it, such as site-1.
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only of this tenant.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// The most entries.
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    limit: usize,
    /// How to print them.
    #[arg(long, short, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> anyhow::Result<()> {
    let client = session.client()?;
    let filters = [
        ("by", args.by),
        ("action", args.action),
        ("target", args.target),
        ("tenant", args.tenant),
    ];
    let given = filters.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    let query: Vec<(&str, String)> = given.collect();
    let entries = client.audit(&query, args.limit.max(1)).await?;
    match args.output {
        Format::Json | Format::Yaml => output::value(&entries, args.output),
        Format::Table | Format::Wide if entries.is_empty() => {
            output::talk("no entries");
            Ok(())
        }
        Format::Table | Format::Wide => {
            let row = |entry: &crate::api::AuditEntry| {
                let (at, outcome) = (date(entry.at_ms), entry.outcome.clone());
                vec![at, entry.by.clone(), entry.action.clone(), entry.target.clone(), outcome]
            };
            let rows: Vec<_> = entries.iter().map(row).collect();
            let headings = ["WHEN", "WHO", "WHAT", "TARGET", "OUTCOME"];
            Ok(output::data(&table::render(&headings, &rows))?)
        }
    }
}
