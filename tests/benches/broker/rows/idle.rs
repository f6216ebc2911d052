//! What a connection costs in memory that says nothing.

use crate::certificates::Certificates;
use crate::client;
use crate::process::Server;

/// Bytes of resident memory per connection, without TLS.
pub(crate) fn plain(server: &Server, clients: usize) -> anyhow::Result<f64> {
    drop(client::plain(server.plain, "first")?);
    let before = server.resident()?;
    let held: Vec<_> = (0..clients)
        .map(|n| client::plain(server.plain, &format!("site-{n}")))
        .collect::<Result<_, _>>()?;
    Ok((server.resident()? - before) / held.len() as f64)
}

/// Bytes of resident memory per connection with mutual TLS, each with a certificate of its own.
pub(crate) fn tls(
    server: &Server,
    certificates: &Certificates,
    clients: usize,
) -> anyhow::Result<f64> {
    let config = certificates.client(false)?;
    drop(client::tls(server.tls, &config, "first")?);
    let before = server.resident()?;
    let held: Vec<_> = (0..clients)
        .map(|n| client::tls(server.tls, &certificates.another(n)?, &format!("site-{n}")))
        .collect::<Result<_, _>>()?;
    Ok((server.resident()? - before) / held.len() as f64)
}
