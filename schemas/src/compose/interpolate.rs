//! Fills variables into a text, as the Compose Specification says:
//! `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, `${NAME:+other}` and `$$`.

use super::Environment;

/// The most levels of expressions inside of defaults.
const DEPTH: usize = 8;

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InterpolateError {
    /// Here begins something that is no expression.
    Malformed(String),
    /// A variable without a default is not set.
    NotSet(String),
    /// A variable is not set and the file says what to tell.
    Required { name: String, message: String },
    /// The values are too long.
    TooLarge,
}

/// The text with its variables filled in; it may grow by `budget` bytes.
pub(super) fn fill(
    text: &str,
    environment: &Environment<'_>,
    budget: usize,
) -> Result<String, InterpolateError> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    Filler { environment, limit: text.len().saturating_add(budget) }.fill(text, 0)
}

struct Filler<'a> {
    environment: &'a Environment<'a>,
    limit: usize,
}

impl Filler<'_> {
    fn fill(&self, text: &str, depth: usize) -> Result<String, InterpolateError> {
        if depth > DEPTH {
            return Err(malformed(text));
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, from)) = split_at_dollar(rest) {
            out.push_str(before);
            let after = from.get(1..).unwrap_or_default();
            rest = if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                after
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = closing_brace(inner).ok_or_else(|| malformed(from))?;
                let (expression, after) = inner.split_at_checked(end).unwrap_or((inner, "}"));
                out.push_str(&self.expression(expression, from, depth)?);
                after.get(1..).unwrap_or_default()
            } else {
                let (name, after) = split_name(after).ok_or_else(|| malformed(from))?;
                out.push_str(&self.set(name)?);
                after
            };
            if out.len() > self.limit {
                return Err(InterpolateError::TooLarge);
            }
        }
        out.push_str(rest);
        if out.len() > self.limit { Err(InterpolateError::TooLarge) } else { Ok(out) }
    }

    /// What stands between the braces.
    fn expression(&self, text: &str, from: &str, depth: usize) -> Result<String, InterpolateError> {
        let (name, rest) = split_name(text).ok_or_else(|| malformed(from))?;
        let value = (self.environment)(name);
        if rest.is_empty() {
            return self.set(name);
        }
        let (value, rest) = match rest.strip_prefix(':') {
            Some(rest) => (value.filter(|value| !value.is_empty()), rest),
            None => (value, rest),
        };
        let mut characters = rest.chars();
        match (characters.next(), characters.as_str()) {
            (Some('-'), default) => match value {
                Some(value) => Ok(value),
                None => self.fill(default, depth + 1),
            },
            (Some('+'), other) => match value {
                Some(_) => self.fill(other, depth + 1),
                None => Ok(String::new()),
            },
            (Some('?'), message) => match value {
                Some(value) => Ok(value),
                None if message.is_empty() => Err(InterpolateError::NotSet(name.to_owned())),
                None => {
                    let message = self.fill(message, depth + 1)?;
                    Err(InterpolateError::Required { name: name.to_owned(), message })
                }
            },
            _ => Err(malformed(from)),
        }
    }

    fn set(&self, name: &str) -> Result<String, InterpolateError> {
        (self.environment)(name).ok_or_else(|| InterpolateError::NotSet(name.to_owned()))
    }
}

fn split_at_dollar(text: &str) -> Option<(&str, &str)> {
    text.find('$').and_then(|at| text.split_at_checked(at))
}

fn split_name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    text.split_at_checked(end).filter(|_| starts)
}

/// Where the brace closes that was opened before the text; `${` inside opens another one.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut dollar = false;
    for (at, c) in text.char_indices() {
        match c {
            '{' if dollar => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        dollar = c == '$' && !dollar;
    }
    None
}

fn malformed(from: &str) -> InterpolateError {
    InterpolateError::Malformed(from.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, InterpolateError> {
        let environment = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        fill(text, &environment, 100)
    }

    #[test]
    fn every_form_of_the_specification_is_filled_in() {
        for (text, expected) in [
            ("$A-${A}.", "one-one."),
            ("$$A $${A}", "$A ${A}"),
            ("${B:-two}${B-two}${A:-two}", "twotwoone"),
            ("${EMPTY:-two}|${EMPTY-two}", "two|"),
            ("${A:+x}${EMPTY:+x}|${EMPTY+x}${B+x}", "x|x"),
            ("${B:-${C:-${A}}}${B:-}", "one"),
            ("${A:?needed}${A?needed}", "oneone"),
            ("${B:-a}b}", "ab}"),
            ("é${A}é", "éoneé"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused() {
        let not_set = |name: &str| Err(InterpolateError::NotSet(name.to_owned()));
        assert_eq!(filled("$B"), not_set("B"));
        assert_eq!(filled("${B}"), not_set("B"));
        assert_eq!(filled("${B:?}"), not_set("B"));
        let (name, message) = ("EMPTY".to_owned(), "say one".to_owned());
        assert_eq!(filled("${EMPTY:?say $A}"), Err(InterpolateError::Required { name, message }));
        for bad in ["$", "a$ b", "$1", "${", "${A", "${}", "${A b}", "${A:}", "${A:=b}", "${-a}"] {
            assert!(matches!(filled(bad), Err(InterpolateError::Malformed(_))), "{bad}");
        }
        let deep = format!("{}x{}", "${B:-".repeat(20), "}".repeat(20));
        assert!(matches!(filled(&deep), Err(InterpolateError::Malformed(_))));
    }

    #[test]
    fn values_cannot_grow_a_text_beyond_the_budget() {
        assert_eq!(filled(&"${A:-____________}".repeat(2)).as_deref(), Ok("oneone"));
        let environment = |_: &str| Some("x".repeat(60));
        assert!(fill("$A", &environment, 100).is_ok());
        assert_eq!(fill("$A$A", &environment, 100), Err(InterpolateError::TooLarge));
    }
}
