//! Against backends that misbehave, over real sockets.

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

use super::{Providers, SignalStatus, Spool};
use crate::config::{Compression, Destination, Destinations, Endpoint, Limits};

/// Long enough for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the backend does with a request, by its number from 0.
type Script = fn(usize, TcpStream);

struct Backend {
    url: String,
    requests: Arc<AtomicUsize>,
}

fn backend(script: Script) -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/any", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, counter) = (stream.unwrap(), Arc::clone(&counter));
            std::thread::spawn(move || {
                if read_request(&stream).is_some() {
                    script(counter.fetch_add(1, Ordering::SeqCst), stream);
                }
            });
        }
    });
    Backend { url, requests }
}

/// The head, in lower case, and the body.
fn read_request(mut stream: &TcpStream) -> Option<(String, Vec<u8>)> {
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

fn answer(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) {
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
    let endpoint = || {
        Destination::Otlp(Endpoint {
            url: url.to_owned(),
            headers: Vec::new(),
            compression,
            timeout,
        })
    };
    let destinations = Destinations {
        traces: endpoint(),
        metrics: endpoint(),
        logs: endpoint(),
        disabled: false,
        sampling: crate::http::Sampling::default(),
        propagation: crate::propagation::Propagation::new(true, true),
        limits,
        span_queue: queue,
        log_queue: queue,
    };
    let resource = Resource::builder_empty().build();
    let spool = spool.map(|spool| spool.open().unwrap());
    Providers::new(&destinations, &resource, spool.as_ref()).unwrap()
}

fn spans(providers: &Providers, count: usize) {
    let tracer = providers.tracer.as_ref().unwrap().tracer("test");
    for n in 0..count {
        let mut span = tracer.start("work");
        span.set_attribute(KeyValue::new("n", i64::try_from(n).unwrap()));
        span.end();
    }
}

/// Sends what there is; what became of the spans.
fn flushed(providers: &Providers) -> SignalStatus {
    // Its error is what the status tells more of.
    let _ = providers.tracer.as_ref().unwrap().force_flush();
    providers.ledgers.status().traces
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

#[test]
fn what_is_taken_is_counted_for_every_signal() {
    let backend = backend(|_, stream| answer(&stream, "200 OK", "", b""));
    let providers = providers(&backend.url, PATIENCE, 100);
    spans(&providers, 3);
    let logger = providers.logger.as_ref().unwrap();
    for _ in 0..4 {
        let logger = logger.logger("test");
        let mut record = logger.create_log_record();
        record.set_body("hello".into());
        logger.emit(record);
    }
    let meter = providers.meter.as_ref().unwrap();
    let counter = meter.meter("test").u64_counter("made").build();
    counter.add(1, &[KeyValue::new("kind", "a")]);
    counter.add(1, &[KeyValue::new("kind", "b")]);
    assert_eq!(flushed(&providers).exported, 3);
    logger.force_flush().unwrap();
    meter.force_flush().unwrap();
    let status = providers.ledgers.status();
    assert_eq!(status.logs.exported, 4);
    // Two of ours, and what the toolkit says of the spans and logs: exported and processed.
    assert_eq!(status.metrics.exported, 6);
    for signal in [status.traces, status.logs, status.metrics] {
        assert_eq!(
            (signal.waiting, signal.dropped_failed, signal.trouble),
            (0, 0, None)
        );
    }
}

#[test]
fn a_busy_backend_is_asked_again_when_it_says() {
    let backend = backend(|n, stream| match n {
        0 => answer(&stream, "429 Too Many Requests", "retry-after: 1\r\n", b""),
        1 => answer(&stream, "503 Service Unavailable", "", b""),
        _ => answer(&stream, "200 OK", "", b""),
    });
    let providers = providers(&backend.url, PATIENCE, 100);
    spans(&providers, 3);
    let status = flushed(&providers);
    assert_eq!((status.exported, status.retries), (3, 2), "{status:?}");
    assert_eq!(status.trouble, None, "it is over");
    balanced(&status, 3);
}

#[test]
fn a_connection_cut_in_the_middle_is_tried_again() {
    let backend = backend(|n, stream| match n {
        0 => drop(stream),
        1 => {
            let mut stream = stream;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                .unwrap();
        }
        2 => {
            let mut stream = stream;
            stream.write_all(b"\x00\x01 what is this?\r\n\r\n").unwrap();
        }
        _ => answer(&stream, "200 OK", "", b""),
    });
    let providers = providers(&backend.url, PATIENCE, 100);
    spans(&providers, 3);
    let status = flushed(&providers);
    assert_eq!((status.exported, status.retries), (3, 3), "{status:?}");
}

#[test]
fn what_is_refused_for_good_is_not_sent_again() {
    for script in [
        (|_, stream| answer(&stream, "413 Payload Too Large", "", b"")) as Script,
        |_, stream| answer(&stream, "500 Internal Server Error", "", b"oh no"),
        |_, stream| answer(&stream, "401 Unauthorized", "", b""),
        |_, stream| {
            answer(
                &stream,
                "302 Found",
                "location: http://127.0.0.1:1/\r\n",
                b"",
            );
        },
    ] {
        let backend = backend(script);
        let providers = providers(&backend.url, PATIENCE, 100);
        spans(&providers, 3);
        let status = flushed(&providers);
        assert_eq!(
            (status.dropped_failed, status.retries),
            (3, 0),
            "{status:?}"
        );
        assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
        let trouble = status.trouble.as_ref().expect("it is told");
        assert!(trouble.reason.contains(char::is_numeric), "{trouble:?}");
        balanced(&status, 3);
    }
}

#[test]
fn an_answer_that_is_garbage_refuses_nothing() {
    let backend = backend(|_, stream| answer(&stream, "200 OK", "", b"<html>hello</html>"));
    let providers = providers(&backend.url, PATIENCE, 100);
    spans(&providers, 3);
    let status = flushed(&providers);
    assert_eq!((status.exported, status.rejected), (3, 0));
}

#[test]
fn partial_success_is_counted() {
    // partial_success { rejected_spans: 2 }
    let backend = backend(|_, stream| answer(&stream, "200 OK", "", &[0x0a, 2, 0x08, 2]));
    let providers = providers(&backend.url, PATIENCE, 100);
    spans(&providers, 5);
    let status = flushed(&providers);
    assert_eq!((status.exported, status.rejected), (3, 2), "{status:?}");
    balanced(&status, 5);
}

#[test]
fn an_absent_backend_is_told_and_everything_counted() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}/v1/traces?key=s3cret");
    let providers = providers(&url, Duration::from_millis(700), 100);
    spans(&providers, 3);
    let status = flushed(&providers);
    assert_eq!(status.dropped_failed, 3, "{status:?}");
    assert_eq!(
        status.trouble.as_ref().unwrap().reason,
        "it cannot be reached"
    );
    balanced(&status, 3);
}

