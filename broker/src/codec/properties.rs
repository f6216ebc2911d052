//! The MQTT 5 properties that travel with a message to its subscribers.

use std::num::NonZeroU32;

use bytes::{BufMut, Bytes, BytesMut};

use super::outgoing::{put_text, put_varint};
use super::wire;

/// What a publisher says about its message, apart from what is for the server alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Properties(wire::PublishProperties);

impl Properties {
    /// About what they cost in memory.
    pub(crate) fn size(&self) -> usize {
        const PAIR: usize = size_of::<(String, String)>();
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let pairs: usize =
            self.0.user_properties.iter().map(|(k, v)| PAIR + k.len() + v.len()).sum();
        size_of::<wire::PublishProperties>()
            + text(&self.0.response_topic)
            + text(&self.0.content_type)
            + self.0.correlation_data.as_ref().map_or(0, Bytes::len)
            + pairs
    }

    /// The topic that an answer is expected on.
    pub(crate) fn response_topic(&self) -> Option<&str> {
        self.0.response_topic.as_deref()
    }

    pub(super) fn of_publish(mut properties: wire::PublishProperties) -> Option<Box<Self>> {
        properties.topic_alias = None;
        properties.message_expiry_interval = None;
        properties.subscription_identifiers = Vec::new();
        // Its strings are copies, its bytes are views into the read buffer.
        properties.correlation_data =
            properties.correlation_data.map(|data| Bytes::copy_from_slice(&data));
        (properties != wire::PublishProperties::default()).then(|| Box::new(Self(properties)))
    }

    pub(super) fn of_will(properties: wire::LastWillProperties) -> Option<Box<Self>> {
        Self::of_publish(wire::PublishProperties {
            payload_format_indicator: properties.payload_format_indicator,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            user_properties: properties.user_properties,
            content_type: properties.content_type,
            ..wire::PublishProperties::default()
        })
    }

    fn append(&self, out: &mut BytesMut) {
        let properties = &self.0;
        if let Some(indicator) = properties.payload_format_indicator {
            out.extend_from_slice(&[0x01, indicator]);
        }
        if let Some(topic) = &properties.response_topic {
            out.put_u8(0x08);
            put_text(out, topic.as_bytes());
        }
        if let Some(data) = &properties.correlation_data {
            out.put_u8(0x09);
            put_text(out, data);
        }
        if let Some(kind) = &properties.content_type {
            out.put_u8(0x03);
            put_text(out, kind.as_bytes());
        }
        for (key, value) in &properties.user_properties {
            out.put_u8(0x26);
            put_text(out, key.as_bytes());
            put_text(out, value.as_bytes());
        }
    }
}

/// The properties of a PUBLISH without their length.
pub(super) fn of_delivery(
    properties: Option<&Properties>,
    expiry: Option<u32>,
    ids: &[NonZeroU32],
) -> BytesMut {
    let mut out = BytesMut::new();
    if let Some(properties) = properties {
        properties.append(&mut out);
    }
    if let Some(seconds) = expiry {
        out.put_u8(0x02);
        out.put_u32(seconds);
    }
    for id in ids {
        out.put_u8(0x0B);
        put_varint(&mut out, usize::try_from(id.get()).unwrap_or_default());
    }
    out
}
