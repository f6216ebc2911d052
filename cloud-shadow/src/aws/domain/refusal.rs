//! Why a request is refused, in the codes and words of AWS.

use gnomon_schemas::id::{DeviceName, TenantName};
use gnomon_schemas::topic::ShadowId;

/// Why a request about a shadow was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The payload is not one JSON value with unique keys, or not an object.
    #[error("Payload contains invalid json")]
    InvalidJson,
    /// The payload has no `state`.
    #[error("Missing required node: state")]
    MissingState,
    /// A node is something else than an object or null.
    #[error("{0} node must be an object")]
    NotAnObject(&'static str),
    /// `state` holds more than `desired` and `reported`, or an array holds null.
    #[error("State contains an invalid node")]
    InvalidNode,
    /// Objects nest too deep.
    #[error("JSON contains too many levels of nesting; maximum is 6")]
    TooDeep,
    /// `version` is not an integer from 0.
    #[error("Invalid version")]
    InvalidVersion,
    /// `clientToken` is not a text of at most 64 bytes.
    #[error("Invalid clientToken")]
    InvalidToken,
    /// The topic or the path names no thing or shadow that could be.
    #[error("Invalid {0} name")]
    InvalidName(&'static str),
    /// The query of a REST request is wrong.
    #[error("Invalid {0}")]
    InvalidParameter(&'static str),
    /// Nobody proved who they are.
    #[error("Unauthorized: {0}")]
    Unauthorized(&'static str),
    /// Who asks may not.
    #[error("Forbidden: {0}")]
    Forbidden(&'static str),
    /// There is no such shadow.
    #[error("No shadow exists with name: '{0}'")]
    NoShadow(ShadowId),
    /// There is no such thing for who asks.
    #[error("Thing not found: '{0}'")]
    NoThing(DeviceName),
    /// A thing cannot go to another tenant.
    #[error(
        "The thing belongs to the tenant {0}; revoke its certificates and delete its shadows, and \
         48 hours later it is nobody's"
    )]
    OtherTenant(TenantName),
    /// The REST path does not exist.
    #[error("Not found")]
    NoPath,
    /// The REST path does not take the method.
    #[error("Method not allowed")]
    Method,
    /// The version in the request is not the current one.
    #[error("Version conflict")]
    Conflict,
    /// The request or what it would make is too large.
    #[error("The payload exceeds the maximum size allowed")]
    TooLarge,
    /// The payload is not UTF-8.
    #[error("Unsupported documented encoding; supported encoding is UTF-8")]
    Encoding,
    /// Who asks asks for too much.
    #[error("Rate exceeded")]
    Throttled,
    /// The thing has as many shadows as it may.
    #[error("The thing has too many shadows; deleted ones count for 48 hours")]
    TooMany,
    /// The thing has as many certificates as it may.
    #[error("The thing has too many certificates; revoke one")]
    TooManyCertificates,
    /// The thing has no such certificate.
    #[error("The thing has no certificate with this serial number")]
    NoCertificate,
    /// The service failed.
    #[error("Internal service failure")]
    Internal,
    /// The service cannot write now.
    #[error("The service is unavailable")]
    Unavailable,
}

impl Rejected {
    /// The number that AWS gives it.
    pub const fn code(&self) -> u16 {
        match self {
            Self::InvalidJson
            | Self::MissingState
            | Self::NotAnObject(_)
            | Self::InvalidNode
            | Self::TooDeep
            | Self::InvalidVersion
            | Self::InvalidToken
            | Self::InvalidName(_)
            | Self::InvalidParameter(_) => 400,
            Self::Unauthorized(_) => 401,
            Self::Forbidden(_) => 403,
            Self::NoShadow(_) | Self::NoThing(_) | Self::NoCertificate | Self::NoPath => 404,
            Self::Method => 405,
            Self::Conflict | Self::OtherTenant(_) => 409,
            Self::TooLarge => 413,
            Self::Encoding => 415,
            Self::Throttled | Self::TooMany | Self::TooManyCertificates => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// The name of the exception that AWS's clients know it by.
    pub const fn kind(&self) -> &'static str {
        match self.code() {
            400 => "InvalidRequestException",
            401 => "UnauthorizedException",
            403 => "ForbiddenException",
            404 => "ResourceNotFoundException",
            405 => "MethodNotAllowedException",
            409 => "ConflictException",
            413 => "RequestEntityTooLargeException",
            415 => "UnsupportedDocumentEncodingException",
            429 => "ThrottlingException",
            503 => "ServiceUnavailableException",
            _ => "InternalFailureException",
        }
    }
}
