//! One level of the trie of filters with wildcards. A chain of single levels, the usual
//! shape below a client's name, costs one small allocation per level.

use std::collections::HashMap;

use super::{Level, Levels, Subscribers, TopicName};

#[derive(Debug)]
pub(super) struct Node<K> {
    /// Filters that end here.
    here: Subscribers<K>,
    /// Filters that end with `#` below here.
    rest: Subscribers<K>,
    /// What follows a `+`.
    one: Option<Box<Node<K>>>,
    literals: Literals<K>,
}

impl<K> Default for Node<K> {
    fn default() -> Self {
        Self {
            here: Subscribers::default(),
            rest: Subscribers::default(),
            one: None,
            literals: Literals::None,
        }
    }
}

#[derive(Debug)]
enum Literals<K> {
    None,
    One(Box<(Box<str>, Node<K>)>),
    Many(HashMap<Box<str>, Node<K>>),
}

impl<K> Literals<K> {
    fn get(&self, text: &str) -> Option<&Node<K>> {
        match self {
            Self::None => None,
            Self::One(only) => (&*only.0 == text).then_some(&only.1),
            Self::Many(map) => map.get(text),
        }
    }

    fn get_mut(&mut self, text: &str) -> Option<&mut Node<K>> {
        match self {
            Self::None => None,
            Self::One(only) => (&*only.0 == text).then_some(&mut only.1),
            Self::Many(map) => map.get_mut(text),
        }
    }

    fn at(&mut self, text: &str) -> &mut Node<K> {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(Box::new((text.into(), Node::default()))),
            Self::One(only) if &*only.0 != text => Self::Many(HashMap::from([*only])),
            kept @ (Self::One(_) | Self::Many(_)) => kept,
        };
        match self {
            Self::One(only) => &mut only.1,
            Self::Many(map) => map.entry(text.into()).or_default(),
            Self::None => unreachable!("the level was made above"),
        }
    }

    fn remove(&mut self, text: &str) {
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            Self::Many(map) => {
                map.remove(text);
                if map.is_empty() {
                    *self = Self::None;
                } else if map.len() * 4 < map.capacity() {
                    map.shrink_to_fit();
                }
            }
        }
    }
}

impl<K: Copy + Ord> Node<K> {
    /// The subscribers of the filter with these levels, made if need be.
    pub(super) fn at<'a>(
        &mut self,
        levels: impl Iterator<Item = Level<'a>>,
    ) -> &mut Subscribers<K> {
        let mut node = self;
        for level in levels {
            node = match level {
                Level::Rest => return &mut node.rest,
                Level::One => node.one.get_or_insert_default(),
                Level::Literal(text) => node.literals.at(text),
            };
        }
        &mut node.here
    }

    /// Removes a subscriber and the levels that only it needed.
    pub(super) fn remove(&mut self, levels: &mut Levels<'_>, key: K) {
        match levels.next() {
            None => self.here.remove(key),
            Some(Level::Rest) => self.rest.remove(key),
            Some(Level::One) => {
                if let Some(next) = &mut self.one {
                    next.remove(levels, key);
                    if next.is_bare() {
                        self.one = None;
                    }
                }
            }
            Some(Level::Literal(text)) => {
                if let Some(next) = self.literals.get_mut(text) {
                    next.remove(levels, key);
                    if next.is_bare() {
                        self.literals.remove(text);
                    }
                }
            }
        }
    }

    /// Calls `found` with the subscribers of each filter that matches `name`.
    pub(super) fn visit(&self, name: &TopicName, found: &mut impl FnMut(&Subscribers<K>)) {
        let mut levels = name.levels();
        if name.is_reserved() {
            // A leading wildcard does not match the server's own topics.
            let first = levels.next().and_then(|text| self.literals.get(text));
            if let Some(node) = first {
                node.visit_below(levels, found);
            }
        } else {
            self.visit_below(levels, found);
        }
    }

    fn visit_below<'a>(
        &self,
        mut levels: impl Iterator<Item = &'a str> + Clone,
        found: &mut impl FnMut(&Subscribers<K>),
    ) {
        found(&self.rest);
        let Some(text) = levels.next() else {
            found(&self.here);
            return;
        };
        if let Some(node) = &self.one {
            node.visit_below(levels.clone(), found);
        }
        if let Some(node) = self.literals.get(text) {
            node.visit_below(levels, found);
        }
    }

    pub(super) fn is_bare(&self) -> bool {
        self.here.is_empty()
            && self.rest.is_empty()
            && self.one.is_none()
            && matches!(self.literals, Literals::None)
    }
}
