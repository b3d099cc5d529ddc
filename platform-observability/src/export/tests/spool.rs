//! What is kept on disk.

use super::*;

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
    stopped(first).expect("nothing is lost");

    // What is on disk is for nobody else.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(directory.path().join("spool")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o700);
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
    // A request of so few spans has some 150 bytes, and takes a block.
    let spool = Spool::at(directory.path().join("spool")).max_bytes(4 * 4096);
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
    assert!(files.count() <= 4, "a block each");
    let listed = providers.ledgers.status().traces;
    assert_eq!(listed.spooled, 4, "{listed:?}");
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

/// The backend puts a directory where the file is, which cannot be removed as one.
#[test]
fn what_was_sent_and_cannot_be_removed_is_not_sent_again() {
    static DIRECTORY: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    let backend = backend(|_, stream| {
        for file in std::fs::read_dir(DIRECTORY.get().unwrap()).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                std::fs::remove_file(&path).unwrap();
                std::fs::create_dir(&path).unwrap();
            }
        }
        answer(&stream, "200 OK", "", b"");
    });
    let directory = tempfile::tempdir().unwrap();
    DIRECTORY
        .set(directory.path().join("spool/traces"))
        .unwrap();
    let spool = Spool::at(directory.path().join("spool"));
    let providers = spooling(&backend.url, PATIENCE, 100, Some(spool));
    for number in 1..=3 {
        spans(&providers, 1);
        let _ = flushed(&providers);
        let status = awaited(&providers, |status| status.exported >= number);
        assert_eq!((status.exported, status.spooled), (number, 0), "{status:?}");
    }
    assert_eq!(backend.requests.load(Ordering::SeqCst), 3);
}

/// Nor does it hold the directory, or leave a thread behind.
#[test]
fn what_is_not_started_sends_nothing() {
    let backend = backend(|_, stream| answer(&stream, "200 OK", "", b""));
    let directory = tempfile::tempdir().unwrap();
    let spool = || Spool::at(directory.path().join("spool"));
    let mut all = destinations(&backend.url, PATIENCE, 100, Limits::default());
    all.metrics = Destination::Nowhere;
    let resource = Resource::builder_empty().build();
    let held = spool().open().unwrap();
    let providers = Providers::new(&all, &resource, Some(&held)).unwrap();
    drop(held);
    spans(&providers, 1);
    assert_eq!(flushed(&providers).spooled, 1);
    drop(providers);
    let again = spool().open().expect("the directory is free again");
    assert_eq!(backend.requests.load(Ordering::SeqCst), 0);
    // The next one finds what was left.
    let providers = Providers::new(&all, &resource, Some(&again)).unwrap();
    providers.start().unwrap();
    awaited(&providers, |status| status.exported == 1);
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

        // Only the superuser can give it away; nobody else can be tricked so.
        let given = directory.path().join("given");
        drop(Spool::at(&given).open().unwrap());
        if std::os::unix::fs::chown(&given, Some(1), None).is_ok() {
            let message = error(&given);
            assert!(message.contains("another user"), "{message}");
        }
    }
}

#[test]
fn what_is_not_the_spools_is_left_alone() {
    let backend = backend(|_, stream| answer(&stream, "200 OK", "", b""));
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("spool");
    drop(Spool::at(&directory).open().unwrap());
    let traces = directory.join("traces");
    std::fs::create_dir(&traces).unwrap();
    let foreign = ["2024-01-15.gz", "2024-01-15", "00000000000000000001-x-5"];
    for name in foreign {
        std::fs::write(traces.join(name), "somebody's").unwrap();
    }
    let spool = Spool::at(&directory).max_bytes(4096);
    let providers = spooling(&backend.url, PATIENCE, 100, Some(spool));
    assert_eq!(providers.ledgers.status().traces.spooled, 0);
    for number in 1..=3 {
        spans(&providers, 1);
        awaited(&providers, |status| status.exported == number);
    }
    let status = flushed(&providers);
    assert_eq!((status.exported, status.spooled), (3, 0), "{status:?}");
    for name in foreign {
        assert!(traces.join(name).exists(), "{name}");
    }
}

/// As when a volume turns read-only.
#[test]
fn nothing_has_to_go_for_what_does_not_get_there() {
    let backend = backend(|_, stream| answer(&stream, "503 Service Unavailable", "", b""));
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("spool");
    let spool = Spool::at(&directory).max_bytes(2 * 4096);
    // It is tried without the disk then, for so long.
    let providers = spooling(&backend.url, Duration::from_millis(200), 100, Some(spool));
    for _ in 0..5 {
        spans(&providers, 1);
        flushed(&providers);
    }
    let before = flushed(&providers);
    assert!(before.spooled > 0, "{before:?}");
    let files = || {
        let all = std::fs::read_dir(directory.join("traces")).unwrap();
        all.filter(|it| it.as_ref().unwrap().path().is_file())
            .count()
    };
    let kept = files();
    std::fs::create_dir(directory.join("traces/partial")).unwrap();
    for _ in 0..5 {
        spans(&providers, 1);
        flushed(&providers);
    }
    let after = flushed(&providers);
    assert_eq!(
        (files(), after.spooled),
        (kept, before.spooled),
        "{after:?}"
    );
    balanced(&after, 10);
}

