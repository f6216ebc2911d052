//! YAML text as a tree with positions: aliases and merge keys resolved, sizes bounded.
//!
//! What an alias stands for is shared, not copied, and counted as if it were copied, so a file
//! that would grow beyond the limits is refused before it grows.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::context::{element, member};
use super::error::{ComposeError, ComposeErrorKind as Kind, Position};

/// The most levels of mappings and sequences.
pub(super) const DEPTH: usize = 24;
/// The most values, aliases written out.
const NODES: usize = 1 << 16;
/// The most keys that are named as given twice.
const DUPLICATES: usize = 100;
/// The most bytes of text, aliases written out.
const BYTES: usize = 4 << 20;

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) data: Data,
    size: Size,
}

#[derive(Debug)]
pub(super) enum Data {
    /// A text as written; `plain` when it has no quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

/// A member of a mapping.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Rc<str>,
    pub(super) at: Position,
    pub(super) value: Rc<Node>,
    merges: bool,
}

/// How large a value is with its aliases written out.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    height: usize,
}

impl Node {
    /// Whether it is an explicit or implicit `null`.
    pub(super) fn is_null(&self) -> bool {
        match &self.data {
            Data::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Data::Scalar { .. } | Data::Sequence(_) | Data::Mapping(_) => false,
        }
    }
}

/// Reads a text with one document. Keys that are given twice are kept as errors beside the tree.
pub(super) fn parse(text: &str) -> Result<(Rc<Node>, Vec<ComposeError>), ComposeError> {
    let (roots, duplicates) = read(text, Builder { depth: DEPTH, ..Builder::default() })?;
    let start = Position { line: 1, column: 1 };
    let root = roots.into_iter().next();
    root.map(|root| (root, duplicates)).ok_or_else(|| fail(start, Kind::Empty))
}

/// Reads a text with any number of documents of at most so many levels.
pub(super) fn parse_all(
    text: &str,
    depth: usize,
) -> Result<(Vec<Rc<Node>>, Vec<ComposeError>), ComposeError> {
    read(text, Builder { depth, takes_several: true, ..Builder::default() })
}

fn read(
    text: &str,
    mut builder: Builder,
) -> Result<(Vec<Rc<Node>>, Vec<ComposeError>), ComposeError> {
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| syntax(&error))?;
        builder.handle(event, position(span))?;
    }
    Ok((builder.roots, builder.duplicates))
}

#[derive(Default)]
struct Builder {
    roots: Vec<Rc<Node>>,
    depth: usize,
    takes_several: bool,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    spent: Size,
    documents: usize,
    duplicates: Vec<ComposeError>,
}

/// A mapping or sequence whose end was not seen yet.
struct Open {
    at: Position,
    anchor: usize,
    size: Size,
    content: Content,
}

enum Content {
    Sequence(Vec<Rc<Node>>),
    Mapping { entries: Vec<Entry>, key: Option<Key> },
}

struct Key {
    text: Rc<str>,
    at: Position,
    merges: bool,
}

