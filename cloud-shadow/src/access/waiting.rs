//! Nodes that nobody knows and that have no token: they wait until an operator decides.

use gnomon_schemas::id::NodeName;
use serde::{Deserialize, Serialize};

use super::book::{Book, BookRefusal, Edit};
use super::grant::Home;

/// A node that waits to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What it is called by; the same for the same name and key.
    pub id: String,
    /// What it calls itself.
    pub node: NodeName,
    /// The SHA-256 of its public key, in hexadecimal: what an operator compares.
    pub key: String,
    /// Where it knocked from.
    pub peer: String,
    /// When it knocked first, in milliseconds since 1970.
    pub since_ms: u64,
    /// What was decided.
    pub state: WaitingState,
    /// The certificate that it has already, in PEM: it joined after the backup was made that was put
    /// back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// What was decided about a node that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingState {
    /// Nothing yet.
    Undecided,
    /// It is not let in.
    Denied,
    /// It is let in when it knocks again, and will belong there.
    Approved(Home),
    /// It was let in with this certificate; should that get lost, it gets it again.
    Joined(String),
}

/// Somebody who wants to be let in without a token.
#[derive(Debug, Clone)]
pub struct Knock {
    /// What it calls itself.
    pub node: NodeName,
    /// The SHA-256 of its public key.
    pub key: String,
    /// Where it knocks from.
    pub peer: String,
    /// The certificate that it has already, in PEM.
    pub certificate: Option<String>,
}

/// How long a node may wait, and a decision holds.
const LIFE_MS: u64 = 24 * 60 * 60 * 1000;

impl Book {
    /// The nodes that wait, or were decided about not long ago.
    pub fn waiting(&self, now_ms: u64) -> impl Iterator<Item = &Waiting> {
        self.all_waiting().filter(move |waiting| is_current(waiting, now_ms))
    }

    /// Somebody knocks, and is told how it stands. At most `most` wait, and those that knock first
    /// are not pushed out by those that come later.
    pub fn knock(
        &self,
        id: &str,
        knock: Knock,
        most: usize,
        now_ms: u64,
    ) -> Result<(Waiting, Vec<Edit>), BookRefusal> {
        let old = self.all_waiting().filter(|waiting| !is_current(waiting, now_ms));
        let mut edits: Vec<Edit> = old.map(|old| Edit::NoWaiting(old.id.clone())).collect();
        if let Some(known) = self.waiting(now_ms).find(|waiting| waiting.id == id) {
            return Ok((known.clone(), Vec::new()));
        }
        if self.waiting(now_ms).count() >= most {
            return Err(BookRefusal::Full { what: "nodes that wait to be let in", limit: most });
        }
        let Knock { node, key, peer, certificate } = knock;
        let state = WaitingState::Undecided;
        let (id, since_ms) = (id.to_owned(), now_ms);
        let waiting = Waiting { id, node, key, peer, since_ms, state, certificate };
        edits.push(Edit::Waiting(waiting.clone()));
        Ok((waiting, edits))
    }

    /// Decides about a node that waits.
    pub fn decide(
        &self,
        id: &str,
        state: WaitingState,
        now_ms: u64,
    ) -> Result<(Waiting, Edit), BookRefusal> {
        let mut current = self.waiting(now_ms);
        let waiting = current.find(|waiting| waiting.id == id);
        let waiting = waiting.ok_or_else(|| BookRefusal::NobodyWaits(id.to_owned()))?;
        let is_in = matches!(waiting.state, WaitingState::Joined(_));
        if is_in && !matches!(state, WaitingState::Joined(_)) {
            return Err(BookRefusal::NobodyWaits(id.to_owned()));
        }
        let waiting = Waiting { state, ..waiting.clone() };
        Ok((waiting.clone(), Edit::Waiting(waiting)))
    }
}

const fn is_current(waiting: &Waiting, now_ms: u64) -> bool {
    now_ms.saturating_sub(waiting.since_ms) < LIFE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knock(book: &mut Book, id: &str, now_ms: u64) -> Result<WaitingState, BookRefusal> {
        let node = "site-1".parse().unwrap();
        let (key, peer) = ("k".to_owned(), "10.0.0.1".to_owned());
        let knock = Knock { node, key, peer, certificate: None };
        let (waiting, edits) = book.knock(id, knock, 2, now_ms)?;
        for edit in edits {
            book.apply(edit);
        }
        Ok(waiting.state)
    }

    #[test]
    fn who_waits_is_told_what_was_decided_and_the_queue_has_an_end() {
        let mut book = Book::default();
        for id in ["a", "b", "a"] {
            assert_eq!(knock(&mut book, id, 1), Ok(WaitingState::Undecided));
        }
        assert!(matches!(knock(&mut book, "c", 1), Err(BookRefusal::Full { limit: 2, .. })));
        let approved = WaitingState::Approved(Home::default());
        let (_, edit) = book.decide("a", approved.clone(), 2).unwrap();
        book.apply(edit);
        assert_eq!(knock(&mut book, "a", 3), Ok(approved));
        assert!(book.decide("x", WaitingState::Denied, 3).is_err());
        assert_eq!(knock(&mut book, "c", 1 + LIFE_MS), Ok(WaitingState::Undecided));
        assert_eq!(book.waiting(1 + LIFE_MS).count(), 1, "the others have waited too long");
    }

    #[test]
    fn who_has_joined_cannot_be_denied_any_more() {
        let mut book = Book::default();
        knock(&mut book, "a", 1).unwrap();
        let (_, edit) = book.decide("a", WaitingState::Joined("pem".to_owned()), 2).unwrap();
        book.apply(edit);
        assert!(book.decide("a", WaitingState::Denied, 3).is_err());
        assert_eq!(knock(&mut book, "a", 3), Ok(WaitingState::Joined("pem".to_owned())));
    }
}
