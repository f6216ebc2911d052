//! Runs `gnomon` and shows everything that a user would see.

use std::path::Path;
use std::process::{Command, Stdio};

/// A `gnomon` without settings from outside.
pub(crate) fn gnomon(server: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gnomon"));
    command
        .args(args)
        .env_clear()
        .env("GNOMON_SERVER", server)
        .env("GNOMON_TOKEN", "secret")
        .env("COLUMNS", "100")
        .stdin(Stdio::null());
    command
}

/// What a user sees: exit code, stdout, stderr; the server's address is always the same.
pub(crate) fn seen(server: &str, args: &[&str]) -> String {
    seen_of(gnomon(server, args), server)
}

/// The same in a folder.
pub(crate) fn seen_in(folder: &Path, server: &str, args: &[&str]) -> String {
    let mut command = gnomon(server, args);
    command.current_dir(folder);
    seen_of(command, server)
}

/// The same of a prepared command.
pub(crate) fn seen_of(mut command: Command, server: &str) -> String {
    let output = command.output().unwrap();
    let code = output.status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = format!(
        "exit: {code}\n--- stdout\n{}--- stderr\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    all.replace(server, "http://CLOUD")
}
