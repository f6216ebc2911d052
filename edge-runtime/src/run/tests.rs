//! The loop with a fake link, a memory store and a fake orchestrator, in real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gnomon_schemas::document::Document;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{MessageKind, Stream, Topic};
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::Message;
use gnomon_sync::{Output, Writer, WriterConfig};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::*;
use crate::core::CoreConfig;
use crate::link::fake::{FakeCloud, pair};
use crate::local::{Request, Status, ask};
use crate::orchestrator::Capabilities;
use crate::orchestrator::fake::Fake;
use crate::store::memory::MemoryDisk;

struct Agent {
    dir: tempfile::TempDir,
    cloud: FakeCloud,
    fake: Fake,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<io::Result<()>>,
    ready: Arc<AtomicBool>,
}

fn start(disk: &MemoryDisk, fake: Fake) -> Agent {
    fake.set_capabilities(Capabilities { images: true, ..fake.capabilities() });
    let dir = tempfile::tempdir().unwrap();
    let (link, cloud) = pair();
    let config = CoreConfig {
        node: "site-1".parse().unwrap(),
        capabilities: fake.capabilities(),
        observe_every: Duration::from_secs(30),
        budgets: crate::core::Budgets::default(),
        image_grace: Duration::from_hours(24),
    };
    let parts = Parts {
        core: Core::new(config, StdRng::seed_from_u64(1)),
        link,
        store: StoreHandle::spawn(Box::new(disk.open())).unwrap(),
        orchestrator: Orchestrator::Fake(fake.clone()),
        http: None,
        wishes: watch::Sender::new(Wish::default()),
        updates: mpsc::channel(1).1,
    };
    let (stop, stopped) = oneshot::channel();
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let data = dir.path().to_path_buf();
    let task = tokio::spawn(async move {
        let ready = move || is_ready.store(true, Ordering::SeqCst);
        Box::pin(run(parts, &data, ready, async { drop(stopped.await) })).await
    });
    Agent { dir, cloud, fake, stop, task, ready }
}

impl Agent {
    /// Asks for the status until it is as wanted.
    async fn eventually(&self, what: &str, wanted: impl Fn(&Status) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(Response::Status(status)) = ask(self.dir.path(), &Request::Status).await
                && wanted(&status)
            {
                return;
            }
            assert!(Instant::now() < deadline, "{what} did not happen in time");
            tokio::task::yield_now().await;
        }
    }

    /// Plays the cloud's writer until it has nothing more to say, for `writer`'s changes.
    async fn bring_down(&mut self, writer: &mut Writer) {
        let now = Moment::from_millis(0);
        let topic = |kind| Topic::of("site-1".parse().unwrap(), Stream::Down, kind);
        while !writer.is_in_sync() {
            while let Some(output) = writer.poll_output() {
                if let Output::Send(message) = output {
                    let event = LinkEvent::Message(topic(message.kind()), message);
                    self.cloud.events.send(event).unwrap();
                }
            }
            let (topic, payload) = self.cloud.published.recv().await.unwrap();
            if topic.stream() == Stream::Down {
                writer.receive(now, &Message::decode(topic.kind, &payload).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn an_app_comes_down_runs_and_the_agent_stops_when_told() {
    let disk = MemoryDisk::new();
    let mut agent = start(&disk, Fake::new());
    let now = Moment::from_millis(0);
    let mut writer = Writer::new(Epoch(5), WriterConfig::default(), StdRng::seed_from_u64(3));
    let text = br#"{"services": {"main": {"image": "web:1", "restart": "always"}}}"#;
    let app = ShadowKey::App("web".parse().unwrap());
    writer.put(now, &app, Document::parse(text).unwrap());
    writer.link_up(now);
    agent.cloud.events.send(LinkEvent::Up).unwrap();
    agent.bring_down(&mut writer).await;
    let runs = |status: &Status| {
        status.link.up
            && status
                .apps
                .first()
                .and_then(|app| app.status.as_ref())
                .is_some_and(|status| status.state == gnomon_schemas::app::AppState::Running)
    };
    agent.eventually("the app runs", runs).await;
    assert!(agent.ready.load(Ordering::SeqCst));
    agent.stop.send(()).unwrap();
    agent.task.await.unwrap().unwrap();
    assert!(agent.fake.steps().len() >= 2, "it was made and started");
    assert!(!local::socket(agent.dir.path()).exists());

    let fake = Fake::new();
    let offline = start(&disk, fake);
    offline
        .eventually("the app runs again, without a link", |status| {
            !status.link.up && status.apps.first().is_some_and(|app| app.status.is_some())
        })
        .await;
    drop(offline.stop);
    offline.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_first_word_to_the_cloud_is_a_hello() {
    let mut agent = start(&MemoryDisk::new(), Fake::new());
    agent.cloud.events.send(LinkEvent::Up).unwrap();
    let (topic, payload) = agent.cloud.published.recv().await.unwrap();
    assert_eq!(topic.kind, MessageKind::Hello);
    assert!(matches!(Message::decode(topic.kind, &payload), Ok(Message::Hello(_))));
    drop(agent.stop);
    agent.task.await.unwrap().unwrap();
}
