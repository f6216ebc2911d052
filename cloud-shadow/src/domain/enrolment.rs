//! Join tokens and the certificates that they are exchanged for.

use std::time::Duration;

use super::command::{Admission, Answer, Done, Effect, Now, Session};
use super::node::Node;
use super::rejection::Rejection;
use crate::identity::{TokenHash, Windows};
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
        bar: Option<u64>,
    ) -> Result<Done, Rejection> {
        if !self.has_token(hash, now) {
            return Err(Rejection::BadToken);
        }
        self.tokens.remove(&hash);
        let mut ops = vec![Op::Delete { key: rows::token(&self.name, hash) }];
        self.forget_expired(now, Duration::ZERO, &mut ops);
        let effects = self.certify(certificate, ops, bar);
        Ok(Done { answer: Answer::Nothing, effects })
    }

    /// Forgets certificates that have run out, and buy no new one either.
    fn forget_expired(&mut self, now: Now, grace: Duration, ops: &mut Vec<Op>) {
        let now_s = (now.unix_ms / 1000).saturating_sub(grace.as_secs());
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
        bar: Option<u64>,
    ) -> Vec<Effect> {
        self.bar(bar, &mut ops);
        ops.push(rows::put(rows::certificate(&self.name, &certificate.serial), &certificate));
        self.certificates.insert(certificate.serial.clone(), certificate);
        vec![Effect::Persist(ops), self.admission()]
    }

    /// Writes down a certificate that the node gets for one that it has, and that has not run out
    /// for longer than `grace`. Another one that it got for that before, and never used, goes.
    pub(super) fn renew(
        &mut self,
        now: Now,
        shown: &str,
        certificate: CertificateRecord,
        grace: Duration,
        bar: Option<u64>,
    ) -> Result<Done, Rejection> {
        let found = self.certificates.iter().find(|(serial, _)| is_same(serial, shown));
        let late_s = (now.unix_ms / 1000).saturating_sub(grace.as_secs());
        let is_good = |record: &CertificateRecord| record.not_after_s > late_s;
        let (shown, _) = found
            .filter(|(_, record)| is_good(record))
            .ok_or_else(|| Rejection::BadCertificate(self.name.clone()))?;
        let shown = shown.clone();
        let mut ops = Vec::new();
        self.forget_expired(now, grace, &mut ops);
        self.forget_if(&mut ops, |record| record.replaces.as_ref() == Some(&shown));
        let certificate = CertificateRecord { replaces: Some(shown), ..certificate };
        let effects = self.certify(certificate, ops, bar);
        Ok(Done { answer: Answer::Nothing, effects })
    }

    /// The node has shown a certificate that it got after the backup was made that was put back.
    /// It is good if nothing was decided since that makes it void, and those from before it go.
    pub(super) fn learn(
        &mut self,
        windows: &Windows,
        certificate: CertificateRecord,
        issued_s: u64,
        session: Option<Session>,
    ) -> Result<Done, Rejection> {
        if self.certificates.values().any(|known| is_same(&known.serial, &certificate.serial)) {
            return Ok(Done::NOTHING);
        }
        if !windows.admit(issued_s, self.presence.void_s) {
            let session = session.ok_or_else(|| Rejection::BadCertificate(self.name.clone()))?;
            return Ok(Done { effects: vec![Effect::Close(session)], ..Done::NOTHING });
        }
        let mut ops = Vec::new();
        self.forget_if(&mut ops, |_| true);
        let learnt = Effect::Learnt(self.name.clone(), certificate.serial.clone());
        let mut effects = self.certify(certificate, ops, Some(issued_s));
        effects.push(learnt);
        Ok(Done { answer: Answer::Nothing, effects })
    }

    /// From now on certificates up to a second are void unless they are in the rows.
    pub(super) fn bar(&mut self, until_s: Option<u64>, ops: &mut Vec<Op>) {
        if let Some(until_s) = until_s.filter(|until_s| *until_s > self.presence.void_s) {
            self.presence.void_s = until_s;
            ops.push(rows::put(rows::presence(&self.name), &self.presence));
        }
    }

    /// The node has used a certificate: the one that it got it for goes.
    pub(super) fn shown(&mut self, serial: &str) -> Done {
        let found = self.certificates.values().find(|record| is_same(&record.serial, serial));
        let replaced = found.and_then(|record| record.replaces.clone());
        let Some(replaced) = replaced else { return Done::NOTHING };
        let mut ops = Vec::new();
        self.forget_if(&mut ops, |record| record.serial == replaced);
        if ops.is_empty() {
            return Done::NOTHING;
        }
        Done { answer: Answer::Nothing, effects: vec![Effect::Persist(ops), self.admission()] }
    }

    /// Shuts the node out, and gives back the tokens that it could have joined with.
    pub(super) fn revoke(&mut self, bar: Option<u64>) -> (Done, Vec<TokenHash>) {
        let mut ops = Vec::new();
        self.bar(bar, &mut ops);
        self.forget_if(&mut ops, |_| true);
        let tokens: Vec<TokenHash> = std::mem::take(&mut self.tokens).into_keys().collect();
        let forget = |hash: &TokenHash| Op::Delete { key: rows::token(&self.name, *hash) };
        ops.extend(tokens.iter().map(forget));
        let persist = (!ops.is_empty()).then_some(Effect::Persist(ops));
        let close = self.session().map(Effect::Close);
        let effects = persist.into_iter().chain([self.admission()]).chain(close).collect();
        (Done { answer: Answer::Nothing, effects }, tokens)
    }

    fn forget_if(&mut self, ops: &mut Vec<Op>, is_gone: impl Fn(&CertificateRecord) -> bool) {
        let gone = self.certificates.extract_if(.., |_, record| is_gone(record));
        for (serial, _) in gone {
            ops.push(Op::Delete { key: rows::certificate(&self.name, &serial) });
        }
    }

    /// How it is let in.
    pub fn admitted(&self) -> Admission {
        let serials = self.serials().map(str::to_owned).collect();
        Admission { serials, void_s: Some(self.presence.void_s) }
    }

    fn admission(&self) -> Effect {
        Effect::Admit(self.name.clone(), self.admitted())
    }
}

