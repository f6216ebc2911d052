//! How others talk to the core.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument as _, Span};

use super::audit::Deed;
use super::things::ThingReply;
use super::watch::{Position, WatchFilter, Watching};
use crate::aws::domain::Order;
use crate::domain::{Answer, Command, Domain, Now, Rejection};
use crate::spans;
use crate::store::{Op, Store};

/// Talks to the core; cheap to clone.
#[derive(Debug, Clone)]
pub struct CoreHandle {
    inputs: mpsc::Sender<Arrived>,
    store: Arc<dyn Store>,
}

/// Why the core did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The domain refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It could not be written: the disk is full. Nothing has changed.
    #[error("the store's disk is full, so nothing was changed; free some space and repeat")]
    StoreFull,
    /// It could not be written or read. Nothing has changed.
    #[error("the store failed, so nothing was changed; the cloud's log says why")]
    StoreFailed,
    /// The cloud is about to stop.
    #[error("the cloud is stopping; repeat the request in a moment")]
    Stopping,
}

impl Refusal {
    /// The stable name of the reason, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.code(),
            Self::StoreFull => "store_full",
            Self::StoreFailed => "store_failed",
            Self::Stopping => "stopping",
        }
    }
}

/// Where an answer goes, and the span of whoever waits for it.
pub(super) struct Reply {
    sender: oneshot::Sender<Result<Answer, Refusal>>,
    pub(super) span: Span,
}

impl Reply {
    fn channel() -> (Self, oneshot::Receiver<Result<Answer, Refusal>>) {
        let (sender, answer) = oneshot::channel();
        (Self { sender, span: Span::current() }, answer)
    }

    /// Answers; whoever asked may have gone.
    pub(super) fn send(self, result: Result<Answer, Refusal>) {
        drop(self.sender.send(result));
    }
}

/// Where the answers of many commands go.
pub(super) struct Replies {
    sender: oneshot::Sender<Vec<Result<Answer, Refusal>>>,
    pub(super) span: Span,
}

impl Replies {
    /// Answers; whoever asked may have gone.
    pub(super) fn send(self, results: Vec<Result<Answer, Refusal>>) {
        drop(self.sender.send(results));
    }
}

pub(super) type Reader = Box<dyn FnOnce(Result<(&Domain, Now), Refusal>) + Send>;
pub(super) type WatchReply = oneshot::Sender<Result<Watching, Refusal>>;

/// What has come in, and when.
pub(super) struct Arrived {
    pub(super) at: Instant,
    pub(super) input: Input,
}

impl Arrived {
    /// How many commands it is, at least one.
    pub(super) fn weight(&self) -> usize {
        match &self.input {
            Input::Commands(commands, _) => commands.len().max(1),
            Input::Command(..)
            | Input::Read(_)
            | Input::Watch(..)
            | Input::Forget(_)
            | Input::Keep(..)
            | Input::Thing(..) => 1,
        }
    }
}

/// What comes in.
pub(super) enum Input {
    Command(Command, Option<Reply>),
    Commands(Vec<Command>, Replies),
    Read(Reader),
    Watch(WatchFilter, Option<Position>, WatchReply),
    Forget(Vec<Op>),
    Keep(Vec<Op>, Option<Deed>, Reply),
    Thing(Order, Option<ThingReply>, Option<Deed>),
}

impl CoreHandle {
    pub(super) const fn new(inputs: mpsc::Sender<Arrived>, store: Arc<dyn Store>) -> Self {
        Self { inputs, store }
    }

    /// The store, for reading.
    pub(crate) const fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Has rows of the history deleted, some time.
    pub(super) async fn forget(&self, ops: Vec<Op>) -> Result<(), Refusal> {
        self.send(Input::Forget(ops)).await
    }

    /// Writes rows that belong to no node, and what is to be remembered of it; once this returns
    /// `Ok`, they are durable.
    pub async fn keep(&self, ops: Vec<Op>, deed: Option<Deed>) -> Result<(), Refusal> {
        let (reply, answer) = Reply::channel();
        self.send(Input::Keep(ops, deed, reply)).await?;
        answer.await.unwrap_or(Err(Refusal::Stopping)).map(drop)
    }

    /// Carries out a command; once this returns `Ok`, it is durable.
    pub async fn execute(&self, command: Command) -> Result<Answer, Refusal> {
        let span = spans::command(&command);
        let result = self.carry_out(command).instrument(span.clone()).await;
        spans::outcome(&span, result.as_ref().err().map(Refusal::code));
        result
    }

    async fn carry_out(&self, command: Command) -> Result<Answer, Refusal> {
        let (reply, answer) = Reply::channel();
        self.send(Input::Command(command, Some(reply))).await?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Carries out commands in their order, each for itself and all in one commit.
    pub async fn execute_all(
        &self,
        commands: Vec<Command>,
    ) -> Result<Vec<Result<Answer, Refusal>>, Refusal> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let (sender, answers) = oneshot::channel();
        let replies = Replies { sender, span: Span::current() };
        self.send(Input::Commands(commands, replies)).await?;
        answers.await.map_err(|_| Refusal::Stopping)
    }

    /// Tells of something that has happened and that nobody waits for.
    pub async fn tell(&self, command: Command) -> Result<(), Refusal> {
        self.send(Input::Command(command, None)).await
    }

    /// Looks at the domain; sees only what is durable.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Domain, Now) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let reader: Reader = Box::new(move |domain| {
            let result = domain.map(|(domain, now)| look(domain, now));
            // Whoever asked may have gone.
            drop(reply.send(result));
        });
        self.send(Input::Read(reader)).await?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Everything that matches, or what of it was missed since `seen`, and then every change.
    pub async fn watch(
        &self,
        filter: WatchFilter,
        seen: Option<Position>,
    ) -> Result<Watching, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Watch(filter, seen, reply)).await?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    pub(super) async fn send(&self, input: Input) -> Result<(), Refusal> {
        let arrived = Arrived { at: Instant::now(), input };
        self.inputs.send(arrived).await.map_err(|_| Refusal::Stopping)
    }
}
