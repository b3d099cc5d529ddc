//! What the books say of what an endpoint answers.

use super::super::metrics;
use super::*;
use crate::testing::Capture;

/// What an instrument says became of the items: how many of which `error.type`.
fn told(providers: &Providers, instrument: &str) -> Vec<(Option<String>, f64)> {
    let capture = Capture::start();
    metrics::observe(&capture.meter(), &providers.ledgers);
    let points = capture.points(instrument).into_iter();
    let mut told: Vec<_> = points
        .map(|point| {
            let error = point
                .attributes
                .iter()
                .find(|it| it.key.as_str() == "error.type");
            (error.map(|it| it.value.to_string()), point.sum)
        })
        .collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    told
}

fn exported(providers: &Providers, of: Queued) -> Vec<(Option<String>, f64)> {
    told(providers, &of.instrument("exporter", "exported"))
}

fn processed(providers: &Providers, of: Queued) -> Vec<(Option<String>, f64)> {
    told(providers, &of.instrument("processor", "processed"))
}

fn because(error: &str) -> Option<String> {
    Some(error.to_owned())
}

#[test]
fn what_is_taken_is_counted_for_every_signal() {
    let backend = backend(|_, stream| answer(&stream, "200 OK", "", b""));
    let providers = providers(&backend.url, PATIENCE, 100);
    spans(&providers, 3);
    logs(&providers, 4);
    let meter = providers.meter.as_ref().unwrap();
    let counter = meter.meter("test").u64_counter("made").build();
    counter.add(1, &[KeyValue::new("kind", "a")]);
    counter.add(1, &[KeyValue::new("kind", "b")]);
    assert_eq!(flushed(&providers).exported, 3);
    Queued::Logs.flushed(&providers);
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
    let began = std::time::Instant::now();
    spans(&providers, 3);
    let status = flushed(&providers);
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "it was told to wait"
    );
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
        for of in QUEUED {
            let backend = backend(script);
            let providers = providers(&backend.url, PATIENCE, 100);
            of.make(&providers, 3);
            let status = of.flushed(&providers);
            assert_eq!(
                (status.dropped_failed, status.retries),
                (3, 0),
                "{status:?}"
            );
            assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
            let trouble = status.trouble.as_ref().expect("it is told");
            assert!(trouble.reason.contains(char::is_numeric), "{trouble:?}");
            balanced(&status, 3);
            assert_eq!(exported(&providers, of), [(because("_OTHER"), 3.0)]);
            assert_eq!(processed(&providers, of), [(None, 3.0)]);
        }
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
    for of in QUEUED {
        of.make(&providers, 5);
        let status = of.flushed(&providers);
        assert_eq!((status.exported, status.rejected), (3, 2), "{status:?}");
        balanced(&status, 5);
        let expected = [(None, 3.0), (because("rejected"), 2.0)];
        assert_eq!(exported(&providers, of), expected);
    }
    let meter = providers.meter.as_ref().unwrap();
    let counter = meter.meter("test").u64_counter("made").build();
    for n in 0..5_i64 {
        counter.add(1, &[KeyValue::new("n", n)]);
    }
    meter.force_flush().unwrap();
    let status = providers.ledgers.status().metrics;
    assert_eq!(status.rejected, 2, "{status:?}");
    // What the toolkit says of spans and logs has points, too: exported and rejected, and processed.
    balanced(&status, 5 + 2 * 3);
}

#[test]
fn an_absent_backend_is_told_and_everything_counted() {
    let (_kept, port) = closed_port();
    let url = format!("http://127.0.0.1:{port}/v1/traces?key=s3cret");
    let providers = providers(&url, Duration::from_millis(700), 100);
    for of in QUEUED {
        of.make(&providers, 3);
        let status = of.flushed(&providers);
        assert_eq!(status.dropped_failed, 3, "{status:?}");
        assert_eq!(
            status.trouble.as_ref().unwrap().reason,
            "it cannot be reached"
        );
        balanced(&status, 3);
    }
}

