//! The `QoS` 1 and 2 messages on their way to one session: which of its acknowledgements each
//! of them waits for. Pure.

use std::collections::VecDeque;

use crate::outbox::Queued;
use crate::packet::Qos;
use crate::reason::DisconnectReason;

/// A message that the client has not acknowledged to the end.
#[derive(Debug)]
struct InFlight {
    pkid: u16,
    qos: Qos,
    /// The client has the `QoS` 2 message; what is left is that it forgets the packet id.
    released: bool,
    /// It was sent over an earlier connection and is to be sent again.
    resend: bool,
    /// What is sent again; none if it never will be.
    kept: Option<Queued>,
}

/// What is sent again after a reconnect.
#[derive(Debug)]
pub(crate) enum Resend {
    /// The message, as a duplicate.
    Message(u16, Queued),
    /// The PUBREL.
    Release(u16),
}

/// The packet ids in flight to one client, oldest first, at most as many as it takes at once.
#[derive(Debug)]
pub(crate) struct Window {
    in_flight: VecDeque<InFlight>,
    last: u16,
    max: u16,
    to_resend: u16,
}

impl Window {
    /// A window of at most `max` messages.
    pub(crate) fn new(max: u16) -> Self {
        Self { in_flight: VecDeque::new(), last: 0, max, to_resend: 0 }
    }

