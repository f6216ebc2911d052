//! The task that does what is due for clients that are away: their wills, the end of their sessions.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use super::Hub;
use crate::attachment::AttachmentEvent;
use crate::outlet::Outlet;
use crate::packet::{Message, Qos};
use crate::table::Due;

/// Runs until the broker stops.
pub(crate) async fn keep(hub: Arc<Hub>, stop: CancellationToken) {
    let mut figures = Figures::new(&hub);
    loop {
        let next = hub.table().next_due();
        let until_due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until_due => {}
            () = hub.due_changed.notified() => {}
            () = figures.due() => figures.publish(&hub),
            () = stop.cancelled() => return,
        }
        while let Some(due) = hub.take_due() {
            hub.settle(due).await;
        }
    }
}

impl Hub {
    fn take_due(&self) -> Option<Due<Arc<Outlet>>> {
        let mut table = self.table_mut();
        let due = table.take_due(now())?;
        if let Some(ended) = &due.ended {
            let shared = ended.outlet.mailbox().take_shared();
            self.reroute(&table, shared);
            self.metrics.away.set(i64::try_from(table.away()).unwrap_or(i64::MAX));
            tracing::debug!(session = %due.id, "a session whose client is away has ended");
        }
        Some(due)
    }

    async fn settle(&self, due: Due<Arc<Outlet>>) {
        let Due { id, principal, will: Some(will), .. } = due else { return };
        let will = will.message(now());
        self.route(&will, Some(id));
        for attached in self.attachments().iter().filter(|a| a.wants(&will.topic)) {
            attached.send(AttachmentEvent::publish(Some(id), &principal, &will)).await;
        }
    }
}

/// The broker's own figures as retained messages below `$SYS/broker/`.
struct Figures {
    ticks: Option<Interval>,
}

impl Figures {
    fn new(hub: &Hub) -> Self {
        let every = hub.policy.limits.sys_interval;
        let ticks = (!every.is_zero()).then(|| tokio::time::interval(every));
        Self { ticks }
    }

    async fn due(&mut self) {
        match &mut self.ticks {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    fn publish(&self, hub: &Hub) {
        let expires = self.ticks.as_ref().map(|ticks| now() + 2 * ticks.period());
        for (name, value) in hub.metrics.figures() {
            let Ok(topic) = format!("$SYS/broker/{name}").parse() else { continue };
            let message = Message::new(topic, value.to_string().into(), Qos::AtMostOnce);
            hub.route(&Arc::new(Message { retain: true, expires, ..message }), None);
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
