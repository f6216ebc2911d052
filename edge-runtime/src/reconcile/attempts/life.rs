//! How the copies of one slot live: when they ended, how often, when to start again.

use gnomon_schemas::app::Revision;
use gnomon_sync::Moment;

use crate::reconcile::backoff;
use crate::reconcile::model::{Health, Instance, InstanceState};

/// What is remembered of the copies of one slot that have one digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::reconcile) struct Life {
    /// The digest of the service; a new one begins a new life.
    pub(in crate::reconcile) digest: Revision,
    /// How often it was started again.
    pub(in crate::reconcile) restarts: u32,
    /// How often it fell in a row without recovering in between.
    pub(in crate::reconcile) streak: u32,
    /// Not to be started, made or stopped for its health before.
    pub(in crate::reconcile) retry_at: Moment,
    /// The exit code of its last end.
    pub(in crate::reconcile) last_exit: Option<i64>,
    /// How often it ended by itself, ever.
    pub(in crate::reconcile) ends: u32,
    /// How often its health check failed, ever.
    pub(in crate::reconcile) sick: u32,
    phase: Phase,
    was_up: bool,
    /// Whether it had been up when it was down last: a look while a first start is under way may see
    /// it run before the start is known to be done.
    up_before: bool,
}

/// What can befall a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fall {
    /// It ended.
    Ended,
    /// Its health check failed.
    Unhealthy,
    /// Somebody else removed it.
    Gone,
    /// It was stuck.
    Stuck,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not seen yet.
    Unknown,
    Created,
    /// Started, no verdict on its health yet.
    Rising,
    /// Up and healthy, if it has a check.
    Good {
        since: Moment,
    },
    Unhealthy,
    Ended,
    /// Ended by a step of ours.
    Stopped,
    Stuck,
    Absent,
}

impl Life {
    pub(super) fn new(instance: &Instance) -> Self {
        Self {
            digest: instance.service_digest,
            restarts: 0,
            streak: 0,
            retry_at: Moment::default(),
            last_exit: None,
            ends: 0,
            sick: 0,
            phase: Phase::Unknown,
            was_up: false,
            up_before: false,
        }
    }

    /// Whether the agent itself stopped it, so that its end says nothing about it.
    pub(in crate::reconcile) const fn is_stopped_by_us(&self) -> bool {
        matches!(self.phase, Phase::Stopped)
    }

    pub(super) fn was_started(&mut self) {
        if self.up_before {
            self.restarts = self.restarts.saturating_add(1);
        }
        self.was_up = true;
        self.phase = Phase::Rising;
    }

    /// A scheduled run began: it has its own count of retries, and is no restart.
    pub(super) fn was_run(&mut self) {
        self.begins_anew();
        self.was_up = true;
        self.phase = Phase::Rising;
    }

    pub(super) fn was_stopped(&mut self) {
        self.up_before = self.was_up;
        self.phase = Phase::Stopped;
    }

    /// No back-off is left.
    pub(super) fn begins_anew(&mut self) {
        self.streak = 0;
        self.retry_at = Moment::default();
    }

    /// An end is taken for one of our own making.
    pub(super) fn is_asked_to_start(&mut self) {
        self.begins_anew();
        if self.phase == Phase::Ended {
            self.phase = Phase::Stopped;
        }
    }

    pub(super) fn was_removed(&mut self) {
        self.up_before = self.was_up;
        self.phase = Phase::Absent;
    }

    /// An end that nobody saw (the agent was not running) is not held against the copy.
    pub(super) fn is(&mut self, state: InstanceState, now: Moment) {
        self.was_up |= !matches!(state, InstanceState::Created | InstanceState::Stuck);
        if !matches!(state, InstanceState::Running(_)) {
            self.up_before = self.was_up;
        }
        match state {
            InstanceState::Created => self.phase = Phase::Created,
            InstanceState::Running(Health::Starting) => self.phase = Phase::Rising,
            InstanceState::Running(Health::Unchecked | Health::Healthy) => {
                if !matches!(self.phase, Phase::Good { .. }) {
                    self.phase = Phase::Good { since: now };
                }
                self.recover(now);
            }
            InstanceState::Running(Health::Unhealthy) => {
                if self.phase != Phase::Unhealthy {
                    self.falls(Fall::Unhealthy, now);
                    self.phase = Phase::Unhealthy;
                }
            }
            InstanceState::Exited { code } => {
                self.last_exit = Some(code);
                match self.phase {
                    Phase::Ended | Phase::Stopped => {}
                    Phase::Unknown => self.phase = Phase::Ended,
                    Phase::Created
                    | Phase::Rising
                    | Phase::Good { .. }
                    | Phase::Unhealthy
                    | Phase::Stuck
                    | Phase::Absent => {
                        self.falls(Fall::Ended, now);
                        self.phase = Phase::Ended;
                    }
                }
            }
            InstanceState::Stuck => {
                if self.phase != Phase::Stuck {
                    self.falls(Fall::Stuck, now);
                    self.phase = Phase::Stuck;
                }
            }
        }
    }

    pub(super) fn is_absent(&mut self, now: Moment) {
        self.up_before = self.was_up;
        match self.phase {
            Phase::Absent => return,
            Phase::Unknown | Phase::Ended | Phase::Stopped | Phase::Stuck => {}
            Phase::Created | Phase::Rising | Phase::Good { .. } | Phase::Unhealthy => {
                self.falls(Fall::Gone, now);
            }
        }
        self.phase = Phase::Absent;
    }

    fn falls(&mut self, fall: Fall, now: Moment) {
        self.recover(now);
        self.streak = self.streak.saturating_add(1);
        match fall {
            Fall::Ended => self.ends = self.ends.saturating_add(1),
            Fall::Unhealthy => self.sick = self.sick.saturating_add(1),
            Fall::Gone | Fall::Stuck => {}
        }
        self.retry_at = now + backoff::after_fall(self.streak);
    }

    fn recover(&mut self, now: Moment) {
        if let Phase::Good { since } = self.phase
            && now.saturating_since(since) >= backoff::RECOVERED_AFTER
        {
            self.streak = 0;
            self.retry_at = Moment::default();
        }
    }
}
