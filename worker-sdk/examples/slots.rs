//! Measures requests per second between this program and itself as a worker with several slots, without a broker.
//!
//! `cargo run --release -p lifeboat-worker --example slots -- [SLOTS] [REQUESTS] [MICROS] [async|blocking]
//! [heartbeat]`: every slot has one request at a time, which computes for so many microseconds; a slot that is free
//! gets its next one at once, the lowest number first, as from the broker. Prints requests per second and the worker's
//! CPU time per request.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use lifeboat_protocol::{
    Assignment, Ext, FrameLimit, Hello, MessageType, Role, Route, RouteFlags, Split, TimeLeft, encode_body,
    put_control, put_empty, put_request, read_route, split_frame,
};
use lifeboat_worker::prelude::*;

method!(struct Async = "async": u64 => u64);

method!(struct Blocking = "blocking": u64 => u64);

fn compute(micros: u64) -> u64 {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
    micros
}

fn worker() -> lifeboat_worker::Result {
    Worker::new()
        .handle::<Async>(async |micros| Ok::<_, HandlerError>(compute(micros)))
        .handle_blocking::<Blocking>(|micros| Ok::<_, HandlerError>(compute(micros)))
        .run()
}

/// The broker's side.
struct Load {
    socket: UnixStream,
    method: String,
    body: Vec<u8>,
    /// Slots without a request.
    free: Vec<bool>,
    sent: u64,
    answered: u64,
    /// What was read and is not understood yet.
    read: Vec<u8>,
    out: Vec<u8>,
}

impl Load {
    fn run(&mut self, requests: u64) -> std::io::Result<()> {
        let until = self.sent + requests;
        while self.answered < until {
            self.out.clear();
            for slot in 0..self.free.len() {
                if self.free[slot] && self.sent < until {
                    self.sent += 1;
                    self.free[slot] = false;
                    // The slot is told from an answer's id.
                    let id = self.sent << 8 | slot as u64;
                    let flags = RouteFlags::NONE.with_slot(slot as u8);
                    let route =
                        Route { attempt: 1, flags, ..Route::request(id, TimeLeft::from_millis(30_000)) };
                    put_request(&mut self.out, route, &self.method, &Ext::default(), &self.body);
                }
            }
            self.socket.write_all(&self.out)?;
            self.answers()?;
        }
        Ok(())
    }

    /// Takes the answers that one read brings.
    fn answers(&mut self) -> std::io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        let read = self.socket.read(&mut bytes)?;
        self.read.extend_from_slice(&bytes[..read]);
        let limit = FrameLimit::for_body(1 << 20);
        while let Ok(Split::Frame { frame, rest }) = split_frame(&self.read, limit) {
            // A heartbeat has no route.
            if let Ok(route) = read_route(frame) {
                self.free[usize::from(route.id as u8)] = true;
                self.answered += 1;
            }
            let done = self.read.len() - rest.len();
            self.read.drain(..done);
        }
        Ok(())
    }
}

fn main() -> lifeboat_worker::Result {
    if std::env::var_os("LIFEBOAT_FD").is_some() {
        return worker();
    }
    let mut args = std::env::args().skip(1);
    let slots: u32 = args.next().map_or(Ok(4), |text| text.parse())?;
    let requests: u64 = args.next().map_or(Ok(200_000), |text| text.parse())?;
    let micros: u64 = args.next().map_or(Ok(10), |text| text.parse())?;
    let method = args.next().unwrap_or_else(|| "blocking".to_owned());
    let heartbeat_ms = if args.next().is_some() { 2_000 } else { 0 };

    let (mut socket, theirs) = UnixStream::pair()?;
    let mut child = Command::new(std::env::current_exe()?)
        .env("LIFEBOAT_FD", "0")
        .stdin(OwnedFd::from(theirs))
        .spawn()?;
    let assignment = Assignment { slots, heartbeat_ms, ..Assignment::default() };
    let hello = Hello { assignment: Some(assignment), ..Hello::new(Role::Broker, 1 << 20, "slots") };
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Hello, None, &hello)?;
    socket.write_all(&out)?;
    let mut load = Load {
        method,
        body: encode_body(&micros)?,
        free: vec![true; slots as usize],
        sent: 0,
        answered: 0,
        read: Vec::new(),
        out,
        socket,
    };
    // The worker's hello.
    load.answers()?;
    load.run(requests / 10)?;
    let (begin, cpu) = (Instant::now(), cpu_seconds(child.id())?);
    load.run(requests)?;
    let (took, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds(child.id())? - cpu);
    let mut drain = Vec::new();
    put_empty(&mut drain, MessageType::Drain, None);
    load.socket.write_all(&drain)?;
    let status = child.wait()?;
    let (rate, cpu) = (requests as f64 / took, cpu * 1e6 / requests as f64);
    let method = load.method;
    writeln!(
        std::io::stdout(),
        "{slots} slots, {method} {micros} us: {rate:.0} requests/s, {cpu:.2} us of CPU each; {status}"
    )?;
    std::process::exit(0);
}

/// The CPU time of all threads of a process, to the nanosecond.
fn cpu_seconds(pid: u32) -> std::io::Result<f64> {
    let mut nanos = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos as f64 / 1e9)
}