/// Serial numbers are numbers: leading zeros do not count.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_start_matches('0') == other.trim_start_matches('0')
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, command, domain, put_node};
    use super::super::{Action, Domain, Limits, Session};
    use super::*;
    use crate::identity::Window;

    fn record(serial: &str) -> CertificateRecord {
        CertificateRecord { serial: serial.to_owned(), not_after_s: 5000, replaces: None }
    }

    /// A node that has joined with the certificate `0a`.
    fn joined() -> Domain {
        let mut domain = domain(Limits::default());
        domain.handle(put_node("site-1"), at(0)).unwrap();
        let hash = TokenHash::of("t");
        let add = Action::AddToken { hash, ttl: Duration::from_secs(9) };
        domain.handle(command("site-1", add), at(0)).unwrap();
        let enrol = Action::Enrol { hash, certificate: record("0a") };
        domain.handle(command("site-1", enrol), at(0)).unwrap();
        domain
    }

    fn serials(domain: &Domain) -> Vec<String> {
        let node = domain.node(&"site-1".parse().unwrap()).unwrap();
        node.serials().map(str::to_owned).collect()
    }

    fn renew(domain: &mut Domain, shown: &str, serial: &str, ms: u64) -> bool {
        let action = Action::Renew { shown: shown.to_owned(), certificate: record(serial) };
        domain.handle(command("site-1", action), at(ms)).is_ok()
    }

    fn show(domain: &mut Domain, serial: &str) {
        let action = Action::Shown { serial: serial.to_owned() };
        domain.handle(command("site-1", action), at(0)).unwrap();
    }

    #[test]
    fn the_old_certificate_is_good_until_the_new_one_is_used() {
        let mut domain = joined();
        assert!(renew(&mut domain, "a", "0b", 0), "leading zeros do not count");
        assert_eq!(serials(&domain), ["0a", "0b"]);
        show(&mut domain, "0a");
        assert_eq!(serials(&domain), ["0a", "0b"]);
        assert!(renew(&mut domain, "0a", "0c", 0), "the answer may have got lost");
        assert_eq!(serials(&domain), ["0a", "0c"], "what was never used goes");
        show(&mut domain, "c");
        assert_eq!(serials(&domain), ["0c"]);
        assert!(!renew(&mut domain, "0a", "0d", 0) && !renew(&mut domain, "0b", "0d", 0));
    }

    #[test]
    fn a_certificate_that_has_run_out_renews_nothing() {
        let mut domain = joined();
        assert!(!renew(&mut domain, "0a", "0b", 5_000_000));
        assert_eq!(serials(&domain), ["0a"]);
    }

    #[test]
    fn a_node_that_is_revoked_is_shut_out_at_once_and_stays() {
        let mut domain = joined();
        domain.handle(command("site-1", Action::Connected(Session(7))), at(0)).unwrap();
        let done = domain.handle(command("site-1", Action::Revoke), at(0)).unwrap();
        assert!(done.effects.contains(&Effect::Close(Session(7))));
        let nothing = Admission { serials: vec![], void_s: Some(0) };
        assert!(done.effects.contains(&Effect::Admit("site-1".parse().unwrap(), nothing)));
        assert_eq!(serials(&domain), [""; 0]);
        assert!(!renew(&mut domain, "0a", "0b", 0));
    }

    #[test]
    fn a_certificate_that_ran_out_a_while_ago_still_buys_a_new_one_where_that_is_allowed() {
        let mut domain = joined();
        domain.config.expired_grace = Duration::from_secs(100);
        assert!(!renew(&mut domain, "0a", "0b", 4_100_000));
        assert!(renew(&mut domain, "0a", "0b", 4_099_000));
        domain.handle(command("site-1", Action::Revoke), at(0)).unwrap();
        assert!(!renew(&mut domain, "0b", "0c", 0));
    }

    /// The same after a backup was put back: it was made at 100 s, and put back at 2000 s.
    fn restored() -> Domain {
        let mut domain = joined();
        let mut windows = Windows::default();
        windows.add(Window { from_s: 100, until_s: 2000 });
        domain.open_windows(windows);
        domain
    }

    fn learn(domain: &mut Domain, serial: &str, issued_s: u64) -> Result<Vec<Effect>, Rejection> {
        let certificate = record(serial);
        let action = Action::Learn { certificate, issued_s, session: None };
        domain.handle(command("site-1", action), at(0)).map(|done| done.effects)
    }

    #[test]
    fn a_certificate_that_a_backup_lacks_is_learnt_once_and_those_before_it_go() {
        let mut domain = restored();
        let effects = learn(&mut domain, "0b", 150).unwrap();
        assert!(effects.contains(&Effect::Learnt("site-1".parse().unwrap(), "0b".to_owned())));
        let admission = Admission { serials: vec!["0b".to_owned()], void_s: Some(150) };
        assert!(effects.contains(&Effect::Admit("site-1".parse().unwrap(), admission)));
        assert_eq!(serials(&domain), ["0b"]);
        assert_eq!(learn(&mut domain, "b", 150), Ok(vec![]), "it is known by now");
        assert!(learn(&mut domain, "0c", 149).is_err(), "it was replaced before");
        assert!(learn(&mut domain, "0d", 151).is_ok() && serials(&domain) == ["0d"]);
        assert!(learn(&mut restored(), "0b", 99).is_err(), "the backup would know it");
        assert!(learn(&mut restored(), "0b", 2001).is_err());
        assert!(learn(&mut joined(), "0b", 150).is_err(), "nothing was put back");
    }

    #[test]
    fn what_is_decided_after_a_restore_makes_void_what_was_given_before_it() {
        let revoke = command("site-1", Action::Revoke);
        let mut domain = restored();
        learn(&mut domain, "0b", 150).unwrap();
        domain.handle(revoke, at(0)).unwrap();
        assert!(learn(&mut domain, "0b", 150).is_err(), "also where the clock went back");
        let delete = command("site-1", Action::DeleteNode);
        let mut domain = restored();
        domain.handle(delete, at(300_000)).unwrap();
        assert!(learn(&mut domain, "0b", 150).is_err());
        domain.handle(put_node("site-1"), at(300_000)).unwrap();
        assert!(learn(&mut domain, "0b", 150).is_err(), "it is another node of that name");
        let mut domain = restored();
        assert!(renew(&mut domain, "0a", "0e", 300_000));
        assert!(learn(&mut domain, "0b", 150).is_err(), "it has got a newer one");
    }

    #[test]
    fn a_session_whose_certificate_was_made_void_meanwhile_ends() {
        let mut domain = restored();
        domain.handle(command("site-1", Action::Revoke), at(0)).unwrap();
        let session = Some(Session(7));
        let action = Action::Learn { certificate: record("0b"), issued_s: 150, session };
        let done = domain.handle(command("site-1", action), at(0)).unwrap();
        assert_eq!(done.effects, [Effect::Close(Session(7))]);
        assert_eq!(serials(&domain), [""; 0]);
    }
}
