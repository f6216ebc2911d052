//! What changes while the broker runs: SIGHUP reads certificates, passwords and tokens again.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use gnomon_broker::{AuthError, Authenticator, Broker, CertificateSubject, Credentials, Principal};
use gnomon_cloud::chain;

use super::config::Standalone;

/// The authenticator that holds at the moment.
#[derive(Debug, Clone)]
pub(super) struct Current(Arc<Swap>);

/// A lock, since connections read what a signal replaces; held for one copy of a pointer.
#[derive(Debug)]
struct Swap(RwLock<Arc<dyn Authenticator>>);

impl Current {
    pub(super) fn new(first: Arc<dyn Authenticator>) -> Self {
        Self(Arc::new(Swap(RwLock::new(first))))
    }

    pub(super) fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::clone(&self.0) as Arc<dyn Authenticator>
    }

    /// Reads everything again; if anything is wrong, all stays as it is.
    pub(super) fn reload(&self, path: &Path, broker: &Broker) {
        let fresh = match Standalone::load(path) {
            Ok(fresh) => fresh,
            Err(error) => {
                let error = chain(error.as_ref());
                return tracing::error!(error, "nothing is reloaded; correct the file");
            }
        };
        *self.0.0.write().unwrap_or_else(PoisonError::into_inner) = fresh.authenticator;
        for (bound, endpoint) in broker.addrs().iter().zip(fresh.endpoints) {
            let Some(tls) = endpoint.tls else { continue };
            if let Err(error) = broker.reload_tls(bound.addr, tls) {
                tracing::error!(%error, "a certificate is not reloaded");
            }
        }
        tracing::info!("certificates, passwords and tokens are reloaded");
    }
}

impl Swap {
    fn now(&self) -> Arc<dyn Authenticator> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Authenticator for Swap {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        self.now().authenticate(credentials)
    }

    fn still_admits(
        &self,
        principal: &Principal,
        certificate: Option<&CertificateSubject>,
    ) -> bool {
        self.now().still_admits(principal, certificate)
    }

    fn is_costly(&self, credentials: &Credentials<'_>) -> bool {
        self.now().is_costly(credentials)
    }
}
