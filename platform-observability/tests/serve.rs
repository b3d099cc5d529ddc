//! Graceful shutdown. Signals are tested in tests/signals.rs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod captured_log;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::routing::get;
use captured_log::CapturedLog;
use futures_util::stream::{self, StreamExt};
use hyper_util::rt::TokioIo;
use platform_observability::{Health, Serve, ServeError, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A timeout that a test never reaches.
const LONG: Duration = Duration::from_secs(3600);

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn new(router: Router, configure: impl FnOnce(Serve) -> Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = serve(listener, router)
            .drain_timeout(LONG)
            .stop_when(async move { stopped.await.unwrap() });
        let run = tokio::spawn(configure(server).run());
        Self { address, stop, run }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Waits until connections are refused.
async fn wait_until_refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// Sends an event when it is dropped.
struct DropEvent(mpsc::UnboundedSender<&'static str>);

impl Drop for DropEvent {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Routes that do not complete, and send an event when they are called and dropped: `/handler` does
/// not respond, `/body` responds with an endless body, `/large` with more than is ever read.
fn hanging_routes(events: mpsc::UnboundedSender<&'static str>) -> Router {
    let called = move || {
        events.send("called").unwrap();
        DropEvent(events)
    };
    let (body, large) = (called.clone(), called.clone());
    let handler = async move || {
        let _dropped = called();
        pending::<()>().await;
    };
    let body = async move || {
        let dropped = body();
        Body::from_stream(
            stream::pending::<Result<Bytes, Infallible>>().map(move |chunk| {
                let _held = &dropped;
                chunk
            }),
        )
    };
    let large = async move || {
        let dropped = large();
        let chunk = Ok::<_, Infallible>(Bytes::from_static(&[b'a'; 65536]));
        Body::from_stream(stream::repeat(chunk).map(move |chunk| {
            let _held = &dropped;
            chunk
        }))
    };
    Router::new()
        .route("/handler", get(handler))
        .route("/body", get(body))
        .route("/large", get(large))
}

#[tokio::test]
async fn handlers_can_extract_the_clients_address() {
    let handler = async |ConnectInfo(client): ConnectInfo<SocketAddr>| client.to_string();
    let served = Served::new(Router::new().route("/", get(handler)), |serve| serve).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).await.unwrap();
    let own = client.local_addr().unwrap().to_string();
    assert!(response.ends_with(&format!("\r\n\r\n{own}")), "{response}");
}

#[tokio::test]
async fn shutdown_hooks_run_after_requests_and_their_bodies_have_ended() {
    let (events, mut received) = mpsc::unbounded_channel();
    let (chunk, chunks) = mpsc::unbounded_channel::<Bytes>();
    let stream = stream::unfold(chunks, async |mut chunks| {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, Infallible>(chunk), chunks))
    });
    let body = std::sync::Mutex::new(Some(Body::from_stream(stream)));
    let body = std::sync::Arc::new(body);
    let app = Router::new().route("/", get(async move || body.lock().unwrap().take().unwrap()));
    let hook_events = events.clone();
    let served = Served::new(app, |serve| {
        serve.on_shutdown(async move || hook_events.send("hook").unwrap())
    })
    .await;
    let mut response = reqwest::get(served.url("/")).await.unwrap();
    chunk.send(Bytes::from_static(b"first")).unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");

    served.stop.send(()).unwrap();
    wait_until_refused(served.address).await;
    events.send("refused").unwrap();
    chunk.send(Bytes::from_static(b"last")).unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "last");
    events.send("last").unwrap();
    drop(chunk);
    assert_eq!(response.chunk().await.unwrap(), None);
    served.run.await.unwrap().unwrap();
    drop(events);
    let mut order = Vec::new();
    while let Some(event) = received.recv().await {
        order.push(event);
    }
    assert_eq!(order, ["refused", "last", "hook"]);
}

#[tokio::test]
async fn requests_are_served_during_the_shutdown_delay() {
    let health = Health::new();
    let app = Router::new()
        .route("/", get(async || "served"))
        .merge(health.router());
    let served = Served::new(app, |serve| serve.with_health(&health).shutdown_delay(LONG)).await;
    let ready = reqwest::get(served.url("/readyz")).await.unwrap();
    assert_eq!(ready.status(), 200);
    served.stop.send(()).unwrap();
    while health.readiness().is_ready() {
        tokio::task::yield_now().await;
    }
    let address = served.address;
    let get = async |path| reqwest::get(format!("http://{address}{path}")).await;
    assert_eq!(get("/readyz").await.unwrap().status(), 503);
    assert_eq!(get("/livez").await.unwrap().status(), 200);
    assert_eq!(get("/").await.unwrap().text().await.unwrap(), "served");

    // Dropping the future aborts the connections.
    served.run.abort();
    assert!(served.run.await.unwrap_err().is_cancelled());
    wait_until_refused(address).await;
}

