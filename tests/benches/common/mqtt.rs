//! The few packets of MQTT 3.1.1 that a load generator needs, as bytes.

/// Packet types, as they stand in the upper half of the first byte.
pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBACK: u8 = 9;

/// Appends a CONNECT of a clean session without keep-alive.
pub(crate) fn connect(out: &mut Vec<u8>, client_id: &str) {
    out.extend([0x10, small(12 + client_id.len()), 0, 4]);
    out.extend(b"MQTT");
    out.extend([4, 2, 0, 0]);
    text(out, client_id);
}

/// Appends a SUBSCRIBE to one filter at `QoS` 1.
pub(crate) fn subscribe(out: &mut Vec<u8>, filter: &str) {
    out.extend([0x82, small(5 + filter.len()), 0, 1]);
    text(out, filter);
    out.push(1);
}

/// Appends a PUBLISH at `QoS` 1.
pub(crate) fn publish(out: &mut Vec<u8>, topic: &str, pkid: u16, payload: &[u8]) {
    let body = 4 + topic.len() + payload.len();
    out.push(0x32);
    if let Ok(short @ 0..=127) = u8::try_from(body) {
        out.push(short);
    } else {
        out.extend([small(body & 0x7F) | 0x80, small(body >> 7)]);
    }
    text(out, topic);
    out.extend(pkid.to_be_bytes());
    out.extend(payload);
}

/// Appends a PUBACK.
pub(crate) fn puback(out: &mut Vec<u8>, pkid: [u8; 2]) {
    let [high, low] = pkid;
    out.extend([0x40, 2, high, low]);
}

/// The packet at the front of `bytes`: its type, its body, its whole length.
pub(crate) fn first(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (kind, rest) = bytes.split_first()?;
    let mut len = 0;
    for (at, byte) in rest.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            let start = at + 2;
            return Some((kind >> 4, bytes.get(start..start + len)?, start + len));
        }
    }
    None
}

/// The topic, the packet id and the payload of a PUBLISH at `QoS` 1.
pub(crate) fn published(body: &[u8]) -> Option<(&str, [u8; 2], &[u8])> {
    let (len, rest) = body.split_first_chunk()?;
    let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (pkid, payload) = rest.split_first_chunk()?;
    Some((std::str::from_utf8(topic).ok()?, *pkid, payload))
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

fn small(len: usize) -> u8 {
    u8::try_from(len).unwrap_or(u8::MAX)
}
