//! Finding shadows by the labels of their node, by their tags, and by what stands in them. A scan
//! over memory in the order of nodes and keys, a bounded number of shadows at a time.

use std::ops::Bound;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::Half;

use super::Domain;
use super::condition::FieldCondition;
use super::node::Node;
use super::view::ShadowView;
use crate::access::Scope;

/// What is looked for: all of it must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Of which nodes alone anything is found.
    pub within: Scope,
    /// Labels of the node.
    pub labels: Vec<(String, String)>,
    /// Tags of the shadow.
    pub tags: Vec<(String, String)>,
    /// What stands in the half.
    pub fields: Vec<FieldCondition>,
    /// The half in which it stands.
    pub half: Half,
}

/// A shadow's place in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The node.
    pub node: NodeName,
    /// The shadow; `None`: before the first one of the node.
    pub key: Option<ShadowKey>,
}

/// What a part of a scan has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The shadows, in their order.
    pub shadows: Vec<ShadowView>,
    /// Where the scan has got to; `None`: to the end.
    pub next: Option<Place>,
    /// How many nodes and shadows were looked at.
    pub examined: usize,
}

impl Domain {
    /// Scans behind `after` until `limit` shadows are found or `budget` nodes and shadows were
    /// looked at.
    pub fn search(
        &self,
        search: &Search,
        after: Option<&Place>,
        limit: usize,
        budget: usize,
    ) -> Found {
        let mut found = Found { shadows: Vec::new(), next: None, examined: 0 };
        let from = after.map_or(Bound::Unbounded, |place| Bound::Included(&place.node));
        for node in self.nodes.range::<NodeName, _>((from, Bound::Unbounded)).map(|(_, node)| node)
        {
            let behind = after.filter(|place| place.node == node.name);
            found.examined += 1;
            let is_wanted = search.within.covers(&node.home)
                && has_all(&search.labels, |key| node.home.labels.get(key));
            let keys = node.shadows.keys_from(behind.and_then(|place| place.key.as_ref()));
            for key in keys.take_while(|_| is_wanted) {
                found.examined += 1;
                if search.matches(node, key) {
                    found.shadows.push(node.shadow(key));
                }
                if found.shadows.len() >= limit || found.examined >= budget {
                    found.next = Some(Place { node: node.name.clone(), key: Some(key.clone()) });
                    return found;
                }
            }
            if found.examined >= budget {
                found.next = self.node_after(&node.name);
                return found;
            }
        }
        found
    }

    fn node_after(&self, name: &NodeName) -> Option<Place> {
        let mut rest = self.nodes.range::<NodeName, _>((Bound::Excluded(name), Bound::Unbounded));
        rest.next().map(|(node, _)| Place { node: node.clone(), key: None })
    }
}

impl Search {
    fn matches(&self, node: &Node, key: &ShadowKey) -> bool {
        if !node.has(key) {
            return false;
        }
        let record = node.shadows.get(key);
        if !has_all(&self.tags, |tag| record.and_then(|record| record.tags.get(tag))) {
            return false;
        }
        let held = match self.half {
            Half::Desired => node.writer.get(key),
            Half::Reported => node.reader.get(key),
        };
        let document = held.map(|held| held.document);
        self.fields.iter().all(|condition| condition.holds(key, document))
    }
}

