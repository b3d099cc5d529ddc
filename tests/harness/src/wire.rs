//! A proxy between clients and Postgres that parses the frontend/backend protocol. It counts round
//! trips, and delays or disconnects connections.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy in front of a Postgres server.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    cuts: watch::Sender<()>,
}

/// The messages to the server of one round trip, which ends with a `ReadyForQuery`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flight {
    /// The number of the connection through the proxy, from 0.
    pub connection: usize,
    /// The types of the messages, such as `Q` or `PBDES`: see "Message Formats" in the Postgres
    /// documentation.
    pub kinds: String,
    /// The text of a simple query.
    pub query: Option<String>,
    /// The texts of the prepared statements that were bound.
    pub bound: Vec<String>,
}

/// A message on its way to the server.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its type, such as `Q` for a simple query, `P` for Parse or `B` for Bind.
    pub kind: char,
    /// The text of the query, or of the statement that is parsed or bound.
    pub sql: Option<&'a str>,
}

/// When a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the server receives the message.
    BeforeServer,
    /// After the server has executed it, and before the client receives the response.
    BeforeClient,
}

impl Wire {
    /// Starts a proxy on a free port, in front of the server at `url`.
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
        let cuts = watch::Sender::new(());
        tokio::spawn(accept(listener, server, Arc::clone(&shared), cuts.clone()));
        Self {
            address,
            shared,
            cuts,
        }
    }

    /// Returns `url` with the proxy's address.
    pub fn through(&self, url: &str) -> String {
        let mut url: url::Url = url.parse().expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.into()
    }

    /// Clears the recorded [`flights`](Self::flights).
    pub fn reset(&self) {
        self.shared.flights.lock().unwrap().clear();
    }

    /// The round trips since [`reset`](Self::reset), in the order of their responses, without those
    /// of connecting.
    pub fn flights(&self) -> Vec<Flight> {
        self.shared.flights.lock().unwrap().clone()
    }

    /// The number of [`flights`](Self::flights).
    pub fn round_trips(&self) -> usize {
        self.shared.flights.lock().unwrap().len()
    }

    /// Cuts the connection that next sends a simple query which starts with `query`:
    /// [before the server](Cut::BeforeServer) receives it, or with `forward`
    /// [before the client](Cut::BeforeClient) receives the response.
    pub fn cut_at(&self, query: &str, forward: bool) {
        let query = query.to_owned();
        let side = if forward {
            Cut::BeforeClient
        } else {
            Cut::BeforeServer
        };
        self.cut_when(side, move |message| {
            message.kind == 'Q' && message.sql.is_some_and(|sql| sql.starts_with(&query))
        });
    }

    /// Cuts the connection that next sends a message which `matches`, once. Replaces a cut that has
    /// not happened yet.
    pub fn cut_when(
        &self,
        side: Cut,
        matches: impl Fn(Message<'_>) -> bool + Send + Sync + 'static,
    ) {
        *self.shared.trap.lock().unwrap() = Some(Trap {
            side,
            matches: Box::new(matches),
        });
    }

    /// Stops forwarding messages without closing connections, until it is called with `false`.
    pub fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// Stops forwarding messages of the existing connections for ever, without closing them, as if
    /// the server had lost power. New connections work.
    pub fn freeze(&self) {
        let opened = *self.shared.opened.lock().unwrap();
        self.shared.frozen_before.send_replace(opened);
    }

    /// Delays each message to the server by `late`.
    pub fn delay(&self, late: Duration) {
        *self.shared.delay.lock().unwrap() = late;
    }

    /// Closes all existing connections. New connections work.
    pub fn cut(&self) {
        self.cuts.send_replace(());
    }
}

#[derive(Debug, Default)]
struct Shared {
    flights: Mutex<Vec<Flight>>,
    trap: Mutex<Option<Trap>>,
    held: watch::Sender<bool>,
    /// The number of connections so far.
    opened: Mutex<usize>,
    /// Connections with lower numbers are frozen.
    frozen_before: watch::Sender<usize>,
    delay: Mutex<Duration>,
}

impl Shared {
    async fn pass(&self, connection: usize) {
        // The senders are in `self`, so waiting cannot fail.
        let mut frozen = self.frozen_before.subscribe();
        let _ = frozen.wait_for(|before| connection >= *before).await;
        let _ = self.held.subscribe().wait_for(|held| !held).await;
    }

    /// When to cut, if the trap matches `message`. Removes the trap.
    fn sprung(&self, message: Message<'_>) -> Option<Cut> {
        let mut trap = self.trap.lock().unwrap();
        trap.take_if(|trap| (trap.matches)(message))
            .map(|trap| trap.side)
    }
}

