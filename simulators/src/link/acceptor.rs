//! Takes connections in and gives each its task; nothing else happens in the accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::connection::{RECEIVE_BUFFER_BYTES, Shared, abort, carry};
use super::modem::ConnectionId;

/// Beyond this many connections a link resets new ones.
const CONNECTIONS: usize = 50_000;

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(4096)
}

pub(super) async fn run(listener: TcpListener, shared: Shared, tasks: TaskTracker) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut next_id = 0;
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let client = match accepted {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::warn!(%error, "cannot accept; is the limit of open files too low?");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        shared.tally.opened.add(1);
        let Ok(permit) = room.clone().try_acquire_owned() else {
            shared.tally.refused.add(1);
            shared.tally.closed.add(1);
            abort(&client);
            continue;
        };
        next_id += 1;
        let (id, shared) = (ConnectionId(next_id), shared.clone());
        let carried = async move {
            let tally = shared.tally.clone();
            carry(client, id, shared).await;
            tally.closed.add(1);
            drop(permit);
        };
        tasks.spawn(carried.in_current_span());
    }
}
