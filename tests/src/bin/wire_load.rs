//! Closed-loop load straight on the wire, for measuring the broker and not a client library: each connection keeps a
//! number of requests in flight, writes once per batch of answers, and times what it waits for.
//!
//! Prints one JSON object. `--crash N` measures deaths instead: a request hangs in a worker, the worker is killed, and
//! the time until the retried answer comes is taken, N times.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use lifeboat_protocol::{
    Ext, FrameLimit, Header, Hello, Message, MessageType, Role, Route, Split, TimeLeft, decode, put_control,
    put_request, split_frame,
};
use rustix::process::{Pid, Signal, kill_process};

/// What to send, where and for how long.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// The broker's socket.
    #[arg(long)]
    socket: PathBuf,
    /// Connections, each on a thread of its own.
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Requests that each connection keeps in flight.
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// Bytes of each body.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 1.0)]
    secs: f64,
    /// How long to run before measuring, in seconds.
    #[arg(long, default_value_t = 0.3)]
    warm: f64,
    /// Measure this many deaths instead.
    #[arg(long, value_name = "N")]
    crash: Option<usize>,
}

/// One connection.
struct Wire {
    stream: UnixStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    out: Vec<u8>,
    next_id: u64,
    limit: FrameLimit,
}

/// A read buffer as large as the floor's load uses.
const BUFFER: usize = 256 << 10;

