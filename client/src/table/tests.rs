//! The table against a broker that does everything in any order, with everything that callers and connections do.
//!
//! Owns a model of the wire's other side: it checks that ids rise, that nothing is cancelled that was not asked, and at
//! the end that nothing is left. A history is its seed: `LIFEBOAT_TABLE_SEED=7` runs that one again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use lifeboat_protocol::{
    Ext, FrameLimit, Header, MessageType, Operate, Operation, Route, Split, TimeLeft, decode, put_control,
    split_frame,
};
use std::sync::Arc;

use super::*;
use crate::{ConnectError, LostReason};

const LIMIT: usize = 200_000;
const PLACES: usize = 3;
const SLACK: Duration = Duration::from_secs(2);

struct Sim {
    random: fastrand::Rng,
    table: Table,
    now: Instant,
    /// Calls that somebody waits for; whether each is a stream.
    live: BTreeMap<u64, bool>,
    connection: Option<Connection>,
}

/// One connection, both sides.
struct Connection {
    client: UnixStream,
    broker: UnixStream,
    bytes: Vec<u8>,
    last_id: u64,
    /// What the broker was asked: whether it is an operation.
    open: BTreeMap<u64, bool>,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let table = Table::new(now, Duration::from_millis(300), PLACES);
        Self { random: fastrand::Rng::with_seed(seed), table, now, live: BTreeMap::new(), connection: None }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.u64(0..3));
        match self.random.u32(0..100) {
            0..30 => self.register(),
            30..45 => self.write(),
            45..65 => self.broker_says(),
            65..80 => self.poll_one(),
            80..85 => self.abandon_one(),
            85..88 => self.let_one_go(),
            88..93 => self.scan(),
            93..97 if self.connection.is_none() => self.connect(),
            93..95 => self.drain(),
            95 => self.disconnect(),
            _ => {}
        }
        self.check();
    }

    fn register(&mut self) {
        let stream = self.random.bool();
        let spec = match self.random.u32(0..10) {
            0 => None,
            1..4 => Some(operation()),
            _ => {
                let len = if self.random.u32(0..8) == 0 { 150_000 } else { 10 };
                Some(request(len, stream, self.random.u32(0..3) == 0))
            }
        };
        let stream = stream && spec.as_ref().is_some_and(|spec| !spec.is_operation());
        let room = Room { events: 2, bytes: 100 };
        let backlog = stream.then(|| Box::new(Backlog::new(room)));
        let short = self.random.u32(0..4) == 0;
        let deadline = short.then(|| self.now + Duration::from_millis(self.random.u64(0..100)));
        let id = self.table.register(self.now, spec, backlog, deadline, Waker::noop());
        self.live.insert(id, stream);
    }

    fn connect(&mut self) {
        let (client, broker) = UnixStream::pair().expect("a socket pair");
        broker.set_nonblocking(true).expect("non-blocking");
        let connection = Connection { client, broker, bytes: Vec::new(), last_id: 0, open: BTreeMap::new() };
        self.connection = Some(connection);
        let limit = FrameLimit::for_body(LIMIT);
        self.table.connected(Window {
            limit,
            max_in_flight: PLACES,
            slack: SLACK,
            pools: true,
            draining: false,
        });
    }

    fn disconnect(&mut self) {
        if self.connection.take().is_some() {
            self.table.disconnected(self.now, &LostReason::Closed, &mut Vec::new());
        }
    }

    fn drain(&mut self) {
        if self.connection.is_some() {
            self.table.drain(self.now);
        }
    }

    fn scan(&mut self) {
        self.table.scan(self.now, || ConnectError::ClosedEarly, &mut Vec::new());
    }

    fn write(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        self.table.pump(self.now, &mut Vec::new());
        // In the driver's hands, so that a call can be dropped meanwhile.
        let mut outbox = std::mem::take(&mut self.table.outbox);
        if !outbox.is_empty() {
            // Full or not: the rest stays for the next time.
            let _ = outbox.write_to(&connection.client);
        }
        if self.random.bool()
            && let Some(id) = pick(&mut self.random, self.live.keys())
        {
            self.live.remove(&id);
            self.table.abandon(id, true);
        }
        self.table.outbox = outbox;
        connection.read();
    }

    fn broker_says(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let Some(wire) = pick(&mut self.random, connection.open.keys()) else { return };
        let (operation, woken) = (connection.open[&wire], &mut Vec::new());
        let (_, entry) = self.table.open_call(wire).expect("what the broker was asked is open here too");
        let streamed = matches!(entry.phase, Phase::Sent) && (entry.backlog.is_some() || entry.let_go);
        if streamed && self.random.u32(0..3) > 0 {
            let what = if self.random.bool() { What::Partial } else { What::Progress { skipped: 0 } };
            let body = Bytes::from_static(b"ten bytes.");
            self.table.tell(wire, Told { attempt: 1, what, body }, woken);
        } else {
            connection.open.remove(&wire);
            let ended = if operation {
                Ended::Operated(Bytes::new())
            } else {
                Ended::Answer(Route::request(wire, TimeLeft::NONE), Bytes::new())
            };
            self.table.complete(wire, ended, woken);
        }
    }

    fn poll_one(&mut self) {
        let Some(id) = pick(&mut self.random, self.live.keys()) else { return };
        self.poll(id);
    }

    fn poll(&mut self, id: u64) {
        let ended = if self.live[&id] {
            matches!(self.table.poll_step(id, Waker::noop()), Some(Step::Ended(_)))
        } else {
            self.table.poll(id, Waker::noop()).is_some()
        };
        if ended {
            self.live.remove(&id);
        }
    }

    fn abandon_one(&mut self) {
        let Some(id) = pick(&mut self.random, self.live.keys()) else { return };
        self.live.remove(&id);
        self.table.abandon(id, false);
    }

    fn let_one_go(&mut self) {
        let Some(id) = pick(&mut self.random, self.live.keys()) else { return };
        // Never said of operations, nor of those that wait for a connection only.
        let entry = &self.table.calls[&id];
        if !entry.operation && !matches!(entry.phase, Phase::Waiting(None)) {
            self.live.remove(&id);
            self.table.let_go(id);
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        let table = &self.table;
        let owed = |operation| {
            table.calls.values().filter(|entry| entry.owed && entry.operation == operation).count()
        };
        assert_eq!((table.in_flight, table.operations_open), (owed(false), owed(true)));
        assert!(table.in_flight <= PLACES);
        let queued = table.waiting.len() + table.operations.len();
        let waiting = table.calls.values().filter(|entry| matches!(entry.phase, Phase::Waiting(_)));
        assert_eq!(queued, waiting.count());
        let renamed = table.calls.iter().filter(|(id, entry)| entry.owed && entry.wire != **id);
        assert_eq!(table.renamed.len(), renamed.count());
        assert!(self.live.keys().all(|id| table.calls.contains_key(id)), "somebody waits for nothing");
        assert_eq!(table.unexpected, 0, "this broker tells nothing that it should not");
    }

    /// Everything comes to its end, and nothing is left.
    fn finish(&mut self) {
        self.disconnect();
        self.table.fail_waiting(&ConnectError::RuntimeStopped, &mut Vec::new());
        for _ in 0..100 {
            for id in self.live.keys().copied().collect::<Vec<_>>() {
                self.poll(id);
            }
        }
        assert!(self.live.is_empty(), "without an end: {:?}", self.live);
        assert!(self.table.calls.is_empty(), "left behind: {:?}", self.table.calls);
        assert!(self.table.renamed.is_empty() && self.table.outbox.is_empty());
        self.check();
    }
}

