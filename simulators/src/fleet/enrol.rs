//! Identities of a fleet: made by real enrolments, a bounded number at a time, and kept in one file
//! of a folder, so that the next run need not make them again.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::StreamExt as _;
use gnomon_edge::identity::{Identity, IdentityError, NewKey};
use gnomon_edge::link::mqtt::Address;
use gnomon_schemas::id::NodeName;
use serde::{Deserialize, Serialize};

use super::api::{Api, ApiError};
use crate::report::Enrolment;

/// The file in the folder: keys are in it, so it is for its owner alone.
const FILE: &str = "identities.jsonl";

/// Why there are no identities.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The cloud did not do its part.
    #[error("the cloud makes no identities for the fleet")]
    Api(#[from] ApiError),
    /// A key could not be made.
    #[error("a key could not be made")]
    Key(#[from] IdentityError),
    /// The file cannot be read or written.
    #[error("{} cannot be used", at.display())]
    File {
        /// The file.
        at: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The identities are those of another cloud.
    #[error("the identities in {} are of another cloud, or it has forgotten their nodes: give another folder, or remove the file", .0.display())]
    OtherCloud(PathBuf),
    /// The cloud says of no broker where it is.
    #[error("the cloud names no address of its broker; start it with --advertise HOST:PORT")]
    NoBroker,
}

/// The identities of a fleet, in the order of the names.
#[derive(Debug)]
pub(super) struct Identities {
    pub(super) all: Vec<Identity>,
    pub(super) about: Enrolment,
}

/// The first line of the file: what all of a cloud's nodes have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cloud {
    pub(super) ca_pem: String,
    pub(super) server_name: String,
    pub(super) mqtt: Vec<Address>,
}

/// A further line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Own {
    pub(super) node: NodeName,
    pub(super) key_pem: String,
    pub(super) certificate_pem: String,
}

