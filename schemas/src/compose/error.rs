//! What is wrong with a Compose file, and where: line, column and the path of the key.

use std::fmt;

use crate::app::{ManifestFlaw, ParseCronError, ProblemKind};
use crate::id::ParseIdError;

/// A place in a Compose file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
}

/// One thing that is wrong with a Compose file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {}", Sentence(.path, .kind))]
pub struct ComposeError {
    /// Where it stands in the text.
    pub at: Position,
    /// The key that it is about, such as `services.web.ports[0]`; empty for the whole file.
    pub path: String,
    /// What is wrong.
    pub kind: ComposeErrorKind,
}

/// What can be wrong with a Compose file. The text continues the path of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeErrorKind {
    /// The text is larger than [`super::TEXT_BYTES`].
    #[error("is too large: {found} bytes, at most {limit} are read")]
    TooLarge {
        /// The most bytes that are read.
        limit: usize,
        /// How many there are.
        found: usize,
    },
    /// The text is not YAML.
    #[error("is not valid YAML: {0}")]
    Syntax(String),
    /// There is nothing in it.
    #[error("is empty; a Compose file needs `services`")]
    Empty,
    /// There is a second document.
    #[error("has more than one YAML document; put each app in a file of its own")]
    SeveralDocuments,
    /// Mappings and sequences are nested too deeply.
    #[error("is nested more than {limit} levels deep")]
    TooDeep {
        /// The most levels.
        limit: usize,
    },
    /// With its aliases written out, the file is too large.
    #[error("is too large when its aliases are written out")]
    TooMuchExpanded,
    /// An alias stands inside of what it refers to.
    #[error("is an alias for something that it is part of")]
    AliasOfItself,
    /// A value has a YAML tag.
    #[error("has a YAML tag; tags are not supported")]
    Tagged,
    /// A key is not a text.
    #[error("has a key that is not a plain text")]
    KeyNotText,
    /// `<<` has something else than mappings.
    #[error("must be a mapping or a list of mappings to merge")]
    BadMerge,
    /// A key is given twice.
    #[error("is given twice; the first is on line {}", .first.line)]
    Duplicate {
        /// Where the first one is.
        first: Position,
    },
    /// A key that has no meaning here.
    #[error("is not supported{}", Hint(*.hint))]
    Unsupported {
        /// What to do about it, where that is known.
        hint: Option<&'static str>,
    },
    /// A value has the wrong form.
    #[error("must be {expected}")]
    Expected {
        /// What the form is.
        expected: &'static str,
    },
    /// A text does not have the form that its key asks for.
    #[error("must be {expected}, not `{found}`")]
    BadValue {
        /// What the form is.
        expected: &'static str,
        /// The beginning of what was given.
        found: String,
    },
    /// A key is missing.
    #[error("needs `{0}`")]
    Missing(&'static str),
    /// A key excludes another one.
    #[error("needs exactly one of {0}")]
    NotOne(&'static str),
    /// A name has the wrong form.
    #[error("is badly named: {0}")]
    BadName(ParseIdError),
    /// A schedule cannot be read.
    #[error("is no schedule: {0}")]
    BadSchedule(ParseCronError),
    /// A relative path of the machine that reads the file.
    #[error(
        "names `{0}`, which is relative to this file; a site has no such path: use an absolute one, a named volume or a config"
    )]
    RelativeSource(String),
    /// A volume without a name.
    #[error("has no source; give the volume a name and declare it under `volumes`")]
    AnonymousVolume,
    /// A path that does not stay below the Compose file.
    #[error("must name a file below the Compose file, without `..`, not `{0}`")]
    FileOutside(String),
    /// A file could not be read.
    #[error("cannot be read from `{file}`: {reason}")]
    File {
        /// Its path, relative to the Compose file.
        file: String,
        /// Why not.
        reason: String,
    },
    /// A variable is not set.
    #[error("needs the variable {0}, which is not set (`${{{0}:-}}` stands for an empty default)")]
    VariableNotSet(String),
    /// A variable that the file insists on is not set.
    #[error("needs the variable {name}: {message}")]
    VariableRequired {
        /// The variable.
        name: String,
        /// The message in the file.
        message: String,
    },
    /// A dollar sign begins nothing that is known.
    #[error("has a bad variable expression at `{0}`; write `$$` for a dollar sign")]
    BadExpression(String),
    /// The values of variables make the file too large.
    #[error("is too large with its variables filled in")]
    TooMuchInterpolated,
    /// The app as a whole cannot run.
    #[error("{0}")]
    Invalid(ProblemKind),
    /// There is no Kubernetes object in it.
    #[error("holds no Kubernetes object")]
    NoManifests,
    /// A text of a Helm chart, not of an object.
    #[error(
        "is part of a Helm chart; render the chart first: `helm template --no-hooks NAME CHART | gnomon apply -f - --app NAME ...`"
    )]
    Helm,
    /// A plain text that readers of YAML understand differently.
    #[error(
        "is `{found}`, which is a truth, a number or a text, depending on who reads it; put quotes around it, or write true, false or a plain number"
    )]
    Ambiguous {
        /// What was given.
        found: String,
    },
    /// A number that JSON does not have.
    #[error("is a number that JSON does not have")]
    NotFinite,
    /// It is no Kubernetes object, or has what it may not have.
    #[error("{0}")]
    Manifest(ManifestFlaw),
    /// The same object is there twice.
    #[error("is there twice; the first begins on line {}", .first.line)]
    SameObject {
        /// Where the first one is.
        first: Position,
    },
}

/// Everything that is wrong with a Compose file, in the order of the text; at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeErrors {
    errors: Vec<ComposeError>,
    more: usize,
}

impl ComposeErrors {
    /// Sorts the errors by place; `more` were found and not kept.
    pub(super) fn new(mut errors: Vec<ComposeError>, more: usize) -> Self {
        errors.sort_by_key(|error| error.at);
        Self { errors, more }
    }

    /// What is wrong.
    pub fn errors(&self) -> &[ComposeError] {
        &self.errors
    }

    /// How many errors were found besides [`Self::errors`].
    pub const fn more(&self) -> usize {
        self.more
    }

    /// The errors as lines of the form `file:line:column: what`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        Lines { errors: self, file: Some(file) }
    }
}

impl fmt::Display for ComposeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Lines { errors: self, file: None }.fmt(f)
    }
}

impl std::error::Error for ComposeErrors {}

impl From<ComposeError> for ComposeErrors {
    fn from(error: ComposeError) -> Self {
        Self { errors: vec![error], more: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

struct Lines<'a> {
    errors: &'a ComposeErrors,
    file: Option<&'a str>,
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = self.file {
                write!(f, "{file}:")?;
            }
            write!(f, "{error}")?;
        }
        if self.errors.more > 0 {
            write!(f, "\nand {} more errors", self.errors.more)?;
        }
        Ok(())
    }
}

struct Sentence<'a>(&'a str, &'a ComposeErrorKind);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.0.is_empty() { "the file" } else { self.0 };
        let colon = if matches!(self.1, ComposeErrorKind::Invalid(_)) { ":" } else { "" };
        write!(f, "{subject}{colon} {}", self.1)
    }
}

struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}
