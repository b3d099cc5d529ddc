//! The statistics after the endpoint's responses.

use super::super::metrics;
use super::*;
use crate::testing::Capture;

/// The values of an instrument by `error.type`.
fn by_error(providers: &Providers, instrument: &str) -> Vec<(Option<String>, f64)> {
    let capture = Capture::start();
    metrics::observe(&capture.meter(), &providers.stats);
    let points = capture.points(instrument).into_iter();
    let mut values: Vec<_> = points
        .map(|point| {
            let error = point
                .attributes
                .iter()
                .find(|attribute| attribute.key.as_str() == "error.type");
            (error.map(|error| error.value.to_string()), point.sum)
        })
        .collect();
    values.sort_by(|one, other| one.0.cmp(&other.0));
    values
}

fn exported(providers: &Providers, queued: Queued) -> Vec<(Option<String>, f64)> {
    by_error(providers, &queued.instrument("exporter", "exported"))
}

fn processed(providers: &Providers, queued: Queued) -> Vec<(Option<String>, f64)> {
    by_error(providers, &queued.instrument("processor", "processed"))
}

fn error_type(error: &str) -> Option<String> {
    Some(error.to_owned())
}

#[test]
fn accepted_items_are_counted_as_exported_for_every_signal() {
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    let providers = providers(&backend.url, TIMEOUT, 100);
    spans(&providers, 3);
    logs(&providers, 4);
    let meter = providers.meter.as_ref().unwrap();
    let counter = meter.meter("test").u64_counter("made").build();
    counter.add(1, &[KeyValue::new("kind", "a")]);
    counter.add(1, &[KeyValue::new("kind", "b")]);
    assert_eq!(flush(&providers).exported, 3);
    Queued::Logs.flush(&providers);
    meter.force_flush().unwrap();
    let status = providers.status();
    assert_eq!(status.logs.exported, 4);
    // The test's counter has two points, and the export statistics of spans and logs have four.
    assert_eq!(status.metrics.exported, 6);
    for signal in [status.traces, status.logs, status.metrics] {
        assert_eq!(
            (signal.waiting, signal.dropped_failed, signal.last_error),
            (0, 0, None)
        );
    }
}

#[test]
fn a_retry_waits_for_the_endpoints_retry_after() {
    let backend = backend(|n, stream| match n {
        0 => respond(&stream, "429 Too Many Requests", "retry-after: 1\r\n", b""),
        1 => respond(&stream, "503 Service Unavailable", "", b""),
        _ => respond(&stream, "200 OK", "", b""),
    });
    let providers = providers(&backend.url, TIMEOUT, 100);
    let began = std::time::Instant::now();
    spans(&providers, 3);
    let status = flush(&providers);
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "Retry-After was ignored"
    );
    assert_eq!((status.exported, status.retries), (3, 2), "{status:?}");
    assert_eq!(status.last_error, None, "the endpoint works again");
    assert_balanced(&status, 3);
}

#[test]
fn an_aborted_connection_or_malformed_response_is_retried() {
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
        _ => respond(&stream, "200 OK", "", b""),
    });
    let providers = providers(&backend.url, TIMEOUT, 100);
    spans(&providers, 3);
    let status = flush(&providers);
    assert_eq!((status.exported, status.retries), (3, 3), "{status:?}");
}

#[test]
fn a_batch_that_is_rejected_permanently_is_not_retried() {
    for script in [
        (|_, stream| respond(&stream, "413 Payload Too Large", "", b"")) as Script,
        |_, stream| respond(&stream, "500 Internal Server Error", "", b"oh no"),
        |_, stream| respond(&stream, "401 Unauthorized", "", b""),
        |_, stream| {
            respond(
                &stream,
                "302 Found",
                "location: http://127.0.0.1:1/\r\n",
                b"",
            );
        },
    ] {
        for queued in QUEUED {
            let backend = backend(script);
            let providers = providers(&backend.url, TIMEOUT, 100);
            queued.emit(&providers, 3);
            let status = queued.flush(&providers);
            assert_eq!(
                (status.dropped_failed, status.retries),
                (3, 0),
                "{status:?}"
            );
            assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
            let error = status.last_error.as_ref().expect("an error");
            assert!(error.reason.contains(char::is_numeric), "{error:?}");
            assert_balanced(&status, 3);
            assert_eq!(exported(&providers, queued), [(error_type("_OTHER"), 3.0)]);
            assert_eq!(processed(&providers, queued), [(None, 3.0)]);
        }
    }
}

#[test]
fn a_malformed_response_body_rejects_no_items() {
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", b"<html>hello</html>"));
    let providers = providers(&backend.url, TIMEOUT, 100);
    spans(&providers, 3);
    let status = flush(&providers);
    assert_eq!((status.exported, status.rejected), (3, 0));
}

#[test]
fn items_rejected_by_partial_success_are_counted() {
    // partial_success { rejected_spans: 2 }
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", &[0x0a, 2, 0x08, 2]));
    let providers = providers(&backend.url, TIMEOUT, 100);
    for queued in QUEUED {
        queued.emit(&providers, 5);
        let status = queued.flush(&providers);
        assert_eq!((status.exported, status.rejected), (3, 2), "{status:?}");
        assert_balanced(&status, 5);
        let expected = [(None, 3.0), (error_type("rejected"), 2.0)];
        assert_eq!(exported(&providers, queued), expected);
    }
    let meter = providers.meter.as_ref().unwrap();
    let counter = meter.meter("test").u64_counter("made").build();
    for n in 0..5_i64 {
        counter.add(1, &[KeyValue::new("n", n)]);
    }
    meter.force_flush().unwrap();
    let status = providers.status().metrics;
    assert_eq!(status.rejected, 2, "{status:?}");
    // The export statistics of spans and logs have three points each.
    assert_balanced(&status, 5 + 2 * 3);
}

