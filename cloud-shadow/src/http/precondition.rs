//! The conditions of a write, from the headers If-Match, If-None-Match and If-Field.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use gnomon_schemas::json;
use gnomon_schemas::version::Version;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, Required};
use utoipa::{IntoParams, ToSchema};

use super::{ApiError, body, error};
use crate::chain;
use crate::domain::{FieldCondition, Precondition, Relation};

/// The conditions of a write.
#[derive(Debug, PartialEq)]
pub(super) struct Conditions {
    /// On the version.
    pub(super) when: Precondition,
    /// On fields.
    pub(super) fields: Vec<FieldCondition>,
}

/// A condition on a field, in JSON: a pointer, and exactly one of the others.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FieldCondition, example = json!({ "pointer": "/price", "at_most": 1.75 }))]
pub(super) struct FieldJson {
    /// Where, as a JSON pointer.
    pointer: String,
    /// This value must be there; `1` and `1.0` are different ones.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    equals: Option<Value>,
    /// Anything else, or nothing, must be there.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    not: Option<Value>,
    /// Something must be there; false says nothing.
    #[serde(default)]
    #[schema(required = false)]
    exists: bool,
    /// Nothing may be there; false says nothing.
    #[serde(default)]
    #[schema(required = false)]
    absent: bool,
    /// A number must be there that is less than this one, or a text that comes before this one by
    /// its code points. This and the next three hold for no other pairs.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    less: Option<Value>,
    /// The same, less or equal; `1` and `1.0` are.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    at_most: Option<Value>,
    /// The same, greater.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    greater: Option<Value>,
    /// The same, greater or equal.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    at_least: Option<Value>,
    /// One of these 1 to 32 values must be there.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<Value>, required = false)]
    one_of: Option<Value>,
    /// A text must be there that begins with this one.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    prefix: Option<Value>,
    /// An array must be there that has this value.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Value>)]
    contains: Option<Value>,
}

/// The header with conditions on fields: a [`FieldJson`]; may be there more than once.
pub(super) const IF_FIELD: HeaderName = HeaderName::from_static("if-field");

/// The most conditions on fields of one write.
const FIELDS: usize = 100;

/// Reads the conditions under which a write is meant.
pub(super) fn of(headers: &HeaderMap) -> Result<Conditions, ApiError> {
    let read = |value: &HeaderValue| {
        let text = value.to_str().map_err(|_| unreadable("it is not ASCII"))?;
        FieldJson::parse(text)
    };
    let fields: Vec<FieldJson> =
        headers.get_all(IF_FIELD).iter().map(read).collect::<Result<_, _>>()?;
    Ok(Conditions { when: version_of(headers)?, fields: self::fields(fields)? })
}

/// Checks conditions on fields.
pub(super) fn fields(fields: Vec<FieldJson>) -> Result<Vec<FieldCondition>, ApiError> {
    if fields.len() > FIELDS {
        let message = format!("a write has at most {FIELDS} conditions on fields");
        return Err(ApiError::bad_precondition(message));
    }
    fields.into_iter().map(FieldJson::check).collect()
}

impl FieldJson {
    /// Reads a condition.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let value = json::parse(text.as_bytes()).map_err(|error| unreadable(&chain(&error)))?;
        body::strict(value).map_err(|error| unreadable(&chain(&error)))
    }

    fn check(self) -> Result<FieldCondition, ApiError> {
        let yes = |is_said: bool| is_said.then_some(Value::Bool(true));
        let at = error::brief(&self.pointer);
        let pointer = self.pointer.parse().map_err(|error| unreadable(&chain(&error)))?;
        let given = [
            (Relation::Equals, self.equals),
            (Relation::Not, self.not),
            (Relation::Exists, yes(self.exists)),
            (Relation::Absent, yes(self.absent)),
            (Relation::Less, self.less),
            (Relation::AtMost, self.at_most),
            (Relation::Greater, self.greater),
            (Relation::AtLeast, self.at_least),
            (Relation::OneOf, self.one_of),
            (Relation::Prefix, self.prefix),
            (Relation::Contains, self.contains),
        ];
        let given = given.into_iter().filter_map(|(relation, value)| Some((relation, value?)));
        FieldCondition::new(pointer, given).map_err(|why| {
            ApiError::bad_precondition(format!("the condition on the field {at:?}: {why}"))
        })
    }
}

fn unreadable(why: &str) -> ApiError {
    ApiError::bad_precondition(format!(
        "a condition on a field looks like {{\"pointer\": \"/price\", \"equals\": 1.75}}: {why}"
    ))
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl IntoParams for Conditions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let header = |name: &str, text: &str| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(text))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .build()
        };
        vec![
            header(
                "If-Match",
                "Only if desired has this version (`\"7\"`), is not there (`\"0\"`), is there (`*`)",
            ),
            header("If-None-Match", "`*`: only if desired is not there"),
            header(
                "If-Field",
                "A condition on a field of desired, in JSON: `{\"pointer\": \"/price\", \
                 \"at_most\": 1.75}`, see the schema FieldCondition; may be repeated",
            ),
        ]
    }
}

