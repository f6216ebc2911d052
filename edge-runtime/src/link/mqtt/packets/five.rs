//! MQTT 5.

use rumqttc::Outgoing;
use rumqttc::Transport;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, ConnectReturnCode, DisconnectReasonCode, Packet, PubAckReason,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};

use super::{CONNECT_SECONDS, Hello, IN_FLIGHT, Lost, PACKET_BYTES, QUEUE, Seen, Why};

pub(super) fn open(hello: &Hello<'_>) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(hello.client_id, hello.gate, 1);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(0);
    properties.max_packet_size = u32::try_from(PACKET_BYTES).ok();
    options
        .set_keep_alive(hello.keep_alive)
        .set_clean_start(true)
        .set_connect_properties(properties)
        .set_outgoing_inflight_upper_limit(IN_FLIGHT)
        .set_connection_timeout(CONNECT_SECONDS)
        .set_transport(Transport::Unix);
    AsyncClient::new(options, QUEUE)
}

pub(super) fn read(event: Result<Event, ConnectionError>) -> Result<Seen, Lost> {
    let packet = match event {
        Ok(Event::Incoming(packet)) => packet,
        Ok(Event::Outgoing(Outgoing::PingReq)) => return Ok(Seen::Pinged),
        Ok(Event::Outgoing(Outgoing::Disconnect)) => return Ok(Seen::Goodbye),
        Ok(Event::Outgoing(_)) => return Ok(Seen::Other),
        Err(error) => return Err(explain(&error)),
    };
    if let Packet::ConnAck(_) = packet {
        return Ok(Seen::Connected);
    }
    if let Packet::PingResp(_) = packet {
        return Ok(Seen::Ponged);
    }
    if let Packet::Publish(publish) = packet {
        return Ok(Seen::Publish { topic: publish.topic, payload: publish.payload });
    }
    if let Packet::SubAck(answer) = packet {
        return match answer.return_codes.as_slice() {
            [SubscribeReasonCode::Success(_)] => Ok(Seen::Subscribed),
            codes => Err(super::refused_subscription(&codes)),
        };
    }
    if let Packet::PubAck(receipt) = packet
        && !matches!(receipt.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers)
    {
        let reason = format!("the broker refuses a message of this node: {:?}", receipt.reason);
        return Err(Lost { reason, why: Why::Refused });
    }
    Ok(Seen::Other)
}

fn explain(error: &ConnectionError) -> Lost {
    if let ConnectionError::ConnectionRefused(code) = error {
        let is_refusal = *code != ConnectReturnCode::UnsupportedProtocolVersion;
        let reason = format!("the broker refuses the connection: {code:?}");
        return Lost { reason, why: if is_refusal { Why::Refused } else { Why::Broken } };
    }
    if let ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) =
        error
    {
        let text = reason_string.as_deref().unwrap_or("no reason given");
        let reason = format!("the broker ended the connection: {reason_code:?} ({text})");
        let is_takeover = *reason_code == DisconnectReasonCode::SessionTakenOver;
        return Lost { reason, why: if is_takeover { Why::TakenOver } else { Why::Refused } };
    }
    if let ConnectionError::MqttState(StateError::AwaitPingResp) = error {
        return Lost::new("the broker went silent");
    }
    Lost::new(crate::chain(error))
}