#[tokio::test]
async fn readiness_is_turned_off_during_the_shutdown() {
    let health = Health::new();
    let served = Served::new(health.router(), |serve| serve.with_health(&health)).await;
    assert!(health.readiness().is_ready());
    served.stop.send(()).unwrap();
    served.run.await.unwrap().unwrap();
    assert!(!health.readiness().is_ready());
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_shutdown() {
    let app = Router::new().route("/", get(async || "hello"));
    let served = Served::new(app, |serve| serve).await;
    let mut used = TcpStream::connect(served.address).await.unwrap();
    used.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"hello") {
        assert_ne!(used.read_buf(&mut response).await.unwrap(), 0);
    }
    let mut unused = TcpStream::connect(served.address).await.unwrap();
    served.stop.send(()).unwrap();
    served.run.await.unwrap().unwrap();
    assert_eq!(used.read_buf(&mut response).await.unwrap(), 0);
    // Closed, or reset if it was not accepted yet.
    assert!(matches!(unused.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn hanging_requests_are_aborted_and_counted_after_the_drain_timeout() {
    let log = CapturedLog::of_process();
    let (events, mut received) = mpsc::unbounded_channel();
    let hook_events = events.clone();
    let served = Served::new(hanging_routes(events), |serve| {
        serve
            .drain_timeout(Duration::from_millis(50))
            .on_shutdown(async || panic!("in a hook"))
            .on_shutdown(async move || hook_events.send("closed").unwrap())
    })
    .await;
    let request = "GET /handler HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut clients = Vec::new();
    for sent in [
        request.to_owned(),
        // The second request is in the server's buffer while the first is handled.
        request.repeat(2),
        request.replace("/handler", "/body").repeat(2),
        // The client does not read the response.
        request.replace("/handler", "/large"),
    ] {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        assert_eq!(received.recv().await, Some("called"));
        clients.push(client);
    }
    // An incomplete head keeps a connection open, but is not a request.
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(b"GET /handler HT").await.unwrap();
    clients.push(client);

    served.stop.send(()).unwrap();
    served.run.await.unwrap().unwrap();
    for _ in 0..4 {
        assert_eq!(received.try_recv(), Ok("dropped"), "before the hooks");
    }
    assert_eq!(received.try_recv(), Ok("closed"), "despite the panic");
    for client in &mut clients {
        // Until it is closed or reset.
        let mut response = Vec::new();
        let _ = client.read_to_end(&mut response).await;
        let response = String::from_utf8_lossy(&response);
        assert!(!response.contains(" 503 "), "{response}");
    }
    let logged = log.text();
    assert!(
        logged.contains("after 50ms, 4 requests are unfinished; aborting ")
            && logged.contains(" open connections"),
        "{logged}"
    );
    assert!(logged.contains("shutdown hook 1 panicked"), "{logged}");
}

#[tokio::test]
async fn an_upgraded_connection_is_aborted_without_waiting() {
    let (events, mut received) = mpsc::unbounded_channel();
    let upgrade = async move |request: Request| {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            events.send("upgraded").unwrap();
            let read = TokioIo::new(upgraded).read(&mut [0]).await;
            assert_eq!(
                read.unwrap_err().kind(),
                std::io::ErrorKind::ConnectionAborted
            );
            events.send("aborted").unwrap();
        });
        let upgrade = [("connection", "upgrade"), ("upgrade", "echo")];
        (StatusCode::SWITCHING_PROTOCOLS, upgrade)
    };
    let served = Served::new(Router::new().route("/", get(upgrade)), |serve| serve).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    client.write_all(request).await.unwrap();
    assert_eq!(received.recv().await, Some("upgraded"));
    served.stop.send(()).unwrap();
    served.run.await.unwrap().unwrap();
    let aborted = timeout(Duration::from_secs(60), received.recv()).await;
    assert_eq!(aborted.unwrap(), Some("aborted"));
}
