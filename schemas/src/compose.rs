//! Reads a Compose file (the Compose Specification) into the normal form of an app.
//!
//! Pure: variables and files come in through functions. A key that is not supported is an error
//! with its line, never ignored.

mod confine;
mod context;
mod deploy;
mod error;
mod gnomon;
mod health;
mod interpolate;
pub mod kubernetes;
mod mounts;
mod ports;
mod resources;
mod service;
mod units;
mod yaml;

use crate::app::AppSpec;
use crate::id::AppName;
use context::{Context, Item};

pub use error::{ComposeError, ComposeErrorKind, ComposeErrors, Position};

/// The most bytes that a Compose file may have.
pub const TEXT_BYTES: usize = 1024 * 1024;

/// Looks up a variable; `None`: it is not set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Reads a text file whose path is relative to the Compose file and stays below it. A link in the
/// file system that leads elsewhere is for the reading side to refuse.
pub type Files<'a> = dyn Fn(&str) -> std::io::Result<String> + 'a;

/// What a Compose file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compose {
    /// The name that the file gives its app, if it gives one.
    pub name: Option<AppName>,
    /// The app; it is valid.
    pub app: AppSpec,
}

/// Reads the app out of the text of a Compose file.
///
/// ```
/// use gnomon_schemas::compose;
/// let text = "services: { web: { image: 'nginx:${TAG:-1}', privileged: true } }";
/// let errors = compose::read(text, &|_| None, &|_| Ok(String::new())).unwrap_err();
/// assert_eq!(
///     errors.in_file("compose.yaml").to_string(),
///     "compose.yaml:1:46: services.web.privileged is not supported"
/// );
/// ```
pub fn read(
    text: &str,
    environment: &Environment<'_>,
    files: &Files<'_>,
) -> Result<AppSpec, ComposeErrors> {
    read_named(text, environment, files).map(|compose| compose.app)
}

/// Reads the app and its name out of the text of a Compose file.
pub fn read_named(
    text: &str,
    environment: &Environment<'_>,
    files: &Files<'_>,
) -> Result<Compose, ComposeErrors> {
    let start = Position { line: 1, column: 1 };
    if text.len() > TEXT_BYTES {
        let kind = ComposeErrorKind::TooLarge { limit: TEXT_BYTES, found: text.len() };
        return Err(ComposeError { at: start, path: String::new(), kind }.into());
    }
    let (root, duplicates) = yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    let mut context = Context::new(environment, files);
    for duplicate in duplicates {
        context.push(duplicate);
    }
    let compose = read_root(&Item::root(&root), &mut context);
    if !context.has_errors()
        && let Err(invalid) = compose.app.validate()
    {
        for problem in invalid.problems() {
            let (path, at) = context.placed(&problem.path);
            let kind = ComposeErrorKind::Invalid(problem.kind.clone());
            context.push(ComposeError { at, path, kind });
        }
    }
    match context.into_errors() {
        (errors, _) if errors.is_empty() => Ok(compose),
        (errors, more) => Err(ComposeErrors::new(errors, more)),
    }
}

fn read_root(root: &Item<'_>, context: &mut Context<'_>) -> Compose {
    let mut compose = Compose { name: None, app: AppSpec::default() };
    let Some(mut fields) = context.mapping(root) else { return compose };
    // The Compose Specification says that the version is only informative.
    drop(fields.take("version"));
    if let Some(item) = fields.take("name") {
        compose.name = context.name(&item);
    }
    if let Some(item) = context.required(&mut fields, "services") {
        context.place("services", &item);
        compose.app.services = service::read_all(&item, context);
    }
    if let Some(item) = fields.take("volumes") {
        compose.app.volumes = resources::volumes(&item, context);
    }
    if let Some(item) = fields.take("configs") {
        compose.app.configs = resources::configs(&item, context);
    }
    if let Some(item) = fields.take("secrets") {
        compose.app.secrets = resources::secrets(&item, context);
    }
    if let Some(item) = fields.take("x-gnomon") {
        compose.app.trial = gnomon::app(&item, context);
    }
    context.finish(fields);
    compose
}