impl Connection {
    /// Takes in what the client wrote.
    fn read(&mut self) {
        let mut buf = vec![0; 64 * 1024];
        while let Ok(read) = self.broker.read(&mut buf) {
            self.bytes.extend_from_slice(&buf[..read]);
        }
        let mut rest = self.bytes.as_slice();
        while let Ok(Split::Frame { frame, rest: after }) = split_frame(rest, FrameLimit::for_body(LIMIT)) {
            let header = decode(frame).expect("a whole message").header;
            let id = header.route().expect("all that a client sends has one").id;
            if let Header::Cancel { .. } = header {
                assert!(id <= self.last_id, "a cancel for what was never sent");
                assert_ne!(self.open.get(&id), Some(&true), "operations are not cancelled");
            } else {
                assert!(id > self.last_id, "{id} after {}", self.last_id);
                self.last_id = id;
                assert!(matches!(header, Header::Request { .. } | Header::Operate { .. }));
                self.open.insert(id, matches!(header, Header::Operate { .. }));
            }
            rest = after;
        }
        self.bytes.drain(..self.bytes.len() - rest.len());
    }
}

fn pick<'a>(random: &mut fastrand::Rng, mut ids: impl ExactSizeIterator<Item = &'a u64>) -> Option<u64> {
    let len = ids.len();
    if len == 0 { None } else { ids.nth(random.usize(0..len)).copied() }
}