impl Wire {
    fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, 4 << 20)?;
        let limit = FrameLimit::for_body(lifeboat_protocol::DEFAULT_MAX_BODY);
        let mut wire =
            Self { stream, buffer: vec![0; BUFFER], start: 0, end: 0, out: Vec::new(), next_id: 0, limit };
        let hello = Hello::new(Role::Client, lifeboat_protocol::DEFAULT_MAX_BODY, "wire-load");
        put_control(&mut wire.out, MessageType::Hello, None, &hello)?;
        wire.send()?;
        wire.receive(&mut |_| Ok(()))?;
        Ok(wire)
    }

    fn push(&mut self, method: &str, body: &[u8]) {
        self.next_id += 1;
        let route = Route::request(self.next_id, TimeLeft::NONE);
        put_request(&mut self.out, route, method, &Ext::default(), body);
    }

    fn send(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Blocks until at least one whole frame has come; gives how many did.
    fn receive(&mut self, each: &mut dyn FnMut(Message<'_>) -> anyhow::Result<()>) -> anyhow::Result<usize> {
        loop {
            let (frames, need) = self.take_frames(each)?;
            if frames > 0 {
                return Ok(frames);
            }
            if self.start + need > self.buffer.len() || self.start == self.end {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
                if need > self.buffer.len() {
                    self.buffer.resize(need, 0);
                }
            }
            let taken = self.stream.read(&mut self.buffer[self.end..])?;
            anyhow::ensure!(taken > 0, "the broker closed the connection");
            self.end += taken;
        }
    }

    fn take_frames(
        &mut self,
        each: &mut dyn FnMut(Message<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<(usize, usize)> {
        let mut frames = 0;
        loop {
            match split_frame(&self.buffer[self.start..self.end], self.limit)? {
                Split::Frame { frame, .. } => {
                    each(decode(frame)?)?;
                    self.start += 4 + frame.len();
                    frames += 1;
                }
                Split::Incomplete { need, .. } => return Ok((frames, need)),
            }
        }
    }
}

fn answered(message: Message<'_>) -> anyhow::Result<()> {
    if let Header::Answer { .. } = message.header {
        return Ok(());
    }
    anyhow::bail!("answered by a {} message: {:?}", message.header.message_type(), message.body)
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    measuring: AtomicBool,
    answers: AtomicU64,
}

fn drive(args: &Args, shared: &Shared) -> anyhow::Result<Vec<u64>> {
    let body = bytes_body(args.payload)?;
    let mut wire = Wire::connect(&args.socket)?;
    let mut waits = Vec::with_capacity(1 << 20);
    for _ in 1..args.window {
        wire.push("echo", &body);
    }
    while !shared.stop.load(Ordering::Relaxed) {
        wire.push("echo", &body);
        let sent_at = Instant::now();
        wire.send()?;
        let frames = wire.receive(&mut answered)?;
        for _ in 1..frames {
            wire.push("echo", &body);
        }
        if shared.measuring.load(Ordering::Relaxed) {
            shared.answers.fetch_add(frames as u64, Ordering::Relaxed);
            waits.push(u64::try_from(sent_at.elapsed().as_nanos())?);
        }
    }
    Ok(waits)
}

/// A CBOR byte string of so many bytes.
fn bytes_body(len: usize) -> anyhow::Result<Vec<u8>> {
    Ok(lifeboat_protocol::encode_body(&serde_bytes::ByteBuf::from(vec![7; len]))?)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let line = match args.crash {
        Some(times) => crash(&args, times)?,
        None => load(&args)?,
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn load(args: &Args) -> anyhow::Result<serde_json::Value> {
    let shared = Arc::new(Shared::default());
    let threads: Vec<_> = (0..args.clients)
        .map(|_| {
            let (args, shared) = (args.clone(), Arc::clone(&shared));
            thread::spawn(move || drive(&args, &shared))
        })
        .collect();
    thread::sleep(Duration::from_secs_f64(args.warm));
    shared.measuring.store(true, Ordering::Relaxed);
    let began = Instant::now();
    thread::sleep(Duration::from_secs_f64(args.secs));
    let answers = shared.answers.load(Ordering::Relaxed);
    let elapsed = began.elapsed().as_secs_f64();
    shared.stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    for thread in threads {
        waits.extend(thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^53")]
    let rate = answers as f64 / elapsed;
    Ok(summary(waits, serde_json::json!({ "n": answers, "secs": elapsed, "rps": rate })))
}

/// Adds the percentiles of what was waited, in microseconds.
fn summary(mut nanos: Vec<u64>, mut line: serde_json::Value) -> serde_json::Value {
    nanos.sort_unstable();
    for (name, thousandths) in [("p50_us", 500), ("p99_us", 990), ("p999_us", 999)] {
        let at = nanos.len().saturating_sub(1) * thousandths / 1000;
        #[expect(clippy::cast_precision_loss, reason = "waits are far below 2^53 ns")]
        let micros = nanos.get(at).map_or(0.0, |nanos| *nanos as f64 / 1e3);
        line[name] = micros.into();
    }
    line
}

/// From SIGKILL of the worker that executes a request to the answer of its second attempt.
fn crash(args: &Args, times: usize) -> anyhow::Result<serde_json::Value> {
    let mut wire = Wire::connect(&args.socket)?;
    let mut waits = Vec::with_capacity(times);
    for _ in 0..times {
        wire.push("pid", &lifeboat_protocol::encode_body(&())?);
        wire.send()?;
        wire.receive(&mut answered)?;
        let note = tempfile::NamedTempFile::new()?;
        let path = note.path().to_str().ok_or_else(|| anyhow::anyhow!("the temporary path is not UTF-8"))?;
        wire.push("hang_once", &lifeboat_protocol::encode_body(path)?);
        wire.send()?;
        let victim = wait_for_pid(note.path())?;
        let killed_at = Instant::now();
        kill_process(victim, Signal::KILL)?;
        wire.receive(&mut answered)?;
        waits.push(u64::try_from(killed_at.elapsed().as_nanos())?);
        // The pool is given the time to be whole again, so that each death is measured alone.
        thread::sleep(Duration::from_millis(20));
    }
    Ok(summary(waits, serde_json::json!({ "n": times })))
}

fn wait_for_pid(note: &Path) -> anyhow::Result<Pid> {
    let give_up = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(pid) = std::fs::read_to_string(note)?.trim().parse().ok().and_then(Pid::from_raw) {
            // The worker is past its last system call.
            thread::sleep(Duration::from_millis(10));
            return Ok(pid);
        }
        anyhow::ensure!(Instant::now() < give_up, "no worker took the request that hangs");
        thread::sleep(Duration::from_millis(1));
    }
}
