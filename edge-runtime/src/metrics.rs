//! What the agent tells Prometheus; the only place that names metrics. They are made from the
//! agent's status when they are asked for, so nothing is counted twice and nothing is kept.

use std::fmt;

use gnomon_schemas::app::AppState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::local::{AppReport, Status};

/// The states that an app may be in; each is a series of its own.
const STATES: [AppState; 8] = [
    AppState::Pending,
    AppState::Pulling,
    AppState::Starting,
    AppState::Running,
    AppState::Degraded,
    AppState::Failed,
    AppState::Stopping,
    AppState::Refused,
];

/// The metrics of a status, in the text format of `OpenMetrics`.
pub fn text(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("gnomon_edge");
    registry.register_collector(Box::new(Metrics(status)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Metrics(Status);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        self.link(out)?;
        self.budget(out)?;
        self.apps(out)
    }
}

impl Metrics {
    fn link(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let link = &self.0.link;
        gauge(out, "link_up", "Whether the cloud can be reached", None, u64::from(link.up))?;
        let text = "For how long the link has been as it is";
        gauge(out, "link_state", text, Some(&Unit::Seconds), link.for_s)?;
        let bytes = Some(&Unit::Bytes);
        let text = "Received over the link, with what TLS and MQTT add";
        counter(out, "link_received", text, bytes, link.bytes_in)?;
        let text = "Sent over the link, with what TLS and MQTT add";
        counter(out, "link_sent", text, bytes, link.bytes_out)?;
        let text = "Messages about what is desired, both ways";
        counter(out, "link_desired", text, bytes, link.desired)?;
        let text = "Messages about what is reported, both ways";
        counter(out, "link_reported", text, bytes, link.reported)?;
        let quality = link.quality;
        let text = "How often the link came up";
        counter(out, "link_connections", text, None, quality.connections)?;
        let text = "How often it came up by a resumed TLS session";
        counter(out, "link_resumed", text, None, quality.resumed)?;
        let text = "The present keep-alive";
        gauge(out, "link_keep_alive", text, Some(&Unit::Seconds), quality.keep_alive_s)?;
        if let Some(millis) = quality.rtt_ms {
            let text = "How long the broker's last answer took, in milliseconds";
            gauge(out, "link_round_trip_milliseconds", text, None, millis)?;
        }
        let pending = u64::try_from(self.0.pending.len()).unwrap_or(u64::MAX);
        let text = "Shadows whose reports the cloud is not known to hold";
        gauge(out, "pending_shadows", text, None, pending)
    }

    fn budget(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (budget, bytes) = (&self.0.budget, Some(&Unit::Bytes));
        let text = "Given to the store since the agent started";
        counter(out, "store_written", text, bytes, budget.written)?;
        let text = "Given to the store in the last hour";
        gauge(out, "store_written_last_hour", text, bytes, budget.written_last_hour)?;
        let is_failing = u64::from(self.0.store.state != "ok");
        gauge(out, "store_failing", "Whether the store takes no changes", None, is_failing)?;
        let text = "Carried by the link in this day (UTC)";
        gauge(out, "link_today", text, bytes, budget.link_today)?;
        let text = "Carried by the link in this month (UTC)";
        gauge(out, "link_this_month", text, bytes, budget.link_this_month)?;
        let text = "Whether reports wait for a budget";
        gauge(out, "reports_wait", text, None, u64::from(budget.reports_wait))
    }

    fn apps(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut states =
            out.encode_descriptor("app_state", "1 for the state that the app is in", None, kind)?;
        for app in &self.0.apps {
            one_of_each(&mut states, app)?;
        }
        let text = "How often services were started again";
        let mut restarts =
            out.encode_descriptor("service_restarts", text, None, MetricType::Gauge)?;
        for app in &self.0.apps {
            let services = app.status.iter().flat_map(|status| &status.services);
            for (service, status) in services {
                let labels = [("app", app.app.as_str()), ("service", service.as_str())];
                let series = restarts.encode_family(&labels)?;
                ConstGauge::new(u64::from(status.restarts)).encode(series)?;
            }
        }
        Ok(())
    }
}

fn one_of_each(states: &mut MetricEncoder<'_>, app: &AppReport) -> fmt::Result {
    let Some(told) = &app.status else { return Ok(()) };
    for state in STATES {
        let name = serde_json::to_value(state).unwrap_or_default();
        let labels = [("app", app.app.as_str()), ("state", name.as_str().unwrap_or_default())];
        let series = states.encode_family(&labels)?;
        ConstGauge::new(u64::from(told.state == state)).encode(series)?;
    }
    Ok(())
}

fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> fmt::Result {
    let encoder = out.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> fmt::Result {
    let encoder = out.encode_descriptor(name, help, unit, MetricType::Counter)?;
    ConstCounter::new(value).encode(encoder)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_told_in_the_text_format() {
        let status = json!({
            "node": "site-1", "agent": "1", "orchestrator": {}, "desired_complete": true,
            "store": { "state": "ok" }, "down": null, "up": null, "pending": ["app/web"],
            "link": {
                "up": true, "for_s": 3, "bytes_in": 10, "bytes_out": 20, "desired": 5,
                "quality": { "rtt_ms": 81, "connections": 2, "resumed": 1, "keep_alive_s": 60, "mqtt": 5 },
            },
            "apps": [{ "app": "web", "busy": false, "status": {
                "desired_version": 1, "state": "running", "services": { "main": { "state": "running", "restarts": 4 } },
            } }],
        });
        let text = text(serde_json::from_value(status).unwrap()).unwrap();
        for line in [
            "# TYPE gnomon_edge_link_up gauge",
            "gnomon_edge_link_up 1",
            "gnomon_edge_link_received_bytes_total 10",
            "gnomon_edge_link_desired_bytes_total 5",
            "gnomon_edge_link_connections_total 2",
            "gnomon_edge_link_round_trip_milliseconds 81",
            "gnomon_edge_pending_shadows 1",
            "gnomon_edge_app_state{app=\"web\",state=\"running\"} 1",
            "gnomon_edge_app_state{app=\"web\",state=\"failed\"} 0",
            "gnomon_edge_service_restarts{app=\"web\",service=\"main\"} 4",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