#[test]
fn a_full_queue_drops_what_comes_last_and_counts_it() {
    // It takes the first request, and answers none.
    let (held, hold) = mpsc::channel::<()>();
    static HOLD: std::sync::Mutex<Option<mpsc::Receiver<()>>> = std::sync::Mutex::new(None);
    *HOLD.lock().unwrap() = Some(hold);
    let backend = backend(|n, stream| {
        if n == 0 {
            let hold = HOLD.lock().unwrap().take().unwrap();
            // Until the test lets go.
            let _ = hold.recv();
        }
        answer(&stream, "200 OK", "", b"");
    });
    let providers = providers(&backend.url, PATIENCE, 10);
    spans(&providers, 1);
    let flushing = providers.clone();
    let flushing = std::thread::spawn(move || flushed(&flushing));
    while backend.requests.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    spans(&providers, 100);
    let status = providers.ledgers.status().traces;
    assert_eq!(
        (status.waiting, status.dropped_queue_full),
        (11, 90),
        "{status:?}"
    );
    drop(held);
    flushing.join().unwrap();
    let status = flushed(&providers);
    assert_eq!((status.exported, status.waiting), (11, 0), "{status:?}");
    balanced(&status, 101);
}

#[test]
fn nobody_waits_at_the_end() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // By its time-out alone it would try for ten minutes.
    let providers = providers(&format!("http://{closed}/"), Duration::from_secs(600), 100);
    let ledgers = providers.ledgers.clone();
    spans(&providers, 3);
    let (done, ended) = mpsc::channel();
    providers
        .shut_down(PATIENCE, move |result| done.send(result.is_err()).unwrap())
        .unwrap();
    assert!(
        ended.recv_timeout(PATIENCE).unwrap(),
        "what is lost is told"
    );
    let status = ledgers.status().traces;
    assert_eq!(status.dropped_failed, 3, "{status:?}");
    balanced(&status, 3);
}

