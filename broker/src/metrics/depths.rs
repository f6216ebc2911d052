//! How much waits, looked at when somebody asks, so that messages on their way are not counted twice
//! each.

use std::fmt;
use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::hub::Hub;

/// How much waits in the queues of sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depths {
    /// In all of them.
    pub(crate) messages: usize,
    /// Of these and of what is in flight to clients whose sessions are kept.
    pub(crate) bytes: usize,
    /// In the longest one.
    pub(crate) longest: usize,
}

/// The queues of a broker for a registry, for as long as there is the broker.
pub(crate) struct Queues(pub(crate) Weak<Hub>);

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(hub) = self.0.upgrade() else { return Ok(()) };
        let Depths { messages, bytes, longest } = hub.depths();
        for (name, help, value) in [
            ("queued_messages", "Messages that wait for clients", messages),
            ("queued_bytes", "Bytes of messages that wait or are not acknowledged", bytes),
            ("queued_messages_longest", "Messages in the longest queue", longest),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queues").finish_non_exhaustive()
    }
}