/// By the next batches, too: there is one attempt, and they are dropped and counted.
#[test]
fn an_endpoint_that_asks_for_patience_is_left_in_peace() {
    let backend = backend(|_, stream| {
        answer(
            &stream,
            "503 Service Unavailable",
            "retry-after: 60\r\n",
            b"",
        );
    });
    let providers = providers(&backend.url, Duration::from_secs(2), 100);
    for batch in 1..=3 {
        spans(&providers, 3);
        let status = flushed(&providers);
        assert_eq!(status.dropped_failed, 3 * batch, "{status:?}");
        balanced(&status, 3 * batch);
    }
    assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
}

#[test]
fn a_full_queue_drops_what_comes_last_and_counts_it() {
    // It takes the first request, and answers none.
    static HOLD: std::sync::Mutex<Option<mpsc::Receiver<()>>> = std::sync::Mutex::new(None);
    for of in QUEUED {
        let (held, hold) = mpsc::channel::<()>();
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
        of.make(&providers, 1);
        let flushing = providers.clone();
        let flushing = std::thread::spawn(move || of.flushed(&flushing));
        while backend.requests.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        of.make(&providers, 100);
        let status = of.status(&providers);
        assert_eq!(
            (status.waiting, status.dropped_queue_full),
            (11, 90),
            "{status:?}"
        );
        drop(held);
        flushing.join().unwrap();
        let status = of.flushed(&providers);
        assert_eq!((status.exported, status.waiting), (11, 0), "{status:?}");
        balanced(&status, 101);
        assert_eq!(exported(&providers, of), [(None, 11.0)]);
        let expected = [(None, 11.0), (because("queue_full"), 90.0)];
        assert_eq!(processed(&providers, of), expected);
    }
}

#[test]
fn nobody_waits_at_the_end() {
    let (_kept, port) = closed_port();
    // By its time-out alone it would try for ten minutes.
    let providers = providers(
        &format!("http://127.0.0.1:{port}/"),
        Duration::from_secs(600),
        100,
    );
    let ledgers = providers.ledgers.clone();
    spans(&providers, 3);
    assert!(stopped(providers).is_err(), "what is lost is told");
    let status = ledgers.status().traces;
    assert_eq!(status.dropped_failed, 3, "{status:?}");
    balanced(&status, 3);
}

/// However long the endpoint asks them to: nor are there more attempts than one.
#[test]
fn an_endpoint_that_asks_for_patience_at_the_end_is_asked_once() {
    let backend = backend(|_, stream| {
        answer(
            &stream,
            "503 Service Unavailable",
            "retry-after: 3\r\n",
            b"",
        );
    });
    let mut all = destinations(&backend.url, PATIENCE, 100, Limits::default());
    all.metrics = Destination::Nowhere;
    all.logs = Destination::Nowhere;
    let providers = started(&all, None);
    let ledgers = providers.ledgers.clone();
    spans(&providers, 3);
    stopped(providers).unwrap_err();
    balanced(&ledgers.status().traces, 3);
    assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
}

/// The SDK waits five seconds for metrics, whatever it is told.
#[test]
fn slow_metrics_have_as_long_as_the_shutdown_is_given() {
    let backend = backend(|_, stream| {
        std::thread::sleep(Duration::from_millis(5_500));
        answer(&stream, "200 OK", "", b"");
    });
    let mut all = destinations(&backend.url, PATIENCE, 100, Limits::default());
    all.traces = Destination::Nowhere;
    all.logs = Destination::Nowhere;
    let providers = started(&all, None);
    let ledgers = providers.ledgers.clone();
    let meter = providers.meter.as_ref().unwrap().meter("test");
    meter.u64_counter("work").build().add(1, &[]);
    stopped(providers).unwrap();
    assert!(ledgers.status().metrics.exported > 0);
}

#[test]
fn an_answer_cannot_refuse_more_than_was_sent() {
    let backend = backend(|_, stream| {
        // partial_success { rejected: i64::MAX }
        let most = b"\x0a\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
        answer(&stream, "200 OK", "", most);
    });
    let providers = providers(&backend.url, PATIENCE, 100);
    for _ in 0..2 {
        spans(&providers, 2);
        flushed(&providers);
    }
    let status = flushed(&providers);
    assert_eq!((status.exported, status.rejected), (0, 4), "{status:?}");
    balanced(&status, 4);
}
