//! The objects of one kind, as a list and a watch tell them and answers to own writes. Pure. Of two
//! that are told the newer one counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::follow::News;
use crate::orchestrator::k3s::K3sError;
use crate::orchestrator::k3s::observe::text;

/// The objects of one kind.
#[derive(Debug, Default)]
pub(in crate::orchestrator::k3s) struct Shelf {
    objects: BTreeMap<String, Arc<Value>>,
    /// The objects of a list that is being read.
    listing: Option<BTreeMap<String, Arc<Value>>>,
    /// The newest version that the watch has told.
    seen: u64,
    sight: Sight,
}

/// Whether a kind is seen.
#[derive(Debug, Default, Clone)]
pub(in crate::orchestrator::k3s) enum Sight {
    /// It was not listed yet.
    #[default]
    Unknown,
    /// Its watch tells every change.
    Clear,
    /// Its watch broke and could not be begun anew yet.
    Broken(Arc<K3sError>),
}

impl Shelf {
    /// Takes what is told; says whether a look may find something else than before.
    pub(in crate::orchestrator::k3s) fn take(&mut self, news: News) -> bool {
        match news {
            News::ListBegins => {
                self.listing = Some(BTreeMap::new());
                false
            }
            News::Listed(object) => {
                keep_newer(self.listing.get_or_insert_default(), object);
                false
            }
            News::ListEnds => {
                self.objects = self.listing.take().unwrap_or_default();
                self.seen = self.objects.values().map(|it| version(it)).max().unwrap_or_default();
                self.sight = Sight::Clear;
                true
            }
            News::Changed(object) => {
                self.seen = self.seen.max(version(&object));
                keep_newer(&mut self.objects, object);
                true
            }
            News::Deleted(object) => {
                self.seen = self.seen.max(version(&object));
                if let Some(name) = text(&object, "/metadata/name") {
                    self.objects.remove(name);
                }
                true
            }
            News::Broke(error) => {
                let is_news = !matches!(self.sight, Sight::Broken(_));
                self.sight = Sight::Broken(error);
                self.listing = None;
                is_news
            }
        }
    }

    /// The answer to a write of our own, unless the watch has told something newer.
    pub(in crate::orchestrator::k3s) fn written(&mut self, object: Value) {
        if version(&object) <= self.seen {
            return;
        }
        if let Some(listing) = &mut self.listing {
            keep_newer(listing, object.clone());
        }
        keep_newer(&mut self.objects, object);
    }

    /// It was asked for and is not there.
    pub(in crate::orchestrator::k3s) fn missed(&mut self, name: &str) {
        self.objects.remove(name);
    }

    pub(in crate::orchestrator::k3s) const fn sight(&self) -> &Sight {
        &self.sight
    }

    pub(in crate::orchestrator::k3s) fn get(&self, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(name)
    }

    pub(in crate::orchestrator::k3s) fn all(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.objects.values()
    }
}

fn keep_newer(objects: &mut BTreeMap<String, Arc<Value>>, object: Value) {
    let Some(name) = text(&object, "/metadata/name").map(ToOwned::to_owned) else { return };
    if objects.get(&name).is_none_or(|old| version(old) <= version(&object)) {
        objects.insert(name, Arc::new(object));
    }
}

/// The resource version, which grows with each change of anything.
fn version(object: &Value) -> u64 {
    let version = text(object, "/metadata/resourceVersion");
    version.and_then(|text| text.parse().ok()).unwrap_or_default()
}
