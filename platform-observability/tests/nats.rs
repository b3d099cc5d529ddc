//! Traces through a real `nats-server`, which each test starts. `./test` installs it. Its path is
//! `PLATFORM_TEST_NATS`, else it is found in `PATH`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // also in the test's helpers

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use async_nats::HeaderMap;
use futures_util::StreamExt;
use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry_sdk::trace::SpanData;
use platform_observability::messaging::{self, Destination};
use platform_observability::testing::Capture;

/// A server on its own port, which is stopped when it is dropped.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let program = std::env::var_os("PLATFORM_TEST_NATS").unwrap_or("nats-server".into());
        let mut process = Command::new(&program)
            .args(["--addr", "127.0.0.1", "--port", "-1"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program:?}: {error}; install nats-server, or run ./test, which does")
            });
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = log.lines().map(Result::unwrap);
        let address = lines
            .by_ref()
            .find_map(|line| {
                let (_, address) = line.split_once("Listening for client connections on ")?;
                Some(address.trim().to_owned())
            })
            .expect("nats-server logs its address");
        assert!(lines.any(|line| line.ends_with("Server is ready")));
        // Drains the pipe, so that the server does not block on it.
        std::thread::spawn(move || lines.count());
        let url = format!("nats://{address}");
        Self { process, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn a_trace_is_propagated_through_a_nats_message() {
    let capture = Capture::start();
    opentelemetry::global::set_text_map_propagator(capture.propagator());
    let server = Server::start();
    let client = async_nats::connect(&server.url).await.unwrap();
    let mut messages = client.subscribe("entries.*.booked").await.unwrap();

    let template = "entries.{id}.booked";
    let booked = Destination::new("entries.7.booked").template(template);
    let sent = messaging::send(booked, HeaderMap::new(), |headers| {
        client.publish_with_headers("entries.7.booked", headers, "".into())
    });
    sent.await.unwrap();

    let message = messages.next().await.unwrap();
    let producer = messaging::extract(message.headers.as_ref().unwrap());
    assert!(producer.has_active_span());
    let destination = Destination::new(&message.subject).template(template);
    let done = async || Ok::<_, std::io::Error>(());
    let linked = messaging::process(destination, &producer, done());
    linked.await.unwrap();
    let child = messaging::process_child(destination, &producer, done());
    child.await.unwrap();

    let spans = capture.spans().into_iter().map(|span| span.0);
    let spans: Vec<SpanData> = spans
        .filter(|span| span.span_kind != SpanKind::Internal)
        .collect();
    let [sent, linked, child] = &spans[..] else {
        panic!("{spans:#?}");
    };
    assert_eq!(sent.name, "send entries.{id}.booked");
    assert_eq!(linked.name, "process entries.{id}.booked");
    assert_eq!(linked.links.len(), 1);
    let link = &linked.links.iter().next().unwrap().span_context;
    assert_eq!(link.span_id(), sent.span_context.span_id());
    assert_eq!(link.trace_id(), sent.span_context.trace_id());
    assert_ne!(linked.span_context.trace_id(), link.trace_id());
    assert_eq!(child.parent_span_id, sent.span_context.span_id());
    assert_eq!(child.span_context.trace_id(), link.trace_id());
}
