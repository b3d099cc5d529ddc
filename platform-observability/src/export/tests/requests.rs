//! The size and the compression of requests.

use super::*;

/// The largest request that Axiom accepts.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Sends uncompressed requests, so that the endpoint sees their size.
fn uncompressed(backend: &Backend, queue: usize) -> Providers {
    let (compression, limits) = (None, Limits::default());
    providers_with(&backend.url, TIMEOUT, queue, None, compression, limits)
}

#[track_caller]
fn assert_requests_fit(backend: &Backend) {
    let largest = backend.largest.load(Ordering::SeqCst);
    assert!((1 << 20..MAX_BYTES).contains(&largest), "{largest} bytes");
}

#[test]
fn spans_too_large_for_one_request_are_split() {
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    let providers = uncompressed(&backend, 100);
    let tracer = providers.tracer.as_ref().unwrap().tracer("test");
    for _ in 0..10 {
        let mut span = tracer.start("large");
        span.set_attribute(KeyValue::new("text", "x".repeat(1 << 20)));
        span.end();
    }
    let status = flush(&providers);
    assert_eq!(status.exported, 10);
    let requests = backend.requests.load(Ordering::SeqCst);
    assert!(
        (4..=10).contains(&requests),
        "{requests} requests for 10 MiB"
    );
    // A caller's tracestate counts, too.
    let member = |n: usize| (format!("member{n}"), "x".repeat(256));
    let state = TraceState::from_key_value((0..32).map(member)).unwrap();
    let (trace, span) = (TraceId::from(1), SpanId::from(1));
    let caller = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, state);
    for _ in 0..10 {
        let links = vec![Link::with_context(caller.clone()); 128];
        let large = tracer.span_builder("large").with_links(links);
        large.start(&tracer).end();
    }
    assert_eq!(flush(&providers).exported, 20);
    let requests = backend.requests.load(Ordering::SeqCst) - requests;
    assert!(
        (4..=10).contains(&requests),
        "{requests} requests for 10 MiB"
    );
    // Many small attributes, each with its overhead.
    for _ in 0..100 {
        let mut span = tracer.start("many");
        span.set_attributes((0..128).map(|n| KeyValue::new(format!("key{n}"), "x".repeat(300))));
        span.end();
    }
    assert_eq!(flush(&providers).exported, 120);
    assert_requests_fit(&backend);
}

#[test]
fn more_items_than_one_request_may_have_are_split() {
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    let mut config = config_for(&backend.url, TIMEOUT, 30_000, Limits::default());
    config.span_batches.max_export_batch_size = 30_000;
    config.log_batches.max_export_batch_size = 30_000;
    let providers = start(&config, None);
    let tracer = providers.tracer.as_ref().unwrap().tracer("test");
    let logger = providers.logger.as_ref().unwrap();
    let scope = logger.logger("test");
    for _ in 0..10_001 {
        tracer.start("").end();
        scope.emit(scope.create_log_record());
    }
    assert_eq!(flush(&providers).exported, 10_001);
    assert_eq!(backend.requests.load(Ordering::SeqCst), 2, "10,000 and one");
    logger.force_flush().unwrap();
    assert_eq!(providers.status().logs.exported, 10_001);
    assert_eq!(backend.requests.load(Ordering::SeqCst), 4, "10,000 and one");
}

#[test]
fn log_records_too_large_for_one_request_are_split() {
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    let providers = uncompressed(&backend, 100);
    let logger = providers.logger.as_ref().unwrap();
    let scope = logger.logger("test");
    for _ in 0..10 {
        let mut record = scope.create_log_record();
        record.set_body("x".repeat(1 << 20).into());
        scope.emit(record);
    }
    logger.force_flush().unwrap();
    assert_eq!(providers.status().logs.exported, 10);
    let requests = backend.requests.load(Ordering::SeqCst);
    assert!(
        (4..=10).contains(&requests),
        "{requests} requests for 10 MiB"
    );
    assert_requests_fit(&backend);
}

#[test]
fn metrics_too_large_for_one_request_are_split_and_counted() {
    let backend = backend(|n, stream| match n {
        0 => respond(&stream, "400 Bad Request", "", b""),
        _ => respond(&stream, "200 OK", "", b""),
    });
    let providers = uncompressed(&backend, 100);
    let meter = providers.meter.as_ref().unwrap();
    let counter = meter.meter("test").u64_counter("made").build();
    for n in 0..1000 {
        counter.add(
            1,
            &[KeyValue::new("text", format!("{n}{}", "x".repeat(8192)))],
        );
    }
    meter.force_flush().unwrap_err();
    let status = providers.status().metrics;
    let requests = backend.requests.load(Ordering::SeqCst);
    assert!((3..=8).contains(&requests), "{requests} requests for 8 MiB");
    assert!(
        status.dropped_failed > 0 && status.exported > status.dropped_failed,
        "{status:?}"
    );
    let counted = status.dropped_failed + status.exported;
    assert_eq!(counted, 1000, "{status:?}");
    assert_requests_fit(&backend);
}

/// Also with a spool, which stores encoded requests.
#[cfg(feature = "zstd")]
#[test]
fn requests_are_compressed_and_values_truncated_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    for spool in [None, Some(Spool::new(folder.path().join("spool")))] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (sent, received) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if let Some(request) = read_request(&stream) {
                    let _ = sent.send(request);
                    respond(&stream, "200 OK", "", b"");
                }
            }
        });
        let limits = Limits::default().attribute_value_length(5);
        let providers = providers_with(&url, TIMEOUT, 100, spool, Some(Compression::Zstd), limits);
        let tracer = providers.tracer.as_ref().unwrap().tracer("test");
        let mut span = tracer.start("work");
        span.set_attribute(KeyValue::new("text", "a-long-text"));
        span.end();
        flush(&providers);
        let (head, body) = received.recv_timeout(TIMEOUT).unwrap();
        assert!(head.contains("content-encoding: zstd\r\n"), "{head}");
        let plain = zstd::stream::decode_all(body.as_slice()).unwrap();
        let text = String::from_utf8_lossy(&plain);
        assert!(
            text.contains("a-lon") && !text.contains("a-long"),
            "{text:?}"
        );
    }
}
