//! What becomes of a process that is told to stop. The process is this binary, run again.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use platform_observability::{Health, ServeError, Telemetry, serve};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const COLLECTOR: &str = "TEST_COLLECTOR";

/// The main function of the service; without the variable it is a test of nothing.
#[tokio::test]
async fn service() {
    let Ok(collector) = std::env::var(COLLECTOR) else {
        return;
    };
    let telemetry = Telemetry::builder("accounting").otlp(collector).init();
    let telemetry = telemetry.unwrap();
    let health = Health::new();
    // Answers when a line comes in.
    let slow = async || {
        println!("\ncalled");
        let (send, line) = tokio::sync::oneshot::channel();
        // Not a thread of the runtime, whose end would wait for it.
        std::thread::spawn(move || {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            send.send(line)
        });
        line.await.unwrap()
    };
    let app: Router = Router::new()
        .route("/slow", get(slow))
        .layer(telemetry.layer())
        .merge(health.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    let ended = serve(listener, app)
        .with_health(&health)
        .drain_within(Duration::from_secs(3600))
        .on_shutdown(async || {
            println!("\nclosing");
            tracing::info!("the pool is closed");
        })
        .with_telemetry(telemetry)
        .run()
        .await;
    match ended {
        Ok(()) => println!("\nended"),
        Err(ServeError::Interrupted) => println!("\ninterrupted"),
        Err(error) => panic!("{error}"),
    }
}

/// Whether it would change what is logged, and where.
fn is_a_setting(name: &str) -> bool {
    name.starts_with("OTEL_") || name.starts_with("AXIOM_") || name == "RUST_LOG"
}

struct Service {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Service {
    async fn start(collector: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "service", "--nocapture"])
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| !is_a_setting(name)))
            .env(COLLECTOR, format!("http://{collector}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = output.next_line().await.unwrap().expect("an address");
            if let Some(address) = line.strip_prefix("listening on ") {
                break address.parse().unwrap();
            }
        };
        Self {
            child,
            input,
            output,
            address,
        }
    }

    async fn says(&mut self, expected: &str) {
        loop {
            let line = self.output.next_line().await.unwrap();
            if line.expect("it says so") == expected {
                break;
            }
        }
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let name = name.trim_start_matches("SIG");
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.await.unwrap().success());
    }

    async fn refuses(&self) {
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

/// Takes everything, and gives the bodies that came for a path.
async fn collector() -> (
    SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<(String, Bytes)>,
) {
    let (send, exported) = tokio::sync::mpsc::unbounded_channel();
    let take = async move |uri: axum::http::Uri, body: Bytes| {
        send.send((uri.path().to_owned(), body)).unwrap();
    };
    let app = Router::new().route("/v1/{signal}", post(take));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, exported)
}

async fn a_signal_drains(signal: &str) {
    let (collector, mut exported) = collector().await;
    let mut service = Service::start(collector).await;
    let url = format!("http://{}/slow", service.address);
    let asked = tokio::spawn(async move { reqwest::get(url).await.unwrap().text().await });
    service.says("called").await;
    service.signal(signal).await;
    service.refuses().await;
    service.input.write_all(b"answered\n").await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), "answered\n");
    let (mut traces, mut logs) = (Vec::new(), Vec::new());
    let mut take = |traces: &mut Vec<u8>, logs: &mut Vec<u8>| {
        while let Ok((path, body)) = exported.try_recv() {
            match path.as_str() {
                "/v1/traces" => traces.extend(body),
                "/v1/logs" => logs.extend(body),
                _ => {}
            }
        }
    };
    let told = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
    // Whatever becomes of the pool, the telemetry of the requests is safe.
    service.says("closing").await;
    take(&mut traces, &mut logs);
    assert!(told(&traces, "GET /slow"));
    service.says("ended").await;
    assert!(service.child.wait().await.unwrap().success());
    take(&mut traces, &mut logs);
    assert!(told(&logs, &format!("stopping on {signal}")));
    assert!(told(&logs, "the pool is closed"));
}

#[tokio::test]
async fn sigterm_drains_a_running_request_and_ends_cleanly_with_its_last_telemetry() {
    a_signal_drains("SIGTERM").await;
}

#[tokio::test]
async fn sigint_does_the_same() {
    a_signal_drains("SIGINT").await;
}

#[tokio::test]
async fn a_second_signal_stops_it_at_once() {
    let (collector, _exported) = collector().await;
    let mut service = Service::start(collector).await;
    let url = format!("http://{}/slow", service.address);
    let asked = tokio::spawn(reqwest::get(url));
    service.says("called").await;
    service.signal("SIGTERM").await;
    service.refuses().await;
    service.signal("SIGINT").await;
    service.says("interrupted").await;
    assert!(asked.await.unwrap().is_err());
    service.child.wait().await.unwrap();
}