fn has_all<'a>(wanted: &[(String, String)], get: impl Fn(&String) -> Option<&'a String>) -> bool {
    wanted.iter().all(|(key, value)| get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::super::Relation::{self, AtLeast, Equals, Less, Prefix};
    use super::super::tests::{at, command, domain, write};
    use super::super::{Action, Change, Limits, Precondition};
    use super::*;

    fn filled() -> Domain {
        let mut domain = domain(Limits::default());
        for n in 0..5 {
            let name = format!("site-{n}");
            let region = if n % 2 == 0 { "north" } else { "south" };
            let labels = BTreeMap::from([("region".to_owned(), region.to_owned())]);
            domain
                .handle(command(&name, Action::PutNode { labels, tenant: None, pool: None }), at(0))
                .unwrap();
            for m in 0..4 {
                let value = json!({ "m": m, "deep": { "n": n } });
                let document = gnomon_schemas::document::Document::from_value(value).unwrap();
                let key = format!("device/d{m}");
                let put = write(&name, &key, Change::Put(document), Precondition::Any);
                domain.handle(put, at(0)).unwrap();
            }
        }
        domain
    }

    fn all() -> Search {
        let within = Scope::default();
        Search { within, labels: vec![], tags: vec![], fields: vec![], half: Half::Desired }
    }

    fn field(pointer: &str, relation: Relation, value: &Value) -> FieldCondition {
        FieldCondition::new(pointer.parse().unwrap(), [(relation, value.clone())]).unwrap()
    }

    fn is(pointer: &str, value: i64) -> FieldCondition {
        field(pointer, Equals, &json!(value))
    }

    fn names(found: &Found) -> Vec<String> {
        found.shadows.iter().map(|view| format!("{}/{}", view.node, view.key)).collect()
    }

    #[test]
    fn pages_of_every_size_give_every_match_once() {
        let domain = filled();
        let whole = names(&domain.search(&all(), None, 1000, 1000));
        assert_eq!(whole.len(), 20);
        for limit in 1..8 {
            for budget in 1..12 {
                let (mut seen, mut after) = (Vec::new(), None);
                loop {
                    let found = domain.search(&all(), after.as_ref(), limit, budget);
                    assert!(found.shadows.len() <= limit && found.examined <= budget + 1);
                    seen.extend(names(&found));
                    after = found.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(seen, whole, "limit {limit}, budget {budget}");
            }
        }
    }

    #[test]
    fn what_a_secret_holds_cannot_be_found_by_guessing() {
        let mut domain = filled();
        let app = json!({
            "services": { "web": { "image": "i", "secrets": { "/k": { "source": "key" } } } },
            "secrets": { "key": { "content": "hunter2" } },
        });
        let document = gnomon_schemas::document::Document::from_value(app.clone()).unwrap();
        let put = write("site-0", "app/web", Change::Put(document), Precondition::Any);
        domain.handle(put, at(0)).unwrap();
        let found = |pointer: &str, relation, value: &Value| {
            let search = Search { fields: vec![field(pointer, relation, value)], ..all() };
            domain.search(&search, None, 1000, 1000).shadows.len()
        };
        assert_eq!(found("/services/web/image", Equals, &json!("i")), 1);
        assert_eq!(found("/secrets/key/content", Equals, &json!("hunter2")), 0);
        assert_eq!(found("/secrets/key/content", Prefix, &json!("h")), 0);
        assert_eq!(found("/secrets/key/content", AtLeast, &json!("h")), 0);
        assert_eq!(found("/secrets", Equals, &app["secrets"]), 0);
        assert_eq!(found("", Equals, &app), 0);
    }

    #[test]
    fn labels_and_fields_must_all_hold() {
        let domain = filled();
        let labels = vec![("region".to_owned(), "north".to_owned())];
        let search = Search { labels, fields: vec![is("/m", 2)], ..all() };
        let found = domain.search(&search, None, 1000, 1000);
        assert_eq!(names(&found), ["site-0/device/d2", "site-2/device/d2", "site-4/device/d2"]);
        let search = Search { fields: vec![is("/deep/n", 3)], ..search };
        assert_eq!(domain.search(&search, None, 1000, 1000).shadows, []);
        let reported = Search { half: Half::Reported, fields: vec![is("/m", 2)], ..all() };
        assert_eq!(domain.search(&reported, None, 1000, 1000).shadows, []);
    }

    #[test]
    fn a_range_is_two_conditions_on_one_field() {
        let domain = filled();
        let bound = |relation, value: i64| field("/deep/n", relation, &json!(value));
        let fields = vec![bound(AtLeast, 1), bound(Less, 3), is("/m", 0)];
        let found = domain.search(&Search { fields, ..all() }, None, 1000, 1000);
        assert_eq!(names(&found), ["site-1/device/d0", "site-2/device/d0"]);
        let fields = vec![field("/nothing", Less, &json!(9))];
        assert_eq!(domain.search(&Search { fields, ..all() }, None, 1000, 1000).shadows, []);
    }
}
