//! The topics of AWS IoT shadows. A topic is read by the position of its levels and not by how it
//! ends: `update` and `name` are legal names of shadows.

use std::fmt;
use std::str::FromStr;

use crate::id::{DeviceName, ParseIdError, ThingShadowName};

/// The topics that a thing may publish to, as patterns with the placeholder `{name}`.
pub const THING_PUBLISHES: [&str; 6] = [
    "$aws/things/{name}/shadow/get",
    "$aws/things/{name}/shadow/update",
    "$aws/things/{name}/shadow/delete",
    "$aws/things/{name}/shadow/name/+/get",
    "$aws/things/{name}/shadow/name/+/update",
    "$aws/things/{name}/shadow/name/+/delete",
];

/// The topics that a thing may subscribe to, as a pattern with the placeholder `{name}`.
pub const THING_SUBSCRIBES: &str = "$aws/things/{name}/shadow/#";

/// The filters that match what any thing asks for.
pub const FROM_ALL_THINGS: [&str; 6] = [
    "$aws/things/+/shadow/get",
    "$aws/things/+/shadow/update",
    "$aws/things/+/shadow/delete",
    "$aws/things/+/shadow/name/+/get",
    "$aws/things/+/shadow/name/+/update",
    "$aws/things/+/shadow/name/+/delete",
];

/// Which shadow of which thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShadowId {
    /// The thing.
    pub thing: DeviceName,
    /// The shadow's name; `None`: the classic one.
    pub shadow: Option<ThingShadowName>,
}

/// As AWS names it in errors: `thing`, or `thing~shadow`.
impl fmt::Display for ShadowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shadow {
            None => write!(f, "{}", self.thing),
            Some(shadow) => write!(f, "{}~{shadow}", self.thing),
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// The document.
    Get,
    /// A change of the document.
    Update,
    /// The end of the document.
    Delete,
}

impl Operation {
    /// Its level in the topic.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What the service says. Only updates have a delta and documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Response {
    /// The request was carried out.
    Accepted,
    /// The request was refused.
    Rejected,
    /// What of `desired` is not reported.
    Delta,
    /// The documents before and after.
    Documents,
}

impl Response {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Delta => "delta",
            Self::Documents => "documents",
        }
    }
}

/// A topic of a shadow: `$aws/things/<thing>/shadow[/name/<shadow>]/<operation>[/<response>]`.
///
/// ```
/// use gnomon_schemas::topic::{Operation, Response, ThingTopic};
/// let topic: ThingTopic = "$aws/things/pump-7/shadow/name/update/update/delta".parse().unwrap();
/// assert_eq!(topic.id.to_string(), "pump-7~update");
/// assert_eq!((topic.operation, topic.response), (Operation::Update, Some(Response::Delta)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThingTopic {
    /// The shadow that it is about.
    pub id: ShadowId,
    /// What was asked for.
    pub operation: Operation,
    /// What the service says to it; `None`: it is the request.
    pub response: Option<Response>,
}

/// Why a text is not a topic of a shadow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseThingTopicError {
    /// It has other levels.
    #[error("the topic is not that of a shadow of a thing")]
    UnknownForm,
    /// The thing's name is bad.
    #[error("the topic holds a bad thing name")]
    BadThing(#[source] ParseIdError),
    /// The shadow's name is bad.
    #[error("the topic holds a bad shadow name")]
    BadShadow(#[source] ParseIdError),
}

impl ThingTopic {
    /// The topic on which the service says something to an operation.
    pub const fn of(id: ShadowId, operation: Operation, response: Response) -> Self {
        Self { id, operation, response: Some(response) }
    }

    /// Where the refusal of a request goes whose own topic cannot be read: beside it.
    pub fn refusal_of(request: &str) -> String {
        format!("{request}/{}", Response::Rejected.as_str())
    }
}

impl fmt::Display for ThingTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$aws/things/{}/shadow", self.id.thing)?;
        if let Some(shadow) = &self.id.shadow {
            write!(f, "/name/{shadow}")?;
        }
        write!(f, "/{}", self.operation.as_str())?;
        match self.response {
            Some(response) => write!(f, "/{}", response.as_str()),
            None => Ok(()),
        }
    }
}

impl FromStr for ThingTopic {
    type Err = ParseThingTopicError;

