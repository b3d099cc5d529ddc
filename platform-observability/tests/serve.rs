//! That a server stops without losing requests, and stops nonetheless. Signals: tests/signals.rs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod lines;

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::stream::{self, StreamExt};
use hyper_util::rt::TokioIo;
use lines::Lines;
use platform_observability::{Health, Serve, ServeError, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Bounds that a test never reaches.
const LONG: Duration = Duration::from_secs(3600);

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn new(router: Router, settings: impl FnOnce(Serve) -> Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = serve(listener, router)
            .drain_within(LONG)
            .stop_when(async move { stopped.await.unwrap() });
        let run = tokio::spawn(settings(server).run());
        Self { address, stop, run }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Until nothing listens there.
async fn refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// Tells when it is dropped.
struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Each route tells when it was called and when what it made was dropped, and does not end:
/// `/handler` gives no answer, `/body` one without an end, `/much` more than is ever read.
fn hanging(tell: mpsc::UnboundedSender<&'static str>) -> Router {
    let called = move || {
        tell.send("called").unwrap();
        Dropped(tell)
    };
    let (body, much) = (called.clone(), called.clone());
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
    let much = async move || {
        let dropped = much();
        let chunk = Ok::<_, Infallible>(Bytes::from_static(&[b'a'; 65536]));
        Body::from_stream(stream::repeat(chunk).map(move |chunk| {
            let _held = &dropped;
            chunk
        }))
    };
    Router::new()
        .route("/handler", get(handler))
        .route("/body", get(body))
        .route("/much", get(much))
}

#[tokio::test]
async fn handlers_know_the_clients_address() {
    let whoami = async |ConnectInfo(client): ConnectInfo<SocketAddr>| client.to_string();
    let served = Served::new(Router::new().route("/", get(whoami)), |serve| serve).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let own = client.local_addr().unwrap().to_string();
    assert!(answer.ends_with(&format!("\r\n\r\n{own}")), "{answer}");
}

#[tokio::test]
async fn a_running_request_and_its_body_end_before_the_closures_run() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (chunk, chunks) = mpsc::unbounded_channel::<Bytes>();
    let stream = stream::unfold(chunks, async |mut chunks| {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, Infallible>(chunk), chunks))
    });
    let body = std::sync::Mutex::new(Some(Body::from_stream(stream)));
    let body = std::sync::Arc::new(body);
    let app = Router::new().route("/", get(async move || body.lock().unwrap().take().unwrap()));
    let closed = tell.clone();
    let served = Served::new(app, |serve| {
        serve.on_shutdown(async move || closed.send("closure").unwrap())
    })
    .await;
    let mut response = reqwest::get(served.url("/")).await.unwrap();
    chunk.send(Bytes::from_static(b"first")).unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");

    served.stop.send(()).unwrap();
    refused(served.address).await;
    tell.send("refused").unwrap();
    chunk.send(Bytes::from_static(b"last")).unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "last");
    tell.send("last").unwrap();
    drop(chunk);
    assert_eq!(response.chunk().await.unwrap(), None);
    served.run.await.unwrap().unwrap();
    drop(tell);
    let mut order = Vec::new();
    while let Some(event) = told.recv().await {
        order.push(event);
    }
    assert_eq!(order, ["refused", "last", "closure"]);
}

#[tokio::test]
async fn it_serves_on_while_it_is_not_ready() {
    let health = Health::new();
    let app = Router::new()
        .route("/", get(async || "served"))
        .merge(health.router());
    let served = Served::new(app, |serve| serve.with_health(&health).not_ready_for(LONG)).await;
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

    // Dropped, it cuts what is left.
    served.run.abort();
    assert!(served.run.await.unwrap_err().is_cancelled());
    refused(address).await;
}

#[tokio::test]
async fn readiness_is_off_before_the_listener_is_closed() {
    let health = Health::new();
    let served = Served::new(health.router(), |serve| serve.with_health(&health)).await;
    assert!(health.readiness().is_ready());
    served.stop.send(()).unwrap();
    served.run.await.unwrap().unwrap();
    assert!(!health.readiness().is_ready());
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_it_up() {
    let app = Router::new().route("/", get(async || "hello"));
    let served = Served::new(app, |serve| serve).await;
    let mut used = TcpStream::connect(served.address).await.unwrap();
    used.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert_ne!(used.read_buf(&mut answer).await.unwrap(), 0);
    }
    let mut unused = TcpStream::connect(served.address).await.unwrap();
    served.stop.send(()).unwrap();
    served.run.await.unwrap().unwrap();
    assert_eq!(used.read_buf(&mut answer).await.unwrap(), 0);
    // Closed, or reset if it was not accepted yet.
    assert!(matches!(unused.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn whatever_hangs_is_cut_at_the_deadline_and_counted() {
    let lines = Lines::of_process();
    let (tell, mut told) = mpsc::unbounded_channel();
    let closed = tell.clone();
    let served = Served::new(hanging(tell), |serve| {
        serve
            .drain_within(Duration::from_millis(50))
            .on_shutdown(async || panic!("of a closure"))
            .on_shutdown(async move || closed.send("closed").unwrap())
    })
    .await;
    let request = "GET /handler HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut clients = Vec::new();
    for sent in [
        request.to_owned(),
        // The second is in the server's buffer while the first is handled, or its body sent.
        request.repeat(2),
        request.replace("/handler", "/body").repeat(2),
        // Its client does not read.
        request.replace("/handler", "/much"),
    ] {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        assert_eq!(told.recv().await, Some("called"));
        clients.push(client);
    }
    // A head without an end is a connection to be cut, but no request.
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(b"GET /handler HT").await.unwrap();
    clients.push(client);

    served.stop.send(()).unwrap();
    served.run.await.unwrap().unwrap();
    for _ in 0..4 {
        assert_eq!(told.try_recv(), Ok("dropped"), "before the closures");
    }
    assert_eq!(told.try_recv(), Ok("closed"), "despite the panic");
    for client in &mut clients {
        // To its end, or until it is reset.
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 503 "), "{answer}");
    }
    let logged = lines.text();
    assert!(
        logged.contains(
            "after 50ms, 4 requests are unfinished; cutting the connections that are open: "
        ),
        "{logged}"
    );
    assert!(
        logged.contains("closure 1 of the shutdown panicked"),
        "{logged}"
    );
}

#[tokio::test]
async fn an_upgraded_connection_is_not_waited_for_but_cut() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let upgrade = async move |request: Request| {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            tell.send("upgraded").unwrap();
            let read = TokioIo::new(upgraded).read(&mut [0]).await;
            assert_eq!(
                read.unwrap_err().kind(),
                std::io::ErrorKind::ConnectionAborted
            );
            tell.send("cut").unwrap();
        });
        let upgrade = [("connection", "upgrade"), ("upgrade", "echo")];
        (StatusCode::SWITCHING_PROTOCOLS, upgrade)
    };
    let served = Served::new(Router::new().route("/", get(upgrade)), |serve| serve).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    client.write_all(request).await.unwrap();
    assert_eq!(told.recv().await, Some("upgraded"));
    served.stop.send(()).unwrap();
    served.run.await.unwrap().unwrap();
    let cut = timeout(Duration::from_secs(60), told.recv()).await;
    assert_eq!(cut.unwrap(), Some("cut"));
}