struct Trap {
    side: Cut,
    matches: Box<dyn Fn(Message<'_>) -> bool + Send + Sync>,
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trap")
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}

async fn accept(
    listener: TcpListener,
    server: String,
    shared: Arc<Shared>,
    cuts: watch::Sender<()>,
) {
    for connection in 0.. {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        *shared.opened.lock().unwrap() = connection + 1;
        let (server, shared, mut cut) = (server.clone(), Arc::clone(&shared), cuts.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                _ = carry(client, &server, &shared, connection) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn carry(
    client: TcpStream,
    server: &str,
    shared: &Shared,
    connection: usize,
) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    start_up(&mut from_client, &mut to_client, &mut to_server).await?;
    let state = Mutex::new(State::new(connection));
    tokio::select! {
        ended = upstream(from_client, to_server, shared, &state) => ended,
        ended = downstream(from_server, to_client, shared, &state) => ended,
    }
}

/// Forwards the start-up packet, which has a length and no type. Declines encryption, which would
/// hide the messages.
async fn start_up(
    from_client: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    to_server: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
    const GSSENC_REQUEST: [u8; 4] = 80_877_104_u32.to_be_bytes();
    loop {
        let packet = packet(from_client, None).await?;
        if ![SSL_REQUEST, GSSENC_REQUEST]
            .iter()
            .any(|code| packet[4..].starts_with(code))
        {
            return to_server.write_all(&packet).await;
        }
        to_client.write_all(b"N").await?;
    }
}

async fn upstream(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let connection = state.lock().unwrap().connection;
    loop {
        let kind = from.read_u8().await?;
        let message = packet(&mut from, Some(kind)).await?;
        let cut = state.lock().unwrap().sent(kind, &message[5..], shared);
        if cut == Some(Cut::BeforeServer) {
            return Ok(());
        }
        shared.pass(connection).await;
        let late = *shared.delay.lock().unwrap();
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        to.write_all(&message).await?;
    }
}

async fn downstream(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let connection = state.lock().unwrap().connection;
    loop {
        let kind = from.read_u8().await?;
        let message = packet(&mut from, Some(kind)).await?;
        let silenced = {
            let mut state = state.lock().unwrap();
            let silenced = state.silenced();
            if kind == b'Z' {
                if silenced {
                    return Ok(());
                }
                // Recorded before the client receives the response, so that the test sees it then.
                shared.flights.lock().unwrap().extend(state.answered());
            }
            silenced
        };
        if !silenced {
            shared.pass(connection).await;
            to.write_all(&message).await?;
        }
    }
}

/// The state of one connection.
#[derive(Debug)]
struct State {
    connection: usize,
    /// Whether the connection is established.
    started: bool,
    /// The flight that the next message belongs to.
    open: Flight,
    /// The flights without a response yet. A client may pipeline several.
    unanswered: VecDeque<Flight>,
    prepared: HashMap<String, String>,
    /// The number of responses to forward before [`Cut::BeforeClient`].
    last_answers: Option<usize>,
}

impl State {
    fn new(connection: usize) -> Self {
        Self {
            connection,
            started: false,
            open: Flight::default(),
            unanswered: VecDeque::new(),
            prepared: HashMap::new(),
            last_answers: None,
        }
    }

    /// Records a message to the server, and returns when to cut. `body` follows the type and the
    /// length.
    fn sent(&mut self, kind: u8, body: &[u8], shared: &Shared) -> Option<Cut> {
        let mut texts = body
            .split(|byte| *byte == 0)
            .map(|text| String::from_utf8_lossy(text).into_owned());
        let sql = match kind {
            b'Q' => texts.next(),
            b'P' => {
                let name = texts.next().unwrap_or_default();
                let text = texts.next().unwrap_or_default();
                self.prepared.insert(name, text.clone());
                Some(text)
            }
            // The portal's name comes before the statement's.
            b'B' => texts
                .nth(1)
                .and_then(|name| self.prepared.get(&name).cloned()),
            _ => None,
        };
        let cut = shared.sprung(Message {
            kind: char::from(kind),
            sql: sql.as_deref(),
        });
        if cut == Some(Cut::BeforeClient) {
            self.last_answers = Some(self.unanswered.len());
        }
        // The data of COPY belongs to the flight of its query.
        let flight = match kind {
            b'd' | b'c' | b'f' => self.unanswered.back_mut().unwrap_or(&mut self.open),
            _ => &mut self.open,
        };
        flight.kinds.push(char::from(kind));
        match kind {
            b'Q' => flight.query = sql,
            b'B' => flight.bound.extend(sql),
            _ => {}
        }
        // Only these messages cause a ReadyForQuery.
        if matches!(kind, b'Q' | b'S' | b'F') {
            self.open.connection = self.connection;
            self.unanswered.push_back(std::mem::take(&mut self.open));
        }
        cut
    }

    /// Whether the server's messages are withheld from the client.
    fn silenced(&self) -> bool {
        self.last_answers == Some(0)
    }

    /// The flight that a `ReadyForQuery` ends, or `None` for that of the start-up.
    fn answered(&mut self) -> Option<Flight> {
        if !std::mem::replace(&mut self.started, true) {
            // The messages so far belong to authentication.
            self.open = Flight::default();
            return None;
        }
        self.last_answers = self.last_answers.map(|left| left.saturating_sub(1));
        self.unanswered.pop_front()
    }
}

/// Reads the rest of a message, and returns it with its type, if it has one.
async fn packet(from: &mut OwnedReadHalf, kind: Option<u8>) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message: Vec<u8> = kind.into_iter().chain(length.to_be_bytes()).collect();
    let body = message.len();
    message.resize(body + (length as usize).saturating_sub(4), 0);
    from.read_exact(&mut message[body..]).await?;
    Ok(message)
}
