//! The spool.

use super::*;

/// An endpoint that responds with 503 until `up` is set.
fn down_then_up(up: &'static AtomicBool) -> Backend {
    static UP: std::sync::OnceLock<&'static AtomicBool> = std::sync::OnceLock::new();
    UP.set(up).unwrap();
    backend(|_, stream| {
        if UP.get().unwrap().load(Ordering::SeqCst) {
            respond(&stream, "200 OK", "", b"");
        } else {
            respond(&stream, "503 Service Unavailable", "", b"");
        }
    })
}

#[test]
fn spooled_requests_outlive_the_process_and_are_sent_by_the_next() {
    static UP: AtomicBool = AtomicBool::new(false);
    let backend = down_then_up(&UP);
    let directory = tempfile::tempdir().unwrap();
    let spool = || Spool::new(directory.path().join("spool"));

    let first = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool()));
    for _ in 0..3 {
        spans(&first, 5);
        flush(&first);
    }
    let status = flush(&first);
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (15, 0),
        "{status:?}"
    );
    assert_balanced(&status, 15);
    shut_down(first).expect("nothing is lost");

    // Other users cannot read the directory.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(directory.path().join("spool")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o700);
    }

    let before = backend.requests.load(Ordering::SeqCst);
    UP.store(true, Ordering::SeqCst);
    let second = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool()));
    spans(&second, 1);
    let status = wait_for(&second, |status| status.exported == 16);
    assert_eq!((status.exported, status.spooled), (16, 0), "{status:?}");
    assert_eq!(backend.requests.load(Ordering::SeqCst) - before, 4);
}

#[test]
fn a_full_spool_drops_the_oldest_requests_and_counts_them() {
    let backend = backend(|_, stream| respond(&stream, "503 Service Unavailable", "", b""));
    let directory = tempfile::tempdir().unwrap();
    // A request with one span has about 150 bytes, and occupies one block.
    let spool = Spool::new(directory.path().join("spool")).max_bytes(4 * 4096);
    let providers = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool));
    for _ in 0..20 {
        spans(&providers, 1);
        flush(&providers);
    }
    let status = flush(&providers);
    assert!(
        status.spooled > 0 && status.dropped_failed > 0,
        "{status:?}"
    );
    assert_balanced(&status, 20);
    let files = std::fs::read_dir(directory.path().join("spool/traces")).unwrap();
    assert!(files.count() <= 4, "one block each");
    let listed = providers.status().traces;
    assert_eq!(listed.spooled, 4, "{listed:?}");
}

#[test]
fn requests_older_than_the_maximum_age_are_dropped_and_counted() {
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::new(directory.path().join("spool")).max_age(Duration::ZERO);
    let providers = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool));
    spans(&providers, 2);
    let status = wait_for(&providers, |status| status.dropped_failed > 0);
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (0, 2),
        "{status:?}"
    );
    assert_eq!(backend.requests.load(Ordering::SeqCst), 0, "it was sent");
    assert_balanced(&status, 2);
}

/// The endpoint replaces the file by a directory, which cannot be deleted as a file.
#[test]
fn a_sent_request_whose_file_cannot_be_deleted_is_not_sent_again() {
    static DIRECTORY: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    let backend = backend(|_, stream| {
        for file in std::fs::read_dir(DIRECTORY.get().unwrap()).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                std::fs::remove_file(&path).unwrap();
                std::fs::create_dir(&path).unwrap();
            }
        }
        respond(&stream, "200 OK", "", b"");
    });
    let directory = tempfile::tempdir().unwrap();
    DIRECTORY
        .set(directory.path().join("spool/traces"))
        .unwrap();
    let spool = Spool::new(directory.path().join("spool"));
    let providers = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool));
    for number in 1..=3 {
        spans(&providers, 1);
        let _ = flush(&providers);
        let status = wait_for(&providers, |status| status.exported >= number);
        assert_eq!((status.exported, status.spooled), (number, 0), "{status:?}");
    }
    assert_eq!(backend.requests.load(Ordering::SeqCst), 3);
}

