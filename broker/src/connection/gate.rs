//! Back-pressure: while an attachment has no room for an event of a session, the session waits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;

use crate::attachment::{Attached, AttachmentEvent};
use crate::outlet::Outlet;
use crate::packet::Outgoing;

/// Events that wait for room, and what is sent to the client once they are handed over.
pub(super) struct Gate {
    waiting: Pin<Box<dyn Future<Output = ()> + Send>>,
    then: Option<Outgoing>,
}

/// What became of events for the attachments.
pub(super) enum Told {
    /// All are handed over; this is to be sent to the client.
    Now(Option<Outgoing>),
    /// Some wait for room.
    Later(Gate),
}

/// Hands events over in their order.
pub(super) fn tell(events: Vec<(Arc<Attached>, AttachmentEvent)>, then: Option<Outgoing>) -> Told {
    let mut late = Vec::new();
    for (attached, event) in events {
        if let Err(TrySendError::Full(event)) = attached.events.try_send(event) {
            late.push((attached, event));
        }
    }
    if late.is_empty() {
        return Told::Now(then);
    }
    let waiting = Box::pin(async move {
        for (attached, event) in late {
            attached.send(event).await;
        }
    });
    Told::Later(Gate { waiting, then })
}

impl Told {
    /// Waits for a slow subscriber too, if there is one, but not for longer than `most`.
    pub(super) fn after(self, slow: Option<Arc<Outlet>>, most: Duration) -> Self {
        let Some(slow) = slow else { return self };
        let (waiting, then) = match self {
            Self::Now(then) => (None, then),
            Self::Later(Gate { waiting, then }) => (Some(waiting), then),
        };
        let waiting = Box::pin(async move {
            if let Some(waiting) = waiting {
                waiting.await;
            }
            slow.relieved(most).await;
        });
        Self::Later(Gate { waiting, then })
    }
}

impl Gate {
    /// Waits until everything is handed over.
    pub(super) async fn wait(self) {
        self.waiting.await;
    }
}

/// Ready when the gate opens, which takes it away; never if there is none.
pub(super) fn poll_opened(
    gate: &mut Option<Box<Gate>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Outgoing>> {
    let Some(Gate { waiting, .. }) = gate.as_deref_mut() else { return Poll::Pending };
    ready!(waiting.as_mut().poll(cx));
    Poll::Ready(gate.take().and_then(|gate| gate.then))
}
