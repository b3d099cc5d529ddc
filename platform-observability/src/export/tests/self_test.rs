//! What a self-test tells.

use super::*;

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

#[test]
fn a_self_test_names_the_dataset_that_is_not_there() {
    let well = backend(|_, stream| answer(&stream, "200 OK", "", b""));
    let missing = backend(|_, stream| answer(&stream, "404 Not Found", "", b""));
    let mut all = destinations(&well.url, PATIENCE, 100, Limits::default());
    let Destination::Otlp(metrics) = &mut all.metrics else {
        panic!("metrics go to an endpoint");
    };
    metrics.url.clone_from(&missing.url);
    let (done, ended) = mpsc::channel();
    started(&all, None)
        .self_test(move |it| done.send(it).unwrap())
        .unwrap();
    let message = ended
        .recv_timeout(PATIENCE)
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

/// Nothing that a sampler or a full queue leaves out is taken for what has arrived.
#[test]
fn a_self_test_is_not_sampled_and_says_when_its_own_is_dropped() {
    fn self_test(providers: &Providers) -> Result<(), String> {
        let (done, ended) = mpsc::channel();
        let test = providers
            .clone()
            .self_test(move |it| done.send(it).unwrap());
        test.unwrap();
        let result = ended.recv_timeout(PATIENCE).unwrap();
        result.map_err(|error| error.to_string())
    }
    let refusing = backend(|_, stream| answer(&stream, "401 Unauthorized", "", b""));
    let mut all = destinations(&refusing.url, PATIENCE, 100, Limits::default());
    all.sampler = Sampler::AlwaysOff;
    all.metrics = Destination::Nowhere;
    all.logs = Destination::Nowhere;
    let error = self_test(&started(&all, None)).unwrap_err();
    assert!(
        error.contains("traces: 1 lost (401 Unauthorized)"),
        "{error}"
    );

    // The first batch is with the endpoint, and one more span waits: the queue is full.
    static ANSWERS: AtomicBool = AtomicBool::new(false);
    let slow = backend(|_, stream| {
        while !ANSWERS.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        answer(&stream, "200 OK", "", b"");
    });
    let mut all = destinations(&slow.url, PATIENCE, 1, Limits::default());
    all.metrics = Destination::Nowhere;
    all.logs = Destination::Nowhere;
    let providers = started(&all, None);
    spans(&providers, 1);
    while slow.requests.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    spans(&providers, 1);
    let testing = providers.clone();
    let test = std::thread::spawn(move || self_test(&testing));
    while providers.ledgers.status().traces.dropped_queue_full == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    ANSWERS.store(true, Ordering::SeqCst);
    let error = test.join().unwrap().unwrap_err();
    assert!(
        error.contains("traces: 1 lost (the queue was full)"),
        "{error}"
    );
}

/// An export may take longer than the SDK waits for it.
#[test]
fn a_self_test_waits_for_an_answer() {
    let well = backend(|_, stream| answer(&stream, "200 OK", "", b""));
    // A connection that is accepted, and nothing more.
    let hung = backend(|_, stream| {
        std::thread::sleep(PATIENCE);
        drop(stream);
    });
    let mut all = destinations(&well.url, PATIENCE, 100, Limits::default());
    let Destination::Otlp(logs) = &mut all.logs else {
        panic!("logs go to an endpoint");
    };
    logs.url.clone_from(&hung.url);
    logs.timeout = Duration::from_secs(6);
    let (done, ended) = mpsc::channel();
    started(&all, None)
        .self_test(move |it| done.send(it).unwrap())
        .unwrap();
    let error = ended.recv_timeout(PATIENCE).unwrap().unwrap_err();
    let message = error.to_string();
    assert!(message.contains("logs: 1 lost"), "{message}");
}