/// Such providers also release the directory, and leave no thread behind.
#[test]
fn providers_that_are_not_started_send_nothing() {
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    let directory = tempfile::tempdir().unwrap();
    let spool = || Spool::new(directory.path().join("spool"));
    let mut config = config_for(&backend.url, TIMEOUT, 100, Limits::default());
    config.exporters.metrics = Exporter::None;
    let resource = Resource::builder_empty().build();
    let open = spool().open().unwrap();
    let providers = Providers::new(&config, &resource, Some(&open)).unwrap();
    drop(open);
    spans(&providers, 1);
    assert_eq!(flush(&providers).spooled, 1);
    drop(providers);
    let again = spool().open().expect("the directory is not locked");
    assert_eq!(backend.requests.load(Ordering::SeqCst), 0);
    // The next process sends the request.
    let providers = Providers::new(&config, &resource, Some(&again)).unwrap();
    providers.start().unwrap();
    wait_for(&providers, |status| status.exported == 1);
}

#[test]
fn an_unusable_spool_directory_is_an_error_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let error = |path: &std::path::Path| Spool::new(path).open().unwrap_err().to_string();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = error(&file.join("below"));
    assert!(
        message.contains("spool") && message.contains("cannot be used"),
        "{message}"
    );

    let taken = directory.path().join("taken");
    let _held = Spool::new(&taken).open().unwrap();
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

        // Only the superuser can change the owner.
        let given = directory.path().join("given");
        drop(Spool::new(&given).open().unwrap());
        if std::os::unix::fs::chown(&given, Some(1), None).is_ok() {
            let message = error(&given);
            assert!(message.contains("another user"), "{message}");
        }
    }
}

#[test]
fn other_files_in_the_spools_directory_are_not_touched() {
    let backend = backend(|_, stream| respond(&stream, "200 OK", "", b""));
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("spool");
    drop(Spool::new(&directory).open().unwrap());
    let traces = directory.join("traces");
    std::fs::create_dir(&traces).unwrap();
    let foreign = ["2024-01-15.gz", "2024-01-15", "00000000000000000001-x-5"];
    for name in foreign {
        std::fs::write(traces.join(name), "not of the spool").unwrap();
    }
    let spool = Spool::new(&directory).max_bytes(4096);
    let providers = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool));
    assert_eq!(providers.status().traces.spooled, 0);
    for number in 1..=3 {
        spans(&providers, 1);
        wait_for(&providers, |status| status.exported == number);
    }
    let status = flush(&providers);
    assert_eq!((status.exported, status.spooled), (3, 0), "{status:?}");
    for name in foreign {
        assert!(traces.join(name).exists(), "{name}");
    }
}

/// For example, on a volume that has become read-only.
#[test]
fn no_request_is_dropped_for_one_that_cannot_be_written() {
    let backend = backend(|_, stream| respond(&stream, "503 Service Unavailable", "", b""));
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("spool");
    let spool = Spool::new(&directory).max_bytes(2 * 4096);
    // A request that cannot be written is sent directly, with this timeout.
    let providers =
        providers_with_spool(&backend.url, Duration::from_millis(200), 100, Some(spool));
    for _ in 0..5 {
        spans(&providers, 1);
        flush(&providers);
    }
    let before = flush(&providers);
    assert!(before.spooled > 0, "{before:?}");
    let files = || {
        let all = std::fs::read_dir(directory.join("traces")).unwrap();
        all.filter(|entry| entry.as_ref().unwrap().path().is_file())
            .count()
    };
    let kept = files();
    std::fs::create_dir(directory.join("traces/partial")).unwrap();
    for _ in 0..5 {
        spans(&providers, 1);
        flush(&providers);
    }
    let after = flush(&providers);
    assert_eq!(
        (files(), after.spooled),
        (kept, before.spooled),
        "{after:?}"
    );
    assert_balanced(&after, 10);
}

#[test]
fn a_request_that_cannot_be_written_to_the_spool_is_sent_directly() {
    for queued in QUEUED {
        let backend = backend(|_, stream| respond(&stream, "200 OK", "", b""));
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("spool");
        let spool = Spool::new(&directory);
        let providers = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool));
        let signal = match queued {
            Queued::Spans => "traces",
            Queued::Logs => "logs",
        };
        // Requests are written to this path first.
        std::fs::create_dir(directory.join(signal).join("partial")).unwrap();
        queued.emit(&providers, 5);
        let status = queued.flush(&providers);
        assert_eq!((status.exported, status.spooled), (5, 0), "{status:?}");
        assert_balanced(&status, 5);
        assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
    }
}