impl Builder {
    fn handle(&mut self, event: Event<'_>, at: Position) -> Result<(), ComposeError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 && !self.takes_several {
                    return Err(self.fail(at, Kind::SeveralDocuments));
                }
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at)?;
                self.spend(Size { nodes: 1, bytes: text.len(), height: 0 }, at)?;
                self.scalar(text.into_owned(), style == ScalarStyle::Plain, anchor, at)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at)?;
                self.begin(anchor, at, Content::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at)?;
                self.begin(anchor, at, Content::Mapping { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), ComposeError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.fail(at, Kind::AliasOfItself));
        };
        if self.expects_key() {
            return Err(self.fail(at, Kind::KeyNotText));
        }
        self.check_depth(node.size.height, at)?;
        self.spend(node.size, at)?;
        self.add(node)
    }

    fn scalar(
        &mut self,
        text: String,
        plain: bool,
        anchor: usize,
        at: Position,
    ) -> Result<(), ComposeError> {
        let size = Size { nodes: 1, bytes: text.len(), height: 0 };
        if let Some(Open {
            content: Content::Mapping { key: key @ None, .. }, size: whole, ..
        }) = self.open.last_mut()
        {
            whole.add(size);
            let merges = plain && text == "<<";
            *key = Some(Key { text: text.as_str().into(), at, merges });
            if anchor != 0 {
                let node = Node { at, data: Data::Scalar { text, plain }, size };
                self.anchors.insert(anchor, Rc::new(node));
            }
            return Ok(());
        }
        self.finish(Node { at, data: Data::Scalar { text, plain }, size }, anchor)
    }

    fn begin(&mut self, anchor: usize, at: Position, content: Content) -> Result<(), ComposeError> {
        if self.expects_key() {
            return Err(self.fail(at, Kind::KeyNotText));
        }
        self.check_depth(1, at)?;
        let size = Size { nodes: 1, bytes: 0, height: 1 };
        self.spend(size, at)?;
        self.open.push(Open { at, anchor, size, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), ComposeError> {
        let Some(Open { at, anchor, size, content }) = self.open.pop() else { return Ok(()) };
        let data = match content {
            Content::Sequence(items) => Data::Sequence(items),
            Content::Mapping { entries, .. } => Data::Mapping(self.members(entries)?),
        };
        self.finish(Node { at, data, size }, anchor)
    }

    /// The entries of a mapping without `<<`: its own win over those that it merges, and of
    /// merged ones the first wins.
    fn members(&mut self, entries: Vec<Entry>) -> Result<Vec<Entry>, ComposeError> {
        let mut seen: BTreeMap<Rc<str>, Position> = BTreeMap::new();
        let mut members = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        for entry in entries {
            if let Some(first) = seen.get(&entry.key).copied() {
                if self.duplicates.len() < DUPLICATES {
                    let (at, path) = (entry.at, member(&self.path(), &entry.key));
                    self.duplicates.push(ComposeError {
                        at,
                        path,
                        kind: Kind::Duplicate { first },
                    });
                }
                continue;
            }
            seen.insert(Rc::clone(&entry.key), entry.at);
            if entry.merges { merged.push(entry) } else { members.push(entry) }
        }
        for Entry { at, value, .. } in merged {
            let sources = match &value.data {
                Data::Sequence(sources) => sources.as_slice(),
                Data::Mapping(_) | Data::Scalar { .. } => std::slice::from_ref(&value),
            };
            for source in sources {
                let Data::Mapping(inherited) = &source.data else {
                    let path = member(&self.path(), "<<");
                    return Err(ComposeError { at, path, kind: Kind::BadMerge });
                };
                for entry in inherited {
                    if !seen.contains_key(&entry.key) {
                        seen.insert(Rc::clone(&entry.key), entry.at);
                        members.push(entry.clone());
                    }
                }
            }
        }
        Ok(members)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), ComposeError> {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.add(node)
    }

    fn add(&mut self, node: Rc<Node>) -> Result<(), ComposeError> {
        let Some(open) = self.open.last_mut() else {
            self.roots.push(node);
            return Ok(());
        };
        open.size.add(node.size);
        match &mut open.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, key } => {
                let Some(Key { text, at, merges }) = key.take() else {
                    return Err(self.fail(node.at, Kind::KeyNotText));
                };
                entries.push(Entry { key: text, at, value: node, merges });
            }
        }
        Ok(())
    }

    fn fail(&self, at: Position, kind: Kind) -> ComposeError {
        ComposeError { at, path: self.path(), kind }
    }

    /// The path of the value that comes next, or of the mapping whose key comes next.
    fn path(&self) -> String {
        let mut path = String::new();
        for Open { content, .. } in &self.open {
            match content {
                Content::Sequence(items) => path = element(&path, items.len()),
                Content::Mapping { key: Some(Key { text, .. }), .. } => path = member(&path, text),
                Content::Mapping { key: None, .. } => {}
            }
        }
        path
    }

    fn expects_key(&self) -> bool {
        let last = self.open.last().map(|open| &open.content);
        matches!(last, Some(Content::Mapping { key: None, .. }))
    }

    fn refuse_tag(&self, tag: Option<&Tag>, at: Position) -> Result<(), ComposeError> {
        if tag.is_some() { Err(self.fail(at, Kind::Tagged)) } else { Ok(()) }
    }

    fn check_depth(&self, more: usize, at: Position) -> Result<(), ComposeError> {
        if self.open.len() + more > self.depth {
            return Err(self.fail(at, Kind::TooDeep { limit: self.depth }));
        }
        Ok(())
    }

    fn spend(&mut self, size: Size, at: Position) -> Result<(), ComposeError> {
        self.spent.add(size);
        if self.spent.nodes > NODES || self.spent.bytes > BYTES {
            return Err(self.fail(at, Kind::TooMuchExpanded));
        }
        Ok(())
    }
}

impl Size {
    fn add(&mut self, part: Self) {
        self.nodes += part.nodes;
        self.bytes += part.bytes;
        self.height = self.height.max(part.height + 1);
    }
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn syntax(error: &ScanError) -> ComposeError {
    let at = Position { line: error.marker().line(), column: error.marker().col() + 1 };
    fail(at, Kind::Syntax(error.info().to_owned()))
}

fn fail(at: Position, kind: Kind) -> ComposeError {
    ComposeError { at, path: String::new(), kind }
}
