//! A proxy that makes each round trip to a server longer by a fixed time.
//!
//! It shares the processors with what is measured, so it is one thread that wakes up seldom: one
//! for each direction of each connection took more of them than the database did.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Listens in front of `server`; what a client sends arrives `delay` later, what the server
/// answers at once.
pub(crate) fn before(server: String, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let proxy = Proxy {
        server,
        delay,
        listener,
        links: BTreeMap::new(),
        late: VecDeque::new(),
        buffer: vec![0; 64 * 1024],
    };
    std::thread::spawn(move || proxy.run());
    address
}

struct Proxy {
    server: String,
    delay: Duration,
    listener: TcpListener,
    /// By number.
    links: BTreeMap<usize, Link>,
    /// What clients sent, in the order in which it is due.
    late: VecDeque<Piece>,
    buffer: Vec<u8>,
}

/// A connection, which ends when either side does.
struct Link {
    /// None once it has hung up.
    client: Option<TcpStream>,
    server: TcpStream,
}

struct Piece {
    due: Instant,
    link: usize,
    /// None of them when the client has hung up.
    bytes: Vec<u8>,
}

impl Proxy {
    fn run(mut self) {
        // A network does not wait for a processor. The kernel wakes a thread up to 50 µs late by
        // default, and later if others are busy; to go before them takes a right.
        #[cfg(target_os = "linux")]
        {
            rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).ok();
            rustix::process::setpriority_process(None, -20).ok();
        }
        let mut next = 0;
        loop {
            let (comes, said) = self.wait();
            for (number, by_client) in said {
                self.carry(number, by_client);
            }
            if comes && let Some(link) = self.accept() {
                self.links.insert(next, link);
                next += 1;
            }
            self.deliver();
        }
    }

    /// Until something is to be done: whether a client comes, and who said something (`true`: the
    /// client of that link).
    fn wait(&self) -> (bool, Vec<(usize, bool)>) {
        let mut sides = Vec::new();
        let mut polled = vec![PollFd::new(&self.listener, PollFlags::IN)];
        for (number, link) in &self.links {
            if let Some(client) = &link.client {
                sides.push((*number, true));
                polled.push(PollFd::new(client, PollFlags::IN));
            }
            sides.push((*number, false));
            polled.push(PollFd::new(&link.server, PollFlags::IN));
        }
        let until = self.late.front().map(|piece| {
            let left = piece.due.saturating_duration_since(Instant::now());
            Timespec::try_from(left).expect("a short time")
        });
        match poll(&mut polled, until.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("the proxy cannot wait: {error}"),
        }
        let mut happened = polled.iter().map(|side| !side.revents().is_empty());
        let comes = happened.next().unwrap_or_default();
        let said = sides.into_iter().zip(happened).filter(|(_, said)| *said);
        (comes, said.map(|(side, _)| side).collect())
    }

    fn accept(&self) -> Option<Link> {
        let (client, _) = self.listener.accept().ok()?;
        let server = TcpStream::connect(&self.server).ok()?;
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("TCP_NODELAY");
        }
        Some(Link {
            client: Some(client),
            server,
        })
    }

    /// Reads what one side of a link said. What is measured are small messages, for which both
    /// sides always have room: writing does not wait.
    fn carry(&mut self, number: usize, by_client: bool) {
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        if !by_client {
            let read = link.server.read(&mut self.buffer).unwrap_or_default();
            let bytes = &self.buffer[..read];
            let passed_on = link.client.as_mut().map(|client| client.write_all(bytes));
            if read == 0 || matches!(passed_on, Some(Err(_))) {
                self.links.remove(&number);
            }
        } else if let Some(client) = &mut link.client {
            let read = client.read(&mut self.buffer).unwrap_or_default();
            if read == 0 {
                link.client = None;
            }
            self.late.push_back(Piece {
                due: Instant::now() + self.delay,
                link: number,
                bytes: self.buffer[..read].to_vec(),
            });
        }
    }

    /// Hands over what is due.
    fn deliver(&mut self) {
        let now = Instant::now();
        while let Some(piece) = self.late.pop_front_if(|piece| piece.due <= now) {
            if let Some(link) = self.links.get_mut(&piece.link)
                && (piece.bytes.is_empty() || link.server.write_all(&piece.bytes).is_err())
            {
                self.links.remove(&piece.link);
            }
        }
    }
}
