//! What the domain decides, command by command.

use std::time::Duration;

use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::version::{Epoch, Half, Version};
use gnomon_schemas::wire::Message;
use gnomon_sync::{Output, Reader, ReaderConfig, Writer, WriterConfig};

use super::*;
use crate::identity::TokenHash;
use crate::rows::CertificateRecord;

pub(super) fn domain(limits: Limits) -> Domain {
    Domain::new(DomainConfig { limits, ..DomainConfig::default() }, StdRng::seed_from_u64(7))
}

pub(super) fn at(millis: u64) -> Now {
    Now { moment: Moment::from_millis(millis), unix_ms: 1_000_000 + millis }
}

pub(super) fn put_node(name: &str) -> Command {
    command(name, Action::put_node())
}

pub(super) fn command(node: &str, action: Action) -> Command {
    Command { node: node.parse().unwrap(), action, by: Author::new("admin") }
}

pub(super) fn write(node: &str, key: &str, change: Change, when: Precondition) -> Command {
    let key = key.parse().unwrap();
    command(node, Action::Write(Write { key, change, when, fields: Vec::new() }))
}

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

fn put(key: &str, text: &str) -> Command {
    write("site-1", key, Change::Put(document(text)), Precondition::Any)
}

fn with_node() -> Domain {
    let mut domain = domain(Limits::default());
    domain.handle(put_node("site-1"), at(0)).unwrap();
    domain
}

fn shadow(done: Done) -> ShadowView {
    match done.answer {
        Answer::Shadow(view, _) => Arc::unwrap_or_clone(view),
        other @ (Answer::Nothing | Answer::Node(..) | Answer::Until(_)) => panic!("{other:?}"),
    }
}

fn view(domain: &Domain, key: &str) -> ShadowView {
    let node = domain.node(&"site-1".parse().unwrap()).unwrap();
    node.shadow(&key.parse::<ShadowKey>().unwrap())
}

#[test]
fn a_stale_version_is_rejected_and_says_the_current_one() {
    let mut domain = with_node();
    domain.handle(put("node", "{\"a\":1}"), at(0)).unwrap();
    domain.handle(put("node", "{\"a\":2}"), at(0)).unwrap();
    let stale = Precondition::Version(Version(1));
    let change = Change::Patch(Patch::parse(b"{\"a\":3}").unwrap());
    let rejection = domain.handle(write("site-1", "node", change, stale), at(0)).unwrap_err();
    assert!(matches!(rejection, Rejection::VersionConflict { current: Version(2), .. }));
    assert_eq!(view(&domain, "node").desired.unwrap().document.to_string(), "{\"a\":2}");
}

#[test]
fn conditions_on_presence_hold_before_and_after_the_first_write() {
    let mut domain = with_node();
    let change = || Change::Put(document("{}"));
    let mut attempt = |when| domain.handle(write("site-1", "node", change(), when), at(0)).is_ok();
    assert!(!attempt(Precondition::Present));
    assert!(attempt(Precondition::Absent));
    assert!(!attempt(Precondition::Absent));
    assert!(attempt(Precondition::Present));
    assert!(!attempt(Precondition::Version(Version::ZERO)));
}

#[test]
fn a_write_that_changes_nothing_has_no_effects_and_no_new_version() {
    let mut domain = with_node();
    let first = shadow(domain.handle(put("node", "{\"a\":1}"), at(0)).unwrap());
    let again = domain.handle(put("node", "{\"a\":1}"), at(0)).unwrap();
    assert_eq!(again.effects, vec![]);
    assert_eq!(shadow(again), first);
}

#[test]
fn a_deleted_shadow_that_comes_back_goes_on_counting() {
    let mut domain = with_node();
    domain.handle(put("node", "{}"), at(0)).unwrap();
    let delete = || write("site-1", "node", Change::Delete, Precondition::Any);
    domain.handle(delete(), at(0)).unwrap();
    assert!(!view(&domain, "node").is_present());
    let gone = domain.handle(delete(), at(0)).unwrap_err();
    assert!(matches!(gone, Rejection::UnknownShadow { .. }));
    let back = shadow(domain.handle(put("node", "{}"), at(0)).unwrap());
    assert_eq!((back.version, back.desired_version()), (Version(3), Version(3)));
}

