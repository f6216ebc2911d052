//! The HTTP listener: bounded connections, bounded patience, a graceful end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::patience::Patient;
use crate::quiet::Quiet;

/// What the listener may be tuned with.
#[derive(Debug, Clone, Copy)]
pub struct HttpConfig {
    /// The most connections at once; further ones wait.
    pub connections: usize,
    /// How long a client may take for the head of a request, and how long a connection may idle.
    pub head_timeout: Duration,
    /// How long a client may read nothing of what waits for it.
    pub write_timeout: Duration,
    /// How long the connections may take to end.
    pub grace: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections: 4096,
            head_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_secs(20),
            grace: Duration::from_secs(5),
        }
    }
}

/// Serves until `stop`, then lets the requests that are under way end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: HttpConfig,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(config.connections));
    let connections = TaskTracker::new();
    let mut quiet = Quiet::default();
    while let Some(stream) = next(&listener, &room, &stop).await {
        let (stream, permit) = match stream {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only burn CPU.
                if let Some(unsaid) = quiet.speak() {
                    tracing::warn!(%error, unsaid, "a connection could not be accepted");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = converse(stream, router.clone(), config, stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    connections.close();
    if tokio::time::timeout(config.grace, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "some HTTP connections did not end in time");
    }
}

type Accepted = std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)>;

async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<Accepted> {
    let accept = async {
        let permit = Arc::clone(room).acquire_owned().await.expect("nobody closes the semaphore");
        listener.accept().await.map(|(stream, _)| (stream, permit))
    };
    stop.run_until_cancelled(accept).await
}

async fn converse(stream: TcpStream, router: Router, config: HttpConfig, stop: CancellationToken) {
    drop(stream.set_nodelay(true));
    let service = TowerToHyperService::new(router);
    let stream = TokioIo::new(Patient::new(stream, config.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        // Who has said all and only listens is answered, too.
        .half_close(true)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}
