//! Every token that was made and not revoked, and the nodes that wait to be let in. A change is
//! planned, written, and then applied: [`Edit`] is the change both in the store and in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grant::{Grant, Scope};
use super::waiting::Waiting;
use crate::identity::TokenHash;
use crate::rows::{self, ReadRowError};
use crate::store::{Op, Pair};

/// The prefix of the rows.
pub const ACCESS: &[u8] = b"access/";

/// A token of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// What it is called by; not secret.
    pub id: String,
    /// Its fingerprint.
    pub hash: TokenHash,
    /// What its holder may.
    pub grant: Grant,
    /// Who made it.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it runs out; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// When it was last used, within some minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_ms: Option<u64>,
}

/// A token with which nodes join that need not be known before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// What it is called by; not secret.
    pub id: String,
    /// Its fingerprint.
    pub hash: TokenHash,
    /// Where its nodes will belong.
    pub scope: Scope,
    /// How many more nodes may join.
    pub uses_left: u32,
    /// Who made it.
    pub by: String,
    /// When it runs out, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A change of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A token is made, or used.
    Token(ApiToken),
    /// A token is revoked.
    NoToken(String),
    /// A join token is made, or used.
    Join(JoinToken),
    /// A join token is revoked, or used up.
    NoJoin(String),
    /// A node waits, or is decided about.
    Waiting(Waiting),
    /// A node has waited too long.
    NoWaiting(String),
}

impl Edit {
    /// The change of the store.
    pub fn op(&self) -> Op {
        match self {
            Self::Token(token) => rows::put(key('t', &token.id), token),
            Self::NoToken(id) => Op::Delete { key: key('t', id) },
            Self::Join(token) => rows::put(key('j', &token.id), token),
            Self::NoJoin(id) => Op::Delete { key: key('j', id) },
            Self::Waiting(waiting) => rows::put(key('w', &waiting.id), waiting),
            Self::NoWaiting(id) => Op::Delete { key: key('w', id) },
        }
    }
}

fn key(kind: char, id: &str) -> Vec<u8> {
    [ACCESS, format!("{kind}/{id}").as_bytes()].concat()
}

/// Why something is not done with a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookRefusal {
    /// There is no such token, or it is none of the asker's business.
    #[error("there is no token {0}; `gnomon token list` and `gnomon node tokens` show what is")]
    UnknownToken(String),
    /// The token would allow what its maker may not.
    #[error("nobody can make a token that may more than the own one, or elsewhere")]
    BeyondOwn,
    /// There are enough.
    #[error("there are already {limit} {what}, which is the limit; revoke some")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// Nobody waits under this id.
    #[error("nobody waits as {0}; `gnomon node pending` shows who does")]
    NobodyWaits(String),
    /// The join token is unknown, used up or has run out.
    #[error("the join token is wrong, was used before, or has run out; make a new one")]
    BadJoinToken,
}

/// The bounds of the book.
const TOKENS: usize = 10_000;
const JOINS: usize = 10_000;

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    tokens: BTreeMap<String, ApiToken>,
    by_hash: BTreeMap<TokenHash, String>,
    joins: BTreeMap<String, JoinToken>,
    joins_by_hash: BTreeMap<TokenHash, String>,
    waiting: BTreeMap<String, Waiting>,
}

impl Book {
    /// The book as its rows have it.
    pub fn read(rows: Vec<Pair>) -> Result<Self, ReadRowError> {
        let mut book = Self::default();
        for (key, value) in rows {
            match key.get(ACCESS.len()..) {
                Some([b't', b'/', ..]) => book.apply(Edit::Token(rows::record(&key, &value)?)),
                Some([b'j', b'/', ..]) => book.apply(Edit::Join(rows::record(&key, &value)?)),
                Some([b'w', b'/', ..]) => {
                    book.apply(Edit::Waiting(rows::record(&key, &value)?));
                }
                _ => return Err(rows::unreadable(&key)),
            }
        }
        Ok(book)
    }