#[test]
fn what_the_disk_does_not_take_is_sent_without_it() {
    for of in QUEUED {
        let backend = backend(|_, stream| answer(&stream, "200 OK", "", b""));
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("spool");
        let spool = Spool::at(&directory);
        let providers = spooling(&backend.url, PATIENCE, 100, Some(spool));
        let signal = match of {
            Queued::Spans => "traces",
            Queued::Logs => "logs",
        };
        // Where each request is written first.
        std::fs::create_dir(directory.join(signal).join("partial")).unwrap();
        of.make(&providers, 5);
        let status = of.flushed(&providers);
        assert_eq!((status.exported, status.spooled), (5, 0), "{status:?}");
        balanced(&status, 5);
        assert_eq!(backend.requests.load(Ordering::SeqCst), 1);
    }
}

/// As a collector answers where one of its parts refuses a batch for good.
#[test]
fn a_request_that_an_endpoint_fails_at_does_not_hold_up_the_others_for_ever() {
    // By how large it is.
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
            answer(&stream, status, "", b"");
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let spool = Some(Spool::at(directory.path().join("spool")));
    let (compression, limits) = (Compression::None, Limits::default());
    let providers = limited(&url, PATIENCE, 100, spool, compression, limits);
    let tracer = providers.tracer.as_ref().unwrap().tracer("test");
    let mut span = tracer.start("poison");
    span.set_attribute(KeyValue::new("text", "x".repeat(200_000)));
    span.end();
    let status = awaited(&providers, |_| TOO_LARGE.load(Ordering::SeqCst) > 0);
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (1, 0),
        "it may be ill"
    );
    for made in 1..=3 {
        spans(&providers, 1);
        let status = awaited(&providers, |status| status.exported == made);
        assert_eq!(status.exported, made, "{status:?}");
        assert!(made == 3 || status.dropped_failed == 0, "{status:?}");
        balanced(&status, made + 1);
    }
    let status = awaited(&providers, |status| status.dropped_failed > 0);
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (0, 1),
        "{status:?}"
    );
    balanced(&status, 4);
}

/// As gateways answer while what is behind them is away.
#[test]
fn an_endpoint_that_fails_in_any_way_empties_no_spool() {
    static ANSWER: std::sync::Mutex<&str> = std::sync::Mutex::new("");
    for (failing, is_kept) in [
        ("302 Found", true),
        ("408 Request Timeout", true),
        ("500 Internal Server Error", true),
        ("522 Connection Timed Out", true),
        ("400 Bad Request", false),
        ("413 Payload Too Large", false),
    ] {
        *ANSWER.lock().unwrap() = failing;
        let backend = backend(|_, stream| answer(&stream, *ANSWER.lock().unwrap(), "", b""));
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::at(directory.path().join("spool"));
        let providers = spooling(&backend.url, PATIENCE, 100, Some(spool));
        spans(&providers, 5);
        let status = awaited(&providers, |status| {
            status.trouble.is_some() && (is_kept || status.dropped_failed == 5)
        });
        let expected = if is_kept { (5, 0) } else { (0, 5) };
        let seen = (status.spooled, status.dropped_failed);
        assert_eq!(seen, expected, "{failing}: {status:?}");
        *ANSWER.lock().unwrap() = "200 OK";
        let sent = if is_kept { 5 } else { 0 };
        let status = awaited(&providers, |status| status.exported == sent);
        assert_eq!((status.exported, status.spooled), (sent, 0), "{failing}");
        balanced(&status, 5);
    }
}

#[test]
fn a_wrong_token_empties_no_spool() {
    static RIGHT: AtomicBool = AtomicBool::new(false);
    let backend = backend(|_, stream| {
        if RIGHT.load(Ordering::SeqCst) {
            answer(&stream, "200 OK", "", b"");
        } else {
            answer(&stream, "401 Unauthorized", "", b"");
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let spool = || Spool::at(directory.path().join("spool"));
    let first = spooling(&backend.url, PATIENCE, 100, Some(spool()));
    spans(&first, 5);
    let status = awaited(&first, |status| status.trouble.is_some());
    assert_eq!(
        (status.spooled, status.dropped_failed),
        (5, 0),
        "{status:?}"
    );
    let tried = backend.requests.load(Ordering::SeqCst);
    assert!(tried < 5, "it is left in peace, too: {tried}");
    stopped(first).expect("nothing is lost");
    RIGHT.store(true, Ordering::SeqCst);
    let second = spooling(&backend.url, PATIENCE, 100, Some(spool()));
    let status = awaited(&second, |status| status.exported == 5);
    assert_eq!((status.exported, status.spooled), (5, 0), "{status:?}");
}
