//! `gnomon-edge hold|release|restart|pull|report|remove-volumes`: short orders to the running agent.

use anyhow::{Context as _, Result};
use gnomon_edge::local::Request;
use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_schemas::key::ShadowKey;

use super::DataArg;

/// Keeps the revision of an app that runs now, whatever the cloud desires.
///
/// Also across restarts, until it is released. The cloud sees that it is held.
#[derive(Debug, clap::Args)]
pub(crate) struct HoldArgs {
    #[command(flatten)]
    data: DataArg,
    /// The app.
    app: AppName,
}

/// Ends a hold; tries a revision again that was rolled back; begins an update that waits for its
/// window.
#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    data: DataArg,
    /// The app.
    app: AppName,
}

/// Stops an app, or one service of it, and starts it again; a job that ended runs again.
#[derive(Debug, clap::Args)]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    data: DataArg,
    /// The app.
    app: AppName,
    /// One of its services; all of them if absent.
    service: Option<ServiceName>,
}

/// Writes a value into what this node, or a device behind it, reports to the cloud.
///
/// It is merged (RFC 7396: null takes a member away) and kept until it is written again; that of
/// the node appears as its member `local`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    data: DataArg,
    /// `node`, or a device: `device/<id>[/<shadow>]`.
    #[arg(value_name = "KEY")]
    key: ShadowKey,
    /// A JSON object, such as '{"level": 3}'.
    #[arg(value_name = "JSON")]
    value: String,
}

/// Fetches the images that an app waits for now, whatever part of the day is for that.
#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    data: DataArg,
    /// The app.
    app: AppName,
}

/// Removes the named volumes of an app that is not desired any more, with what is in them.
///
/// Nothing else removes them: not an update, nor the end of the app.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveVolumesArgs {
    #[command(flatten)]
    data: DataArg,
    /// The app.
    app: AppName,
}

pub(crate) async fn hold(args: &HoldArgs) -> Result<()> {
    super::order(&args.data, &Request::Hold { app: args.app.clone() }).await
}

pub(crate) async fn release(args: &ReleaseArgs) -> Result<()> {
    super::order(&args.data, &Request::Release { app: args.app.clone() }).await
}

pub(crate) async fn restart(args: &RestartArgs) -> Result<()> {
    let (app, service) = (args.app.clone(), args.service.clone());
    super::order(&args.data, &Request::Restart { app, service }).await
}

pub(crate) async fn report(args: &ReportArgs) -> Result<()> {
    let value = serde_json::from_str(&args.value).context("the value is not JSON")?;
    super::order(&args.data, &Request::Report { key: args.key.clone(), value }).await
}

pub(crate) async fn remove_volumes(args: &RemoveVolumesArgs) -> Result<()> {
    super::order(&args.data, &Request::RemoveVolumes { app: args.app.clone() }).await
}

pub(crate) async fn pull(args: &PullArgs) -> Result<()> {
    super::order(&args.data, &Request::Pull { app: args.app.clone() }).await
}