/// Takes the identities of these nodes from the folder, and makes those that are not there.
pub(super) async fn identities(
    api: &Api,
    names: &[NodeName],
    folder: Option<&Path>,
    at_once: usize,
    mut made_one: impl FnMut(u32),
) -> Result<Identities, EnrolError> {
    let began = Instant::now();
    let file = folder.map(|folder| folder.join(FILE));
    let (mut cloud, mut own) = match &file {
        Some(at) => read(at)?,
        None => (None, BTreeMap::new()),
    };
    let reused = names.iter().filter(|name| own.contains_key(*name)).count();
    if let (Some(at), Some(first)) = (&file, names.iter().find(|name| own.contains_key(*name)))
        && !api.knows(first).await?
    {
        return Err(EnrolError::OtherCloud(at.clone()));
    }
    let missing: Vec<_> = names.iter().filter(|name| !own.contains_key(*name)).collect();
    let (mut new, mut failed) = (Vec::new(), None);
    if !missing.is_empty() {
        let token = api.join_token(missing.len()).await?;
        let one = |node: &NodeName| enrol(api.clone(), token.clone(), node.clone());
        let mut enrolling = futures_util::stream::iter(missing.iter().map(|name| one(name)))
            .buffer_unordered(at_once.max(1));
        while let Some(done) = enrolling.next().await {
            match done.and_then(|(about, one)| {
                same(cloud.as_ref(), about, file.as_ref()).map(|it| (it, one))
            }) {
                Ok((about, one)) => {
                    cloud = Some(about);
                    new.push(one);
                    made_one(u32::try_from(new.len()).unwrap_or(u32::MAX));
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
    }
    // What was made is kept also when the next could not be: the cloud knows those nodes.
    if let (Some(at), Some(cloud), false) = (&file, &cloud, new.is_empty()) {
        append(at, cloud, &new).map_err(|source| EnrolError::File { at: at.clone(), source })?;
    }
    if let Some(failed) = failed {
        return Err(failed);
    }
    own.extend(new.into_iter().map(|one| (one.node.clone(), one)));
    let cloud = cloud.filter(|cloud| !cloud.mqtt.is_empty()).ok_or(EnrolError::NoBroker)?;
    let all = names.iter().filter_map(|name| own.remove(name)).map(|one| identity(&cloud, one));
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let about = Enrolment {
        made: count(missing.len()),
        reused: count(reused),
        seconds: began.elapsed().as_secs_f64(),
    };
    Ok(Identities { all: all.collect(), about })
}

/// What the cloud says of itself, if it is the one that is known.
fn same(known: Option<&Cloud>, said: Cloud, file: Option<&PathBuf>) -> Result<Cloud, EnrolError> {
    if known.is_none_or(|known| known.ca_pem == said.ca_pem) {
        Ok(said)
    } else {
        Err(EnrolError::OtherCloud(file.cloned().unwrap_or_default()))
    }
}

async fn enrol(api: Api, token: String, node: NodeName) -> Result<(Cloud, Own), EnrolError> {
    let key = NewKey::generate()?;
    let answer = api.enrol(&token, &node, &key.request_pem()?).await?;
    let cloud = Cloud { ca_pem: answer.ca_pem, server_name: answer.server_name, mqtt: answer.mqtt };
    Ok((cloud, Own { node, key_pem: key.to_pem(), certificate_pem: answer.certificate_pem }))
}

pub(super) fn identity(cloud: &Cloud, own: Own) -> Identity {
    Identity {
        node: own.node,
        mqtt: cloud.mqtt.clone(),
        // Certificates outlive a run by far: none is renewed.
        https: None,
        server_name: cloud.server_name.clone(),
        key_pem: own.key_pem,
        certificate_pem: own.certificate_pem,
        ca_pem: cloud.ca_pem.clone(),
    }
}

type Kept = (Option<Cloud>, BTreeMap<NodeName, Own>);

/// What the file holds. A line that cannot be read is one that a crash cut short: its node gets a
/// new identity.
fn read(at: &Path) -> Result<Kept, EnrolError> {
    let text = match fs::read_to_string(at) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(source) => return Err(EnrolError::File { at: at.to_owned(), source }),
    };
    let mut lines = text.lines();
    let cloud: Option<Cloud> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    if cloud.is_none() {
        return Ok(Kept::default());
    }
    let own = lines.filter_map(|line| serde_json::from_str::<Own>(line).ok());
    Ok((cloud, own.map(|one| (one.node.clone(), one)).collect()))
}

fn append(at: &Path, cloud: &Cloud, new: &[Own]) -> io::Result<()> {
    if let Some(folder) = at.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(at)?;
    let mut text = String::new();
    if file.metadata()?.len() == 0 {
        text.push_str(&serde_json::to_string(cloud)?);
    }
    // A line that a crash cut short ends here.
    text.push('\n');
    for one in new {
        text.push_str(&serde_json::to_string(one)?);
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn own(node: &str) -> Own {
        let text = |text: &str| text.to_owned();
        Own { node: node.parse().unwrap(), key_pem: text("key"), certificate_pem: text("cert") }
    }

    fn cloud() -> Cloud {
        let mqtt = vec!["127.0.0.1:8883".parse().unwrap()];
        Cloud { ca_pem: "ca".to_owned(), server_name: "gnomon-cloud".to_owned(), mqtt }
    }

    #[test]
    fn what_was_kept_is_read_and_a_torn_line_costs_one_identity() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("deep").join(FILE);
        append(&at, &cloud(), &[own("a-1"), own("a-2")]).unwrap();
        let mode = fs::metadata(&at).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "keys are in it");
        let mut text = fs::read_to_string(&at).unwrap();
        text.truncate(text.len() - 9);
        fs::write(&at, text).unwrap();
        let (known, kept) = read(&at).unwrap();
        assert_eq!((known, kept.len()), (Some(cloud()), 1));
        append(&at, &cloud(), &[own("a-3")]).unwrap();
        let (_, kept) = read(&at).unwrap();
        let names: Vec<_> = kept.keys().map(NodeName::as_str).collect();
        assert_eq!(names, ["a-1", "a-3"]);
    }

    #[test]
    fn no_file_and_rubble_are_no_identities() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join(FILE);
        assert!(read(&at).unwrap().1.is_empty());
        fs::write(&at, "rubble\n").unwrap();
        assert!(read(&at).unwrap().0.is_none());
    }
}