/// A collector responds with 500 if one of its components rejects a batch permanently.
#[test]
fn a_request_that_always_fails_is_dropped_after_later_ones_were_accepted() {
    // The endpoint recognizes the request by its size.
    static TOO_LARGE: AtomicUsize = AtomicUsize::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let Some((_, body)) = read_request(&stream) else {
                continue;
            };
            let status = if body.len() > 100_000 {
                TOO_LARGE.fetch_add(1, Ordering::SeqCst);
                "500 Internal Server Error"
            } else {
                "200 OK"
            };
            respond(&stream, status, "", b"");
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let spool = Some(Spool::new(directory.path().join("spool")));
    let (compression, limits) = (None, Limits::default());
    let providers = providers_with(&url, TIMEOUT, 100, spool, compression, limits);
    let tracer = providers.tracer.as_ref().unwrap().tracer("test");
    let mut span = tracer.start("poison");
    span.set_attribute(KeyValue::new("text", "x".repeat(200_000)));
    span.end();
    let status = wait_for(&providers, |_| TOO_LARGE.load(Ordering::SeqCst) > 0);
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (1, 0),
        "the endpoint may be at fault"
    );
    for sent in 1..=3 {
        spans(&providers, 1);
        let status = wait_for(&providers, |status| status.exported == sent);
        assert_eq!(status.exported, sent, "{status:?}");
        assert!(sent == 3 || status.dropped_failed == 0, "{status:?}");
        assert_balanced(&status, sent + 1);
    }
    let status = wait_for(&providers, |status| status.dropped_failed > 0);
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (0, 1),
        "{status:?}"
    );
    assert_balanced(&status, 4);
}

/// Gateways respond with these status codes while the endpoint is unavailable.
#[test]
fn only_permanent_rejections_remove_requests_from_the_spool() {
    static STATUS: std::sync::Mutex<&str> = std::sync::Mutex::new("");
    for (failing, is_kept) in [
        ("302 Found", true),
        ("408 Request Timeout", true),
        ("500 Internal Server Error", true),
        ("522 Connection Timed Out", true),
        ("400 Bad Request", false),
        ("413 Payload Too Large", false),
    ] {
        *STATUS.lock().unwrap() = failing;
        let backend = backend(|_, stream| respond(&stream, *STATUS.lock().unwrap(), "", b""));
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(directory.path().join("spool"));
        let providers = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool));
        spans(&providers, 5);
        let status = wait_for(&providers, |status| {
            status.last_error.is_some() && (is_kept || status.dropped_failed == 5)
        });
        let expected = if is_kept { (5, 0) } else { (0, 5) };
        let seen = (status.spooled, status.dropped_failed);
        assert_eq!(seen, expected, "{failing}: {status:?}");
        *STATUS.lock().unwrap() = "200 OK";
        let sent = if is_kept { 5 } else { 0 };
        let status = wait_for(&providers, |status| status.exported == sent);
        assert_eq!((status.exported, status.spooled), (sent, 0), "{failing}");
        assert_balanced(&status, 5);
    }
}

#[test]
fn a_wrong_token_keeps_requests_in_the_spool_until_it_is_corrected() {
    static RIGHT: AtomicBool = AtomicBool::new(false);
    let backend = backend(|_, stream| {
        if RIGHT.load(Ordering::SeqCst) {
            respond(&stream, "200 OK", "", b"");
        } else {
            respond(&stream, "401 Unauthorized", "", b"");
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let spool = || Spool::new(directory.path().join("spool"));
    let first = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool()));
    spans(&first, 5);
    let status = wait_for(&first, |status| status.last_error.is_some());
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (5, 0),
        "{status:?}"
    );
    let tried = backend.requests.load(Ordering::SeqCst);
    assert!(tried < 5, "the backoff was ignored: {tried}");
    shut_down(first).expect("nothing is lost");
    RIGHT.store(true, Ordering::SeqCst);
    let second = providers_with_spool(&backend.url, TIMEOUT, 100, Some(spool()));
    let status = wait_for(&second, |status| status.exported == 5);
    assert_eq!((status.exported, status.spooled), (5, 0), "{status:?}");
}
