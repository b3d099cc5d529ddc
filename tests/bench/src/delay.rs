//! A proxy that delays each message to a server by a fixed time.
//!
//! The proxy shares the processors with the measured service, so it has a single thread, which
//! rarely wakes up: one thread for each direction of each connection used more CPU time than the
//! database.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Starts a proxy of `server` and returns its address. Messages from clients are delayed by
/// `delay`, messages from the server are not.
pub(crate) fn before(server: String, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let proxy = Proxy {
        server,
        delay,
        listener,
        connections: BTreeMap::new(),
        delayed: VecDeque::new(),
        buffer: vec![0; 64 * 1024],
    };
    std::thread::spawn(move || proxy.run());
    address
}

struct Proxy {
    server: String,
    delay: Duration,
    listener: TcpListener,
    /// The connections by their number.
    connections: BTreeMap<usize, ProxiedConnection>,
    /// Data from clients, by the time at which it is due.
    delayed: VecDeque<Chunk>,
    buffer: Vec<u8>,
}

/// A connection of a client and the one to the server. It ends when the server disconnects, or when
/// the client's last data has been forwarded.
struct ProxiedConnection {
    /// `None` once the client has disconnected.
    client: Option<TcpStream>,
    server: TcpStream,
}

struct Chunk {
    due: Instant,
    connection: usize,
    /// Empty if the client has disconnected.
    bytes: Vec<u8>,
}

impl Proxy {
    fn run(mut self) {
        // By default, the kernel wakes a thread up to 50 µs late, and later if the machine is busy,
        // which a network would not be. Only root may raise the priority.
        #[cfg(target_os = "linux")]
        {
            rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).ok();
            rustix::process::setpriority_process(None, -20).ok();
        }
        let mut next = 0;
        loop {
            let (is_connecting, readable) = self.wait();
            for (number, by_client) in readable {
                self.forward(number, by_client);
            }
            if is_connecting && let Some(connection) = self.accept() {
                self.connections.insert(next, connection);
                next += 1;
            }
            self.deliver();
        }
    }

    /// Waits until a socket is ready or a chunk is due. Returns whether a client is connecting, and
    /// which sides of which connections are readable (`true`: the client's).
    fn wait(&self) -> (bool, Vec<(usize, bool)>) {
        let mut sides = Vec::new();
        let mut polled = vec![PollFd::new(&self.listener, PollFlags::IN)];
        for (number, connection) in &self.connections {
            if let Some(client) = &connection.client {
                sides.push((*number, true));
                polled.push(PollFd::new(client, PollFlags::IN));
            }
            sides.push((*number, false));
            polled.push(PollFd::new(&connection.server, PollFlags::IN));
        }
        let until = self.delayed.front().map(|chunk| {
            let left = chunk.due.saturating_duration_since(Instant::now());
            Timespec::try_from(left).expect("a short time")
        });
        match poll(&mut polled, until.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("the proxy cannot wait: {error}"),
        }
        let mut ready = polled.iter().map(|side| !side.revents().is_empty());
        let is_connecting = ready.next().unwrap_or_default();
        let readable = sides.into_iter().zip(ready).filter(|(_, ready)| *ready);
        (is_connecting, readable.map(|(side, _)| side).collect())
    }

    fn accept(&self) -> Option<ProxiedConnection> {
        let (client, _) = self.listener.accept().ok()?;
        let server = TcpStream::connect(&self.server).ok()?;
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("TCP_NODELAY");
        }
        Some(ProxiedConnection {
            client: Some(client),
            server,
        })
    }

    /// Reads from one side of a connection. The messages are small enough for the socket buffers,
    /// so writing does not block.
    fn forward(&mut self, number: usize, by_client: bool) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        if !by_client {
            let read = connection.server.read(&mut self.buffer).unwrap_or_default();
            let bytes = &self.buffer[..read];
            let forwarded = connection
                .client
                .as_mut()
                .map(|client| client.write_all(bytes));
            if read == 0 || matches!(forwarded, Some(Err(_))) {
                self.connections.remove(&number);
            }
        } else if let Some(client) = &mut connection.client {
            let read = client.read(&mut self.buffer).unwrap_or_default();
            if read == 0 {
                connection.client = None;
            }
            self.delayed.push_back(Chunk {
                due: Instant::now() + self.delay,
                connection: number,
                bytes: self.buffer[..read].to_vec(),
            });
        }
    }

    /// Sends the chunks that are due.
    fn deliver(&mut self) {
        let now = Instant::now();
        while let Some(chunk) = self.delayed.pop_front_if(|chunk| chunk.due <= now) {
            if let Some(connection) = self.connections.get_mut(&chunk.connection)
                && (chunk.bytes.is_empty() || connection.server.write_all(&chunk.bytes).is_err())
            {
                self.connections.remove(&chunk.connection);
            }
        }
    }
}