    /// Makes a change that is durable.
    pub fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Token(token) => {
                self.by_hash.insert(token.hash, token.id.clone());
                self.tokens.insert(token.id.clone(), token);
            }
            Edit::NoToken(id) => {
                if let Some(token) = self.tokens.remove(&id) {
                    self.by_hash.remove(&token.hash);
                }
            }
            Edit::Join(token) => {
                self.joins_by_hash.insert(token.hash, token.id.clone());
                self.joins.insert(token.id.clone(), token);
            }
            Edit::NoJoin(id) => {
                if let Some(token) = self.joins.remove(&id) {
                    self.joins_by_hash.remove(&token.hash);
                }
            }
            Edit::Waiting(waiting) => {
                self.waiting.insert(waiting.id.clone(), waiting);
            }
            Edit::NoWaiting(id) => {
                self.waiting.remove(&id);
            }
        }
    }

    pub(super) fn all_waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// The good token of this fingerprint.
    pub fn token_of(&self, hash: TokenHash, now_ms: u64) -> Option<&ApiToken> {
        let token = self.tokens.get(self.by_hash.get(&hash)?)?;
        is_good(token.expires_ms, now_ms).then_some(token)
    }

    /// How many milliseconds a good token is still good for.
    pub fn left_of(&self, id: &str, now_ms: u64) -> Option<u64> {
        let token = self.tokens.get(id).filter(|token| is_good(token.expires_ms, now_ms))?;
        Some(token.expires_ms.map_or(u64::MAX, |at| at.saturating_sub(now_ms)))
    }

    /// Whether somebody may do everything.
    pub fn has_owner(&self, now_ms: u64) -> bool {
        let owner = Grant::owner();
        let mut tokens = self.tokens.values();
        tokens.any(|token| token.grant == owner && is_good(token.expires_ms, now_ms))
    }

    /// The tokens that a holder of this grant may know of.
    pub fn tokens(&self, asker: &Grant) -> impl Iterator<Item = &ApiToken> {
        self.tokens.values().filter(|token| asker.contains(&token.grant))
    }

    /// Makes a token; tokens that have run out go.
    pub fn make_token(
        &self,
        asker: &Grant,
        token: ApiToken,
        now_ms: u64,
    ) -> Result<Vec<Edit>, BookRefusal> {
        if !asker.contains(&token.grant) {
            return Err(BookRefusal::BeyondOwn);
        }
        let gone = self.tokens.values().filter(|token| !is_good(token.expires_ms, now_ms));
        let mut edits: Vec<Edit> = gone.map(|token| Edit::NoToken(token.id.clone())).collect();
        if self.tokens.len() - edits.len() >= TOKENS {
            return Err(BookRefusal::Full { what: "tokens", limit: TOKENS });
        }
        edits.push(Edit::Token(token));
        Ok(edits)
    }

    /// Revokes a token.
    pub fn revoke_token(&self, asker: &Grant, id: &str) -> Result<(ApiToken, Edit), BookRefusal> {
        let token = self.tokens.get(id).filter(|token| asker.contains(&token.grant));
        let token = token.ok_or_else(|| BookRefusal::UnknownToken(id.to_owned()))?;
        Ok((token.clone(), Edit::NoToken(token.id.clone())))
    }

    /// Notes that a token was used; `None`: that was noted not long ago.
    pub fn use_token(&self, id: &str, now_ms: u64) -> Option<Edit> {
        const OFTEN_MS: u64 = 10 * 60 * 1000;
        let token = self.tokens.get(id)?;
        let is_new = token.last_used_ms.is_none_or(|at| now_ms.saturating_sub(at) >= OFTEN_MS);
        is_new.then(|| Edit::Token(ApiToken { last_used_ms: Some(now_ms), ..token.clone() }))
    }

    /// The join tokens that are good for nodes within this scope.
    pub fn joins(&self, within: &Scope, now_ms: u64) -> impl Iterator<Item = &JoinToken> {
        let is_good = move |token: &&JoinToken| token.expires_ms > now_ms;
        self.joins.values().filter(is_good).filter(|token| within.contains(&token.scope))
    }

    /// Makes a join token; those that have run out go.
    pub fn make_join(
        &self,
        asker: &Grant,
        token: JoinToken,
        now_ms: u64,
    ) -> Result<Vec<Edit>, BookRefusal> {
        if !asker.scope.contains(&token.scope) {
            return Err(BookRefusal::BeyondOwn);
        }
        let gone = self.joins.values().filter(|token| token.expires_ms <= now_ms);
        let mut edits: Vec<Edit> = gone.map(|token| Edit::NoJoin(token.id.clone())).collect();
        if self.joins.len() - edits.len() >= JOINS {
            return Err(BookRefusal::Full { what: "join tokens", limit: JOINS });
        }
        edits.push(Edit::Join(token));
        Ok(edits)
    }

    /// Revokes a join token.
    pub fn revoke_join(&self, asker: &Grant, id: &str) -> Result<(JoinToken, Edit), BookRefusal> {
        let token = self.joins.get(id).filter(|token| asker.scope.contains(&token.scope));
        let token = token.ok_or_else(|| BookRefusal::UnknownToken(id.to_owned()))?;
        Ok((token.clone(), Edit::NoJoin(token.id.clone())))
    }

    /// Uses a join token once.
    pub fn use_join(&self, hash: TokenHash, now_ms: u64) -> Result<(JoinToken, Edit), BookRefusal> {
        let token = self.joins_by_hash.get(&hash).and_then(|id| self.joins.get(id));
        let token = token.filter(|token| token.expires_ms > now_ms && token.uses_left > 0);
        let token = token.ok_or(BookRefusal::BadJoinToken)?.clone();
        let edit = match token.uses_left {
            1 => Edit::NoJoin(token.id.clone()),
            left => Edit::Join(JoinToken { uses_left: left - 1, ..token.clone() }),
        };
        Ok((token, edit))
    }
}