fn request(len: usize, stream: bool, repeatable: bool) -> Arc<Spec> {
    let idempotency_key = repeatable.then(|| "k".to_owned());
    let ext = Ext { stream, idempotency_key, ..Ext::default() };
    let kind = Kind::Request { method: Cow::Borrowed("m"), ext };
    Arc::new(Spec { kind, body: Bytes::from(vec![0xf6; len]) })
}

fn operation() -> Arc<Spec> {
    let (operate, route) = (Operate::new(Operation::Health), Route::request(0, TimeLeft::NONE));
    let mut frame = Vec::new();
    put_control(&mut frame, MessageType::Operate, Some(route), &operate).expect("short");
    Arc::new(Spec { kind: Kind::Operation, body: Bytes::from(frame) })
}

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    let only = std::env::var("LIFEBOAT_TABLE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    for seed in only.map_or(0..300, |seed| seed..seed + 1) {
        println!("LIFEBOAT_TABLE_SEED={seed}");
        let mut sim = Sim::new(seed);
        for _ in 0..1_000 {
            sim.step();
        }
        sim.finish();
    }
}

/// Registers a keyed request of a table with a connection and sends it, up to the outbox.
fn sent_keyed(table: &mut Table, now: Instant) -> (u64, std::sync::Weak<Spec>) {
    let limit = FrameLimit::for_body(LIMIT);
    table.connected(Window { limit, max_in_flight: PLACES, slack: SLACK, pools: true, draining: false });
    let spec = request(100_000, false, true);
    let kept = Arc::downgrade(&spec);
    let id = table.register(now, Some(spec), None, None, Waker::noop());
    table.pump(now, &mut Vec::new());
    (id, kept)
}

#[test]
fn a_request_that_may_be_repeated_is_shared_and_not_copied() {
    let now = Instant::now();
    let mut table = Table::new(now, SLACK, PLACES);
    let (_, kept) = sent_keyed(&mut table, now);
    assert_eq!(kept.strong_count(), 2, "to be written, and to be repeated");
}

#[test]
fn what_nobody_waits_for_is_not_kept_to_be_repeated() {
    let now = Instant::now();
    let mut table = Table::new(now, SLACK, PLACES);
    let (id, kept) = sent_keyed(&mut table, now);
    let (client, mut broker) = UnixStream::pair().expect("a socket pair");
    client.set_nonblocking(true).expect("non-blocking");
    let reader = std::thread::spawn(move || broker.read_to_end(&mut Vec::new()));
    while !table.outbox.is_empty() {
        if table.outbox.write_to(&client) == Err(rustix::io::Errno::AGAIN) {
            std::thread::yield_now();
        }
    }
    assert_eq!(kept.strong_count(), 1, "written, and to be repeated");
    // Dropped by whoever abandons it, outside the lock.
    drop(table.abandon(id, false));
    assert_eq!(kept.strong_count(), 0, "the broker still owes its end");
    assert!(!table.is_idle());
    drop(client);
    reader.join().expect("no panic").expect("read to its end");
}