#[test]
fn an_app_that_cannot_run_is_refused() {
    let mut domain = with_node();
    let rejection = domain.handle(put("app/web", "{\"services\":{}}"), at(0)).unwrap_err();
    assert_eq!(rejection.code(), "invalid_app");
    let good = "{\"services\":{\"web\":{\"image\":\"nginx:1\"}}}";
    domain.handle(put("app/web", good), at(0)).unwrap();
    let patch = Change::Patch(Patch::parse(b"{\"services\":{\"web\":{\"image\":null}}}").unwrap());
    let patch = write("site-1", "app/web", patch, Precondition::Any);
    assert_eq!(domain.handle(patch, at(0)).unwrap_err().code(), "invalid_app");
}

#[test]
fn the_number_of_shadows_is_bounded() {
    let mut domain = domain(Limits { shadows_per_node: 2, ..Limits::default() });
    domain.handle(put_node("site-1"), at(0)).unwrap();
    domain.handle(put("device/a", "{}"), at(0)).unwrap();
    domain.handle(put("device/b", "{}"), at(0)).unwrap();
    let rejection = domain.handle(put("device/c", "{}"), at(0)).unwrap_err();
    assert_eq!(rejection, Rejection::LimitReached { what: "shadows", limit: 2 });
    domain.handle(put("device/b", "{\"a\":1}"), at(0)).unwrap();
    let delete = write("site-1", "device/a", Change::Delete, Precondition::Any);
    domain.handle(delete, at(0)).unwrap();
    domain.handle(put("device/c", "{}"), at(0)).unwrap();
}

#[test]
fn bad_labels_are_refused_by_name() {
    let mut domain = domain(Limits::default());
    for (key, value) in [("", "x"), ("a b", "x"), ("a", &"x".repeat(257))] {
        let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let rejection = domain
            .handle(command("site-1", Action::PutNode { labels, tenant: None, pool: None }), at(0));
        assert_eq!(rejection.unwrap_err().code(), "bad_request", "{key:?}");
    }
    assert_eq!(domain.census().nodes, 0);
}

fn enrol(hash: TokenHash) -> Command {
    let certificate =
        CertificateRecord { serial: "01".to_owned(), not_after_s: u64::MAX, replaces: None };
    command("site-1", Action::Enrol { hash, certificate })
}

#[test]
fn a_join_token_works_once_and_not_after_its_time() {
    let mut domain = with_node();
    let (first, second) = (TokenHash::of("first"), TokenHash::of("second"));
    for hash in [first, second] {
        let action = Action::AddToken { hash, ttl: Duration::from_secs(1) };
        let done = domain.handle(command("site-1", action), at(0)).unwrap();
        assert_eq!(done.answer, Answer::Until(1_001_000));
    }
    assert!(domain.token_owner(first, at(999)).is_some());
    domain.handle(enrol(first), at(999)).unwrap();
    assert_eq!(domain.token_owner(first, at(999)), None);
    assert_eq!(domain.handle(enrol(first), at(999)), Err(Rejection::BadToken));
    assert_eq!(domain.token_owner(second, at(1000)), None);
    assert_eq!(domain.handle(enrol(second), at(1000)), Err(Rejection::BadToken));
}

