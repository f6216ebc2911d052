//! The labels of metrics. Each has a bounded number of values: none comes from a client.

use prometheus_client::encoding::EncodeLabelSet;

/// Which way something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the cloud.
    Sent,
    /// To the cloud.
    Received,
}

impl Direction {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// A part of what the core does in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The oldest input waited for its round.
    Wait,
    /// The domain decided.
    Decide,
    /// The store committed; rounds that change nothing have no such stage.
    Commit,
    /// Answers and messages went out.
    Act,
}

impl Stage {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Decide => "decide",
            Self::Commit => "commit",
            Self::Act => "act",
        }
    }
}

/// The label of what is counted per outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabel {
    pub(super) code: &'static str,
}

/// The label of what is timed per stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StageLabel {
    pub(super) stage: &'static str,
}

/// The labels of what is counted per message of the sync protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MessageLabels {
    pub(super) direction: &'static str,
    pub(super) kind: &'static str,
    pub(super) stream: &'static str,
}

/// The labels of what is counted per message of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ThingLabels {
    pub(super) direction: &'static str,
    pub(super) purpose: &'static str,
}

/// Why a message from a node was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}

/// For how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LongerLabel {
    pub(super) longer_than: &'static str,
}

/// The label of what is counted per direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DirectionLabel {
    pub(super) direction: &'static str,
}

/// The labels of what is counted per request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) method: &'static str,
    pub(super) route: String,
    pub(super) status: u16,
}

/// The label of what is timed per request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabel {
    pub(super) route: String,
}

/// Who was refused because it asked for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallerLabel {
    pub(super) caller: &'static str,
}

/// The label of what is found per check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CheckLabel {
    pub(super) check: &'static str,
}

/// The label of what is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CertificateLabel {
    pub(super) certificate: &'static str,
}
