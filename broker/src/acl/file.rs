//! Access rules as a TOML text. Pure.

use serde::Deserialize;
use toml::Spanned;

use super::{Acl, ParsePatternError, Pattern, Rule, Scoped};
use crate::principal::{ParseRoleError, Role};

/// Why a text does not hold access rules.
#[derive(Debug, thiserror::Error)]
pub enum AclFileError {
    /// It is no TOML, or has keys that mean nothing here.
    #[error("the access rules cannot be read")]
    Toml(#[from] Box<toml::de::Error>),
    /// A role that there is not.
    #[error("line {line}: {role:?} is no role")]
    Role {
        /// Where.
        line: usize,
        /// What is there.
        role: String,
        /// What roles there are.
        #[source]
        source: ParseRoleError,
    },
    /// A pattern that is none.
    #[error("line {line}: {pattern:?} is no pattern for topics")]
    Pattern {
        /// Where.
        line: usize,
        /// What is there.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: ParsePatternError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    role: Spanned<String>,
    name: Option<Box<str>>,
    #[serde(default)]
    publish: Vec<Spanned<String>>,
    #[serde(default)]
    subscribe: Vec<Spanned<String>>,
}

pub(super) fn parse(text: &str) -> Result<Acl, AclFileError> {
    let file: File = toml::from_str(text).map_err(Box::new)?;
    let rules = file.rule.into_iter().map(|rule| scoped(text, rule));
    Ok(Acl { rules: rules.collect::<Result<_, _>>()? })
}

fn scoped(text: &str, written: FileRule) -> Result<Scoped, AclFileError> {
    let FileRule { role: name_of_role, name, publish, subscribe } = written;
    let parsed = name_of_role.get_ref().parse::<Role>().map_err(|source| AclFileError::Role {
        line: line_of(text, &name_of_role),
        role: name_of_role.get_ref().clone(),
        source,
    })?;
    let granted = Rule {
        role: parsed,
        publish: patterns(text, &publish)?,
        subscribe: patterns(text, &subscribe)?,
    };
    Ok(Scoped { only: name, rule: granted })
}

fn patterns(text: &str, found: &[Spanned<String>]) -> Result<Vec<Pattern>, AclFileError> {
    let parse = |pattern: &Spanned<String>| {
        pattern.get_ref().parse().map_err(|source| AclFileError::Pattern {
            line: line_of(text, pattern),
            pattern: pattern.get_ref().clone(),
            source,
        })
    };
    found.iter().map(parse).collect()
}

fn line_of<T>(text: &str, at: &Spanned<T>) -> usize {
    text.bytes().take(at.span().start).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Decision, Subject};
    use super::*;
    use crate::principal::Principal;

    const RULES: &str = r#"
[[rule]]
role = "device"
publish = ["telemetry/{name}/#", "of/{client}"]
subscribe = ["commands/{name}/+"]

[[rule]]
role = "service"
name = "backend"
subscribe = ["telemetry/#"]

[[rule]]
role = "node"
publish = ["gnomon/1/{node}/u/+"]
"#;

    fn may(name: &str, role: Role, publish: &str, subscribe: &str) -> [bool; 2] {
        let acl = Acl::from_toml(RULES).unwrap();
        let principal = Principal::new(name, role);
        let subject = Subject { principal: &principal, client_id: "c1" };
        let (name, filter) = (publish.parse().unwrap(), subscribe.parse().unwrap());
        [Action::Publish(&name), Action::Subscribe(&filter)]
            .map(|action| acl.authorize(subject, action) == Decision::Allow)
    }

    #[test]
    fn what_no_rule_of_the_file_allows_is_denied() {
        assert_eq!(may("p1", Role::Device, "telemetry/p1/a", "commands/p1/x"), [true, true]);
        assert_eq!(may("p1", Role::Device, "telemetry/p2/a", "commands/#"), [false, false]);
        assert_eq!(may("p1", Role::Device, "of/c1", "of/c1"), [true, false]);
        assert_eq!(may("s", Role::Node, "gnomon/1/s/u/x", "gnomon/1/s/u/x"), [true, false]);
        assert_eq!(may("", Role::Anonymous, "a", "a"), [false, false]);
    }

    #[test]
    fn a_rule_with_a_name_is_for_that_one_only() {
        assert_eq!(may("backend", Role::Service, "a", "telemetry/+/a"), [false, true]);
        assert_eq!(may("other", Role::Service, "a", "telemetry/+/a"), [false, false]);
        assert_eq!(may("backend", Role::Device, "a", "telemetry/+/a"), [false, false]);
    }

    #[test]
    fn an_error_names_the_line() {
        let error = |from, to| Acl::from_toml(&RULES.replace(from, to)).unwrap_err().to_string();
        assert_eq!(
            error("of/{client}", "of/{clint}"),
            "line 4: \"of/{clint}\" is no pattern for topics"
        );
        assert_eq!(error("\"node\"", "\"nodes\""), "line 13: \"nodes\" is no role");
        let unknown = Acl::from_toml(&RULES.replace("name =", "nam =")).unwrap_err();
        let AclFileError::Toml(unknown) = unknown else { panic!("{unknown}") };
        assert!(unknown.to_string().contains("line 9"), "{unknown}");
    }
}
