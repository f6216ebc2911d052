//! Everything that can happen to the core, and everything that it can ask for.

use std::time::Duration;

use gnomon_schemas::id::AppName;
use gnomon_schemas::node::NodeSettings;
use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::wire::Message;
use serde_json::Value;

use crate::link::{Quality, Traffic};
use crate::local::{Request, Response};
use crate::orchestrator::images::{Cleared, ImageSurvey};
use crate::reconcile::model::{Observed, Slot, Step};
use crate::store::{Contents, Op};

/// Names a local request, so that its answer finds the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// For people.
    pub reason: String,
    /// Whether the same step may succeed later with nothing changed.
    pub transient: bool,
    /// Whether there was no room on the disk.
    pub is_disk_full: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The moment of [`super::Core::poll_timeout`] has come.
    Woken,
    /// The cloud can be reached.
    LinkUp,
    /// Another machine with this node's identity has taken the link.
    TakenOver,
    /// It cannot, or still cannot.
    LinkDown {
        /// Why, for people.
        reason: String,
    },
    /// A message of the cloud.
    Received(Stream, Message),
    /// What the link has carried since it was made, and how good it is; told with each look at
    /// what runs.
    Carried {
        /// Bytes.
        traffic: Traffic,
        /// How good it is.
        quality: Quality,
        /// What the node's clock says, in seconds since 1970; right or wrong.
        wall_s: u64,
    },
    /// The orchestrator says that something changed.
    Hint,
    /// The answer to [`Effect::Observe`].
    Observed {
        /// What runs.
        observed: Observed,
        /// The orchestrator's version, if it was asked for.
        version: Option<String>,
        /// What the node's clock says, in seconds since 1970; right or wrong.
        wall_s: u64,
    },
    /// The other answer to [`Effect::Observe`]: the orchestrator did not say what runs.
    Unreachable {
        /// Why, for people.
        reason: String,
    },
    /// The answer to [`Effect::Find`].
    Found {
        /// The image.
        image: String,
        /// Whether it is here; no if that could not be told.
        is_here: bool,
    },
    /// A part of the image of a [`Step::Pull`] has come; told in steps, and it may get lost.
    Pulling {
        /// The image.
        image: String,
        /// How much of it is here.
        percent: u8,
    },
    /// The image of a [`Step::Pull`] was not here and was fetched; told before the step's end.
    Fetched {
        /// The image.
        image: String,
        /// The orchestrator's id of it.
        id: String,
    },
    /// The answer to [`Effect::Survey`]; else why there is none.
    Surveyed(Result<ImageSurvey, String>),
    /// The answer to [`Effect::Clear`].
    Cleared {
        /// The image.
        image: String,
        /// What became of it, or why that is not known.
        outcome: Result<Cleared, String>,
    },
    /// A step of [`Effect::Apply`] ended.
    Done {
        /// The step.
        step: Step,
        /// How it ended.
        outcome: Result<(), StepFailure>,
    },
    /// The answer to [`Effect::Load`].
    Loaded(Contents),
    /// The answer to [`Effect::Commit`].
    Committed,
    /// The other answer to both.
    StoreFailed {
        /// Whether free space is all that is missing.
        full: bool,
        /// Why, for people.
        reason: String,
    },
    /// How it stands with the agent's own program, to be reported; null: nothing is wished of it.
    Updating(Value),
    /// Somebody at this node asks.
    Asked(Ticket, Request),
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Read the whole store.
    Load,
    /// Commit these changes.
    Commit(Vec<Op>),
    /// Send a message to the cloud; it may get lost.
    Publish(Topic, Message),
    /// This is what is desired of the agent's own program; null: nothing. Nothing else of what is
    /// desired of the node leaves the core this way: there are passwords in it.
    AgentDesired(Value),
    /// Ask the orchestrator what runs.
    Observe {
        /// Ask for its version too.
        version: bool,
    },
    /// Ask the orchestrator whether an image is here.
    Find {
        /// The image.
        image: String,
    },
    /// Tell the orchestrator the node's settings; before any step that needs them.
    Configure(NodeSettings),
    /// Ask the orchestrator which images there are, and how much room.
    Survey,
    /// Remove an image, if nothing uses it and its name still means this id.
    Clear {
        /// The image.
        image: String,
        /// The orchestrator's id of it.
        id: String,
    },
    /// Do a step.
    Apply(Step),
    /// Break off the pull of an image; its end is not awaited any more.
    GiveUp {
        /// The image.
        image: String,
    },
    /// Answer a local request.
    Answer(Ticket, Response),
    /// Answer a local request with what a command does where a copy of a service runs.
    Exec {
        /// The request.
        ticket: Ticket,
        /// The copy.
        slot: Slot,
        /// The program and its arguments.
        command: Vec<String>,
        /// How long it may take.
        timeout: Duration,
    },
    /// Remove the named volumes of an app, and answer a local request with what became of it.
    RemoveVolumes {
        /// The request.
        ticket: Ticket,
        /// The app.
        app: AppName,
    },
    /// Answer a local request with what these slots wrote.
    Logs {
        /// The request.
        ticket: Ticket,
        /// Whose output.
        slots: Vec<Slot>,
        /// The most lines of each.
        tail: usize,
    },
}
