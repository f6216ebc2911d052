//! From an accepted connection to a session: the CONNECT, who it is, whether it may come in.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Connection, now};
use crate::admission;
use crate::auth::{AuthError, CertificateSubject, Credentials, SubjectError};
use crate::codec::{self, DecodeError, Dialect};
use crate::hub::{Arrival, Hub, Registration};
use crate::metrics::Rejection;
use crate::packet::{ConnAck, Connect, Outgoing, Protocol, Refusal, Terms};
use crate::principal::Principal;
use crate::reason::DisconnectReason;
use crate::session::{Agreement, Session};
use crate::table::ClientKey;
use crate::wire::{Progress, Wire};

/// A connection that has no session yet.
pub(crate) struct Newcomer<S> {
    pub(crate) stream: S,
    pub(crate) peer: SocketAddr,
    /// The subject of its certificate, or why that names nobody.
    pub(crate) certificate: Result<Option<CertificateSubject>, SubjectError>,
    /// Given back once it has a session.
    pub(crate) pending: OwnedSemaphorePermit,
}

/// Why a connection does not become a session.
#[derive(Debug, thiserror::Error)]
enum OpeningError {
    #[error("no complete CONNECT arrived in time")]
    Timeout,
    #[error("the connection was closed before a complete CONNECT")]
    Closed,
    #[error("the broker stopped before a complete CONNECT")]
    Interrupted,
    #[error("the first packet is not a CONNECT that is taken")]
    Decode(#[source] DecodeError),
    #[error("the client's certificate names nobody")]
    Certificate(#[source] SubjectError),
    #[error("the client is not who it says")]
    Auth(#[source] AuthError),
    #[error("the CONNECT is refused")]
    Refused(#[source] Refusal),
}

impl OpeningError {
    /// What the client is told, if it is told anything.
    fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Decode(DecodeError::Version(_)) => Some(Refusal::UnsupportedVersion),
            Self::Timeout | Self::Closed | Self::Interrupted | Self::Decode(_) => None,
            Self::Auth(AuthError::BadCredentials) => Some(Refusal::BadCredentials),
            Self::Certificate(_) | Self::Auth(_) => Some(Refusal::NotAuthorized),
            Self::Refused(refusal) => Some(*refusal),
        }
    }

    fn rejection(&self) -> Rejection {
        match self {
            Self::Timeout => Rejection::ConnectTimeout,
            Self::Closed | Self::Decode(_) => Rejection::NoConnect,
            Self::Certificate(_) | Self::Auth(_) => Rejection::Authentication,
            Self::Interrupted | Self::Refused(_) => Rejection::Refused,
        }
    }
}

/// Reads the CONNECT and lets the client in, or turns it away.
pub(crate) async fn open<S>(
    hub: Arc<Hub>,
    newcomer: Newcomer<S>,
    stop: CancellationToken,
) -> Option<Opened<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Newcomer { stream, peer, certificate, pending } = newcomer;
    let mut wire = Wire::new(stream);
    let connect = tokio::select! {
        connect = read_connect(&hub, &mut wire) => connect,
        () = stop.cancelled() => Err(OpeningError::Interrupted),
    };
    // A client whose version is not known is answered in words that every version has.
    let protocol = connect.as_ref().map_or(Protocol::V4, |connect| connect.protocol);
    let admitted = connect.and_then(|connect| admit(&hub, connect, certificate));
    drop(pending);
    match admitted {
        Ok((session, registration, terms)) => {
            let connection = Box::new(Connection {
                announced: Arc::from([]),
                gate: None,
                writing_since: None,
                unsent_answers: 0,
                has_logged_denial: false,
                is_searching: false,
                hub,
                wire,
                session,
                registration,
                peer,
            });
            Some(Opened { connection, terms })
        }
        Err(error) => {
            turn_away(&hub, &mut wire, peer, protocol, &error).await;
            None
        }
    }
}

/// A client that was let in and not yet told so. In a box, so that what its opening needed is
/// gone while it is served.
pub(crate) struct Opened<S> {
    connection: Box<Connection<S>>,
    terms: Terms,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Opened<S> {
    /// Serves the client to the end of its session.
    pub(crate) async fn serve(self) {
        let Self { mut connection, terms } = self;
        let reason = match connection.welcome(terms) {
            Ok(()) => connection.serve().await,
            Err(reason) => reason,
        };
        Box::pin(connection.finish(reason)).await;
    }
}

async fn read_connect<S>(hub: &Hub, wire: &mut Wire<S>) -> Result<Connect, OpeningError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &hub.policy.limits;
    let complete = async {
        loop {
            match codec::decode_connect(&mut wire.input, limits.connect_packet) {
                Ok(Some(connect)) => return Ok(connect),
                Ok(None) => {}
                Err(error) => return Err(OpeningError::Decode(error)),
            }
            match wire.progress(true).await {
                Ok(Progress::Read(count)) => {
                    hub.metrics.bytes.incoming.inc_by(count as u64);
                }
                Ok(Progress::Wrote(_)) => {}
                Ok(Progress::Closed) | Err(_) => return Err(OpeningError::Closed),
            }
        }
    };
    timeout(limits.connect_timeout, complete).await.map_err(|_| OpeningError::Timeout)?
}

fn admit(
    hub: &Arc<Hub>,
    connect: Connect,
    certificate: Result<Option<CertificateSubject>, SubjectError>,
) -> Result<(Session, Registration, Terms), OpeningError> {
    let policy = &hub.policy;
    admission::check(&connect, &policy.limits).map_err(OpeningError::Refused)?;
    let certificate = certificate.map_err(OpeningError::Certificate)?;
    let principal = authenticate(hub, &connect, certificate.as_ref())?;
    let id = hub.next_session();
    let (agreement, mut terms) = admission::admit(connect, Arc::new(principal), id, policy)
        .map_err(OpeningError::Refused)?;
    let Agreement { principal, client_id, .. } = &agreement;
    let arrival = Arrival {
        id,
        key: ClientKey { principal: Arc::clone(principal), client_id: Arc::clone(client_id) },
        serial: certificate.map(|subject| subject.serial.into()),
        protocol: agreement.dialect.protocol,
        clean_start: agreement.clean_start,
        durable: !agreement.expiry.is_zero(),
        inflight: agreement.inflight,
    };
    let (registration, present) = hub.arrive(arrival).map_err(OpeningError::Refused)?;
    terms.session_present = present;
    Ok((Session::new(agreement, Arc::clone(policy), now()), registration, terms))
}

fn authenticate(
    hub: &Hub,
    connect: &Connect,
    certificate: Option<&CertificateSubject>,
) -> Result<Principal, OpeningError> {
    let given = |text: &str| !text.is_empty();
    let login = connect.login.as_ref();
    let credentials = Credentials {
        certificate,
        username: login.map(|login| login.username.as_str()).filter(|text| given(text)),
        password: login.map(|login| login.password.as_str()).filter(|text| given(text)),
        client_id: &connect.client_id,
    };
    hub.authenticator.authenticate(&credentials).map_err(OpeningError::Auth)
}

async fn turn_away<S>(
    hub: &Hub,
    wire: &mut Wire<S>,
    peer: SocketAddr,
    protocol: Protocol,
    error: &OpeningError,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let rejection = error.rejection();
    hub.metrics.rejection(rejection);
    if rejection == Rejection::Authentication {
        hub.metrics.auth_failures.inc();
    }
    if let Some(held_back) = hub.rejection_log.allows(now()) {
        let error: &dyn std::error::Error = error;
        tracing::warn!(%peer, error, held_back, "a connection is turned away");
    }
    if let Some(refusal) = error.refusal() {
        let packet = Outgoing::ConnAck(Box::new(ConnAck::Refused(refusal)));
        if codec::encode(Dialect::of(protocol), packet, &mut wire.output).is_ok() {
            wire.close(hub.policy.limits.close_timeout).await;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Tells the attachments and then the client that the session is there.
    fn welcome(&mut self, terms: Terms) -> Result<(), DisconnectReason> {
        let agreement = &self.session.agreement;
        self.hub.metrics.session_started(agreement.dialect.protocol);
        tracing::debug!(
            session = %self.registration.id,
            principal = %agreement.principal,
            client = %agreement.client_id,
            protocol = %agreement.dialect.protocol,
            peer = %self.peer,
            "a session begins",
        );
        let answer = Outgoing::ConnAck(Box::new(ConnAck::Accepted(terms)));
        self.greet_attachments(Some(answer))
    }
}
