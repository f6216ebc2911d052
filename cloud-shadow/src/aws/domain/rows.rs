//! The rows of things in the store: `aws/s/<thing>/<shadow>` is a shadow (the classic one has no
//! name), `aws/d/…` the same of a deleted one, `aws/t/<thing>` how many a thing has of both, and
//! whose it is, `aws/c/<thing>/<serial>` a certificate,
//! `aws/h/…` what was before ([`super::past`]).

use gnomon_schemas::id::{DeviceName, TenantName, ThingShadowName};
use gnomon_schemas::topic::ShadowId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Grave, Section, Shadow, Slot};
use crate::access::Home;
use crate::rows::CertificateRecord;

/// The prefixes.
pub const SHADOWS: &[u8] = b"aws/s/";
/// Of deleted shadows.
pub const GRAVES: &[u8] = b"aws/d/";
/// Of the certificates of things.
pub const CERTIFICATES: &[u8] = b"aws/c/";
/// Of the things that have shadows or certificates.
pub const THINGS: &[u8] = b"aws/t/";

/// By how much a restored shadow is ahead of its backup: clients that have seen a later version
/// discard an earlier one.
pub(super) const LIFT: u64 = 1_000_000;

/// What a thing has beside its shadows and certificates, as long as it has any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct ThingRecord {
    /// How many shadows, there or deleted, it has.
    #[serde(rename = "n")]
    pub shadows: usize,
    /// Whose it is.
    #[serde(rename = "w", skip_serializing_if = "Home::is_usual")]
    pub tenant: TenantName,
}

impl ThingRecord {
    /// A thing of this tenant that has no shadow yet.
    pub const fn of_tenant(tenant: TenantName) -> Self {
        Self { shadows: 0, tenant }
    }

    /// Where it belongs: a thing is in no pool and has no labels.
    pub fn home(&self) -> Home {
        Home { tenant: self.tenant.clone(), ..Home::default() }
    }
}

/// The same as it may have been written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    /// Up to schema 3: of nobody, which is the usual tenant's.
    Count(usize),
    Record {
        n: usize,
        #[serde(default = "Home::usual_tenant")]
        w: TenantName,
    },
}

impl From<Written> for ThingRecord {
    fn from(written: Written) -> Self {
        match written {
            Written::Count(shadows) => Self { shadows, tenant: Home::usual_tenant() },
            Written::Record { n: shadows, w: tenant } => Self { shadows, tenant },
        }
    }
}

/// Why a row of a thing could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the row {key:?} of a thing cannot be read")]
pub struct ReadThingError {
    key: String,
    #[source]
    source: Option<serde_json::Error>,
}

/// The key of a shadow.
pub fn shadow(id: &ShadowId) -> Vec<u8> {
    below(SHADOWS, id)
}

/// The key of a deleted shadow.
pub(super) fn grave(id: &ShadowId) -> Vec<u8> {
    below(GRAVES, id)
}

/// The key of a thing's own row.
pub fn thing(thing: &DeviceName) -> Vec<u8> {
    [THINGS, thing.as_str().as_bytes()].concat()
}

pub(super) fn certificate(thing: &DeviceName, serial: &str) -> Vec<u8> {
    [&certificates_of(thing), serial.as_bytes()].concat()
}

/// The prefix of a thing's certificates.
pub fn certificates_of(thing: &DeviceName) -> Vec<u8> {
    [CERTIFICATES, thing.as_str().as_bytes(), b"/"].concat()
}

/// The prefix of a thing's shadows.
pub fn shadows_of(thing: &DeviceName) -> Vec<u8> {
    [SHADOWS, thing.as_str().as_bytes(), b"/"].concat()
}

