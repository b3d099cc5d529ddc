//! Clients that keep their connections and send one request after another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) struct Clients {
    senders: Vec<SendRequest<Body>>,
}

/// What a turn came to.
#[derive(Default)]
pub(crate) struct Turn {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Of each request, in microseconds.
    pub(crate) latencies: Vec<f64>,
}

impl Clients {
    pub(crate) async fn connect(service: SocketAddr, count: usize) -> Self {
        let mut senders = Vec::new();
        for _ in 0..count {
            let stream = TcpStream::connect(service)
                .await
                .expect("the service listens");
            stream.set_nodelay(true).expect("TCP_NODELAY");
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .expect("the service speaks HTTP/1.1");
            tokio::spawn(connection);
            senders.push(sender);
        }
        Self { senders }
    }

    /// The first `count` clients send `body` to `path` for so long.
    pub(crate) async fn run(
        &mut self,
        count: usize,
        path: &'static str,
        body: &'static str,
        lasting: Duration,
    ) -> Turn {
        let began = Instant::now();
        let tasks: Vec<_> = self
            .senders
            .drain(..count)
            .map(|mut sender| {
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while began.elapsed() < lasting {
                        let sent = Instant::now();
                        post(&mut sender, path, body).await;
                        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
                    }
                    (sender, latencies)
                })
            })
            .collect();
        let mut turn = Turn::default();
        for task in tasks {
            let (sender, latencies) = task.await.expect("no request fails");
            self.senders.push(sender);
            turn.latencies.extend(latencies);
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        let requests = turn.latencies.len() as f64;
        turn.rate = requests / began.elapsed().as_secs_f64();
        turn
    }

    /// One client sends so many.
    pub(crate) async fn send(&mut self, requests: usize, path: &'static str, body: &'static str) {
        for _ in 0..requests {
            post(&mut self.senders[0], path, body).await;
        }
    }
}

async fn post(sender: &mut SendRequest<Body>, path: &str, body: &'static str) {
    let request = Request::post(path)
        .header("host", "ledger.example")
        .header("user-agent", "bench/1")
        .header("content-type", "application/json")
        .header("x-actor", "ada")
        .header("x-request-id", "018f3c2a-7b1d-7e3a-9c55-0242ac120002")
        .body(Body::from(body))
        .expect("a request");
    sender.ready().await.expect("the connection is kept");
    let answer = sender.send_request(request).await.expect("an answer");
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("its body")
        .to_bytes();
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
}
