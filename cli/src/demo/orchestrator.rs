//! Chooses what runs the app, and says why and how to get the other.

use std::path::PathBuf;

use super::Choice;
use super::app::App;
use super::docker::Docker;
use super::reality::Reality;
use super::screen::Screen;
use crate::exit::Failure;

/// Builds the images of the demo where a registry is out of reach.
const SCRIPT: &str = "tests/docker/image.sh";

/// What runs the app, and why.
pub(super) struct Chosen {
    pub(super) reality: Reality,
    pub(super) why: String,
}

impl Chosen {
    /// As `gnomon-edge run --orchestrator` has it.
    pub(super) const fn kind(&self) -> &'static str {
        match self.reality {
            Reality::Docker(_) => "docker",
            Reality::Processes => "process",
        }
    }
}

/// Follows the user's choice, or takes Docker where it can be used.
pub(super) async fn choose(choice: Choice, screen: &Screen) -> anyhow::Result<Chosen> {
    if choice == Choice::Process {
        return Ok(processes("as asked; auto and docker take containers"));
    }
    match docker(screen).await {
        Ok(docker) => {
            let why = format!(
                "Docker {} answers at {}; --orchestrator process takes host processes",
                docker.version,
                docker.socket.display()
            );
            Ok(Chosen { reality: Reality::Docker(docker), why })
        }
        Err(no) if choice == Choice::Auto => {
            let Unusable { why, remedy } = no;
            Ok(processes(&format!("{why}; to see containers, {remedy}")))
        }
        Err(Unusable { why, remedy }) => {
            let text =
                format!("Docker cannot be used: {why}; {remedy}, or take --orchestrator process");
            Err(Failure::NotFound(text).into())
        }
    }
}

fn processes(why: &str) -> Chosen {
    Chosen { reality: Reality::Processes, why: why.to_owned() }
}

/// Why Docker is not taken, and what would change that.
struct Unusable {
    why: String,
    remedy: &'static str,
}

/// An engine with both images; builds those that it lacks.
async fn docker(screen: &Screen) -> Result<Docker, Unusable> {
    let start =
        "start a Docker engine (apt-get install docker.io) or set DOCKER_HOST=unix://SOCKET";
    let build = "run tests/docker/image.sh of the repository in a checkout";
    let docker = Docker::find().await.map_err(|why| Unusable { why, remedy: start })?;
    let no = |why: String| Unusable { why, remedy: build };
    for app in [App::first(), App::second()] {
        let image = app.map_err(|error| no(super::reason(&error)))?.image;
        if docker.has_image(image).await {
            continue;
        }
        let Some(script) = find_script() else {
            return Err(no(format!("the engine has no image {image} and {SCRIPT} is not near")));
        };
        let mut waiting = screen.wait(&format!("building {image}"));
        waiting.update("with busybox");
        docker
            .build(&script)
            .await
            .map_err(|error| no(format!("{image} cannot be built: {}", super::reason(&error))))?;
        if !docker.has_image(image).await {
            return Err(no(format!("{} ran and made no image {image}", script.display())));
        }
    }
    Ok(docker)
}

/// Above the working directory or above this program, as in a checkout.
fn find_script() -> Option<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    starts.into_iter().flatten().find_map(|start| {
        start.ancestors().map(|above| above.join(SCRIPT)).find(|script| script.is_file())
    })
}
