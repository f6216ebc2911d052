//! Traces, as a collector gets them from the program.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use crate::bench::DEADLINE;
use crate::process::{api, serve, signal, wait_ready};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that keeps what it gets, or refuses it.
#[derive(Clone)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
    answer: StatusCode,
    url: String,
}

impl Collector {
    async fn start(answer: StatusCode) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (spans, services) = (Arc::default(), Arc::default());
        let collector = Self { spans, services, answer, url };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans, when there is one of this name.
    async fn with(&self, name: &str) -> Vec<Span> {
        let began = Instant::now();
        loop {
            let spans = self.spans();
            if spans.iter().any(|span| span.name == name) {
                return spans;
            }
            assert!(began.elapsed() < DEADLINE, "no span {name} came: {spans:#?}");
            tokio::task::yield_now().await;
        }
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) -> StatusCode {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let about = resource.resource.unwrap().attributes.into_iter();
        let service = about.filter(|it| it.key == "service.name").map(|it| text(it.value));
        collector.services.lock().unwrap_or_else(PoisonError::into_inner).extend(service);
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        collector.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
    }
    collector.answer
}

fn text(value: Option<opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    span.attributes.iter().map(|it| (it.key.clone(), text(it.value.clone()))).collect()
}

fn end(mut child: Child) {
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}

fn start(data: &std::path::Path, environment: &[(&str, &str)]) -> (Child, Value) {
    let mut command = serve(data, &[]);
    command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT").envs(environment.iter().copied());
    wait_ready(&mut command)
}

// The collector answers while the test waits for the program's end.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_one_trace_with_that_of_the_caller_from_the_request_to_the_commit() {
    let (collector, dir) = (Collector::start(StatusCode::OK).await, tempfile::tempdir().unwrap());
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url)];
    let (child, ready) = start(dir.path(), &environment);
    let api = api(&ready, dir.path());
    api.create("site-1").await;
    let write = api.request(reqwest::Method::PATCH, "/v1/nodes/site-1/shadows/device/pump-7");
    let write = write.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    assert!(write.json(&json!({ "price": 1 })).send().await.unwrap().status().is_success());
    // What was not sent yet is sent at the end.
    end(child);

    let spans = collector.with("commit").await;
    let named = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let ours = found.find(|span| gnomon_schemas::hex::of(&span.trace_id) == TRACE);
        ours.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
    };
    let request = named("PATCH /v1/nodes/{node}/shadows/{*key}");
    assert_eq!(gnomon_schemas::hex::of(&request.parent_span_id), PARENT);
    let about = attributes(request);
    assert_eq!(about["http.response.status_code"], "201");
    assert_eq!(about["http.request.method"], "PATCH");
    let command = named("command");
    assert_eq!(command.parent_span_id, request.span_id);
    let about = attributes(command);
    assert_eq!((&*about["node"], &*about["shadow"]), ("site-1", "device/pump-7"));
    assert_eq!((&*about["action"], &*about["outcome"]), ("write", "accepted"));
    let is_round = |span: &&Span| {
        span.name == "round" && span.links.iter().any(|link| link.span_id == command.span_id)
    };
    let round = spans.iter().find(is_round).expect("the round is linked to the command");
    let commit = spans.iter().find(|span| span.parent_span_id == round.span_id);
    let commit = commit.expect("the round has committed");
    assert_eq!((&*commit.name, &*attributes(commit)["commands"]), ("commit", "1"));
    assert!(commit.start_time_unix_nano >= command.start_time_unix_nano);
    assert!(commit.end_time_unix_nano <= command.end_time_unix_nano);
    let services = collector.services.lock().unwrap().clone();
    assert!(services.iter().all(|service| service == "gnomon-cloud"), "{services:?}");
}

// The collector answers while the test waits for the program's end.
#[tokio::test(flavor = "multi_thread")]
async fn who_decides_that_a_trace_is_not_recorded_gets_none() {
    let (collector, dir) = (Collector::start(StatusCode::OK).await, tempfile::tempdir().unwrap());
    let file = dir.path().join("cloud.toml");
    let text = format!("[traces]\nendpoint = \"{}\"\nratio = 0.0\n", collector.url);
    std::fs::write(&file, text).unwrap();
    let data = dir.path().join("data");
    let mut command = serve(&data, &["--config", file.to_str().unwrap()]);
    let (child, ready) = wait_ready(command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let api = api(&ready, &data);
    api.create("site-1").await;
    let read = api.request(reqwest::Method::GET, "/v1/nodes/site-1");
    let read = read.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    assert!(read.send().await.unwrap().status().is_success());
    end(child);
    let names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["GET /v1/nodes/{node}"], "only what the caller wanted recorded");
}

// The collector answers while the test waits for the program's end.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_refuses_costs_traces_and_nothing_else() {
    let refusing = Collector::start(StatusCode::FORBIDDEN).await;
    for url in ["http://127.0.0.1:9", &*refusing.url] {
        let dir = tempfile::tempdir().unwrap();
        let environment =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
        let (mut child, ready) = start(dir.path(), &environment);
        let api = api(&ready, dir.path());
        api.create("site-1").await;
        signal(&child, Signal::SIGTERM);
        assert!(child.wait().unwrap().success(), "{url}");
        let mut log = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut log).unwrap();
        assert!(log.contains("traces are lost"), "{url}: {log}");
        assert!(!log.contains("ERROR"), "{log}");
    }
}

// The collector answers while the test waits for the program's end.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_is_sent() {
    let (collector, dir) = (Collector::start(StatusCode::OK).await, tempfile::tempdir().unwrap());
    let url = &*collector.url;
    for more in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let (child, ready) = start(dir.path(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", url), more]);
        api(&ready, dir.path()).get("/v1/nodes").await;
        end(child);
    }
    let (child, ready) = start(dir.path(), &[]);
    api(&ready, dir.path()).get("/v1/nodes").await;
    end(child);
    assert!(collector.spans().is_empty());
}