#[test]
fn a_deleted_node_takes_its_tokens_and_its_session_with_it() {
    let mut domain = with_node();
    let hash = TokenHash::of("token");
    let action = Action::AddToken { hash, ttl: Duration::from_secs(1) };
    domain.handle(command("site-1", action), at(0)).unwrap();
    domain.handle(command("site-1", Action::Connected(Session(1))), at(0)).unwrap();
    let done = domain.handle(command("site-1", Action::DeleteNode), at(0)).unwrap();
    assert!(done.effects.contains(&Effect::Close(Session(1))));
    assert_eq!(domain.token_owner(hash, at(0)), None);
    assert_eq!(domain.census(), Census::default());
    let late = domain
        .handle(command("site-1", Action::Disconnected(Session(1), "lost".to_owned())), at(0));
    assert!(matches!(late, Err(Rejection::UnknownNode(_))));
}

#[test]
fn a_late_goodbye_of_an_old_session_is_ignored() {
    let mut domain = with_node();
    domain.handle(command("site-1", Action::Connected(Session(1))), at(0)).unwrap();
    let done = domain.handle(command("site-1", Action::Connected(Session(2))), at(1)).unwrap();
    assert!(done.effects.contains(&Effect::Close(Session(1))));
    let late = domain
        .handle(command("site-1", Action::Disconnected(Session(1), "lost".to_owned())), at(2));
    assert!(matches!(late, Err(Rejection::StaleSession(_))));
    assert_eq!(domain.census().online, 1);
    domain
        .handle(command("site-1", Action::Disconnected(Session(2), "lost".to_owned())), at(3))
        .unwrap();
    assert_eq!(domain.census().online, 0);
    let stale = domain.handle(command("site-1", Action::Connected(Session(1))), at(4));
    assert!(matches!(stale, Err(Rejection::StaleSession(_))));
}

/// The other end: what a site does, without its store.
pub(super) struct Site {
    reader: Reader,
    writer: Writer,
}

impl Site {
    pub(super) fn new() -> Self {
        let rng = StdRng::seed_from_u64(8);
        let writer = Writer::new(Epoch(9), WriterConfig::default(), rng);
        Self { reader: Reader::new(ReaderConfig::default()), writer }
    }

    /// Carries messages to and fro until neither end has more to say; how long the node had been
    /// behind, as often as the domain has said it.
    pub(super) fn talk(
        &mut self,
        domain: &mut Domain,
        session: Session,
        mut effects: Vec<Effect>,
        now: Now,
    ) -> Vec<u64> {
        let mut waits = Vec::new();
        self.reader.link_up(now.moment);
        self.writer.link_up(now.moment);
        loop {
            for (topic, payload) in effects.drain(..).filter_map(sent) {
                let message = Message::decode(topic.kind, &payload).unwrap();
                match topic.stream() {
                    Stream::Down => self.reader.receive(now.moment, &message),
                    Stream::Up => self.writer.receive(now.moment, &message),
                }
            }
            let Some((stream, message)) = self.say() else { return waits };
            let received = Action::Received { session, stream, message, bytes: 1 };
            effects = domain.handle(command("site-1", received), now).unwrap().effects;
            waits.extend(domain.caught_up());
        }
    }

    fn say(&mut self) -> Option<(Stream, Message)> {
        loop {
            let down = self.reader.poll_output().map(|output| (Stream::Down, output));
            let next =
                down.or_else(|| self.writer.poll_output().map(|output| (Stream::Up, output)));
            if let (stream, Output::Send(message)) = next? {
                return Some((stream, message));
            }
        }
    }
}

fn sent(effect: Effect) -> Option<(Topic, Vec<u8>)> {
    match effect {
        Effect::Send(topic, payload) => Some((topic, payload)),
        Effect::Persist(_)
        | Effect::Admit(..)
        | Effect::Learnt(..)
        | Effect::Close(_)
        | Effect::Notify(_) => None,
    }
}

