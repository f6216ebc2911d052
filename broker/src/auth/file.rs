//! Files of identities: a name, what proves it, and its role, line by line.

use crate::principal::{ParseRoleError, Role};

/// Why a file of identities is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileError {
    /// A line without a name or without what proves it.
    #[error("line {line}: a line is NAME:{what} or NAME:{what}:ROLE")]
    Shape {
        /// Where.
        line: usize,
        /// What proves a name in such a file.
        what: &'static str,
    },
    /// A role that there is not.
    #[error("line {line}: {role:?} is no role for an identity")]
    Role {
        /// Where.
        line: usize,
        /// What is there.
        role: String,
        /// What roles there are.
        #[source]
        source: ParseRoleError,
    },
    /// A name that an earlier line has already.
    #[error("line {line}: {name:?} is there twice; remove one of the two lines")]
    Twice {
        /// Where.
        line: usize,
        /// The name.
        name: String,
    },
    /// What should prove the name cannot.
    #[error("line {line}: {reason}")]
    Proof {
        /// Where.
        line: usize,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
}

/// One line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) name: &'a str,
    pub(super) proof: &'a str,
    pub(super) role: Role,
}

/// The lines of a text, without empty ones and those that begin with `#`.
pub(super) fn lines<'a>(
    text: &'a str,
    what: &'static str,
) -> impl Iterator<Item = Result<Line<'a>, AuthFileError>> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(move |(number, line)| parse(number, line, what))
}

fn parse<'a>(line: usize, text: &'a str, what: &'static str) -> Result<Line<'a>, AuthFileError> {
    let shape = AuthFileError::Shape { line, what };
    let mut parts = text.split(':');
    let (Some(name), Some(proof), role, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(shape);
    };
    if name.is_empty() || proof.is_empty() {
        return Err(shape);
    }
    let role = match role.map(|text| (text, text.parse())) {
        None => Role::Device,
        Some((_, Ok(role))) if role != Role::Anonymous => role,
        Some((role, parsed)) => {
            let source = parsed.err().unwrap_or(ParseRoleError);
            return Err(AuthFileError::Role { line, role: role.to_owned(), source });
        }
    };
    Ok(Line { number: line, name, proof, role })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_a_proof_and_perhaps_a_role() {
        let text = "# people\n\n a:x \nb:y:service\n";
        let found: Vec<_> = lines(text, "HASH").collect::<Result<_, _>>().unwrap();
        let line = |number, name, proof, role| Line { number, name, proof, role };
        let expected = [line(3, "a", "x", Role::Device), line(4, "b", "y", Role::Service)];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_error_says_which_line() {
        for (text, wanted) in [
            ("a:x\nb", "line 2: a line is NAME:HASH or NAME:HASH:ROLE"),
            (":x", "line 1: a line is NAME:HASH or NAME:HASH:ROLE"),
            ("a:x:device:y", "line 1: a line is NAME:HASH or NAME:HASH:ROLE"),
            ("a:x:boss", "line 1: \"boss\" is no role for an identity"),
            ("a:x:anonymous", "line 1: \"anonymous\" is no role for an identity"),
        ] {
            let error = lines(text, "HASH").find_map(Result::err).unwrap();
            assert_eq!(error.to_string(), wanted);
        }
    }
}
