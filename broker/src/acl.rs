//! Who may publish and subscribe to what: rules as data, a pure decision, deny by default.

use std::fmt;
use std::str::FromStr;

use crate::filter::{self, Level, TopicFilter};
use crate::principal::{Principal, Role};
use crate::topic::{TopicError, TopicName};

mod file;
#[cfg(test)]
mod tests;

pub use file::AclFileError;

/// The client that asks: its identity and the client id that it chose.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The authenticated identity.
    pub principal: &'a Principal,
    /// The client id of the connection.
    pub client_id: &'a str,
}

/// What the client wants to do.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Publish a message (or leave a will) under a name.
    Publish(&'a TopicName),
    /// Receive what a filter matches.
    Subscribe(&'a TopicFilter),
}

/// The answer to an [`Action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A rule allows it.
    Allow,
    /// No rule allows it.
    Deny,
}

/// What the clients of one role may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom the rule is for.
    pub role: Role,
    /// The names that these clients may publish to.
    pub publish: Vec<Pattern>,
    /// The filters that these clients may subscribe to: any filter that one of these includes.
    pub subscribe: Vec<Pattern>,
}

impl Rule {
    /// A rule from the texts of its patterns.
    pub fn new(
        role: Role,
        publish: &[&str],
        subscribe: &[&str],
    ) -> Result<Self, ParsePatternError> {
        let parse = |texts: &[&str]| {
            texts.iter().map(|text| text.parse::<Pattern>()).collect::<Result<_, _>>()
        };
        Ok(Self { role, publish: parse(publish)?, subscribe: parse(subscribe)? })
    }
}

/// The access rules of a broker. The default has none, so it denies everything.
///
/// ```
/// use gnomon_broker::{Acl, Action, Decision, Principal, Role, Rule, Subject};
/// let rule = Rule::new(Role::Node, &["gnomon/1/{node}/u/+"], &["gnomon/1/{node}/d/+"]);
/// let acl = Acl::new(vec![rule.unwrap()]);
/// let principal = Principal::new("site-1", Role::Node);
/// let site = Subject { principal: &principal, client_id: "any" };
/// let own = "gnomon/1/site-1/u/hello".parse().unwrap();
/// let foreign = "gnomon/1/site-2/u/hello".parse().unwrap();
/// assert_eq!(acl.authorize(site, Action::Publish(&own)), Decision::Allow);
/// assert_eq!(acl.authorize(site, Action::Publish(&foreign)), Decision::Deny);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acl {
    rules: Vec<Scoped>,
}

/// A rule, and of which of its role it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scoped {
    /// `None`: all.
    only: Option<Box<str>>,
    rule: Rule,
}

impl Scoped {
    fn holds_for(&self, principal: &Principal) -> bool {
        self.rule.role == principal.role
            && self.only.as_ref().is_none_or(|name| *name == principal.name)
    }
}

impl Acl {
    /// The rules of a broker; what none of them allows is denied.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into_iter().map(|rule| Scoped { only: None, rule }).collect() }
    }

    /// Reads rules from a TOML text:
    ///
    /// ```
    /// # use gnomon_broker::Acl;
    /// let acl = Acl::from_toml(
    ///     r#"
    ///     [[rule]]
    ///     role = "device"
    ///     publish = ["telemetry/{name}/#"]
    ///     subscribe = ["commands/{name}/+"]
    ///
    ///     [[rule]]
    ///     role = "service"
    ///     name = "backend" # only this one of the role
    ///     subscribe = ["telemetry/#"]
    ///     "#,
    /// );
    /// assert!(acl.is_ok());
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, AclFileError> {
        file::parse(text)
    }

    /// Decides whether the client may do it.
    pub fn authorize(&self, subject: Subject<'_>, action: Action<'_>) -> Decision {
        let mut rules = self.rules.iter().filter(|rule| rule.holds_for(subject.principal));
        let allowed = rules.any(|Scoped { rule, .. }| match action {
            Action::Publish(name) => rule.publish.iter().any(|p| p.matches(subject, name)),
            Action::Subscribe(wanted) => rule.subscribe.iter().any(|p| p.includes(subject, wanted)),
        });
        if allowed { Decision::Allow } else { Decision::Deny }
    }
}

/// A topic filter of a rule, in which a whole level may be a placeholder:
/// `{node}` is the principal's name if it is a node; `{name}` is the principal's name whatever
/// its role; `{client}` is the client id, which the client chooses itself, so it
/// protects nothing that belongs to an identity. A placeholder without a usable value
/// matches nothing.
///
/// ```
/// use gnomon_broker::Pattern;
/// assert!("$aws/things/{name}/shadow/#".parse::<Pattern>().is_ok());
/// assert!("things/x{name}".parse::<Pattern>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    filter: TopicFilter,
}

/// Why a text is not a pattern of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePatternError {
    /// It is not even a filter.
    #[error("a pattern must be a topic filter")]
    Filter(#[from] TopicError),
    /// A brace that is not one of the placeholders.
    #[error(
        "level {level:?} is not a placeholder; there are {{node}}, {{name}} and {{client}}, \
         each filling a whole level"
    )]
    Placeholder {
        /// What the level holds.
        level: Box<str>,
    },
}

impl Pattern {
    fn matches(&self, subject: Subject<'_>, name: &TopicName) -> bool {
        self.is_usable(subject) && filter::matches(self.levels(subject), name)
    }

    fn includes(&self, subject: Subject<'_>, wanted: &TopicFilter) -> bool {
        self.is_usable(subject) && filter::includes(self.levels(subject), wanted)
    }

    fn is_usable(&self, subject: Subject<'_>) -> bool {
        self.filter.levels().all(|level| resolve(level, subject).is_some())
    }

    fn levels<'a>(&'a self, subject: Subject<'a>) -> impl Iterator<Item = Level<'a>> {
        self.filter.levels().filter_map(move |level| resolve(level, subject))
    }
}

fn resolve<'a>(level: Level<'a>, subject: Subject<'a>) -> Option<Level<'a>> {
    let value = match level {
        Level::Literal("{node}") if subject.principal.role == Role::Node => &subject.principal.name,
        Level::Literal("{node}") => return None,
        Level::Literal("{name}") => &subject.principal.name,
        Level::Literal("{client}") => subject.client_id,
        Level::Literal(_) | Level::One | Level::Rest => return Some(level),
    };
    let fits_one_level = !value.is_empty() && !value.contains(['/', '+', '#', '$', '\0']);
    fits_one_level.then_some(Level::Literal(value))
}

impl FromStr for Pattern {
    type Err = ParsePatternError;
    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        let filter: TopicFilter = text.parse()?;
        let stray = text.split('/').find(|level| {
            level.contains(['{', '}']) && !matches!(*level, "{node}" | "{name}" | "{client}")
        });
        match stray {
            Some(level) => Err(ParsePatternError::Placeholder { level: level.into() }),
            None => Ok(Self { filter }),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter.fmt(f)
    }
}
