//! Those who asked and wait for an answer.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::core::Ticket;
use crate::local::Response;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    next: u64,
    answers: BTreeMap<Ticket, oneshot::Sender<Response>>,
}

impl Waiting {
    pub(super) fn add(&mut self, answer: oneshot::Sender<Response>) -> Ticket {
        let ticket = Ticket(self.next);
        self.next = self.next.wrapping_add(1);
        self.answers.insert(ticket, answer);
        ticket
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Option<oneshot::Sender<Response>> {
        self.answers.remove(&ticket)
    }
}
