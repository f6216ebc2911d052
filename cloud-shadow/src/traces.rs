//! Traces for OpenTelemetry, over OTLP (HTTP, protobuf). Off unless an endpoint is given; a collector
//! that is away or slow costs spans and never anything else.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::registry::LookupSpan;

use crate::quiet::Quiet;

/// What is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// The collector, as in `http://127.0.0.1:4318`; `None`: what the environment says.
    pub endpoint: Option<String>,
    /// Which part of the traces is recorded that nobody else has decided about, from 0 to 1.
    pub ratio: f64,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { endpoint: None, ratio: 1.0 }
    }
}

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The client cannot be made.
    #[error("the client for the traces' collector cannot be made")]
    Client(#[from] reqwest::Error),
    /// Something about the settings is wrong.
    #[error("the traces' collector cannot be used; look at [traces] and the variables OTEL_*")]
    Exporter(#[from] ExporterBuildError),
}

/// Where spans go.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

/// How long the last spans may take at the end.
const LAST: Duration = Duration::from_secs(5);

/// How long the collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Traces {
    /// Begins to export, if there is somewhere to; the environment wins over `config`. Must be
    /// called within the runtime.
    pub fn start(config: &TracesConfig) -> Result<Option<Self>, TracesError> {
        let said = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let is_off = said("OTEL_SDK_DISABLED").is_some_and(|text| text == "true")
            || said("OTEL_TRACES_EXPORTER").is_some_and(|text| text == "none");
        let by_environment =
            said(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT).or(said(OTEL_EXPORTER_OTLP_ENDPOINT));
        let Some(endpoint) = by_environment.as_ref().or(config.endpoint.as_ref()) else {
            return Ok(None);
        };
        if is_off {
            return Ok(None);
        }
        let client = Client::new(endpoint.starts_with("https:"))?;
        let mut exporter = SpanExporter::builder().with_http().with_http_client(client);
        if by_environment.is_none() {
            let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
            exporter = exporter.with_endpoint(endpoint);
        }
        let mut resource = Resource::builder();
        if said("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("gnomon-cloud");
        }
        let mut provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter.build()?);
        if said("OTEL_TRACES_SAMPLER").is_none() {
            let ratio = Box::new(Sampler::TraceIdRatioBased(config.ratio));
            provider = provider.with_sampler(Sampler::ParentBased(ratio));
        }
        Ok(Some(Self(provider.build())))
    }

    /// What hands the spans over.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.0.tracer("gnomon-cloud");
        let filter = FilterFn::new(is_exported).with_max_level_hint(LevelFilter::DEBUG);
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(filter)
    }

    /// Sends what is left.
    pub async fn stop(self) {
        let end = move || self.0.shutdown_with_timeout(LAST);
        match tokio::task::spawn_blocking(end).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not exported"),
            Err(error) => tracing::warn!(%error, "the export of traces ended by a panic"),
        }
    }
}

/// The cloud's own spans, and what went wrong in them.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    let is_ours = metadata.target().starts_with("gnomon");
    is_ours && (metadata.is_span() || *metadata.level() <= Level::WARN)
}

/// Sends batches from the runtime, since the thread that exports is not of it.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    // A lock, because the trait hands out `&self`; batches are sent one after the other.
    quiet: Mutex<Quiet>,
}

impl Client {
    fn new(is_tls: bool) -> Result<Self, reqwest::Error> {
        // A second start in this process finds it there.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = reqwest::Client::builder().timeout(TIMEOUT);
        // A container may have no certificates of public authorities, and needs none for this.
        let builder = if is_tls { builder } else { builder.tls_certs_only(Vec::new()) };
        let (http, runtime) = (builder.build()?, Handle::current());
        Ok(Self { http, runtime, quiet: Mutex::new(Quiet::default()) })
    }

    fn complain(&self, reason: &str) {
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = quiet.speak() {
            tracing::warn!(reason, unsaid, "traces are lost: the collector does not take them");
        }
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Sending<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let sending = self.runtime.spawn(send(self.http.clone(), request));
        Box::pin(async move {
            let sent = sending.await.map_err(HttpError::from).and_then(|sent| sent);
            match &sent {
                Ok(response) if response.status().is_success() => {}
                Ok(response) => self.complain(response.status().as_str()),
                Err(error) => self.complain(&crate::chain(&**error)),
            }
            sent
        })
    }
}

async fn send(
    http: reqwest::Client,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let mut response = http.execute(request.try_into()?).await?;
    let mut answer = Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        std::mem::swap(headers, response.headers_mut());
    }
    Ok(answer.body(response.bytes().await?)?)
}
