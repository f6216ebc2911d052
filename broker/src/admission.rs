//! The decision on a CONNECT: what is agreed with the client, or why it is refused. Pure.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use crate::acl::{Action, Decision, Subject};
use crate::codec::Dialect;
use crate::limits::Limits;
use crate::packet::{Connect, Message, Protocol, Qos, RawWill, Refusal, Terms, Will};
use crate::principal::Principal;
use crate::session::{Agreement, Policy, may_be_written};
use crate::session_id::SessionId;
use crate::table::ClientKey;
use crate::topic::TopicName;

#[cfg(test)]
mod tests;

/// What the CONNECT asks for that can be refused before anybody is asked who the client is.
pub(crate) fn check(connect: &Connect, limits: &Limits) -> Result<(), Refusal> {
    if connect.has_auth_method {
        return Err(Refusal::AuthMethod);
    }
    if connect.receive_maximum == 0 || connect.maximum_packet == 0 {
        return Err(Refusal::ProtocolError);
    }
    let id = &connect.client_id;
    let nameless = id.is_empty() && connect.protocol == Protocol::V4 && !connect.clean_start;
    if nameless || id.len() > limits.client_id || id.contains('\0') {
        return Err(Refusal::ClientId);
    }
    Ok(())
}

/// Agrees with an authenticated client on the terms of its session.
pub(crate) fn admit(
    connect: Connect,
    principal: Arc<Principal>,
    session: SessionId,
    policy: &Policy,
) -> Result<(Agreement, Terms), Refusal> {
    let limits = &policy.limits;
    let assigned: Option<Arc<str>> =
        connect.client_id.is_empty().then(|| format!("auto-{session}").into());
    let client_id: Box<str> = assigned.as_deref().unwrap_or(&connect.client_id).into();
    let subject = Subject { principal: &principal, client_id: &client_id };
    let will = match connect.will {
        Some(will) => Some(check_will(will, connect.protocol, subject, policy)?),
        None => None,
    };
    let (keep_alive, server_keep_alive) =
        agree_keep_alive(connect.protocol, connect.keep_alive, limits);
    let expiry = match connect.protocol {
        Protocol::V4 if connect.clean_start => Duration::ZERO,
        Protocol::V4 => limits.session_expiry_v4,
        Protocol::V5 => {
            Duration::from_secs(connect.session_expiry.into()).min(limits.session_expiry)
        }
    };
    let granted = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
    let terms = Terms {
        session_present: false,
        session_expiry: (granted != connect.session_expiry).then_some(granted),
        retain_available: limits.retained_messages > 0,
        assigned_client_id: assigned,
        server_keep_alive,
        receive_maximum: limits.receive_maximum,
        maximum_packet: u32::try_from(limits.packet).unwrap_or(u32::MAX),
        topic_alias_maximum: limits.topic_aliases,
    };
    let agreement = Agreement {
        dialect: Dialect {
            protocol: connect.protocol,
            maximum_packet: connect.maximum_packet,
            reason_strings: connect.wants_reasons,
        },
        key: Arc::new(ClientKey { principal, client_id }),
        clean_start: connect.clean_start,
        keep_alive,
        expiry,
        inflight: limits.inflight.min(connect.receive_maximum),
        will,
    };
    Ok((agreement, terms))
}

/// The keep-alive that holds, and what an MQTT 5 client is told if it is not its own.
fn agree_keep_alive(
    protocol: Protocol,
    asked: u16,
    limits: &Limits,
) -> (Option<NonZeroU16>, Option<u16>) {
    let longest = u16::try_from(limits.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1);
    let (seconds, told) = match protocol {
        Protocol::V5 if asked == 0 || asked > longest => (longest, Some(longest)),
        Protocol::V4 | Protocol::V5 => (asked, None),
    };
    (NonZeroU16::new(seconds), told)
}

fn check_will(
    will: RawWill,
    protocol: Protocol,
    subject: Subject<'_>,
    policy: &Policy,
) -> Result<Arc<Will>, Refusal> {
    let topic =
        TopicName::from_bytes(&will.topic, policy.limits.topic).map_err(|_| Refusal::WillTopic)?;
    let qos = Qos::of(will.qos).ok_or(Refusal::ProtocolError)?;
    let keeps_retained = policy.limits.retained_messages > 0;
    if will.retain && protocol == Protocol::V5 && !keeps_retained {
        return Err(Refusal::WillRetain);
    }
    if !may_be_written(&topic)
        || policy.acl.authorize(subject, Action::Publish(&topic)) == Decision::Deny
    {
        return Err(Refusal::NotAuthorized);
    }
    let RawWill { payload, properties, retain, delay, expiry, .. } = will;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let retain = retain && keeps_retained;
    let message = Message { topic, payload, qos, retain, expires: None, properties };
    Ok(Arc::new(Will { message, delay: seconds(delay), expiry: expiry.map(seconds) }))
}
