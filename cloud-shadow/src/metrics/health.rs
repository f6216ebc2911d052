//! What is known of the cloud's health, as figures.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{CertificateLabel, CheckLabel};

/// How the cloud is.
#[derive(Debug, Clone, Default)]
pub struct HealthMetrics {
    checks: Family<CheckLabel, Gauge>,
    store_bytes: Gauge,
    free_bytes: Gauge,
    expiry: Family<CertificateLabel, Gauge>,
}

impl HealthMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let text = "Whether a check of /readyz finds nothing to say";
        registry.register("check_ok", text, self.checks.clone());
        let text = "Size of the store's file";
        registry.register_with_unit("store", text, Unit::Bytes, self.store_bytes.clone());
        let text = "Room on the disk of the data folder";
        registry.register_with_unit("disk_free", text, Unit::Bytes, self.free_bytes.clone());
        let text = "When a certificate of the cloud runs out, in seconds since 1970";
        let unit = Unit::Seconds;
        registry.register_with_unit("certificate_expiry", text, unit, self.expiry.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which version runs", build);
    }

    /// What a check has found.
    pub fn checked(&self, check: &'static str, is_ok: bool) {
        self.checks.get_or_create(&CheckLabel { check }).set(i64::from(is_ok));
    }

    /// How large the store is, and how much room there is beside it.
    pub fn disk(&self, store_bytes: u64, free_bytes: u64) {
        let gauge = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.store_bytes.set(gauge(store_bytes));
        self.free_bytes.set(gauge(free_bytes));
    }

    /// When a certificate runs out.
    pub fn expires(&self, certificate: &'static str, unix_s: i64) {
        self.expiry.get_or_create(&CertificateLabel { certificate }).set(unix_s);
    }
}
