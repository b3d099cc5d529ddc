//! A proxy between a client and Postgres that sees the messages of the frontend/backend protocol.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy in front of a Postgres server.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Shared {
    flights: Mutex<Vec<Flight>>,
    cut: Mutex<Option<Cut>>,
}

/// What one round trip carried to the server: all that was sent until its `ReadyForQuery`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flight {
    /// The messages' types, such as `Q`, or `PBDES`: see "Message Formats" in Postgres' manual.
    pub kinds: String,
    /// The text of a simple query.
    pub query: Option<String>,
}

/// When to cut the connection that carries a simple query which starts with some text.
#[derive(Clone, Debug)]
struct Cut {
    query: String,
    forward: bool,
}

impl Wire {
    /// Listens on a free port in front of the server of `url`.
    pub async fn before(url: &str) -> Self {
        let server: url::Url = url.parse().expect("a URL");
        let server = format!(
            "{}:{}",
            server.host_str().expect("a host"),
            server.port().unwrap_or(5432)
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = watch::channel(false);
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, server, mut stopped) =
                    (Arc::clone(&accepting), server.clone(), stopped.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = carry(client, &server, shared) => {}
                        _ = stopped.wait_for(|stopped| *stopped) => {}
                    }
                });
            }
        });
        Self {
            address,
            shared,
            stop,
        }
    }

    /// `url` through the proxy.
    pub fn through(&self, url: &str) -> String {
        let mut url: url::Url = url.parse().expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.into()
    }

    /// Forgets what went by so far.
    pub fn reset(&self) {
        self.shared.flights.lock().unwrap().clear();
    }

    /// The round trips since [`reset`](Self::reset), in the order of their ends.
    pub fn flights(&self) -> Vec<Flight> {
        self.shared.flights.lock().unwrap().clone()
    }

    /// Cuts the connection that next sends a simple query which starts with `query`: before the
    /// server sees it, or (`forward`) after the server has answered it but before the client
    /// hears so.
    pub fn cut_at(&self, query: &str, forward: bool) {
        *self.shared.cut.lock().unwrap() = Some(Cut {
            query: query.to_owned(),
            forward,
        });
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.stop.send_replace(true);
    }
}

async fn carry(client: TcpStream, server: &str, shared: Arc<Shared>) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    // The start-up packet has a length and no type. Asked for TLS, a test's server says no.
    loop {
        let packet = packet(&mut from_client, None).await?;
        let code = packet
            .get(4..8)
            .map(|code| u32::from_be_bytes([code[0], code[1], code[2], code[3]]));
        const SSL_REQUEST: u32 = 80_877_103;
        if code == Some(SSL_REQUEST) {
            continue_without_tls(&to_client).await?;
            continue;
        }
        to_server.write_all(&packet).await?;
        break;
    }
    let flight = Arc::new(Mutex::new(Flight::default()));
    let cutting = Arc::new(Mutex::new(false));
    tokio::select! {
        ended = upstream(from_client, to_server, &shared, &flight, &cutting) => ended,
        ended = downstream(from_server, to_client, &shared, &flight, &cutting) => ended,
    }
}

async fn continue_without_tls(to_client: &OwnedWriteHalf) -> std::io::Result<()> {
    to_client.writable().await?;
    to_client.try_write(b"N").map(drop)
}

async fn upstream(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    flight: &Mutex<Flight>,
    cutting: &Mutex<bool>,
) -> std::io::Result<()> {
    loop {
        let kind = from.read_u8().await?;
        let message = packet(&mut from, Some(kind)).await?;
        let query = (kind == b'Q')
            .then(|| String::from_utf8_lossy(&message[5..message.len() - 1]).into_owned());
        if let Some(query) = &query {
            let mut cut = shared.cut.lock().unwrap();
            if cut
                .as_ref()
                .is_some_and(|cut| query.starts_with(&cut.query))
            {
                if !cut.take().is_some_and(|cut| cut.forward) {
                    return Ok(());
                }
                *cutting.lock().unwrap() = true;
            }
        }
        {
            let mut flight = flight.lock().unwrap();
            flight.kinds.push(char::from(kind));
            flight.query = flight.query.take().or(query);
        }
        to.write_all(&message).await?;
    }
}

async fn downstream(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    flight: &Mutex<Flight>,
    cutting: &Mutex<bool>,
) -> std::io::Result<()> {
    let mut started = false;
    loop {
        let kind = from.read_u8().await?;
        let message = packet(&mut from, Some(kind)).await?;
        if kind == b'Z' {
            if *cutting.lock().unwrap() {
                return Ok(());
            }
            let flown = std::mem::take(&mut *flight.lock().unwrap());
            // The first is the answer to the start-up.
            if std::mem::replace(&mut started, true) {
                shared.flights.lock().unwrap().push(flown);
            }
        }
        if !*cutting.lock().unwrap() {
            to.write_all(&message).await?;
        }
    }
}

/// A whole message, with its type in front if it has one.
async fn packet(from: &mut OwnedReadHalf, kind: Option<u8>) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message: Vec<u8> = kind.into_iter().chain(length.to_be_bytes()).collect();
    let body = message.len();
    message.resize(body + (length as usize).saturating_sub(4), 0);
    from.read_exact(&mut message[body..]).await?;
    Ok(message)
}