#[test]
fn what_is_too_large_for_one_request_is_cut() {
    let backend = backend(|_, stream| answer(&stream, "200 OK", "", b""));
    let providers = providers(&backend.url, PATIENCE, 100);
    let tracer = providers.tracer.as_ref().unwrap().tracer("test");
    for _ in 0..10 {
        let mut span = tracer.start("large");
        span.set_attribute(KeyValue::new("text", "x".repeat(1 << 20)));
        span.end();
    }
    let status = flushed(&providers);
    assert_eq!(status.exported, 10);
    let requests = backend.requests.load(Ordering::SeqCst);
    assert!(
        (4..=10).contains(&requests),
        "{requests} requests for 10 MiB"
    );
    // What a caller sent is part of it.
    let member = |n: usize| (format!("member{n}"), "x".repeat(256));
    let state = TraceState::from_key_value((0..32).map(member)).unwrap();
    let (trace, span) = (TraceId::from(1), SpanId::from(1));
    let caller = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, state);
    for _ in 0..10 {
        let links = vec![Link::with_context(caller.clone()); 128];
        let large = tracer.span_builder("large").with_links(links);
        large.start(&tracer).end();
    }
    assert_eq!(flushed(&providers).exported, 20);
    let requests = backend.requests.load(Ordering::SeqCst) - requests;
    assert!(
        (4..=10).contains(&requests),
        "{requests} requests for 10 MiB"
    );
}

#[test]
fn a_self_test_tells_a_wrong_token_from_a_right_one() {
    for (script, expected) in [
        (
            (|_, stream| answer(&stream, "200 OK", "", b"")) as Script,
            None,
        ),
        (
            |_, stream| answer(&stream, "401 Unauthorized", "", b""),
            Some("401 Unauthorized"),
        ),
    ] {
        let backend = backend(script);
        let providers = providers(&backend.url, PATIENCE, 100);
        let (done, ended) = mpsc::channel();
        let test = providers
            .clone()
            .self_test(move |result| done.send(result).unwrap());
        test.unwrap();
        let result = ended.recv_timeout(PATIENCE).unwrap();
        let message = result.err().map(|error| error.to_string());
        match (expected, &message) {
            (None, None) => {}
            (Some(expected), Some(message)) => {
                assert!(
                    message.contains(expected) && message.contains("token"),
                    "{message}"
                );
            }
            _ => panic!("{expected:?}: {message:?}"),
        }
        let status = providers.ledgers.status();
        assert_eq!(status.traces.exported + status.traces.dropped_failed, 1);
        assert_eq!(status.logs.exported + status.logs.dropped_failed, 1);
    }
}

/// Refuses until `UP` is set.
fn down_then_up(up: &'static AtomicBool) -> Backend {
    static UP: std::sync::OnceLock<&'static AtomicBool> = std::sync::OnceLock::new();
    UP.set(up).unwrap();
    backend(|_, stream| {
        if UP.get().unwrap().load(Ordering::SeqCst) {
            answer(&stream, "200 OK", "", b"");
        } else {
            answer(&stream, "503 Service Unavailable", "", b"");
        }
    })
}

