//! Shutdown on signals, in a child process that runs this binary.
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

/// The main function of the child process. Without the variable, this test does nothing.
#[tokio::test]
async fn service() {
    let Ok(collector) = std::env::var(COLLECTOR) else {
        return;
    };
    let telemetry = Telemetry::builder("accounting").otlp(collector).init();
    let telemetry = telemetry.unwrap();
    let health = Health::new();
    // Responds with the next line of standard input.
    let slow = async || {
        println!("\ncalled");
        let (send, line) = tokio::sync::oneshot::channel();
        // Not on a thread of the runtime, whose shutdown would wait for it.
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
        .drain_timeout(Duration::from_secs(3600))
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

/// Whether a variable would change the child's telemetry.
fn is_telemetry_setting(name: &str) -> bool {
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
            .envs(std::env::vars().filter(|(name, _)| !is_telemetry_setting(name)))
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

    async fn wait_for_output(&mut self, expected: &str) {
        loop {
            let line = self.output.next_line().await.unwrap();
            if line.expect("the expected line") == expected {
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

    async fn wait_until_refused(&self) {
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

/// A collector that accepts everything, and returns each request's path and body.
async fn collector() -> (
    SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<(String, Bytes)>,
) {
    let (send, exported) = tokio::sync::mpsc::unbounded_channel();
    let accept = async move |uri: axum::http::Uri, body: Bytes| {
        send.send((uri.path().to_owned(), body)).unwrap();
    };
    let app = Router::new().route("/v1/{signal}", post(accept));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, exported)
}

async fn drains_on(signal: &str) {
    let (collector, mut exported) = collector().await;
    let mut service = Service::start(collector).await;
    let url = format!("http://{}/slow", service.address);
    let request = tokio::spawn(async move { reqwest::get(url).await.unwrap().text().await });
    service.wait_for_output("called").await;
    service.signal(signal).await;
    service.wait_until_refused().await;
    service.input.write_all(b"answered\n").await.unwrap();
    assert_eq!(request.await.unwrap().unwrap(), "answered\n");
    let (mut traces, mut logs) = (Vec::new(), Vec::new());
    let mut receive = |traces: &mut Vec<u8>, logs: &mut Vec<u8>| {
        while let Ok((path, body)) = exported.try_recv() {
            match path.as_str() {
                "/v1/traces" => traces.extend(body),
                "/v1/logs" => logs.extend(body),
                _ => {}
            }
        }
    };
    let contains = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
    // The requests' telemetry is exported before the hooks run.
    service.wait_for_output("closing").await;
    receive(&mut traces, &mut logs);
    assert!(contains(&traces, "GET /slow"));
    service.wait_for_output("ended").await;
    assert!(service.child.wait().await.unwrap().success());
    receive(&mut traces, &mut logs);
    assert!(contains(&logs, &format!("stopping on {signal}")));
    assert!(contains(&logs, "the pool is closed"));
}

#[tokio::test]
async fn sigterm_drains_a_running_request_and_exports_the_last_telemetry() {
    drains_on("SIGTERM").await;
}

#[tokio::test]
async fn sigint_drains_a_running_request_and_exports_the_last_telemetry() {
    drains_on("SIGINT").await;
}

#[tokio::test]
async fn a_second_signal_interrupts_the_shutdown() {
    let (collector, _exported) = collector().await;
    let mut service = Service::start(collector).await;
    let url = format!("http://{}/slow", service.address);
    let request = tokio::spawn(reqwest::get(url));
    service.wait_for_output("called").await;
    service.signal("SIGTERM").await;
    service.wait_until_refused().await;
    service.signal("SIGINT").await;
    service.wait_for_output("interrupted").await;
    assert!(request.await.unwrap().is_err());
    service.child.wait().await.unwrap();
}
