//! The last step before a limited service: this program once more, which puts itself below the
//! limits and then becomes the service. What goes wrong before that it says on its standard
//! input, a pipe of the supervisor that closes by itself when the service begins.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use gnomon_schemas::app::{Ulimit, UlimitName};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use super::StartFailure;
use super::health::command;
use crate::orchestrator::process::layout::Home;
use crate::orchestrator::process::record::{Instance, Launch};

/// The hidden subcommand.
pub(super) const SUBCOMMAND: &str = "__launch";

/// Starts a service below its limits.
pub(super) fn spawn(
    home: &Home,
    launch: &Launch,
    stdout: io::PipeWriter,
    stderr: io::PipeWriter,
) -> Result<Child, StartFailure> {
    let failed = |doing: &'static str| move |error: io::Error| StartFailure::new(doing, &error);
    launch.bounds.make_groups().map_err(failed("make the control group"))?;
    let (mut heard, said) = io::pipe().map_err(failed("make a pipe"))?;
    let mut this = Command::new("/proc/self/exe");
    this.arg0("gnomon-edge").arg(SUBCOMMAND).arg(&home.0).env_clear().process_group(0);
    let spawned = this.stdin(said).stdout(stdout).stderr(stderr).spawn();
    let mut child = spawned.map_err(failed("run the launcher"))?;
    // The ends that the launcher has must be its alone.
    drop(this);
    let mut text = String::new();
    heard.read_to_string(&mut text).map_err(failed("hear the launcher"))?;
    if text.is_empty() {
        return Ok(child);
    }
    child.wait().map_err(failed("wait for the launcher"))?;
    launch.bounds.remove_groups();
    Err(serde_json::from_str(&text).unwrap_or_else(|error| {
        StartFailure::new("understand the launcher", &io::Error::other(error))
    }))
}

/// Becomes the service of the instance in a directory.
pub(super) fn run(dir: &Path) -> ExitCode {
    let Ok(said) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    let failure = become_it(dir);
    let text = serde_json::to_string(&failure).unwrap_or_default();
    drop(File::from(said).write_all(text.as_bytes()));
    ExitCode::FAILURE
}

fn become_it(dir: &Path) -> StartFailure {
    let record = match Instance::read(dir) {
        Ok(Some(record)) => record,
        Ok(None) => return StartFailure::new("read", &io::ErrorKind::NotFound.into()),
        Err(error) => return StartFailure::new("read", &error),
    };
    let launch = record.launch;
    let program = launch.argv.first().map_or("", String::as_str);
    let mut service = command(&launch, &launch.argv);
    service.stdin(Stdio::null());
    if let Err(failure) = confine(&launch) {
        return failure;
    }
    let error = service.exec();
    StartFailure::new(format_args!("run {program}"), &error)
}

fn confine(launch: &Launch) -> Result<(), StartFailure> {
    let bounds = &launch.bounds;
    let joined = bounds.join_groups();
    joined.map_err(|error| StartFailure::new("join the control group", &error))?;
    if bounds.no_new_privileges {
        set_no_new_privs()
            .map_err(|error| StartFailure::new("give up new privileges", &error.into()))?;
    }
    for (name, limit) in &bounds.ulimits {
        let Some(resource) = resource(*name) else { continue };
        set(resource, *limit, name.as_str())?;
    }
    // Last, since this program may have more already than the service is to have.
    let bytes = bounds.address_space;
    let both = |bytes| Ulimit { soft: Some(bytes), hard: Some(bytes) };
    bytes.map_or(Ok(()), |bytes| set(Resource::RLIMIT_AS, both(bytes), "address space"))
}

fn set(resource: Resource, limit: Ulimit, name: &str) -> Result<(), StartFailure> {
    let number = |limit: Option<u64>| limit.unwrap_or(RLIM_INFINITY);
    setrlimit(resource, number(limit.soft), number(limit.hard))
        .map_err(|error| StartFailure::new(format_args!("set the limit {name}"), &error.into()))
}

fn resource(name: UlimitName) -> Option<Resource> {
    Some(match name.as_str() {
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "locks" => Resource::RLIMIT_LOCKS,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        "nice" => Resource::RLIMIT_NICE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "rss" => Resource::RLIMIT_RSS,
        "rtprio" => Resource::RLIMIT_RTPRIO,
        "rttime" => Resource::RLIMIT_RTTIME,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_that_an_app_may_name_is_one_of_the_kernel() {
        for name in UlimitName::ALL {
            assert!(resource(name.parse().unwrap()).is_some(), "{name}");
        }
    }
}