#[test]
fn what_is_spooled_outlives_the_process_and_arrives() {
    static UP: AtomicBool = AtomicBool::new(false);
    let backend = down_then_up(&UP);
    let directory = tempfile::tempdir().unwrap();
    let spool = || Spool::at(directory.path().join("spool"));

    let first = spooling(&backend.url, PATIENCE, 100, Some(spool()));
    for _ in 0..3 {
        spans(&first, 5);
        flushed(&first);
    }
    let status = flushed(&first);
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (15, 0),
        "{status:?}"
    );
    balanced(&status, 15);
    let (done, ended) = mpsc::channel();
    first
        .shut_down(PATIENCE, move |result| done.send(result.is_ok()).unwrap())
        .unwrap();
    assert!(ended.recv_timeout(PATIENCE).unwrap(), "nothing is lost");

    // What is on disk is for nobody else.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(directory.path().join("spool")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o700);
    }

    // The SDK's threads end a moment later, and with them the hold on the directory.
    let began = std::time::Instant::now();
    while spool().open().is_err() {
        assert!(began.elapsed() < PATIENCE, "the directory is free again");
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = backend.requests.load(Ordering::SeqCst);
    UP.store(true, Ordering::SeqCst);
    let second = spooling(&backend.url, PATIENCE, 100, Some(spool()));
    spans(&second, 1);
    let status = awaited(&second, |status| status.exported == 16);
    assert_eq!((status.exported, status.spooled), (16, 0), "{status:?}");
    assert_eq!(backend.requests.load(Ordering::SeqCst) - before, 4);
}

#[test]
fn a_full_spool_drops_the_oldest_and_counts_it() {
    let backend = backend(|_, stream| answer(&stream, "503 Service Unavailable", "", b""));
    let directory = tempfile::tempdir().unwrap();
    // A request of so few spans has some 150 bytes.
    let spool = Spool::at(directory.path().join("spool")).max_bytes(700);
    let providers = spooling(&backend.url, PATIENCE, 100, Some(spool));
    for _ in 0..20 {
        spans(&providers, 1);
        flushed(&providers);
    }
    let status = flushed(&providers);
    assert!(
        status.spooled > 0 && status.dropped_failed > 0,
        "{status:?}"
    );
    balanced(&status, 20);
    let files = std::fs::read_dir(directory.path().join("spool/traces")).unwrap();
    let bytes: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= 700, "{bytes}");
}

#[test]
fn what_is_too_old_is_dropped_and_counted() {
    let backend = backend(|_, stream| answer(&stream, "200 OK", "", b""));
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::at(directory.path().join("spool")).max_age(Duration::ZERO);
    let providers = spooling(&backend.url, PATIENCE, 100, Some(spool));
    spans(&providers, 2);
    let status = awaited(&providers, |status| status.dropped_failed > 0);
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (0, 2),
        "{status:?}"
    );
    assert_eq!(
        backend.requests.load(Ordering::SeqCst),
        0,
        "it is not even sent"
    );
    balanced(&status, 2);
}

#[test]
fn a_spool_that_cannot_be_had_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let error = |path: &std::path::Path| Spool::at(path).open().unwrap_err().to_string();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = error(&file.join("below"));
    assert!(
        message.contains("spool") && message.contains("cannot be used"),
        "{message}"
    );

    let taken = directory.path().join("taken");
    let _held = Spool::at(&taken).open().unwrap();
    let message = error(&taken);
    assert!(message.contains("another process"), "{message}");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = directory.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        let message = error(&open);
        assert!(message.contains("chmod 700"), "{message}");
    }
}

/// With a spool also, from whose files a request is sent as it was kept.
#[cfg(feature = "zstd")]
#[test]
fn what_is_sent_is_compressed_and_cut_as_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for spool in [None, Some(Spool::at(folder.path().join("spool")))] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (sent, received) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if let Some(request) = read_request(&stream) {
                    let _ = sent.send(request);
                    answer(&stream, "200 OK", "", b"");
                }
            }
        });
        let limits = Limits::default().attribute_value_length(5);
        let providers = limited(&url, PATIENCE, 100, spool, Compression::Zstd, limits);
        let tracer = providers.tracer.as_ref().unwrap().tracer("test");
        let mut span = tracer.start("work");
        span.set_attribute(KeyValue::new("text", "a-long-text"));
        span.end();
        flushed(&providers);
        let (head, body) = received.recv_timeout(PATIENCE).unwrap();
        assert!(head.contains("content-encoding: zstd\r\n"), "{head}");
        let plain = zstd::stream::decode_all(body.as_slice()).unwrap();
        let text = String::from_utf8_lossy(&plain);
        assert!(
            text.contains("a-lon") && !text.contains("a-long"),
            "{text:?}"
        );
    }
}
