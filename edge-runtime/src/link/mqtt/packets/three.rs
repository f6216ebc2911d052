//! MQTT 3.1.1, for brokers that know nothing newer.

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Outgoing,
    Packet, StateError, SubscribeReasonCode, Transport,
};

use super::{CONNECT_SECONDS, Hello, IN_FLIGHT, Lost, PACKET_BYTES, QUEUE, Seen, Why};

pub(super) fn open(hello: &Hello<'_>) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(hello.client_id, hello.gate, 1);
    options
        .set_keep_alive(hello.keep_alive)
        .set_clean_session(true)
        .set_max_packet_size(PACKET_BYTES, PACKET_BYTES)
        .set_inflight(IN_FLIGHT)
        .set_transport(Transport::Unix);
    let (client, mut packets) = AsyncClient::new(options, QUEUE);
    packets.network_options.set_connection_timeout(CONNECT_SECONDS);
    (client, packets)
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
    if let Packet::PingResp = packet {
        return Ok(Seen::Ponged);
    }
    if let Packet::Publish(publish) = packet {
        return Ok(Seen::Publish { topic: publish.topic.into(), payload: publish.payload });
    }
    if let Packet::SubAck(answer) = packet {
        return match answer.return_codes.as_slice() {
            [SubscribeReasonCode::Success(_)] => Ok(Seen::Subscribed),
            codes => Err(super::refused_subscription(&codes)),
        };
    }
    Ok(Seen::Other)
}

fn explain(error: &ConnectionError) -> Lost {
    if let ConnectionError::ConnectionRefused(code) = error {
        let is_refusal = *code != ConnectReturnCode::RefusedProtocolVersion;
        let reason = format!("the broker refuses the connection: {code:?}");
        return Lost { reason, why: if is_refusal { Why::Refused } else { Why::Broken } };
    }
    if let ConnectionError::MqttState(StateError::AwaitPingResp) = error {
        return Lost::new("the broker went silent");
    }
    Lost::new(crate::chain(error))
}
