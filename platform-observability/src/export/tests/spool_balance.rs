//! The balance of the spool as a state machine: whatever happens, each item is delivered, spooled,
//! or dropped for a reason that is counted.

use std::collections::HashSet;
use std::sync::Mutex;

use http::HeaderMap;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::export::delivery::Delivery;
use crate::export::shutdown_flag::ShutdownFlag;

const BLOCK: usize = 4096;

#[derive(Clone, Debug)]
enum Step {
    /// Exports a batch. The endpoint responds to a poisonous one always with 500.
    Write {
        items: usize,
        blocks: usize,
        is_poisonous: bool,
    },
    /// The spooled requests are sent, and the endpoint responds like this from now on.
    Send(Reply),
    /// Another process opens the spool, with these limits.
    Reopen { max_blocks: usize, expires: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reply {
    Accept,
    /// Accepts all items but this many.
    AcceptExcept(u8),
    /// The request is invalid.
    Refuse,
    Unavailable,
    Disconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (1..20_usize, 1..4_usize, prop::bool::weighted(0.05)).prop_map(
        |(items, blocks, poison)| Step::Write {
            items,
            blocks,
            is_poisonous: poison,
        },
    );
    let reply = prop_oneof![
        4 => Just(Reply::Accept),
        1 => (1..30_u8).prop_map(Reply::AcceptExcept),
        1 => Just(Reply::Refuse),
        2 => Just(Reply::Unavailable),
        1 => Just(Reply::Disconnect),
    ];
    let reopen =
        (1..8_usize, prop::bool::weighted(0.2)).prop_map(|(max_blocks, expires)| Step::Reopen {
            max_blocks,
            expires,
        });
    let step = prop_oneof![6 => write, 3 => reply.prop_map(Step::Send), 1 => reopen];
    vec(step, 1..30)
}

/// A batch as the endpoint sees it: its number, its items, and whether it is poisonous.
type Batch = (u64, u64, bool);

fn encode((number, items, is_poisonous): Batch, blocks: usize) -> Vec<u8> {
    let body = [number, items, u64::from(is_poisonous)].map(u64::to_be_bytes);
    let mut body = body.as_flattened().to_vec();
    body.resize(blocks * BLOCK, 0);
    body
}

fn decode(body: &[u8]) -> Batch {
    let number = |at: usize| u64::from_be_bytes(body[at * 8..][..8].try_into().unwrap());
    (number(0), number(1), number(2) == 1)
}

/// The endpoint.
struct Collector {
    url: String,
    reply: Arc<Mutex<Reply>>,
    accepted: Arc<Mutex<Vec<Batch>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self {
            url: format!("http://{}/v1/traces", listener.local_addr().unwrap()),
            reply: Arc::new(Mutex::new(Reply::Accept)),
            accepted: Arc::default(),
        };
        let reply = Arc::clone(&collector.reply);
        let accepted = Arc::clone(&collector.accepted);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let Some((_, body)) = read_request(&stream) else {
                    continue;
                };
                let batch = decode(&body);
                let reply = *reply.lock().unwrap();
                let (status, body): (_, &[u8]) = match reply {
                    Reply::Disconnect => continue,
                    _ if batch.2 => ("500 Internal Server Error", &[]),
                    Reply::Accept => ("200 OK", &[]),
                    // partial_success { rejected_spans: count }
                    Reply::AcceptExcept(count) => ("200 OK", &[0x0a, 2, 0x08, count]),
                    Reply::Refuse => ("400 Bad Request", &[]),
                    Reply::Unavailable => ("503 Service Unavailable", &[]),
                };
                if status == "200 OK" {
                    accepted.lock().unwrap().push(batch);
                }
                respond(&stream, status, "", body);
            }
        });
        collector
    }
}

