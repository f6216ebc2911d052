//! Why the k3s orchestrator could not do what it was asked.

use std::sync::Arc;

use gnomon_schemas::id::ServiceName;

use crate::orchestrator::Unsupported;
use crate::reconcile::model::{InstanceId, Slot};

/// Why the k3s orchestrator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum K3sError {
    /// It is not known how the cluster is reached.
    #[error("cannot tell how to reach the cluster; set `kubeconfig`, or run in a pod: {0}")]
    Setup(String),
    /// The API server could not be reached.
    #[error("cannot reach the API server to {doing}; check that it runs and the credentials")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
    /// The API server took too long.
    #[error("the API server did not answer in time when asked to {doing}")]
    Slow {
        /// What was being done.
        doing: String,
    },
    /// The API server, a webhook, a quota or RBAC said no.
    #[error("the API server refused to {doing}: {message} (status {code}{})", advice(*.code, .message))]
    Refused {
        /// What was being done.
        doing: String,
        /// The HTTP status.
        code: u16,
        /// What it said.
        message: String,
    },
    /// A watch broke, so that it is not known what runs.
    #[error(transparent)]
    Blind(Arc<K3sError>),
    /// Somebody else takes back what is set right.
    #[error("{what} again and again; end that, or take the app off this node")]
    Contested {
        /// Which field, and by whom.
        what: String,
    },
    /// A pod does not come up.
    #[error("the pod does not start: {reason}")]
    NotStarting {
        /// What the kubelet or the scheduler says.
        reason: String,
        /// Whether that can pass by itself.
        transient: bool,
    },
    /// A pod does not end.
    #[error("the pods of {0} do not end; is their node there, is a finalizer stuck?")]
    NotStopping(InstanceId),
    /// The service asks for what this node does not permit.
    #[error(transparent)]
    Unsupported(#[from] Box<Unsupported>),
    /// The service asks for what Kubernetes cannot do.
    #[error("service {service} cannot run on Kubernetes: {what}")]
    Unfit {
        /// The service.
        service: ServiceName,
        /// What it cannot do, and what helps.
        what: String,
    },
    /// A manifest asks for what this node or its cluster does not permit.
    #[error("{what} cannot be applied here: {why}")]
    Unfitting {
        /// The object.
        what: String,
        /// What stands against it, and what helps.
        why: String,
    },
    /// A manifest is of a kind that the cluster does not have.
    #[error(
        "the cluster has no kind {kind} of {api_version}; is its CustomResourceDefinition missing?"
    )]
    NotServed {
        /// The kind.
        kind: String,
        /// Its group and version.
        api_version: String,
    },
    /// An object that others need does not become what it says.
    #[error("{what} is not ready: {why}")]
    NotReady {
        /// The object.
        what: String,
        /// What the cluster says.
        why: String,
    },
    /// An object that was deleted is still there.
    #[error("{0} was deleted and is still there; is a finalizer stuck?")]
    NotGone(String),
    /// The app has no such service.
    #[error("the app has no service {0}")]
    NoSuchService(ServiceName),
    /// An object that somebody else made has the name of one of ours.
    #[error("an object named {0} exists and is not Gnomon's; rename or remove it")]
    Foreign(String),
    /// No pod of the slot runs.
    #[error("no pod of {0} runs")]
    NotRunning(Slot),
    /// The workload was removed by somebody else.
    #[error("{0} is gone; it will be made again")]
    Gone(InstanceId),
    /// The workload is not the one that the step was meant for.
    #[error("{0} does not belong to this slot; nothing was done to it")]
    AnotherSlot(InstanceId),
    /// A running workload cannot be removed.
    #[error("{0} still runs; stop it first")]
    StillRuns(InstanceId),
}

/// The API server says so with status 500 of an object that has a field which its kind has not.
pub(super) const UNTYPED: &str = "failed to create typed patch object";

/// Whether a webhook or an admission policy said no, whatever status they give it.
fn is_by_policy(message: &str) -> bool {
    let is_webhook =
        message.contains("admission webhook") && message.contains("denied the request");
    is_webhook || (message.contains("AdmissionPolicy '") && message.contains("denied request"))
}

fn advice(code: u16, message: &str) -> &'static str {
    match code {
        401 => "; the credentials are not accepted",
        _ if is_by_policy(message) => "; change the app or that policy",
        403 if message.contains("quota") => "; raise the quota of the namespace",
        403 => {
            "; grant it to gnomon-edge, see deploy/k3s/rbac.yaml, and rbac-manifests.yaml beside it"
        }
        429 => "; it is overloaded",
        _ => "",
    }
}

impl K3sError {
    /// Whether the same step may succeed later with nothing changed. Rights, quotas and webhooks
    /// are changed by people meanwhile.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { code, message, .. } => {
                let is_wrong =
                    matches!(code, 400 | 405 | 415 | 422) || message.starts_with(UNTYPED);
                !is_wrong || is_by_policy(message)
            }
            Self::NotStarting { transient, .. } => *transient,
            Self::Blind(error) => error.is_transient(),
            Self::Setup(_)
            | Self::Unreachable { .. }
            | Self::Slow { .. }
            | Self::Contested { .. }
            | Self::NotStopping(_)
            | Self::NotServed { .. }
            | Self::NotReady { .. }
            | Self::NotGone(_)
            | Self::NotRunning(_)
            | Self::Gone(_)
            | Self::StillRuns(_) => true,
            Self::Unsupported(_)
            | Self::Unfit { .. }
            | Self::Unfitting { .. }
            | Self::NoSuchService(_)
            | Self::Foreign(_)
            | Self::AnotherSlot(_) => false,
        }
    }

    pub(super) fn from_client(doing: String, error: kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::Refused { doing, code: status.code, message: status.message };
        }
        Self::Unreachable { doing, source: Box::new(error) }
    }

    pub(super) const fn code(&self) -> Option<u16> {
        if let Self::Refused { code, .. } = self { Some(*code) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_may_change_meanwhile_is_tried_again_and_what_is_wrong_with_the_app_is_not() {
        let is_transient = |code, message: &str| {
            let (doing, message) = ("apply it".to_owned(), message.to_owned());
            K3sError::Refused { doing, code, message }.is_transient()
        };
        assert!(is_transient(403, "exceeded quota: small"));
        assert!(is_transient(400, "admission webhook \"a.example\" denied the request: no"));
        let policy = "ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no";
        assert!(is_transient(422, policy), "its status says that the object is invalid");
        assert!(!is_transient(422, "spec.ports[0].port: Invalid value: 0"));
        assert!(!is_transient(500, UNTYPED));
    }
}
