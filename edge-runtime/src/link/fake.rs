//! A link without a network: a test plays the cloud.

use gnomon_schemas::topic::Topic;
use tokio::sync::mpsc;

use super::{Link, LinkEvent, Meter, Quality, Traffic};

/// The agent's end.
#[derive(Debug)]
pub struct FakeLink {
    events: mpsc::UnboundedReceiver<LinkEvent>,
    published: mpsc::UnboundedSender<(Topic, Vec<u8>)>,
    meter: Meter,
}

/// The test's end.
#[derive(Debug)]
pub struct FakeCloud {
    /// Makes things happen at the agent.
    pub events: mpsc::UnboundedSender<LinkEvent>,
    /// What the agent published.
    pub published: mpsc::UnboundedReceiver<(Topic, Vec<u8>)>,
}

/// Both ends of a fake link, which is down.
pub fn pair() -> (FakeLink, FakeCloud) {
    let (events, incoming) = mpsc::unbounded_channel();
    let (outgoing, published) = mpsc::unbounded_channel();
    let link = FakeLink { events: incoming, published: outgoing, meter: Meter::default() };
    (link, FakeCloud { events, published })
}

impl Link for FakeLink {
    async fn next(&mut self) -> LinkEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    fn publish(&mut self, topic: &Topic, payload: Vec<u8>) {
        self.meter.sent(payload.len());
        self.meter.carried(topic.stream(), payload.len());
        drop(self.published.send((topic.clone(), payload)));
    }

    fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    fn quality(&self) -> Quality {
        self.meter.quality()
    }

    async fn close(self) {}
}
