//! Join tokens and the certificates that they are exchanged for.

use std::time::Duration;

use super::command::{Answer, Done, Effect, Now};
use super::node::Node;
use super::rejection::Rejection;
use crate::identity::TokenHash;
use crate::rows::{self, CertificateRecord, TokenRecord};
use crate::store::Op;

impl Node {
    /// Whether the node may still join with the token.
    pub(super) fn has_token(&self, hash: TokenHash, now: Now) -> bool {
        self.tokens.get(&hash).is_some_and(|expires_ms| *expires_ms > now.unix_ms)
    }

    /// Remembers a token, and forgets those that have run out, which it gives back.
    pub(super) fn add_token(
        &mut self,
        now: Now,
        hash: TokenHash,
        ttl: Duration,
        limit: usize,
    ) -> Result<(Done, Vec<TokenHash>), Rejection> {
        let good = self.tokens.values().filter(|expires_ms| **expires_ms > now.unix_ms).count();
        if good >= limit {
            return Err(Rejection::LimitReached { what: "unused join tokens", limit });
        }
        let expired: Vec<_> =
            self.tokens.extract_if(.., |_, until| *until <= now.unix_ms).collect();
        let expired: Vec<TokenHash> = expired.into_iter().map(|(hash, _)| hash).collect();
        let forget = |hash: &TokenHash| Op::Delete { key: rows::token(&self.name, *hash) };
        let mut ops: Vec<Op> = expired.iter().map(forget).collect();
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let expires_ms = now.unix_ms.saturating_add(ttl_ms);
        self.tokens.insert(hash, expires_ms);
        let record = TokenRecord { hash, expires_ms };
        ops.push(rows::put(rows::token(&self.name, hash), &record));
        let effects = vec![Effect::Persist(ops)];
        Ok((Done { answer: Answer::Until(expires_ms), effects }, expired))
    }

    /// The serial numbers of the certificates that it was given.
    pub fn serials(&self) -> impl Iterator<Item = &str> {
        self.certificates.keys().map(String::as_str)
    }

    /// Uses a token up and writes down the certificate that the node gets for it.
    pub(super) fn enrol(
        &mut self,
        now: Now,
        hash: TokenHash,
        certificate: CertificateRecord,
    ) -> Result<Done, Rejection> {
        if !self.has_token(hash, now) {
            return Err(Rejection::BadToken);
        }
        self.tokens.remove(&hash);
        let mut ops = vec![Op::Delete { key: rows::token(&self.name, hash) }];
        self.forget_expired(now, &mut ops);
        let effects = self.certify(certificate, ops);
        Ok(Done { answer: Answer::Nothing, effects })
    }

    /// Forgets certificates that have run out.
    fn forget_expired(&mut self, now: Now, ops: &mut Vec<Op>) {
        let now_s = now.unix_ms / 1000;
        self.certificates.retain(|serial, record| {
            let is_good = record.not_after_s > now_s;
            if !is_good {
                ops.push(Op::Delete { key: rows::certificate(&self.name, serial) });
            }
            is_good
        });
    }

    /// Writes down a certificate that the node gets, and lets it in with it.
    pub(super) fn certify(
        &mut self,
        certificate: CertificateRecord,
        mut ops: Vec<Op>,
    ) -> Vec<Effect> {
        ops.push(rows::put(rows::certificate(&self.name, &certificate.serial), &certificate));
        self.certificates.insert(certificate.serial.clone(), certificate);
        let admit = Effect::Admit(self.name.clone(), self.serials().map(str::to_owned).collect());
        vec![Effect::Persist(ops), admit]
    }
}
