//! The local socket of an agent, as a device behind the site uses it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long a device waits: agents are frozen, too.
const PATIENCE: Duration = Duration::from_secs(3);

/// The answer, or why there is none.
pub(crate) fn ask(data: &Path, request: &Value) -> std::io::Result<Value> {
    let mut socket = UnixStream::connect(data.join("agent.sock"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    writeln!(socket, "{request}")?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
