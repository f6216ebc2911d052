//! The order of a round, and what happens when the store fails.

use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};

use gnomon_schemas::document::Document;
use gnomon_schemas::id::{DeviceName, NodeName};
use gnomon_schemas::topic::{Stream, ThingTopic, Topic};
use gnomon_schemas::version::{Epoch, Half, Seq, Version};
use gnomon_schemas::wire::{Hello, Message};

use super::*;
use crate::domain::{
    Action, Admission, Answer, Author, Change, Command, Notice, Precondition, Session, Write,
};
use crate::store::MemoryStore;

mod batches;
mod past;
mod things;

#[derive(Debug, Default)]
struct FakeLink(Mutex<(Vec<Topic>, Vec<Session>)>, Mutex<Vec<String>>);

impl FakeLink {
    fn sent(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.len()
    }

    fn closed(&self) -> Vec<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl Link for FakeLink {
    fn publish(&self, topic: &Topic, _payload: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(topic.clone());
    }

    fn admit(&self, _node: &NodeName, _admission: &Admission) {}

    fn publish_thing(&self, topic: &ThingTopic, _body: Vec<u8>) {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).push(topic.to_string());
    }

    fn admit_thing(&self, _thing: &DeviceName, _serials: &[String]) {}

    fn close(&self, session: Session) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.push(session);
    }
}

struct Bench {
    core: Core,
    store: MemoryStore,
    link: Arc<FakeLink>,
}

impl Bench {
    async fn start(store: MemoryStore, config: CoreConfig) -> Self {
        let link = Arc::new(FakeLink::default());
        let clock = Clock::start();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let domain = load(Arc::clone(&shared), clock, config.domain).await.unwrap();
        let parts = CoreParts {
            store: shared,
            link: Arc::clone(&link) as _,
            metrics: Metrics::default(),
            clock,
        };
        Self { core: Core::start(domain, parts, config), store, link }
    }

    async fn with_node() -> Self {
        let bench = Self::start(MemoryStore::new(), CoreConfig::default()).await;
        bench.act(Action::put_node()).await.unwrap();
        bench
    }

    async fn act(&self, action: Action) -> Result<Answer, Refusal> {
        self.core.handle().execute(command(action)).await
    }

    async fn put(&self, text: &str) -> Result<Version, Refusal> {
        match self.act(put(text)).await? {
            Answer::Shadow(view, _) => Ok(view.desired_version()),
            other @ (Answer::Nothing | Answer::Node(..) | Answer::Until(_)) => panic!("{other:?}"),
        }
    }

    async fn desired(&self) -> Option<String> {
        let look = |domain: &Domain, _: crate::domain::Now| {
            let node = domain.node(&"site-1".parse().unwrap())?;
            Some(node.shadow(&"node".parse().unwrap()).desired?.document.to_string())
        };
        self.core.handle().read(look).await.unwrap()
    }
}

fn command(action: Action) -> Command {
    Command { node: "site-1".parse().unwrap(), action, by: Author::new("admin") }
}

fn put(text: &str) -> Action {
    Action::Write(Write {
        key: "node".parse().unwrap(),
        change: Change::Put(Document::parse(text.as_bytes()).unwrap()),
        when: Precondition::Any,
        fields: Vec::new(),
    })
}

#[tokio::test]
async fn what_a_full_disk_refused_has_not_happened() {
    let bench = Bench::with_node().await;
    bench.put("{\"a\":1}").await.unwrap();
    bench.store.fail(Some(ErrorKind::StorageFull));
    assert_eq!(bench.put("{\"a\":2}").await, Err(Refusal::StoreFull));
    assert_eq!(bench.desired().await.unwrap(), "{\"a\":1}");
    bench.store.fail(None);
    assert_eq!(bench.put("{\"a\":3}").await.unwrap(), Version(2));
}

#[tokio::test]
async fn a_goodbye_counts_also_while_the_store_does_not_answer() {
    let bench = Bench::with_node().await;
    bench.act(Action::Connected(Session(1))).await.unwrap();
    bench.store.fail(Some(ErrorKind::Other));
    bench.store.fail_reads(true);
    assert_eq!(bench.put("{\"a\":1}").await, Err(Refusal::StoreFailed));
    let handle = bench.core.handle();
    handle.tell(command(Action::Disconnected(Session(1), "lost".to_owned()))).await.unwrap();
    assert_eq!(bench.put("{\"a\":2}").await, Err(Refusal::StoreFailed));
    bench.store.fail(None);
    bench.store.fail_reads(false);
    bench.put("{\"a\":3}").await.unwrap();
    let online = |domain: &Domain, _: crate::domain::Now| domain.census().online;
    assert_eq!(handle.read(online).await.unwrap(), 0);
}

#[tokio::test]
async fn a_node_whose_creation_was_refused_does_not_exist() {
    let bench = Bench::start(MemoryStore::new(), CoreConfig::default()).await;
    bench.store.fail(Some(ErrorKind::Other));
    let action = || Action::put_node();
    assert_eq!(bench.act(action()).await, Err(Refusal::StoreFailed));
    let handle = bench.core.handle();
    assert_eq!(handle.read(|domain, _| domain.nodes().count()).await.unwrap(), 0);
    bench.store.fail(None);
    bench.act(action()).await.unwrap();
}