#[test]
fn desired_goes_down_and_reported_comes_up() {
    let mut domain = with_node();
    domain.handle(put("node", "{\"rate\":1}"), at(0)).unwrap();
    let session = Session(1);
    domain.handle(command("site-1", Action::Connected(session)), at(1)).unwrap();
    let key = ShadowKey::Node;
    let mut site = Site::new();
    site.writer.put(at(1).moment, &key, document("{\"rate\":0}"));
    site.talk(&mut domain, session, Vec::new(), at(2));
    assert_eq!(site.reader.get(&key).unwrap().document.to_string(), "{\"rate\":1}");
    let seen = view(&domain, "node");
    let reported = seen.reported.unwrap();
    assert_eq!(reported.document.to_string(), "{\"rate\":0}");
    assert_eq!((seen.version, reported.changed_ms), (Version(2), Some(1_000_002)));
    assert_eq!(domain.census(), Census { nodes: 1, online: 1, in_sync: 1 });
    assert!(domain.poll_timeout().is_none(), "{:?}", domain.poll_timeout());

    let done = domain.handle(put("node", "{\"rate\":2}"), at(3)).unwrap();
    let told = |effect: &Effect| matches!(effect, Effect::Notify(Notice::Shadow(change)) if change.half == Half::Desired);
    assert!(done.effects.iter().any(told));
    assert_eq!(domain.census().in_sync, 0);
    assert!(domain.poll_timeout().is_some());
}

#[test]
fn an_unanswered_batch_is_sent_again() {
    let mut domain = with_node();
    let session = Session(1);
    domain.handle(command("site-1", Action::Connected(session)), at(0)).unwrap();
    Site::new().talk(&mut domain, session, Vec::new(), at(0));
    domain.handle(put("node", "{}"), at(10)).unwrap();
    let (due, _) = domain.poll_timeout().unwrap();
    assert_eq!(domain.due(at(10).moment), vec![]);
    let late = at(due.as_millis());
    assert_eq!(domain.due(late.moment), vec!["site-1".parse().unwrap()]);
    let done = domain.handle(command("site-1", Action::Timeout), late).unwrap();
    assert_eq!(done.effects.into_iter().filter_map(sent).count(), 1);
    assert!(domain.poll_timeout().unwrap().0 > due);
}

/// World, seed 36584: the first hello of a session was lost, and both ends waited for the other.
#[test]
fn a_node_that_connects_and_stays_silent_is_asked_where_it_stands() {
    let mut domain = with_node();
    domain.handle(command("site-1", Action::Connected(Session(1))), at(0)).unwrap();
    let (due, _) = domain.poll_timeout().unwrap();
    let late = at(due.as_millis());
    let done = domain.handle(command("site-1", Action::Timeout), late).unwrap();
    let kinds: Vec<_> = done.effects.into_iter().filter_map(sent).map(|it| it.0.kind).collect();
    assert_eq!(kinds, [gnomon_schemas::topic::MessageKind::Batch]);
    domain
        .handle(command("site-1", Action::Disconnected(Session(1), "lost".to_owned())), late)
        .unwrap();
    assert_eq!(domain.poll_timeout(), None);
}

#[test]
fn the_number_of_remembered_sessions_is_bounded_and_each_has_an_end() {
    use crate::store::{MemoryStore, Store as _};
    let (mut domain, store) = (with_node(), MemoryStore::new());
    for n in 1..=150 {
        let connected = Action::Connected(Session(n));
        let done = domain.handle(command("site-1", connected), at(n)).unwrap();
        for effect in done.effects {
            if let Effect::Persist(ops) = effect {
                store.commit(&ops).unwrap();
            }
        }
    }
    let rows = store.scan(&rows::session::of_node(&"site-1".parse().unwrap())).unwrap();
    let most = SESSIONS + session::SURPLUS;
    assert!((SESSIONS..=most).contains(&rows.len()), "{}", rows.len());
    let records: Vec<_> =
        rows.iter().map(|(key, value)| rows::session::read(key, value).unwrap()).collect();
    let (last, ended) = records.split_last().unwrap();
    assert_eq!((last.session, last.ended_ms), (150, None));
    assert!(ended.iter().all(|record| record.ended_ms == Some(record.connected_ms + 1)));
    assert!(ended.iter().all(|record| record.reason.as_deref().unwrap().contains("another")));
}
