//! How to tell whether a service works.

use serde::{Deserialize, Serialize};

/// A test that is run over and over inside a running service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What to run; exit code 0 means healthy.
    pub test: HealthTest,
    /// The time from one run to the next; 30 seconds unless said otherwise.
    #[serde(default = "half_a_minute", skip_serializing_if = "is_half_a_minute")]
    pub interval_ms: u64,
    /// How long one run may take before it counts as failed; 30 seconds unless said otherwise.
    #[serde(default = "half_a_minute", skip_serializing_if = "is_half_a_minute")]
    pub timeout_ms: u64,
    /// How many runs must fail in a row until the service is unhealthy; 3 unless said otherwise.
    #[serde(default = "three", skip_serializing_if = "is_three")]
    pub retries: u32,
    /// How long after the start failed runs do not count.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub start_period_ms: u64,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthTest {
    /// A program and its arguments.
    Exec(Vec<String>),
    /// A text for `/bin/sh -c`.
    Shell(String),
}

impl HealthCheck {
    /// A check with the default times.
    pub const fn new(test: HealthTest) -> Self {
        Self {
            test,
            interval_ms: half_a_minute(),
            timeout_ms: half_a_minute(),
            retries: three(),
            start_period_ms: 0,
        }
    }
}

const fn half_a_minute() -> u64 {
    30_000
}

const fn three() -> u32 {
    3
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_half_a_minute(ms: &u64) -> bool {
    *ms == half_a_minute()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_three(retries: &u32) -> bool {
    *retries == three()
}
