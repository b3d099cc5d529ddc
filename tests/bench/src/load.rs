//! A service on a socket, and clients with keep-alive connections that send one request after
//! another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::serve::ListenerExt;
use http_body_util::BodyExt;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Clients, each with its own connection.
pub(crate) struct Clients {
    senders: Vec<SendRequest<Body>>,
}

/// The results of one turn.
#[derive(Default)]
pub(crate) struct Turn {
    /// Requests a second.
    pub(crate) rate: f64,
    /// The latency of each request, in microseconds.
    pub(crate) latencies: Vec<f64>,
    /// The increase of the CPU times that `cpu` returns, in microseconds.
    pub(crate) cpu: Option<[f64; 2]>,
}

/// The mean CPU time of a request over all `turns`, in microseconds.
pub(crate) fn cpu_of_a_request(turns: &[Turn]) -> Option<[f64; 2]> {
    let mut sum = [0.0; 2];
    for turn in turns {
        let cpu = turn.cpu?;
        sum = [sum[0] + cpu[0], sum[1] + cpu[1]];
    }
    let requests: usize = turns.iter().map(|turn| turn.latencies.len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let requests = requests as f64;
    Some(sum.map(|cpu| cpu / requests))
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

    /// The first `count` clients send requests, one after another, for the duration `lasting`.
    /// `cpu` returns CPU times in microseconds; it is called before and after.
    pub(crate) async fn run(
        &mut self,
        count: usize,
        request: impl Fn() -> Request<Body> + Copy + Send + 'static,
        lasting: Duration,
        cpu: impl Fn() -> Option<[f64; 2]>,
    ) -> Turn {
        let before = cpu();
        let began = Instant::now();
        let tasks: Vec<_> = self
            .senders
            .drain(..count)
            .map(|mut sender| {
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while began.elapsed() < lasting {
                        let sent = Instant::now();
                        send(&mut sender, request()).await;
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
        turn.cpu = cpu()
            .zip(before)
            .map(|(after, before)| [0, 1].map(|at| after[at] - before[at]));
        turn
    }

    /// The first client sends this many requests.
    pub(crate) async fn send(&mut self, requests: usize, request: impl Fn() -> Request<Body>) {
        for _ in 0..requests {
            send(&mut self.senders[0], request()).await;
        }
    }
}

async fn send(sender: &mut SendRequest<Body>, request: Request<Body>) {
    sender.ready().await.expect("the connection stays open");
    let response = sender.send_request(request).await.expect("a response");
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("its body")
        .to_bytes();
    assert!(
        status.is_success(),
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
}

/// Serves `router` on a free port.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("its address");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("TCP_NODELAY"));
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}
