//! The app of the demo, `examples/hello.yaml`, in its first and its second version.

use gnomon_schemas::compose;
use serde_json::Value;

const COMPOSE: &str = include_str!("../../../examples/hello.yaml");
const FIRST_IMAGE: &str = "gnomon-demo:1";
const SECOND_IMAGE: &str = "gnomon-demo:2";

/// The service that is killed and looked at.
pub(super) const SERVICE: &str = "web";
/// The variable by which one version is told from the other.
pub(super) const VARIABLE: &str = "GREETING";
/// A device behind the site, for writes that are not about apps.
pub(super) const DEVICE: &str = "device/pump-1";

/// A version of the app.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) name: String,
    /// As the desired half of the shadow holds it.
    pub(super) spec: Value,
    pub(super) greeting: &'static str,
    /// What it asks of the engine, if anything.
    pub(super) image: &'static str,
}

impl App {
    pub(super) fn first() -> anyhow::Result<Self> {
        read(COMPOSE, "hello", FIRST_IMAGE)
    }

    /// Another greeting and another image.
    pub(super) fn second() -> anyhow::Result<Self> {
        read(&COMPOSE.replace(FIRST_IMAGE, SECOND_IMAGE), "good evening", SECOND_IMAGE)
    }

    pub(super) fn key(&self) -> String {
        format!("app/{}", self.name)
    }
}

fn read(text: &str, greeting: &'static str, image: &'static str) -> anyhow::Result<App> {
    let environment = |name: &str| (name == VARIABLE).then(|| greeting.to_owned());
    let no_files =
        |path: &str| Err(std::io::Error::other(format!("{path} is not part of the demo")));
    let read = compose::read_named(text, &environment, &no_files)
        .map_err(|errors| anyhow::anyhow!("{}", errors.in_file("examples/hello.yaml")))?;
    let name = read.name.map_or_else(|| "hello".to_owned(), |name| name.to_string());
    Ok(App { name, spec: read.app.to_value(), greeting, image })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_versions_differ_in_image_and_greeting_of_the_service_that_is_watched() {
        let (first, second) = (App::first().unwrap(), App::second().unwrap());
        let field = |app: &App, path: &str| {
            app.spec.pointer(&format!("/services/{SERVICE}/{path}")).cloned().unwrap()
        };
        assert_eq!(field(&first, "image"), FIRST_IMAGE);
        assert_eq!(field(&second, "image"), SECOND_IMAGE);
        for app in [first, second] {
            assert_eq!(field(&app, &format!("environment/{VARIABLE}")), app.greeting);
        }
    }
}