/// The name of a shadow in its key; `None`: it is the classic one.
pub fn shadow_name(prefix: &[u8], key: &[u8]) -> Option<String> {
    let name = key.strip_prefix(prefix)?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// The shadow of a row, and what it holds.
pub fn shadow_of(key: &[u8], value: &[u8]) -> Result<(ShadowId, Shadow), ReadThingError> {
    let shadow: Shadow = record(key, value)?;
    let sections = [&shadow.desired, &shadow.reported];
    let is_sound = sections.into_iter().flatten().all(Section::is_sound);
    let id = id_of(SHADOWS, key).filter(|_| is_sound).ok_or_else(|| unreadable(key))?;
    Ok((id, shadow))
}

/// The deleted shadow of a row, and what is left of it.
pub fn grave_of(key: &[u8], value: &[u8]) -> Result<(ShadowId, Grave), ReadThingError> {
    let id = id_of(GRAVES, key).ok_or_else(|| unreadable(key))?;
    Ok((id, record(key, value)?))
}

/// The thing of a certificate's row, and the certificate.
pub fn certificate_of(
    key: &[u8],
    value: &[u8],
) -> Result<(DeviceName, CertificateRecord), ReadThingError> {
    Ok((holder_of(key).ok_or_else(|| unreadable(key))?, record(key, value)?))
}

/// What there is of a shadow: `get` gives the value of a key, or why it cannot.
pub fn read_slot<E>(
    id: &ShadowId,
    get: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, E>,
) -> Result<Result<Slot, ReadThingError>, E> {
    let (live, dead) = (shadow(id), grave(id));
    if let Some(value) = get(&live)? {
        return Ok(shadow_of(&live, &value).map(|(_, shadow)| Slot::Present(shadow)));
    }
    let Some(value) = get(&dead)? else { return Ok(Ok(Slot::Absent)) };
    Ok(grave_of(&dead, &value).map(|(_, grave)| Slot::Deleted(grave)))
}

/// The thing of a certificate's row.
pub fn holder_of(key: &[u8]) -> Option<DeviceName> {
    let rest = std::str::from_utf8(key.strip_prefix(CERTIFICATES)?).ok()?;
    rest.split_once('/')?.0.parse().ok()
}

/// The thing of a row, and what is said of it.
pub fn thing_of(key: &[u8], value: &[u8]) -> Result<(DeviceName, ThingRecord), ReadThingError> {
    let thing = key.strip_prefix(THINGS).and_then(|name| std::str::from_utf8(name).ok());
    let thing = thing.and_then(|name| name.parse().ok()).ok_or_else(|| unreadable(key))?;
    Ok((thing, record(key, value)?))
}

/// The value that a row gets when a backup of it is put back.
pub(crate) fn lifted(key: &[u8], value: Vec<u8>) -> Vec<u8> {
    let lift = |mut shadow: Shadow| {
        shadow.version = shadow.version.saturating_add(LIFT);
        serde_json::to_vec(&shadow)
    };
    let lift_grave = |mut grave: Grave| {
        grave.version = grave.version.saturating_add(LIFT);
        serde_json::to_vec(&grave)
    };
    let lifted = if key.starts_with(SHADOWS) {
        serde_json::from_slice(&value).and_then(lift)
    } else if key.starts_with(GRAVES) {
        serde_json::from_slice(&value).and_then(lift_grave)
    } else {
        return value;
    };
    lifted.unwrap_or(value)
}

fn below(prefix: &[u8], id: &ShadowId) -> Vec<u8> {
    let name = id.shadow.as_ref().map_or("", ThingShadowName::as_str);
    [prefix, id.thing.as_str().as_bytes(), b"/", name.as_bytes()].concat()
}

fn id_of(prefix: &[u8], key: &[u8]) -> Option<ShadowId> {
    let (thing, shadow) = std::str::from_utf8(key.strip_prefix(prefix)?).ok()?.split_once('/')?;
    let shadow = if shadow.is_empty() { None } else { Some(shadow.parse().ok()?) };
    Some(ShadowId { thing: thing.parse().ok()?, shadow })
}

fn record<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, ReadThingError> {
    serde_json::from_slice(value)
        .map_err(|source| ReadThingError { source: Some(source), ..unreadable(key) })
}

fn unreadable(key: &[u8]) -> ReadThingError {
    ReadThingError { key: String::from_utf8_lossy(key).into_owned(), source: None }
}