/// The spool in its directory, the process that uses it, and the endpoint.
struct Machine {
    directory: tempfile::TempDir,
    collector: Collector,
    process: Option<Delivery>,
    max_blocks: usize,
    expires: bool,
    batches: u64,
    /// How many poisonous batches were exported.
    poisonous: u64,
    /// Items that were exported.
    written: u64,
    /// Items that earlier processes delivered and dropped.
    delivered: u64,
    dropped: u64,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self {
            directory: tempfile::tempdir().unwrap(),
            collector: Collector::start(),
            process: None,
            max_blocks: 6,
            expires: false,
            batches: 0,
            poisonous: 0,
            written: 0,
            delivered: 0,
            dropped: 0,
        };
        machine.open();
        machine
    }

    fn open(&mut self) {
        let age = if self.expires {
            Duration::ZERO
        } else {
            Duration::from_secs(3600)
        };
        let spool = Spool::new(self.directory.path().join("spool"))
            .max_bytes((self.max_blocks * BLOCK) as u64)
            .max_age(age);
        let spool = spool.open().unwrap().for_signal(Signal::Traces).unwrap();
        let endpoint = Endpoint {
            url: self.collector.url.clone(),
            headers: Vec::new(),
            compression: None,
            timeout: TIMEOUT,
            tls: Tls::default(),
        };
        // Set, so that what does not fit into the spool is sent without a backoff.
        let shutdown = ShutdownFlag::default();
        shutdown.set();
        let stats = Arc::default();
        let delivery = Delivery::new(Signal::Traces, &endpoint, stats, shutdown, Some(spool));
        self.process = Some(delivery.unwrap());
    }

    fn process(&self) -> &Delivery {
        self.process.as_ref().unwrap()
    }

    fn status(&self) -> SignalStatus {
        self.process().transport.stats.status()
    }

    /// The blocks that the spool's files occupy.
    fn occupied(&self) -> usize {
        let files = std::fs::read_dir(self.directory.path().join("spool/traces")).unwrap();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap().len() as usize);
        sizes.map(|size| size.div_ceil(BLOCK)).sum()
    }

    /// Makes a step. Returns whether items may be dropped for it.
    fn make(&mut self, step: &Step) -> bool {
        match *step {
            Step::Write {
                items,
                blocks,
                is_poisonous,
            } => {
                let is_full = self.occupied() + blocks > self.max_blocks;
                self.batches += 1;
                self.written += items as u64;
                self.poisonous += u64::from(is_poisonous);
                let body = encode((self.batches, items as u64, is_poisonous), blocks);
                let process = self.process();
                process.transport.stats.sending(items);
                let batch = process.batch(items);
                let _ = batch.deliver(&HeaderMap::new(), &body.into());
                drop(batch);
                if blocks <= self.max_blocks {
                    assert!(self.occupied() <= self.max_blocks, "the spool is too large");
                }
                is_full
            }
            Step::Send(reply) => {
                *self.collector.reply.lock().unwrap() = reply;
                self.process().spooler.as_ref().unwrap().send_all();
                reply == Reply::Refuse || self.expires || self.poisonous > 0
            }
            Step::Reopen {
                max_blocks,
                expires,
            } => {
                let ended = self.status();
                self.delivered += ended.exported + ended.rejected;
                self.dropped += ended.dropped_failed;
                self.process = None;
                (self.max_blocks, self.expires) = (max_blocks, expires);
                self.open();
                false
            }
        }
    }

    fn delivered(&self) -> u64 {
        let status = self.status();
        self.delivered + status.exported + status.rejected
    }

    fn dropped(&self) -> u64 {
        self.dropped + self.status().dropped_failed
    }

    /// Checks that each item is in one place, and that the endpoint agrees.
    fn assert_balanced(&self) {
        let status = self.status();
        let spooled = self.process().spooler.as_ref().unwrap().spool().items();
        assert_eq!(status.spooled, spooled as u64, "{status:?}");
        assert_eq!((status.waiting, status.dropped_queue_full), (0, 0));
        let balance = self.delivered() + status.spooled + self.dropped();
        assert_eq!(balance, self.written, "{status:?}");
        let accepted = self.collector.accepted.lock().unwrap();
        let numbers: HashSet<_> = accepted.iter().map(|batch| batch.0).collect();
        assert_eq!(numbers.len(), accepted.len(), "a batch was delivered twice");
        let items: u64 = accepted.iter().map(|batch| batch.1).sum();
        assert_eq!(items, self.delivered());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_item_is_delivered_spooled_or_dropped_and_counted(steps in steps()) {
        let mut machine = Machine::new();
        for step in &steps {
            let before = machine.dropped();
            let may_drop = machine.make(step);
            machine.assert_balanced();
            assert!(may_drop || machine.dropped() == before, "items were dropped without a reason");
        }
        // Nothing stays in the spool while the endpoint is up. A poisonous batch is dropped after
        // later ones were accepted three times; behind two of them, none is accepted.
        machine.make(&Step::Reopen { max_blocks: 100, expires: false });
        for _ in 0..3 {
            machine.make(&Step::Write { items: 1, blocks: 1, is_poisonous: false });
            machine.make(&Step::Send(Reply::Accept));
            machine.assert_balanced();
        }
        assert!(machine.poisonous > 1 || machine.status().spooled == 0);
    }
}
