//! What a site must show before it counts as converged; shared by the scenes.

use gnomon_schemas::app::{AppState, AppStatus};

use crate::api::{Node, Shadow};
use crate::client::Client;
use crate::demo::app::App;
use crate::demo::backstage::Look;
use crate::demo::sites::Site;

/// Whether the site reports that it runs the newest version, by the cloud's own shadow.
pub(super) fn runs_desired(shadow: &Shadow) -> Look<u64> {
    let wanted = shadow.desired_version();
    let Some(reported) = &shadow.reported else { return Look::NotYet("no report yet".to_owned()) };
    let status = match AppStatus::from_document(&reported.document) {
        Ok(status) => status,
        Err(error) => return Look::NotYet(format!("an unreadable report: {error}")),
    };
    if status.desired_version.0 == wanted && status.state == AppState::Running {
        return Look::Done(wanted);
    }
    let reason = status.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let (state, version) = (status.state, status.desired_version);
    Look::NotYet(format!("v{wanted} desired, v{version} reported as {state:?}{reason}"))
}

/// Whether the node is connected and both streams are drained.
pub(super) fn in_sync(node: &Node) -> Look<()> {
    let (head, acked) = (node.down.head, node.down.acked);
    if node.online && node.in_sync && acked == Some(head) {
        return Look::Done(());
    }
    let acked = acked.map_or_else(|| "nothing".to_owned(), |acked| acked.to_string());
    Look::NotYet(format!(
        "online {}, in sync {}, {acked} of {head} acknowledged",
        node.online, node.in_sync
    ))
}

/// Both of them, asked of the cloud now.
pub(super) async fn look(client: &Client, site: &Site, app: &App) -> anyhow::Result<Look<u64>> {
    let shadow = client.shadow(&site.node, &app.key()).await?;
    let version = match runs_desired(&shadow) {
        Look::Done(version) => version,
        Look::NotYet(seen) => return Ok(Look::NotYet(seen)),
    };
    Ok(match in_sync(&client.node(&site.node).await?) {
        Look::Done(()) => Look::Done(version),
        Look::NotYet(seen) => Look::NotYet(seen),
    })
}
