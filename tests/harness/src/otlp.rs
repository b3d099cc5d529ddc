//! An OTLP/HTTP receiver: a server on a free port that stores the requests it receives.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// A receiver of all three signals.
#[derive(Clone, Debug)]
pub struct Receiver {
    address: SocketAddr,
    exports: Arc<Mutex<Vec<Export>>>,
}

/// One received request.
#[derive(Clone, Debug)]
pub struct Export {
    /// The path, such as `/v1/traces`.
    pub path: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
}

impl Receiver {
    /// Starts the receiver.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("its address");
        let exports = Arc::new(Mutex::new(Vec::new()));
        let app = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&exports));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, exports }
    }

    /// The receiver's base URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests to `path` so far.
    pub fn exports(&self, path: &str) -> Vec<Export> {
        let exports = self.exports.lock().unwrap();
        exports
            .iter()
            .filter(|export| export.path == path)
            .cloned()
            .collect()
    }

    /// The spans received so far.
    pub fn spans(&self) -> Vec<Span> {
        self.decoded("/v1/traces", ExportTraceServiceRequest::decode)
            .into_iter()
            .flat_map(|request| request.resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect()
    }

    /// The log records received so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        self.decoded("/v1/logs", ExportLogsServiceRequest::decode)
            .into_iter()
            .flat_map(|request| request.resource_logs)
            .flat_map(|resource| resource.scope_logs)
            .flat_map(|scope| scope.log_records)
            .collect()
    }

    /// The targets of the log records received so far. In OTLP, a target is the name of a scope.
    pub fn targets(&self) -> Vec<String> {
        self.decoded("/v1/logs", ExportLogsServiceRequest::decode)
            .into_iter()
            .flat_map(|request| request.resource_logs)
            .flat_map(|resource| resource.scope_logs)
            .filter_map(|scope| scope.scope)
            .map(|scope| scope.name)
            .collect()
    }

    /// The metrics received so far.
    pub fn metrics(&self) -> Vec<Metric> {
        self.decoded("/v1/metrics", |body| {
            ExportMetricsServiceRequest::decode(body)
        })
        .into_iter()
        .flat_map(|request| request.resource_metrics)
        .flat_map(|resource| resource.scope_metrics)
        .flat_map(|scope| scope.metrics)
        .collect()
    }

    /// The resource attributes of the traces received so far.
    pub fn resource(&self) -> Vec<KeyValue> {
        self.decoded("/v1/traces", ExportTraceServiceRequest::decode)
            .into_iter()
            .flat_map(|request| request.resource_spans)
            .filter_map(|resource| resource.resource)
            .flat_map(|resource| resource.attributes)
            .collect()
    }

    fn decoded<T>(
        &self,
        path: &str,
        decode: impl Fn(Bytes) -> Result<T, prost::DecodeError>,
    ) -> Vec<T> {
        let exports = self.exports(path).into_iter();
        exports
            .map(|export| decode(export.body).expect("OTLP protobuf"))
            .collect()
    }
}

async fn receive(
    State(exports): State<Arc<Mutex<Vec<Export>>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let body = match headers.get("content-encoding").map(HeaderValue::as_bytes) {
        None => body,
        Some(b"gzip") => {
            let mut plain = Vec::new();
            match flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain) {
                Ok(_) => plain.into(),
                Err(_) => return StatusCode::BAD_REQUEST,
            }
        }
        Some(_) => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
    };
    exports.lock().unwrap().push(Export {
        path: uri.path().to_owned(),
        headers,
        body,
    });
    StatusCode::OK
}

/// The value of the attribute `key`, if it is a string.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?;
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// How long a child process of a test may take before the test fails instead of hanging.
pub const HANG: Duration = Duration::from_secs(60);
