//! Export to misbehaving endpoints, over real sockets.

mod requests;
mod responses;
mod self_test;
mod spool;
mod spool_balance;
mod tls;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::logs::{LogRecord, Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanId, TraceFlags, TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry_otlp::Compression;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::trace::Sampler;

use super::{Providers, SignalStatus, Spool};
use crate::config::{BatchConfig, Config, Endpoint, Exporter, Limits, Tls};
use crate::error::Error;
use crate::http::closed_port;
use crate::signal::{PerSignal, Signal};

/// A timeout that no test reaches unless it fails.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Handles a request, given its number (from 0) and its connection.
type Script = fn(usize, TcpStream);

/// An endpoint whose responses a [`Script`] determines.
struct Backend {
    url: String,
    requests: Arc<AtomicUsize>,
    /// The size of the largest request's body.
    largest: Arc<AtomicUsize>,
}

fn backend(script: Script) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/any", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let largest = Arc::new(AtomicUsize::new(0));
    let sizes = Arc::clone(&largest);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, counter) = (stream.unwrap(), Arc::clone(&counter));
            let sizes = Arc::clone(&sizes);
            std::thread::spawn(move || {
                if let Some((_, body)) = read_request(&stream) {
                    sizes.fetch_max(body.len(), Ordering::SeqCst);
                    script(counter.fetch_add(1, Ordering::SeqCst), stream);
                }
            });
        }
    });
    Backend {
        url,
        requests,
        largest,
    }
}

/// Reads the head, in lower case, and the body.
fn read_request(mut stream: impl Read) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1)?;
    let length = length.split("\r\n").next()?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn respond(mut stream: impl Write, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

fn providers(url: &str, timeout: Duration, queue: usize) -> Providers {
    providers_with_spool(url, timeout, queue, None)
}

fn providers_with_spool(
    url: &str,
    timeout: Duration,
    queue: usize,
    spool: Option<Spool>,
) -> Providers {
    providers_with(
        url,
        timeout,
        queue,
        spool,
        Some(Compression::Gzip),
        Limits::default(),
    )
}

fn providers_with(
    url: &str,
    timeout: Duration,
    queue: usize,
    spool: Option<Spool>,
    compression: Option<Compression>,
    limits: Limits,
) -> Providers {
    let mut config = config_for(url, timeout, queue, limits);
    for signal in Signal::ALL {
        endpoint(&mut config, signal).compression = compression;
    }
    start(&config, spool)
}

/// Exports all signals to `url`.
fn config_for(url: &str, timeout: Duration, queue: usize, limits: Limits) -> Config {
    let exporter = |_| {
        Exporter::Otlp(Endpoint {
            url: url.to_owned(),
            headers: Vec::new(),
            compression: Some(Compression::Gzip),
            timeout,
            tls: Tls::default(),
        })
    };
    let batches = BatchConfig {
        max_queue_size: queue,
        max_export_batch_size: queue.min(512),
        schedule_delay: Duration::from_secs(5),
    };
    Config {
        exporters: PerSignal::from_fn(exporter),
        disabled: false,
        sampler: Sampler::AlwaysOn,
        sampling: crate::http::SamplingHint::default(),
        methods: crate::http::KnownMethods::default(),
        propagator: crate::propagation::Propagator::new(true, true),
        limits,
        span_batches: batches,
        log_batches: batches,
        metric_interval: Duration::from_secs(60),
        temporality: Temporality::Cumulative,
    }
}

fn endpoint(config: &mut Config, signal: Signal) -> &mut Endpoint {
    match &mut config.exporters[signal] {
        Exporter::Otlp(endpoint) => endpoint,
        other => panic!("not an endpoint: {other:?}"),
    }
}

fn start(config: &Config, spool: Option<Spool>) -> Providers {
    let resource = Resource::builder_empty().build();
    let spool = spool.map(|spool| spool.open().unwrap());
    let providers = Providers::new(config, &resource, spool.as_ref()).unwrap();
    providers.start().unwrap();
    providers
}

fn spans(providers: &Providers, count: usize) {
    let tracer = providers.tracer.as_ref().unwrap().tracer("test");
    for n in 0..count {
        let mut span = tracer.start("work");
        span.set_attribute(KeyValue::new("n", i64::try_from(n).unwrap()));
        span.end();
    }
}

fn logs(providers: &Providers, count: usize) {
    let logger = providers.logger.as_ref().unwrap().logger("test");
    for _ in 0..count {
        let mut record = logger.create_log_record();
        record.set_body("hello".into());
        logger.emit(record);
    }
}

/// A signal whose items are queued.
#[derive(Clone, Copy, Debug)]
enum Queued {
    Spans,
    Logs,
}

const QUEUED: [Queued; 2] = [Queued::Spans, Queued::Logs];

impl Queued {
    fn emit(self, providers: &Providers, count: usize) {
        match self {
            Self::Spans => spans(providers, count),
            Self::Logs => logs(providers, count),
        }
    }

    fn status(self, providers: &Providers) -> SignalStatus {
        let status = providers.status();
        match self {
            Self::Spans => status.traces,
            Self::Logs => status.logs,
        }
    }

    /// Flushes the queue, and returns the signal's status.
    fn flush(self, providers: &Providers) -> SignalStatus {
        // The status contains the error.
        let _ = match self {
            Self::Spans => providers.tracer.as_ref().unwrap().force_flush(),
            Self::Logs => providers.logger.as_ref().unwrap().force_flush(),
        };
        self.status(providers)
    }

    /// The name of one of the SDK's instruments; `component` is `exporter` or `processor`.
    fn instrument(self, component: &str, what: &str) -> String {
        let item = match self {
            Self::Spans => "span",
            Self::Logs => "log",
        };
        format!("otel.sdk.{component}.{item}.{what}")
    }
}

/// Flushes the queue of spans, and returns their status.
fn flush(providers: &Providers) -> SignalStatus {
    Queued::Spans.flush(providers)
}

/// Waits until the status of the spans is `settled`.
fn wait_for(providers: &Providers, settled: impl Fn(&SignalStatus) -> bool) -> SignalStatus {
    let began = std::time::Instant::now();
    loop {
        let status = flush(providers);
        if settled(&status) || began.elapsed() > TIMEOUT {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Shuts `providers` down, and waits for the result.
fn shut_down(providers: Providers) -> Result<(), Error> {
    let (done, ended) = mpsc::channel();
    let stopping = providers.shut_down(TIMEOUT, move |result| done.send(result).unwrap());
    stopping.unwrap();
    ended.recv_timeout(TIMEOUT).unwrap()
}

/// Checks that each emitted item is counted exactly once.
#[track_caller]
fn assert_balanced(status: &SignalStatus, emitted: u64) {
    let SignalStatus {
        waiting,
        spooled,
        exported,
        dropped_queue_full,
        dropped_failed,
        rejected,
        ..
    } = *status;
    assert_eq!(
        waiting + spooled + exported + dropped_queue_full + dropped_failed + rejected,
        emitted,
        "{status:?}"
    );
}