    fn from_str(text: &str) -> Result<Self, ParseThingTopicError> {
        let mut levels = text.split('/');
        let begin = (levels.next(), levels.next(), levels.next(), levels.next());
        let (Some("$aws"), Some("things"), Some(thing), Some("shadow")) = begin else {
            return Err(ParseThingTopicError::UnknownForm);
        };
        let rest: Vec<&str> = levels.take(5).collect();
        let (shadow, operation, response) = match rest.as_slice() {
            ["name", shadow, operation] => (Some(*shadow), *operation, None),
            ["name", shadow, operation, response] => (Some(*shadow), *operation, Some(*response)),
            [operation] => (None, *operation, None),
            [operation, response] => (None, *operation, Some(*response)),
            _ => return Err(ParseThingTopicError::UnknownForm),
        };
        let (operation, response) = read(operation, response)?;
        let thing = thing.parse().map_err(ParseThingTopicError::BadThing)?;
        let shadow = shadow.map(str::parse).transpose().map_err(ParseThingTopicError::BadShadow)?;
        Ok(Self { id: ShadowId { thing, shadow }, operation, response })
    }
}

fn read(
    operation: &str,
    response: Option<&str>,
) -> Result<(Operation, Option<Response>), ParseThingTopicError> {
    const OPERATIONS: [Operation; 3] = [Operation::Get, Operation::Update, Operation::Delete];
    const RESPONSES: [Response; 4] =
        [Response::Accepted, Response::Rejected, Response::Delta, Response::Documents];
    let unknown = ParseThingTopicError::UnknownForm;
    let operation = OPERATIONS.into_iter().find(|known| known.as_str() == operation);
    let operation = operation.ok_or(unknown.clone())?;
    let Some(text) = response else { return Ok((operation, None)) };
    let response = RESPONSES.into_iter().find(|known| known.as_str() == text);
    let fits = |response: &Response| match response {
        Response::Accepted | Response::Rejected => true,
        Response::Delta | Response::Documents => operation == Operation::Update,
    };
    response.filter(fits).map(|response| (operation, Some(response))).ok_or(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Vec<String> {
        let mut all = Vec::new();
        for prefix in ["$aws/things/t:1/shadow", "$aws/things/t:1/shadow/name/$package"] {
            for operation in ["get", "update", "delete"] {
                all.push(format!("{prefix}/{operation}"));
                for response in ["accepted", "rejected"] {
                    all.push(format!("{prefix}/{operation}/{response}"));
                }
            }
            all.push(format!("{prefix}/update/delta"));
            all.push(format!("{prefix}/update/documents"));
        }
        all
    }

    #[test]
    fn every_topic_survives_its_text() {
        assert_eq!(topics().len(), 22);
        for text in topics() {
            assert_eq!(text.parse::<ThingTopic>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_shadow_may_be_called_like_a_part_of_a_topic() {
        for name in ["update", "get", "delete", "name", "accepted", "shadow", "delta"] {
            let text = format!("$aws/things/name/shadow/name/{name}/update/accepted");
            let topic: ThingTopic = text.parse().unwrap();
            assert_eq!(topic.id.shadow.as_ref().unwrap().as_str(), name);
            assert_eq!(topic.to_string(), text);
        }
        let classic: ThingTopic = "$aws/things/shadow/shadow/get/accepted".parse().unwrap();
        assert_eq!(classic.id.to_string(), "shadow");
    }

    #[test]
    fn what_is_no_topic_of_a_shadow_is_refused_with_the_reason() {
        let parse = |text: &str| text.parse::<ThingTopic>().unwrap_err();
        for text in [
            "",
            "$aws",
            "$aws/things/t/shadow",
            "$aws/things/t/shadow/",
            "$aws/things/t/shadow/Get",
            "$aws/things/t/shadow/get/delta",
            "$aws/things/t/shadow/delete/documents",
            "$aws/things/t/shadow/update/accepted/x",
            "$aws/things/t/shadow/name/get",
            "$aws/things/t/shadow/name/n/update/accepted/x",
            "$aws/thing/t/shadow/get",
            "/$aws/things/t/shadow/get",
        ] {
            assert_eq!(parse(text), ParseThingTopicError::UnknownForm, "{text}");
        }
        let long = "x".repeat(129);
        for thing in ["", "a b", "a.b", "+", &long] {
            let text = format!("$aws/things/{thing}/shadow/get");
            assert!(matches!(parse(&text), ParseThingTopicError::BadThing(_)), "{text}");
        }
        for shadow in ["", "a.b", "é", &long[..65]] {
            let text = format!("$aws/things/t/shadow/name/{shadow}/get");
            assert!(matches!(parse(&text), ParseThingTopicError::BadShadow(_)), "{text}");
        }
    }

    #[test]
    fn the_refusal_of_a_request_stands_beside_it() {
        let request = "$aws/things/t/shadow/name/bad.name/update";
        assert_eq!(ThingTopic::refusal_of(request), format!("{request}/rejected"));
    }
}