#[tokio::test]
async fn nothing_is_sent_or_told_before_it_is_durable() {
    let bench = Bench::with_node().await;
    let session = Session(1);
    bench.act(Action::Connected(session)).await.unwrap();
    let epoch = |domain: &Domain, _: crate::domain::Now| {
        domain.node(&"site-1".parse().unwrap()).unwrap().view().down.epoch
    };
    let epoch = bench.core.handle().read(epoch).await.unwrap();
    let message = Message::Hello(Hello { epoch, seq: Seq::ZERO, window: 1 });
    let received = Action::Received { session, stream: Stream::Down, message, bytes: 1 };
    bench.act(received).await.unwrap();
    let mut watching = bench.core.handle().watch(WatchFilter::default(), None).await.unwrap();
    let before = bench.link.sent();

    bench.store.fail(Some(ErrorKind::Other));
    assert_eq!(bench.put("{\"a\":1}").await, Err(Refusal::StoreFailed));
    assert_eq!(bench.desired().await, None);
    let sent_by_reload = bench.link.sent() - before;
    assert!(watching.events.try_recv().is_err());
    bench.store.fail(None);
    bench.put("{\"a\":2}").await.unwrap();
    assert_eq!(bench.desired().await.unwrap(), "{\"a\":2}");
    let event = watching.events.recv().await.unwrap();
    let WatchEvent::Changed((_, notice)) = event else { panic!("{event:?}") };
    let Notice::Shadow(change) = &*notice else { panic!("{notice:?}") };
    let view = &change.view;
    assert_eq!((change.half, change.by.as_str()), (Half::Desired, "admin"));
    assert_eq!((view.version, sent_by_reload), (Version(1), 1), "one hello, no batch");
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let bench = Bench::with_node().await;
    bench.put("{\"a\":1}").await.unwrap();
    let view = |domain: &Domain, _: crate::domain::Now| {
        let node = domain.node(&"site-1".parse().unwrap()).unwrap();
        (node.shadows().collect::<Vec<_>>(), node.view().down.epoch)
    };
    let before = bench.core.handle().read(view).await.unwrap();
    let store = bench.store.clone();
    bench.core.stop().await;
    let bench = Bench::start(store, CoreConfig::default()).await;
    assert_eq!(bench.core.handle().read(view).await.unwrap(), before);
    assert_ne!(before.1, Epoch::NONE);
}

#[tokio::test]
async fn a_watcher_that_does_not_keep_up_is_told_and_cut_off() {
    let config = CoreConfig { watch_queue: 2, ..CoreConfig::default() };
    let bench = Bench::start(MemoryStore::new(), config).await;
    bench.act(Action::put_node()).await.unwrap();
    let mut watching = bench.core.handle().watch(WatchFilter::default(), None).await.unwrap();
    for n in 0..5 {
        bench.put(&format!("{{\"n\":{n}}}")).await.unwrap();
    }
    let mut seen = Vec::new();
    while let Some(event) = watching.events.recv().await {
        seen.push(matches!(event, WatchEvent::Lagged));
    }
    assert_eq!(seen, [false, false, true]);
}

#[tokio::test]
async fn the_number_of_watchers_is_bounded() {
    let config = CoreConfig { watchers: 1, ..CoreConfig::default() };
    let bench = Bench::start(MemoryStore::new(), config).await;
    let first = bench.core.handle().watch(WatchFilter::default(), None).await.unwrap();
    let second = bench.core.handle().watch(WatchFilter::default(), None).await;
    assert_eq!(second.unwrap_err().code(), "limit_reached");
    drop(first);
    bench.core.handle().watch(WatchFilter::default(), None).await.unwrap();
}

#[tokio::test]
async fn a_session_of_a_node_that_does_not_exist_is_closed() {
    let bench = Bench::start(MemoryStore::new(), CoreConfig::default()).await;
    bench.act(Action::Connected(Session(7))).await.unwrap_err();
    assert_eq!(bench.link.closed(), [Session(7)]);
}

#[tokio::test]
async fn after_the_stop_everyone_is_told_so() {
    let bench = Bench::with_node().await;
    let handle = bench.core.handle();
    let mut watching = handle.watch(WatchFilter::default(), None).await.unwrap();
    bench.core.stop().await;
    assert!(watching.events.recv().await.is_none());
    assert_eq!(handle.execute(command(put("{}"))).await, Err(Refusal::Stopping));
}

#[tokio::test]
async fn concurrent_writers_share_commits_and_each_version_has_one_winner() {
    let bench = Bench::with_node().await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..64 {
        let handle = bench.core.handle();
        let change =
            Change::Put(Document::parse(format!("{{\"w\":{writer}}}").as_bytes()).unwrap());
        let when = Precondition::Version(Version::ZERO);
        let action =
            Action::Write(Write { key: "node".parse().unwrap(), change, when, fields: Vec::new() });
        tasks.spawn(async move { handle.execute(command(action)).await.is_ok() });
    }
    let won = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}
