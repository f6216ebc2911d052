//! `gnomon-edge logs`: what an app on this machine wrote, without a link too.

use anyhow::{Context as _, Result, bail};
use gnomon_edge::local::{Request, Response};

use super::DataArg;

/// Shows the last lines that an app wrote.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    data: DataArg,
    /// The app, or one service of it: `APP` or `APP/SERVICE`.
    #[arg(value_name = "APP[/SERVICE]")]
    target: String,
    /// The most lines of each copy.
    #[arg(long, default_value_t = 100)]
    tail: usize,
    /// Print the lines of each copy as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn execute(args: &LogsArgs) -> Result<()> {
    let (app, service) = match args.target.split_once('/') {
        Some((app, service)) => (app, Some(service)),
        None => (args.target.as_str(), None),
    };
    let request = Request::Logs {
        app: app.parse().with_context(|| format!("{app:?} is no app"))?,
        service: service
            .map(str::parse)
            .transpose()
            .with_context(|| format!("{:?} names no service", args.target))?,
        tail: args.tail,
    };
    let Response::Logs(logs) = super::ask(&args.data, &request).await? else {
        bail!(super::OTHER_VERSION);
    };
    if args.json {
        return super::print(&format!("{}\n", serde_json::to_string_pretty(&logs)?));
    }
    let several = logs.len() > 1;
    for log in &logs {
        let name = format!("{}/{}", log.service, log.replica);
        match (&log.text, &log.error) {
            (Some(text), _) if several => {
                let lines = text.lines().map(|line| format!("{name} | {line}\n"));
                super::print(&lines.collect::<String>())?;
            }
            (Some(text), _) => super::print(text)?,
            (None, error) => {
                let error = error.as_deref().unwrap_or("no reason given");
                tracing::warn!(slot = %name, %error, "its output cannot be read");
            }
        }
    }
    if logs.iter().all(|log| log.text.is_none()) {
        bail!("nothing of {} could be read", args.target);
    }
    Ok(())
}
