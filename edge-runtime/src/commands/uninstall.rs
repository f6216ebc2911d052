//! `gnomon-edge uninstall`: takes off this machine what the agent brought there.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use gnomon_edge::identity::Identity;
use gnomon_edge::lock::DataLock;
use gnomon_edge::settings::Settings;
use gnomon_edge::store::thread::StoreHandle;
use gnomon_edge::uninstall::{self, Removed};

use super::run::{self, RunArgs};

/// Takes everything off this machine that the agent brought: apps, their networks and volumes,
/// the images that it fetched, its identity and data.
///
/// The agent must not run. The node stays known to the cloud; `gnomon node delete` ends that.
#[derive(Debug, clap::Args)]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Keep the named volumes of apps.
    #[arg(long)]
    keep_volumes: bool,
    /// Do it; nothing is touched without this.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn execute(args: &UninstallArgs) -> Result<()> {
    let settings = args.run.settings()?;
    let data = &settings.data;
    if !args.yes {
        bail!(
            "this removes every app of this node, its volumes and {}; say --yes to do it",
            data.display()
        );
    }
    match data.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            super::talk(&format!("{} is not there; nothing to remove\n", data.display()));
            return Ok(());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("looking at {}", data.display()));
        }
        Ok(_) => {}
    }
    let lock = DataLock::take(data).context("the agent must be stopped first")?;
    let removed = if Identity::exists(data) {
        clear_node(&settings, args.keep_volumes).await?
    } else {
        Removed::default()
    };
    uninstall::clear_data(data, args.keep_volumes)?;
    drop(lock);
    say_what_stays(data);
    super::print(&format!("{}\n", serde_json::to_string(&removed)?))
}

async fn clear_node(settings: &Settings, keep_volumes: bool) -> Result<Removed> {
    let identity = Identity::load(&settings.data)?;
    let orchestrator = run::choose::orchestrator(settings, &identity.node).await?;
    let store = StoreHandle::spawn(run::store(settings, &identity))?;
    let contents = match store.load().await {
        Ok(contents) => contents,
        Err(error) => {
            let reason = gnomon_edge::chain(&error);
            super::talk(&format!(
                "the store cannot be read ({reason}); images that the agent fetched stay\n"
            ));
            gnomon_edge::store::Contents::default()
        }
    };
    let removed = uninstall::clear_node(&orchestrator, &contents, keep_volumes).await;
    removed.context("the data was kept, so that this can be said again")
}

fn say_what_stays(data: &Path) {
    if data.exists() {
        super::talk(&format!("{} holds more than the agent's own and stays\n", data.display()));
    }
}
