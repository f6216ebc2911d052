//! What systemd is told: that the agent is ready, and again and again that it lives. It lives when
//! it answers over its own socket, so a loop that hangs is found. Without systemd nothing is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gnomon_edge::local::{self, Request};
use sd_notify::NotifyState;
use tokio::sync::Notify;

/// Tells it until it is dropped.
pub(super) async fn stay_alive(data: PathBuf, ready: Arc<Notify>) {
    ready.notified().await;
    tell(NotifyState::Ready);
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return std::future::pending().await;
    }
    let pause = (Duration::from_micros(micros) / 3).max(Duration::from_millis(100));
    loop {
        let answer = tokio::time::timeout(pause, local::ask(&data, &Request::Status)).await;
        if matches!(answer, Ok(Ok(_))) {
            tell(NotifyState::Watchdog);
        }
        tokio::time::sleep(pause).await;
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::debug!(%error, "systemd does not hear");
    }
}
