//! The exit codes, and what to do next after each kind of failure.

use crate::client::{ApiError, Refusal, ServerUrlError};

/// Why a command failed when it was not the cloud that said no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The input cannot be used.
    #[error("{0}")]
    BadInput(String),
    /// What was waited for did not happen in time.
    #[error("{0}")]
    TimedOut(String),
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// Part of `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  ok
  1  failed
  2  wrong usage
  3  not found
  4  conflict: somebody else changed it first
  5  the input was refused
  6  the cloud cannot be reached
  7  timed out";

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(1)
}

fn code_of(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(match failure {
            Failure::Usage(_) => 2,
            Failure::NotFound(_) => 3,
            Failure::BadInput(_) => 5,
            Failure::TimedOut(_) => 7,
            Failure::Interrupted => 130,
        });
    }
    if error.is::<ServerUrlError>() {
        return Some(2);
    }
    error.downcast_ref::<ApiError>().map(|error| match error {
        ApiError::Unreachable { .. } | ApiError::Silent { .. } => 6,
        ApiError::BadAnswer { .. } => 1,
        ApiError::Refused(refusal) => code_of_refusal(refusal),
    })
}

const fn code_of_refusal(refusal: &Refusal) -> u8 {
    match refusal.status {
        404 => 3,
        412 => 4,
        400 | 413 | 415 | 422 => 5,
        502..=504 => 6,
        _ => 1,
    }
}

/// What to do next, where there is something.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| cause.downcast_ref::<ApiError>()).and_then(|error| match error {
        ApiError::Unreachable { source, .. } if is_about_trust(source) => Some(
            "give the authority that vouches for this cloud with --ca FILE or GNOMON_CA: its \
             DIR/ca.pem, unless it shows a certificate of its own"
                .to_owned(),
        ),
        ApiError::Unreachable { .. } | ApiError::Silent { .. } => Some(
            "start it with `gnomon-cloud serve --data DIR`, or name another with --server or \
             GNOMON_SERVER"
                .to_owned(),
        ),
        ApiError::BadAnswer { .. } => None,
        ApiError::Refused(refusal) => hint_of_refusal(refusal),
    })
}

/// Whether it was TLS that failed, and not the way.
fn is_about_trust(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.to_string().contains("certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

fn hint_of_refusal(refusal: &Refusal) -> Option<String> {
    let text = match refusal.code.as_str() {
        "unauthorized" => {
            "give a token with --token-file or GNOMON_TOKEN_FILE: that of `gnomon-cloud init`, one of \
             `gnomon token create`, or the file DIR/admin-token of the cloud"
        }
        "forbidden" => {
            "`gnomon token list` shows to somebody with the role admin what each token may; such a \
             person can make another one with `gnomon token create`"
        }
        "too_many_requests" => "wait, or raise [limits] in the cloud's configuration",
        "unknown_node" => "see `gnomon get nodes`, or create it with `gnomon node create NAME`",
        "unknown_shadow" => "see `gnomon get shadows --node NODE`",
        "version_conflict" => {
            "read it again with `gnomon shadow get NODE KEY` and repeat with its version"
        }
        "store_full" => "free disk space on the cloud's machine",
        _ => return None,
    };
    Some(text.to_owned())
}

/// The error and its causes in one line, each cause once.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
