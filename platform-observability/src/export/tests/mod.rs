//! Against backends that misbehave, over real sockets.

mod answers;
mod requests;
mod self_test;
mod spool;
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
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::trace::Sampler;

use super::{Providers, SignalStatus, Spool};
use crate::Error;
use crate::client::tests::closed_port;
use crate::config::{Batches, Compression, Destination, Destinations, Endpoint, Limits, Tls};

/// Long enough for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the backend does with a request, by its number from 0.
type Script = fn(usize, TcpStream);

struct Backend {
    url: String,
    requests: Arc<AtomicUsize>,
    /// How many bytes the largest request's body had.
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

/// The head, in lower case, and the body.
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

fn answer(mut stream: impl Write, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

fn providers(url: &str, timeout: Duration, queue: usize) -> Providers {
    spooling(url, timeout, queue, None)
}

fn spooling(url: &str, timeout: Duration, queue: usize, spool: Option<Spool>) -> Providers {
    limited(
        url,
        timeout,
        queue,
        spool,
        Compression::Gzip,
        Limits::default(),
    )
}

fn limited(
    url: &str,
    timeout: Duration,
    queue: usize,
    spool: Option<Spool>,
    compression: Compression,
    limits: Limits,
) -> Providers {
    let mut all = destinations(url, timeout, queue, limits);
    for destination in [&mut all.traces, &mut all.metrics, &mut all.logs] {
        if let Destination::Otlp(endpoint) = destination {
            endpoint.compression = compression;
        }
    }
    started(&all, spool)
}

/// Everything to `url`, as little as may be said of it.
fn destinations(url: &str, timeout: Duration, queue: usize, limits: Limits) -> Destinations {
    let endpoint = || {
        Destination::Otlp(Endpoint {
            url: url.to_owned(),
            headers: Vec::new(),
            compression: Compression::Gzip,
            timeout,
            tls: Tls::default(),
        })
    };
    let batches = Batches {
        queue,
        size: queue.min(512),
        delay: Duration::from_secs(5),
    };
    Destinations {
        traces: endpoint(),
        metrics: endpoint(),
        logs: endpoint(),
        disabled: false,
        sampler: Sampler::AlwaysOn,
        sampling: crate::http::Sampling::default(),
        methods: crate::http::Methods::default(),
        propagation: crate::propagation::Propagation::new(true, true),
        limits,
        spans: batches,
        log_records: batches,
        metric_interval: Duration::from_secs(60),
        temporality: Temporality::Cumulative,
    }
}

fn started(destinations: &Destinations, spool: Option<Spool>) -> Providers {
    let resource = Resource::builder_empty().build();
    let spool = spool.map(|spool| spool.open().unwrap());
    let providers = Providers::new(destinations, &resource, spool.as_ref()).unwrap();
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

/// A signal whose items wait in a queue.
#[derive(Clone, Copy, Debug)]
enum Queued {
    Spans,
    Logs,
}

const QUEUED: [Queued; 2] = [Queued::Spans, Queued::Logs];

impl Queued {
    fn make(self, providers: &Providers, count: usize) {
        match self {
            Self::Spans => spans(providers, count),
            Self::Logs => logs(providers, count),
        }
    }

    fn status(self, providers: &Providers) -> SignalStatus {
        let status = providers.ledgers.status();
        match self {
            Self::Spans => status.traces,
            Self::Logs => status.logs,
        }
    }

    /// Sends what there is; what became of it.
    fn flushed(self, providers: &Providers) -> SignalStatus {
        // Its error is what the status tells more of.
        let _ = match self {
            Self::Spans => providers.tracer.as_ref().unwrap().force_flush(),
            Self::Logs => providers.logger.as_ref().unwrap().force_flush(),
        };
        self.status(providers)
    }

    /// The instrument that tells the same, such as `exporter` and `exported`.
    fn instrument(self, component: &str, what: &str) -> String {
        let item = match self {
            Self::Spans => "span",
            Self::Logs => "log",
        };
        format!("otel.sdk.{component}.{item}.{what}")
    }
}

/// Sends what there is; what became of the spans.
fn flushed(providers: &Providers) -> SignalStatus {
    Queued::Spans.flushed(providers)
}

/// What became of the spans once `settled` says that it is settled.
fn awaited(providers: &Providers, settled: impl Fn(&SignalStatus) -> bool) -> SignalStatus {
    let began = std::time::Instant::now();
    loop {
        let status = flushed(providers);
        if settled(&status) || began.elapsed() > PATIENCE {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Stops `providers`, and waits for what comes of it.
fn stopped(providers: Providers) -> Result<(), Error> {
    let (done, ended) = mpsc::channel();
    let stopping = providers.shut_down(PATIENCE, move |result| done.send(result).unwrap());
    stopping.unwrap();
    ended.recv_timeout(PATIENCE).unwrap()
}

#[track_caller]
fn balanced(status: &SignalStatus, made: u64) {
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
        made,
        "{status:?}"
    );
}