    /// Whether one more message may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.to_resend == 0 && self.in_flight.len() < usize::from(self.max)
    }

    /// Puts a message in flight under a packet id that is free; `None` if the window is
    /// closed. It is kept for a resend if `keep`.
    pub(crate) fn acquire(&mut self, queued: &Queued, keep: bool) -> Option<u16> {
        if !self.is_open() {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if self.position(self.last).is_none() {
                self.in_flight.push_back(InFlight {
                    pkid: self.last,
                    qos: queued.qos,
                    released: false,
                    resend: false,
                    kept: keep.then(|| queued.clone()),
                });
                return Some(self.last);
            }
        }
    }

    /// PUBACK. Returns what was kept of the message.
    pub(crate) fn taken(&mut self, pkid: u16) -> Result<Option<Queued>, DisconnectReason> {
        match self.position(pkid).and_then(|at| Some((at, self.in_flight.get(at)?))) {
            Some((at, InFlight { qos: Qos::AtLeastOnce, .. })) => Ok(self.remove(at)),
            Some(_) => Err(DisconnectReason::ProtocolError),
            None => Ok(None),
        }
    }

    /// PUBREC of a message that the client has. Returns whether the packet id is known, and
    /// what was kept of the message.
    pub(crate) fn received(
        &mut self,
        pkid: u16,
    ) -> Result<(bool, Option<Queued>), DisconnectReason> {
        let at = self.position(pkid);
        match at.and_then(|at| self.in_flight.get_mut(at)) {
            Some(entry) if entry.qos == Qos::ExactlyOnce => {
                entry.released = true;
                if std::mem::take(&mut entry.resend) {
                    self.to_resend -= 1;
                }
                Ok((true, entry.kept.take()))
            }
            Some(_) => Err(DisconnectReason::ProtocolError),
            None => Ok((false, None)),
        }
    }

    /// PUBCOMP.
    pub(crate) fn completed(&mut self, pkid: u16) -> Result<(), DisconnectReason> {
        match self.position(pkid).and_then(|at| Some((at, self.in_flight.get(at)?))) {
            Some((at, InFlight { released: true, .. })) => {
                self.remove(at);
                Ok(())
            }
            Some(_) => Err(DisconnectReason::ProtocolError),
            None => Ok(()),
        }
    }

    /// Forgets a message, whatever it waits for. Returns what was kept of it.
    pub(crate) fn forget(&mut self, pkid: u16) -> Option<Queued> {
        self.position(pkid).and_then(|at| self.remove(at))
    }

    /// The client is back and takes `max` messages at once: all is to be sent again.
    pub(crate) fn resume(&mut self, max: u16) {
        self.max = max;
        self.in_flight.iter_mut().for_each(|entry| entry.resend = true);
        self.to_resend = u16::try_from(self.in_flight.len()).unwrap_or(u16::MAX);
    }

    /// The oldest that is to be sent again, if the client takes one more.
    pub(crate) fn next_resend(&mut self) -> Option<Resend> {
        if self.to_resend == 0
            || self.in_flight.len() - usize::from(self.to_resend) >= usize::from(self.max)
        {
            return None;
        }
        let entry = self.in_flight.iter_mut().find(|entry| entry.resend)?;
        entry.resend = false;
        self.to_resend -= 1;
        match &entry.kept {
            Some(queued) if !entry.released => Some(Resend::Message(entry.pkid, queued.clone())),
            _ => Some(Resend::Release(entry.pkid)),
        }
    }

    /// Takes the `QoS` 1 messages of shared subscriptions out, for other members.
    pub(crate) fn take_shared(&mut self) -> Vec<Queued> {
        let is_shared = |entry: &InFlight| {
            entry.qos == Qos::AtLeastOnce
                && entry.kept.as_ref().is_some_and(|queued| queued.group.is_some())
        };
        let mut taken = Vec::new();
        for at in (0..self.in_flight.len()).rev() {
            if self.in_flight.get(at).is_some_and(is_shared) {
                taken.extend(self.remove(at));
            }
        }
        taken.reverse();
        taken
    }

    /// Messages sent over this connection that are not acknowledged to the end.
    #[cfg(test)]
    pub(crate) fn unresolved(&self) -> usize {
        self.in_flight.len() - usize::from(self.to_resend)
    }

    fn position(&self, pkid: u16) -> Option<usize> {
        self.in_flight.iter().position(|entry| entry.pkid == pkid)
    }

    fn remove(&mut self, at: usize) -> Option<Queued> {
        let entry = self.in_flight.remove(at)?;
        if entry.resend {
            self.to_resend -= 1;
        }
        if self.in_flight.is_empty() {
            self.in_flight = VecDeque::new();
        }
        entry.kept
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::packet::Message;

    fn queued(qos: Qos) -> Queued {
        let message = Message::new("t".parse().unwrap(), "x".into(), qos);
        Queued::new(Arc::new(message), qos)
    }

    fn send(window: &mut Window, qos: Qos) -> Option<u16> {
        window.acquire(&queued(qos), true)
    }

    fn resends(window: &mut Window) -> Vec<(u16, bool)> {
        let next = || window.next_resend();
        std::iter::from_fn(next)
            .map(|resend| match resend {
                Resend::Message(pkid, _) => (pkid, true),
                Resend::Release(pkid) => (pkid, false),
            })
            .collect()
    }

    #[test]
    fn the_window_closes_and_opens_with_any_acknowledgement() {
        let mut window = Window::new(2);
        assert_eq!(send(&mut window, Qos::AtLeastOnce), Some(1));
        assert_eq!(send(&mut window, Qos::AtLeastOnce), Some(2));
        assert_eq!(send(&mut window, Qos::AtLeastOnce), None);
        assert!(window.taken(2).unwrap().is_some());
        assert!(window.taken(2).unwrap().is_none());
        assert_eq!(send(&mut window, Qos::AtLeastOnce), Some(3));
    }

    #[test]
    fn qos_2_holds_its_place_until_it_is_complete() {
        let mut window = Window::new(1);
        assert_eq!(send(&mut window, Qos::ExactlyOnce), Some(1));
        assert!(matches!(window.received(1), Ok((true, Some(_)))));
        assert!(matches!(window.received(1), Ok((true, None))), "a repeated PUBREC");
        assert!(!window.is_open());
        assert_eq!(window.completed(1), Ok(()));
        assert!(window.is_open());
        assert!(matches!(window.received(1), Ok((false, None))));
        assert_eq!(window.completed(1), Ok(()));
    }

    #[test]
    fn an_acknowledgement_of_the_other_qos_breaks_the_protocol() {
        let mut window = Window::new(9);
        send(&mut window, Qos::AtLeastOnce);
        send(&mut window, Qos::ExactlyOnce);
        assert!(window.received(1).is_err());
        assert!(window.taken(2).is_err());
        assert!(window.completed(2).is_err(), "before its PUBREC");
    }

    #[test]
    fn a_resumed_session_gets_all_again_in_order_and_no_more_than_it_takes() {
        let mut window = Window::new(9);
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::ExactlyOnce, Qos::AtLeastOnce] {
            send(&mut window, qos);
        }
        window.received(2).unwrap();
        window.resume(3);
        assert!(!window.is_open());
        assert_eq!(resends(&mut window), [(1, true), (2, false), (3, true)]);
        window.taken(1).unwrap();
        assert_eq!(resends(&mut window), [(4, true)]);
        window.completed(2).unwrap();
        assert!(window.is_open());
    }

    #[test]
    fn packet_ids_wrap_past_zero_and_past_what_is_in_flight() {
        let mut window = Window::new(u16::MAX);
        assert_eq!(send(&mut window, Qos::AtLeastOnce), Some(1));
        for _ in 0..65_534 {
            let id = send(&mut window, Qos::AtLeastOnce).unwrap();
            if id != 1 {
                window.taken(id).unwrap();
            }
        }
        assert_eq!(send(&mut window, Qos::AtLeastOnce), Some(2));
    }
}
