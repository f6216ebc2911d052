//! From an accepted connection to a session: the CONNECT, who it is, whether it may come in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Connection, now};
use crate::addresses::network;
use crate::admission;
use crate::auth::{AuthError, CertificateSubject, Credentials, SubjectError};
use crate::codec::{self, DecodeError, Dialect};
use crate::crew::{Crew, Served};
use crate::hub::{Arrival, Attachments, Hub, Registration};
use crate::listener::Stay;
use crate::metrics::{Rejection, Stage};
use crate::packet::{ConnAck, Connect, Outgoing, Protocol, Refusal, Terms};
use crate::principal::Principal;
use crate::reason::DisconnectReason;
use crate::session::Session;
use crate::turns::Step;
use crate::wire::{Progress, Wire};

/// A connection that has no session yet.
pub(crate) struct Newcomer<S> {
    pub(crate) stream: S,
    pub(crate) stay: Stay,
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
    #[error("the check of the client's password failed")]
    Check(#[source] tokio::task::JoinError),
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
            Self::Certificate(_) | Self::Auth(_) | Self::Check(_) => Some(Refusal::NotAuthorized),
            Self::Refused(refusal) => Some(*refusal),
        }
    }

    /// Why nobody is known to be there, if that is the reason.
    fn auth_failure(&self) -> Option<&'static str> {
        match self {
            Self::Auth(error) => Some(error.label()),
            Self::Certificate(_) => Some("certificate"),
            Self::Check(_) => Some("check"),
            Self::Timeout
            | Self::Closed
            | Self::Interrupted
            | Self::Decode(_)
            | Self::Refused(_) => None,
        }
    }

    fn rejection(&self) -> Rejection {
        match self {
            Self::Timeout => Rejection::ConnectTimeout,
            Self::Closed | Self::Decode(_) => Rejection::NoConnect,
            Self::Certificate(_) | Self::Auth(_) | Self::Check(_) => Rejection::Authentication,
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
    let Newcomer { stream, stay, certificate, pending } = newcomer;
    let peer = stay.peer();
    let begin = now();
    let mut wire = Wire::new(stream);
    let connect = tokio::select! {
        connect = read_connect(&hub, &mut wire) => connect,
        () = stop.cancelled() => Err(OpeningError::Interrupted),
    };
    // A client whose version is not known is answered in words that every version has.
    let protocol = connect.as_ref().map_or(Protocol::V4, |connect| connect.protocol);
    let admitted = match connect {
        Ok(connect) => {
            hub.metrics.took(Stage::Connect, now().saturating_duration_since(begin));
            tokio::select! {
            // In a box, so that connections do not hold memory for it while they are served.
            admitted = Box::pin(admit(&hub, connect, certificate, peer.ip())) => admitted,
            () = stop.cancelled() => Err(OpeningError::Interrupted),
            }
        }
        Err(error) => Err(error),
    };
    drop(pending);
    match admitted {
        Ok((session, registration, terms)) => {
            let mut connection = Box::new(Connection {
                announced: Attachments::default(),
                gate: None,
                alarm: None,
                writing_since: None,
                unsent_answers: 0,
                has_logged_denial: false,
                is_searching: false,
                packets_of_turn: 0,
                wire,
                session,
                registration,
                stay,
            });
            let welcomed = connection.welcome(terms);
            Some(Opened { connection, welcomed })
        }
        Err(error) => {
            turn_away(&hub, &mut wire, peer, protocol, &error).await;
            None
        }
    }
}

/// A client that was let in. In a box, so that what its opening needed is gone while it is served.
pub(crate) struct Opened<S> {
    connection: Box<Connection<S>>,
    welcomed: Result<(), DisconnectReason>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Opened<S> {
    /// Hands the client over to those who serve it to the end of its session.
    pub(crate) async fn serve(self, crew: &Crew) {
        let Self { connection, welcomed } = self;
        match welcomed {
            Ok(()) => crew.take(connection),
            Err(reason) => connection.finish(reason).await,
        }
    }
}

async fn read_connect<S>(hub: &Hub, wire: &mut Wire<S>) -> Result<Connect, OpeningError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &hub.policy.limits;
    let complete = async {
        loop {
            match codec::decode_connect(wire.input(), limits.connect_packet) {
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

async fn admit(
    hub: &Arc<Hub>,
    connect: Connect,
    certificate: Result<Option<CertificateSubject>, SubjectError>,
    address: IpAddr,
) -> Result<(Session, Registration, Terms), OpeningError> {
    let policy = &hub.policy;
    admission::check(&connect, &policy.limits).map_err(OpeningError::Refused)?;
    let certificate = certificate.map_err(OpeningError::Certificate)?;
    let begin = now();
    let (connect, certificate, principal) =
        authenticate(hub, connect, certificate, address).await?;
    hub.metrics.took(Stage::Authentication, now().saturating_duration_since(begin));
    let id = hub.next_session();
    let (agreement, mut terms) = admission::admit(connect, hub.share(principal), id, policy)
        .map_err(OpeningError::Refused)?;
    let arrival = Arrival {
        id,
        key: Arc::clone(&agreement.key),
        certificate,
        protocol: agreement.dialect.protocol,
        clean_start: agreement.clean_start,
        durable: !agreement.expiry.is_zero(),
        inflight: agreement.inflight,
    };
    let (registration, present) = hub.arrive(arrival).map_err(OpeningError::Refused)?;
    terms.session_present = present;
    Ok((Session::new(agreement, Arc::clone(policy), now()), registration, terms))
}

/// Asks who the client is, at once or, if that takes long, when it is the client's turn.
async fn authenticate(
    hub: &Hub,
    connect: Connect,
    certificate: Option<CertificateSubject>,
    address: IpAddr,
) -> Result<(Connect, Option<CertificateSubject>, Principal), OpeningError> {
    let authenticator = &hub.authenticator;
    if !authenticator.is_costly(&credentials(&connect, certificate.as_ref())) {
        let shown = credentials(&connect, certificate.as_ref());
        let principal = authenticator.authenticate(&shown).map_err(OpeningError::Auth)?;
        return Ok((connect, certificate, principal));
    }
    let limit = hub.policy.limits.connect_timeout;
    let turn = timeout(limit, hub.checks.ask(network(address), Step::Begin));
    let turn = turn.await.map_err(|_| OpeningError::Timeout)?;
    let authenticator = Arc::clone(authenticator);
    let check = tokio::task::spawn_blocking(move || {
        let shown = credentials(&connect, certificate.as_ref());
        let principal = authenticator.authenticate(&shown);
        drop(turn);
        principal.map(|principal| (connect, certificate, principal))
    });
    check.await.map_err(OpeningError::Check)?.map_err(OpeningError::Auth)
}

fn credentials<'a>(
    connect: &'a Connect,
    certificate: Option<&'a CertificateSubject>,
) -> Credentials<'a> {
    let given = |text: &&str| !text.is_empty();
    let login = connect.login.as_ref();
    Credentials {
        certificate,
        username: login.map(|login| login.username.as_str()).filter(given),
        password: login.map(|login| login.password.as_str()).filter(given),
        client_id: &connect.client_id,
    }
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
    if let Some(reason) = error.auth_failure() {
        hub.metrics.auth_failure(reason);
    }
    if let Some(held_back) = hub.rejection_log.allows(now()) {
        let error: &dyn std::error::Error = error;
        tracing::warn!(%peer, error, held_back, "a connection is turned away");
    }
    if let Some(refusal) = error.refusal() {
        let packet = Outgoing::ConnAck(Box::new(ConnAck::Refused(refusal)));
        if codec::encode(Dialect::of(protocol), packet, wire.output()).is_ok() {
            wire.close(hub.policy.limits.close_timeout).await;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Tells the attachments and then the client that the session is there.
    fn welcome(&mut self, terms: Terms) -> Result<(), DisconnectReason> {
        let agreement = &self.session.agreement;
        self.registration.hub.metrics.session_started(agreement.dialect.protocol);
        tracing::debug!(
            session = %self.registration.id,
            principal = %agreement.key.principal,
            client = %agreement.key.client_id,
            protocol = %agreement.dialect.protocol,
            peer = %self.stay.peer(),
            "a session begins",
        );
        let answer = Outgoing::ConnAck(Box::new(ConnAck::Accepted(terms)));
        self.greet_attachments(Some(answer))
    }
}
