//! Starts the cloud, the link emulator and two sites that join with tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use super::convergence;
use crate::client::Client;
use crate::demo::links::Links;
use crate::demo::report::Report;
use crate::demo::sites::Site;
use crate::demo::stage::Stage;
use crate::session::read_token;

const TOKEN_LIFE: Duration = Duration::from_mins(5);
const ONLINE: Duration = Duration::from_secs(40);

pub(super) async fn play(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    stage.back.screen.step("Start a cloud, an emulated bad 4G link, and two sites behind it");
    let (kind, why) = (stage.chosen.kind(), &stage.chosen.why);
    stage.back.screen.say(&format!("orchestrator: {kind} ({why})"));
    let broker = start_cloud(stage).await?;
    start_links(stage, &broker).await?;
    report.link_profile = Links::describe();
    for index in 0..stage.sites.len() {
        let site = stage.sites.get(index).context("there are two sites")?.clone();
        join(stage, &site).await?;
    }
    for site in stage.sites.clone() {
        wait_online(stage, &site).await?;
        stage.back.screen.say(&format!("{} is online as {}", site.label, site.node));
    }
    Ok(())
}

/// Returns where its broker listens.
async fn start_cloud(stage: &mut Stage) -> anyhow::Result<String> {
    let mut command = Command::new(&stage.binaries.cloud);
    command.arg("serve").arg("--data").arg(stage.cloud_data());
    command.args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    let ready = stage.back.cast.start("cloud", command).await?;
    let text = |name: &str| {
        let text = ready.get(name).and_then(|value| value.as_str()).map(ToOwned::to_owned);
        text.with_context(|| format!("the cloud's ready line has no {name}: {ready}"))
    };
    let (http, broker) = (text("http")?, text("mqtt")?);
    let token = read_token(&stage.token_file())?;
    stage.client = Some(Client::new(&format!("http://{http}"), Some(token), None)?);
    stage.back.screen.say(&format!("cloud: http://{http}, MQTT over TLS at {broker}"));
    Ok(broker)
}

async fn start_links(stage: &mut Stage, broker: &str) -> anyhow::Result<()> {
    let labels = stage.sites.each_ref().map(|site| site.label);
    let dir = stage.state().to_owned();
    let (sim, cast) = (&stage.binaries.sim, &mut stage.back.cast);
    let links = Links::start(sim, cast, &dir, &labels, broker).await?;
    stage.back.screen.say(&format!("link of each site: {}", Links::describe()));
    stage.links = Some(links);
    Ok(())
}

/// Creates the node, makes a token, lets the site enrol with it and starts its agent.
async fn join(stage: &mut Stage, site: &Site) -> anyhow::Result<()> {
    let client = stage.client()?.clone();
    let labels = BTreeMap::from([("demo".into(), site.label.into())]);
    client.put_node(&site.node, &labels, None, None).await?;
    let token = client.join_token(&site.node, TOKEN_LIFE).await?.token;
    let mut command = Command::new(&stage.binaries.edge);
    command.args(["join", client.server(), "--token", &token]).arg("--data").arg(&site.data);
    stage.back.cast.call(&format!("{}-join", site.label), command).await?;
    let command = stage.run_edge(site)?;
    stage.back.cast.start(site.label, command).await?;
    Ok(())
}

async fn wait_online(stage: &mut Stage, site: &Site) -> anyhow::Result<()> {
    let client = stage.client()?.clone();
    let what = format!("{} is online and in sync", site.label);
    let look = async || Ok(convergence::in_sync(&client.node(&site.node).await?));
    stage.back.until(&what, ONLINE, look).await
}
