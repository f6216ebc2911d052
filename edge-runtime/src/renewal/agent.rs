//! Renews the node's certificate beside everything else: asks the cloud over HTTPS with the present
//! one, writes the new one down, and hands it to the link. Decides nothing: [`super`] does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_sync::Moment;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rustls::pki_types::ServerName;

use super::{Next, Renewal};
use crate::backoff::Backoff;
use crate::enrolment::{self, Enrolled, EnrolmentError, RenewRequest, Reply};
use crate::identity::{Identity, IdentityError, NewKey};
use crate::link::call::Call;
use crate::link::clock::Clock;
use crate::link::mqtt::Address;
use crate::link::proxy::Proxy;
use crate::link::{self, Tls, TlsError};

/// Where a cloud speaks HTTPS that was not asked to do it elsewhere.
const USUAL_PORT: u16 = 7443;

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    /// The cloud did not answer, or says no.
    #[error("{at} gives no new certificate")]
    Ask {
        at: Address,
        #[source]
        source: EnrolmentError,
    },
    /// No address is known.
    #[error("nobody has said where the cloud speaks HTTPS; set `api` in the configuration")]
    Nowhere,
    /// What the cloud gave cannot be used.
    #[error("the new certificate cannot be used, the present one stays")]
    Tls(#[from] TlsError),
    /// It is one of another node, or ends no later than the present one.
    #[error("the new certificate is no better than the present one, which stays")]
    NoBetter,
    /// It could not be made or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Writing it ended by a panic.
    #[error("writing the new certificate failed")]
    Panicked,
}

/// What renews.
#[derive(Debug)]
pub struct Renewer {
    /// The data directory.
    pub data: PathBuf,
    /// Who the node is.
    pub identity: Identity,
    /// Where the cloud speaks HTTPS, if not where the identity says.
    pub api: Option<Address>,
    /// The proxy on the way to it.
    pub proxy: Option<Proxy>,
    /// What the link shows; gets the new certificate.
    pub tls: Tls,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// For the waits after failures.
    pub rng: StdRng,
}

impl Renewer {
    /// Renews again and again; never ends.
    pub async fn run(mut self) {
        let Some(mut renewal) = Renewal::of(&self.identity.certificate_pem) else {
            tracing::error!(
                "cert.pem cannot be read, so it is not renewed; join again with --force"
            );
            return std::future::pending().await;
        };
        let began = Instant::now();
        let now = || {
            let millis = began.elapsed().as_millis();
            Moment::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
        };
        let (first, longest) = renewal.waits();
        let mut backoff = Backoff::new(first, longest, StdRng::from_rng(&mut self.rng));
        let mut last_reason = String::new();
        tracing::debug!(due_s = renewal.due_s(), "the certificate is renewed in time");
        loop {
            if let Next::Wait(wait) = renewal.next(now(), self.clock.now_s()) {
                tokio::time::sleep(wait).await;
                continue;
            }
            match self.renew(&renewal).await {
                Ok(fresh) => {
                    let ends_s = fresh.validity().ends_s;
                    renewal.renewed(now(), fresh);
                    backoff.reset();
                    last_reason.clear();
                    tracing::info!(ends_s, "the node's certificate was renewed");
                }
                Err(error) => {
                    let wait = renewal.pause(backoff.next_delay(), self.clock.now_s());
                    renewal.failed(now(), wait);
                    self.complain(&renewal, &error, wait, &mut last_reason);
                }
            }
        }
    }

    /// Says it once; when little time is left a person has to know.
    fn complain(&self, renewal: &Renewal, error: &RenewError, wait: Duration, last: &mut String) {
        let reason = crate::chain(error);
        let validity = renewal.validity();
        let left = Duration::from_secs(validity.ends_s.saturating_sub(self.clock.now_s()));
        let is_urgent = left < validity.life() / 10;
        if reason == *last {
            tracing::debug!(%reason, ?wait, "the certificate is still not renewed");
        } else if is_urgent {
            tracing::error!(%reason, ?left, ?wait, "the certificate is not renewed and ends soon");
        } else {
            tracing::warn!(%reason, ?left, ?wait, "the certificate is not renewed; trying again");
        }
        *last = reason;
    }

    async fn renew(&mut self, present: &Renewal) -> Result<Renewal, RenewError> {
        let key = NewKey::generate()?;
        let answer = self.ask(&key.request_pem()?).await?;
        let renewed = Identity {
            key_pem: key.to_pem(),
            certificate_pem: answer.certificate_pem,
            ..self.identity.clone()
        };
        let tls = link::client_config_at(&renewed, Arc::clone(&self.clock))?;
        let fresh = Renewal::of(&renewed.certificate_pem).ok_or(RenewError::NoBetter)?;
        let is_later = fresh.validity().ends_s > present.validity().ends_s;
        if answer.node != self.identity.node || !is_later {
            return Err(RenewError::NoBetter);
        }
        let (data, identity) = (self.data.clone(), renewed.clone());
        let writing = tokio::task::spawn_blocking(move || identity.save_renewed(&data));
        writing.await.map_err(|_| RenewError::Panicked)??;
        self.identity = renewed;
        self.tls.replace(tls);
        Ok(fresh)
    }

    /// Asks at each address in turn, and gives back the first answer or the first error.
    async fn ask(&self, csr_pem: &str) -> Result<Enrolled, RenewError> {
        let mut first = None;
        for at in self.addresses() {
            match self.ask_at(&at, csr_pem).await {
                Ok(answer) => return Ok(answer),
                Err(source) => drop(first.get_or_insert(RenewError::Ask { at, source })),
            }
        }
        Err(first.unwrap_or(RenewError::Nowhere))
    }

    async fn ask_at(&self, at: &Address, csr_pem: &str) -> Result<Enrolled, EnrolmentError> {
        let name = ServerName::try_from(self.identity.server_name.clone());
        let name = name.map_err(|_| EnrolmentError::Name(self.identity.server_name.clone()))?;
        let call = Call {
            to: at,
            host: self.identity.server_name.clone(),
            path: "/v1/renew".to_owned(),
            proxy: self.proxy.as_ref(),
            tls: Some((self.tls.current(), name)),
        };
        match enrolment::ask(call, &RenewRequest { csr_pem }).await? {
            Reply::Enrolled(answer) => Ok(*answer),
            Reply::Waiting(_) => Err(EnrolmentError::Strange),
        }
    }

    /// Where the configuration says, else where the identity says, and then the usual port of
    /// where the broker is: the cloud may speak HTTPS only since this node joined.
    fn addresses(&self) -> Vec<Address> {
        if let Some(api) = &self.api {
            return vec![api.clone()];
        }
        let guess = |broker: &Address| Address { host: broker.host.clone(), port: USUAL_PORT };
        let guesses = self.identity.mqtt.iter().map(guess);
        let mut all: Vec<Address> = self.identity.https.iter().cloned().collect();
        for guess in guesses {
            if !all.contains(&guess) {
                all.push(guess);
            }
        }
        all
    }
}
