//! The self-test.

use super::*;

#[test]
fn a_self_test_detects_a_wrong_token() {
    for (script, expected) in [
        (
            (|_, stream| respond(&stream, "200 OK", "", b"")) as Script,
            None,
        ),
        (
            |_, stream| respond(&stream, "401 Unauthorized", "", b""),
            Some("401 Unauthorized"),
        ),
    ] {
        let backend = backend(script);
        let providers = providers(&backend.url, TIMEOUT, 100);
        let (done, ended) = mpsc::channel();
        let test = providers
            .clone()
            .self_test(move |result| done.send(result).unwrap());
        test.unwrap();
        let result = ended.recv_timeout(TIMEOUT).unwrap();
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
        let status = providers.status();
        assert_eq!(status.traces.exported + status.traces.dropped_failed, 1);
        assert_eq!(status.logs.exported + status.logs.dropped_failed, 1);
    }
}

#[test]
fn a_self_test_names_the_signal_whose_dataset_is_missing() {
    let well = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    let missing = backend(|_, stream| respond(&stream, "404 Not Found", "", b""));
    let mut config = config_for(&well.url, TIMEOUT, 100, Limits::default());
    let metrics = endpoint(&mut config, Signal::Metrics);
    metrics.url.clone_from(&missing.url);
    let (done, ended) = mpsc::channel();
    start(&config, None)
        .self_test(move |result| done.send(result).unwrap())
        .unwrap();
    let message = ended
        .recv_timeout(TIMEOUT)
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("metrics: ") && message.contains("404 Not Found"),
        "{message}"
    );
    assert!(
        !message.contains("traces: ") && !message.contains("logs: "),
        "{message}"
    );
}

/// A span that was dropped by the sampler or by a full queue must not count as exported.
#[test]
fn a_self_test_bypasses_the_sampler_and_fails_if_its_span_is_dropped() {
    fn self_test(providers: &Providers) -> Result<(), String> {
        let (done, ended) = mpsc::channel();
        let test = providers
            .clone()
            .self_test(move |result| done.send(result).unwrap());
        test.unwrap();
        let result = ended.recv_timeout(TIMEOUT).unwrap();
        result.map_err(|error| error.to_string())
    }
    let refusing = backend(|_, stream| respond(&stream, "401 Unauthorized", "", b""));
    let mut config = config_for(&refusing.url, TIMEOUT, 100, Limits::default());
    config.sampler = Sampler::AlwaysOff;
    config.exporters.metrics = Exporter::None;
    config.exporters.logs = Exporter::None;
    let error = self_test(&start(&config, None)).unwrap_err();
    assert!(
        error.contains("traces: 1 lost (401 Unauthorized)"),
        "{error}"
    );

    // The first span is being sent, and the second one fills the queue.
    static RESPONDS: AtomicBool = AtomicBool::new(false);
    let slow = backend(|_, stream| {
        while !RESPONDS.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        respond(&stream, "200 OK", "", b"");
    });
    let mut config = config_for(&slow.url, TIMEOUT, 1, Limits::default());
    config.exporters.metrics = Exporter::None;
    config.exporters.logs = Exporter::None;
    let providers = start(&config, None);
    spans(&providers, 1);
    while slow.requests.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    spans(&providers, 1);
    let testing = providers.clone();
    let test = std::thread::spawn(move || self_test(&testing));
    while providers.status().traces.dropped_queue_full == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    RESPONDS.store(true, Ordering::SeqCst);
    let error = test.join().unwrap().unwrap_err();
    assert!(
        error.contains("traces: 1 lost (the queue was full)"),
        "{error}"
    );
}

/// An export may take longer than the SDK's flush.
#[test]
fn a_self_test_waits_for_the_endpoints_response() {
    let well = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    // It accepts connections, but does not respond.
    let hung = backend(|_, stream| {
        std::thread::sleep(TIMEOUT);
        drop(stream);
    });
    let mut config = config_for(&well.url, TIMEOUT, 100, Limits::default());
    let logs = endpoint(&mut config, Signal::Logs);
    logs.url.clone_from(&hung.url);
    logs.timeout = Duration::from_secs(6);
    let (done, ended) = mpsc::channel();
    start(&config, None)
        .self_test(move |result| done.send(result).unwrap())
        .unwrap();
    let error = ended.recv_timeout(TIMEOUT).unwrap().unwrap_err();
    let message = error.to_string();
    assert!(message.contains("logs: 1 lost"), "{message}");
}