#[test]
fn an_unreachable_endpoint_sets_the_last_error_and_all_items_are_counted() {
    let (_kept, port) = closed_port();
    let url = format!("http://127.0.0.1:{port}/v1/traces?key=s3cret");
    let providers = providers(&url, Duration::from_millis(700), 100);
    for queued in QUEUED {
        queued.emit(&providers, 3);
        let status = queued.flush(&providers);
        assert_eq!(status.dropped_failed, 3, "{status:?}");
        assert_eq!(
            status.last_error.as_ref().unwrap().reason,
            "it cannot be reached"
        );
        assert_balanced(&status, 3);
    }
}

/// The batches after the first are dropped and counted without an attempt.
#[test]
fn the_backoff_applies_to_later_batches() {
    let backend = backend(|_, stream| {
        respond(
            &stream,
            "503 Service Unavailable",
            "retry-after: 60\r\n",
            b"",
        );
    });
    let providers = providers(&backend.url, Duration::from_secs(2), 100);
    for batch in 1..=3 {
        spans(&providers, 3);
        let status = flush(&providers);
        assert_eq!(status.dropped_failed, 3 * batch, "{status:?}");
        assert_balanced(&status, 3 * batch);
    }
    assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
}

#[test]
fn a_full_queue_drops_new_items_and_counts_them() {
    // The endpoint receives the first request, and does not respond.
    static BLOCKED: std::sync::Mutex<Option<mpsc::Receiver<()>>> = std::sync::Mutex::new(None);
    for queued in QUEUED {
        let (blocker, blocked) = mpsc::channel::<()>();
        *BLOCKED.lock().unwrap() = Some(blocked);
        let backend = backend(|n, stream| {
            if n == 0 {
                let blocked = BLOCKED.lock().unwrap().take().unwrap();
                // Blocks until the test drops the sender.
                let _ = blocked.recv();
            }
            respond(&stream, "200 OK", "", b"");
        });
        let providers = providers(&backend.url, TIMEOUT, 10);
        queued.emit(&providers, 1);
        let flushing = providers.clone();
        let flushing = std::thread::spawn(move || queued.flush(&flushing));
        while backend.requests.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        queued.emit(&providers, 100);
        let status = queued.status(&providers);
        assert_eq!(
            (status.waiting, status.dropped_queue_full),
            (11, 90),
            "{status:?}"
        );
        drop(blocker);
        flushing.join().unwrap();
        let status = queued.flush(&providers);
        assert_eq!((status.exported, status.waiting), (11, 0), "{status:?}");
        assert_balanced(&status, 101);
        assert_eq!(exported(&providers, queued), [(None, 11.0)]);
        let expected = [(None, 11.0), (error_type("queue_full"), 90.0)];
        assert_eq!(processed(&providers, queued), expected);
    }
}

#[test]
fn at_shutdown_there_is_one_attempt_without_backoff() {
    let (_kept, port) = closed_port();
    // With this timeout it would retry for ten minutes.
    let providers = providers(
        &format!("http://127.0.0.1:{port}/"),
        Duration::from_secs(600),
        100,
    );
    let stats = providers.stats.clone();
    spans(&providers, 3);
    assert!(shut_down(providers).is_err(), "the loss is reported");
    let status = stats.traces.status();
    assert_eq!(status.dropped_failed, 3, "{status:?}");
    assert_balanced(&status, 3);
}

#[test]
fn at_shutdown_retry_after_is_ignored_and_there_is_one_attempt() {
    let backend = backend(|_, stream| {
        respond(
            &stream,
            "503 Service Unavailable",
            "retry-after: 3\r\n",
            b"",
        );
    });
    let mut config = config_for(&backend.url, TIMEOUT, 100, Limits::default());
    config.exporters.metrics = Exporter::None;
    config.exporters.logs = Exporter::None;
    let providers = start(&config, None);
    let stats = providers.stats.clone();
    spans(&providers, 3);
    shut_down(providers).unwrap_err();
    assert_balanced(&stats.traces.status(), 3);
    assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
}

/// The SDK waits five seconds for metrics, whatever the timeout.
#[test]
fn a_slow_export_of_metrics_has_the_whole_shutdown_timeout() {
    let backend = backend(|_, stream| {
        std::thread::sleep(Duration::from_millis(5_500));
        respond(&stream, "200 OK", "", b"");
    });
    let mut config = config_for(&backend.url, TIMEOUT, 100, Limits::default());
    config.exporters.traces = Exporter::None;
    config.exporters.logs = Exporter::None;
    let providers = start(&config, None);
    let stats = providers.stats.clone();
    let meter = providers.meter.as_ref().unwrap().meter("test");
    meter.u64_counter("work").build().add(1, &[]);
    shut_down(providers).unwrap();
    assert!(stats.metrics.status().exported > 0);
}

#[test]
fn a_response_cannot_reject_more_items_than_were_sent() {
    let backend = backend(|_, stream| {
        // partial_success { rejected: i64::MAX }
        let most = b"\x0a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
        respond(&stream, "200 OK", "", most);
    });
    let providers = providers(&backend.url, TIMEOUT, 100);
    for _ in 0..2 {
        spans(&providers, 2);
        flush(&providers);
    }
    let status = flush(&providers);
    assert_eq!((status.exported, status.rejected), (0, 4), "{status:?}");
    assert_balanced(&status, 4);
}