fn is_good(expires_ms: Option<u64>, now_ms: u64) -> bool {
    expires_ms.is_none_or(|at| at > now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;
    use crate::store::{MemoryStore, Store as _};

    fn token(id: &str, grant: Grant, expires_ms: Option<u64>) -> ApiToken {
        let (hash, by) = (TokenHash::of(id), "admin".to_owned());
        let id = id.to_owned();
        ApiToken { id, hash, grant, by, created_ms: 1, expires_ms, last_used_ms: None }
    }

    fn grant(role: Role, tenant: Option<&str>) -> Grant {
        let tenant = tenant.map(|name| name.parse().unwrap());
        Grant { role, scope: Scope { tenant, ..Scope::default() } }
    }

    fn write(book: &mut Book, store: &MemoryStore, edits: Vec<Edit>) {
        store.commit(&edits.iter().map(Edit::op).collect::<Vec<_>>()).unwrap();
        for edit in edits {
            book.apply(edit);
        }
    }

    #[test]
    fn nobody_makes_sees_or_revokes_a_token_beyond_the_own() {
        let mut book = Book::default();
        let acme = grant(Role::Admin, Some("acme"));
        for beyond in
            [Grant::owner(), grant(Role::Viewer, Some("other")), grant(Role::Viewer, None)]
        {
            let made = book.make_token(&acme, token("x", beyond.clone(), None), 5);
            assert_eq!(made, Err(BookRefusal::BeyondOwn));
            book.apply(Edit::Token(token("x", beyond, None)));
            assert_eq!(book.tokens(&acme).count(), 0);
            assert!(book.revoke_token(&acme, "x").is_err());
        }
        let mine = token("y", grant(Role::Operator, Some("acme")), None);
        assert_eq!(book.make_token(&acme, mine.clone(), 5), Ok(vec![Edit::Token(mine)]));
    }

    #[test]
    fn the_book_is_read_back_as_it_was_and_old_tokens_go() {
        let (mut book, store) = (Book::default(), MemoryStore::new());
        let owner = Grant::owner();
        let edits = book.make_token(&owner, token("a", owner.clone(), Some(10)), 5).unwrap();
        write(&mut book, &store, edits);
        assert!(book.has_owner(9) && !book.has_owner(10));
        assert!(book.token_of(TokenHash::of("a"), 9).is_some());
        assert!(book.token_of(TokenHash::of("a"), 10).is_none());
        let edits = book.make_token(&owner, token("b", owner.clone(), None), 11).unwrap();
        write(&mut book, &store, edits);
        let noted = book.use_token("b", 12).unwrap();
        write(&mut book, &store, vec![noted]);
        assert_eq!(book.use_token("b", 13), None, "that was noted a moment ago");
        let again = Book::read(store.scan(ACCESS).unwrap()).unwrap();
        let ids = |book: &Book| book.tokens(&owner).cloned().collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&book));
        assert_eq!(ids(&again).len(), 1);
    }

    #[test]
    fn a_join_token_lets_in_as_many_as_it_says() {
        let (mut book, store) = (Book::default(), MemoryStore::new());
        let hash = TokenHash::of("j");
        let (id, by, scope) = ("j".to_owned(), "admin".to_owned(), Scope::default());
        let join = JoinToken { id, hash, scope, uses_left: 3, by, expires_ms: 100 };
        let edits = book.make_join(&Grant::owner(), join, 1).unwrap();
        write(&mut book, &store, edits);
        assert!(book.use_join(hash, 100).is_err(), "it has run out");
        for _ in 0..3 {
            let (_, edit) = book.use_join(hash, 50).unwrap();
            write(&mut book, &store, vec![edit]);
        }
        assert_eq!(book.use_join(hash, 50), Err(BookRefusal::BadJoinToken));
        assert_eq!(store.scan(ACCESS).unwrap(), []);
    }
}
