//! Rules: the restart policy decides whether an instance that ended is started again; the
//! back-off decides when. `always` and `unless-stopped` mean the same, since nobody can stop an
//! instance on purpose but by taking it out of the app. The end of what the agent itself stopped,
//! or could not start, says nothing about the service: it is started whatever its policy.
//! Tests: `the_restart_policy_decides_what_is_started_again`,
//! `the_restarts_of_a_job_are_counted_until_it_recovers`, `a_job_that_succeeded_is_done`,
//! `a_job_that_could_not_be_started_is_tried_again`.

use gnomon_schemas::app::RestartPolicy;

use super::attempts::{SlotLife, StepKey};
use super::memory::Memory;
use super::model::{Instance, InstanceState, Slot};

/// What follows from an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It is a job that succeeded.
    Done,
    /// It stays ended, and why.
    Never(String),
    /// It is started again when its back-off is over.
    Again,
    /// It is started again, and this is no restart of its own making.
    Resume,
}

pub(super) fn after_end(
    memory: Memory<'_>,
    policy: RestartPolicy,
    slot: &Slot,
    instance: &Instance,
    code: i64,
) -> Next {
    let start = StepKey::Start(slot.clone(), instance.id.clone());
    let life = memory.life(slot, instance.service_digest);
    let is_unstarted = code != 0 && memory.failure(&start).is_some();
    if is_unstarted || life.is_some_and(SlotLife::is_stopped_by_us) {
        return Next::Resume;
    }
    match policy {
        RestartPolicy::No | RestartPolicy::OnFailure { .. } if code == 0 => Next::Done,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => Next::Again,
        RestartPolicy::No | RestartPolicy::OnFailure { .. } => {
            forbidden(policy, life).map_or(Next::Again, Next::Never)
        }
    }
}

/// Why a service that failed is not started again.
pub(super) fn forbidden(policy: RestartPolicy, life: Option<&SlotLife>) -> Option<String> {
    let streak = life.map_or(0, |life| life.streak);
    match policy {
        RestartPolicy::No => Some("its restart policy is `no`".to_owned()),
        RestartPolicy::OnFailure { max_retries: Some(most) } if streak > most => {
            Some(format!("it was started again {most} times, as often as its policy allows"))
        }
        RestartPolicy::OnFailure { .. } | RestartPolicy::Always | RestartPolicy::UnlessStopped => {
            None
        }
    }
}

/// Whether it is a job that succeeded.
pub(super) fn is_done(
    memory: Memory<'_>,
    policy: RestartPolicy,
    slot: &Slot,
    instance: &Instance,
) -> bool {
    match instance.state {
        InstanceState::Exited { code } => {
            after_end(memory, policy, slot, instance, code) == Next::Done
        }
        InstanceState::Created | InstanceState::Running(_) | InstanceState::Stuck => false,
    }
}
