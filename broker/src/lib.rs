//! The embedded MQTT broker of Gnomon: 3.1.1 and 5.0 on one port, mutual TLS, access rules,
//! bounds on everything a client can make grow, and an in-process attachment for the
//! application. What it keeps for clients that are away, it keeps in memory only.

mod acl;
mod addresses;
mod admission;
mod attachment;
mod auth;
mod broker;
mod codec;
mod connection;
mod crew;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod groups;
mod hub;
mod index;
mod limits;
mod listener;
mod mailbox;
mod metrics;
mod outbox;
mod outlet;
mod packet;
mod principal;
mod proxy;
mod quiet;
mod rate;
mod reason;
mod retained;
mod revocation;
mod session;
mod session_id;
mod socket;
mod stored;
mod table;
mod tls;
mod topic;
mod turns;
mod websocket;
mod window;
mod wire;

pub use acl::{Acl, AclFileError, Action, Decision, ParsePatternError, Pattern, Rule, Subject};
pub use attachment::{AttachConfig, Attachment, AttachmentEvent, PublishError, Publisher};
pub use auth::{
    Anonymous, AuthError, AuthFileError, Authenticator, CertificateAuthenticator, CertificateNames,
    CertificateRule, CertificateSubject, Chain, Credentials, HashError, NameFrom, Passwords,
    SubjectError, TokenKey, TokenKeyError, Tokens, hash_password,
};
pub use broker::{
    BoundListener, Broker, BrokerConfig, ListenerConfig, Listeners, ReloadError, StartError,
};
pub use crew::EVENT_INTERVAL;
pub use filter::{Level, TopicFilter};
pub use limits::Limits;
pub use listener::{Endpoint, Transport};
pub use packet::{Protocol, Qos};
pub use principal::{ParseRoleError, Principal, Role};
pub use reason::DisconnectReason;
pub use revocation::Revocation;
pub use session_id::SessionId;
pub use tls::{ClientCertificates, TlsConfig, TlsError};
pub use topic::{TopicError, TopicLimits, TopicName};