fn version_of(headers: &HeaderMap) -> Result<Precondition, ApiError> {
    let only_match = single(headers, &header::IF_MATCH)?;
    let none_match = single(headers, &header::IF_NONE_MATCH)?;
    match (only_match, none_match) {
        (None, None) => Ok(Precondition::Any),
        (Some("*"), None) => Ok(Precondition::Present),
        (Some(tag), None) => version(tag).map(Precondition::Version),
        (None, Some("*")) => Ok(Precondition::Absent),
        (None, Some(_)) => Err(ApiError::bad_precondition("If-None-Match can only be `*`")),
        (Some(_), Some(_)) => {
            let message = "If-Match and If-None-Match exclude each other; send one of them";
            Err(ApiError::bad_precondition(message))
        }
    }
}

/// The tag of a version.
pub(super) fn etag(version: Version) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes fit into a header")
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text.trim())),
        (Ok(_), Some(_)) | (Err(_), _) => {
            Err(ApiError::bad_precondition(format!("{name} must be there once, with one tag")))
        }
    }
}

fn version(tag: &str) -> Result<Version, ApiError> {
    let digits = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let tag = error::brief(tag);
        let message = format!("{tag:?} is not the version of a desired half; it looks like \"7\"");
        ApiError::bad_precondition(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(HeaderName, &'static str)]) -> Result<Precondition, ApiError> {
        let pair = |(name, value): &(HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        of(&pairs.iter().map(pair).collect()).map(|conditions| conditions.when)
    }

    #[test]
    fn a_condition_on_a_field_is_one_relation_to_a_value() {
        let read = |texts: &[&'static str]| {
            let header = |text: &&'static str| (IF_FIELD, HeaderValue::from_static(text));
            of(&texts.iter().map(header).collect()).map(|conditions| conditions.fields)
        };
        let good = read(&[
            r#"{"pointer": "/a/b", "equals": [1]}"#,
            r#"{"pointer": "/c", "absent": true, "exists": false}"#,
            r#"{"pointer": "/d", "not": null}"#,
            r#"{"pointer": "/e", "at_least": 1.5}"#,
            r#"{"pointer": "/f", "one_of": [1, "a"]}"#,
        ]);
        let condition = |pointer: &str, relation, value| {
            FieldCondition::new(pointer.parse().unwrap(), [(relation, value)]).unwrap()
        };
        let expected = [
            condition("/a/b", Relation::Equals, serde_json::json!([1])),
            condition("/c", Relation::Absent, Value::Bool(true)),
            condition("/d", Relation::Not, Value::Null),
            condition("/e", Relation::AtLeast, serde_json::json!(1.5)),
            condition("/f", Relation::OneOf, serde_json::json!([1, "a"])),
        ];
        assert_eq!(good.unwrap(), expected);
        for relation in Relation::ALL {
            let value = if matches!(relation, Relation::Exists | Relation::Absent) {
                "true"
            } else if relation == Relation::OneOf {
                "[1]"
            } else {
                "\"x\""
            };
            let text = format!("{{\"pointer\": \"/a\", \"{}\": {value}}}", relation.name());
            let read = FieldJson::parse(&text).and_then(FieldJson::check).unwrap();
            assert_eq!(read.relation(), relation);
        }
        for bad in [
            "/a",
            r#"{"pointer": "a", "absent": true}"#,
            r#"["/a", 1, false]"#,
            r#"{"pointer": "/a"}"#,
            r#"{"pointer": "/a", "equals": 1, "absent": true}"#,
            r#"{"pointer": "/a", "equal": 1}"#,
            r#"{"pointer": "/a", "exists": false}"#,
            r#"{"pointer": "/a", "at_least": 1, "less": 5}"#,
            r#"{"pointer": "/a", "less": [1]}"#,
            r#"{"pointer": "/a", "prefix": null}"#,
            r#"{"pointer": "/a", "one_of": []}"#,
        ] {
            assert!(read(&[bad]).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn every_condition_is_understood() {
        let (im, inm) = (header::IF_MATCH, header::IF_NONE_MATCH);
        assert_eq!(read(&[]).unwrap(), Precondition::Any);
        assert_eq!(read(&[(im.clone(), "\"7\"")]).unwrap(), Precondition::Version(Version(7)));
        assert_eq!(read(&[(im, "*")]).unwrap(), Precondition::Present);
        assert_eq!(read(&[(inm, "*")]).unwrap(), Precondition::Absent);
    }

    #[test]
    fn what_is_not_a_condition_is_refused_and_never_ignored() {
        let (im, inm) = (header::IF_MATCH, header::IF_NONE_MATCH);
        for bad in ["7", "W/\"7\"", "\"7\", \"8\"", "\"\"", "\"-1\"", "\"+1\"", "\"x\"", ""] {
            assert!(read(&[(im.clone(), bad)]).is_err(), "{bad} was accepted");
        }
        assert!(read(&[(inm.clone(), "\"7\"")]).is_err());
        assert!(read(&[(im, "*"), (inm, "*")]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_too_strange(
            name in 0..3_usize, bytes in proptest::collection::vec(0x20..=0xff_u8, 0..60)
        ) {
            let name = [header::IF_MATCH, header::IF_NONE_MATCH, IF_FIELD].into_iter().nth(name);
            let value = HeaderValue::from_bytes(&bytes).ok();
            let headers: HeaderMap = name.into_iter().zip(value).collect();
            if let Err(error) = of(&headers) {
                let (status, _) = error.into_parts();
                proptest::prop_assert_eq!(status, axum::http::StatusCode::BAD_REQUEST);
            }
        }
    }
}
