//! A proxy that makes each round trip to a server longer by a fixed time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Listens in front of `server`; what a client sends arrives `delay` later, what the server
/// answers at once. Threads, since timers of an asynchronous runtime are no finer than 1 ms.
pub(crate) fn before(server: String, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else {
                continue;
            };
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("TCP_NODELAY");
            }
            let answers = (server.try_clone(), client.try_clone());
            late(client, server, delay);
            if let (Ok(mut from), Ok(mut to)) = answers {
                std::thread::spawn(move || {
                    let _ended = std::io::copy(&mut from, &mut to);
                    let _ended = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

/// Carries what `from` sends to `to`, each piece `delay` after it came.
fn late(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let piece = (Instant::now(), buffer[..read].to_vec());
            if sender.send(piece).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (came, piece) in pieces {
            std::thread::sleep(delay.saturating_sub(came.elapsed()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ended = to.shutdown(Shutdown::Both);
    });
}
