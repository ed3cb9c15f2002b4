//! Measures a round trip between this program and itself as a worker, without a broker: what the SDK costs.
//!
//! `cargo run --release -p lifeboat-worker --example roundtrip -- [REQUESTS] [BYTES] [async|blocking|raw]`, with
//! `taskset -c 0` in front for one core. Prints the time per request; `strace -c -f` or `perf stat` around it count
//! system calls, half of which are the measuring side's.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use lifeboat_protocol::{
    Ext, Hello, MessageType, Role, Route, TimeLeft, encode_body, put_control, put_empty, put_request,
};
use lifeboat_worker::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Async(String);

method!("async": Async => Async);

method!(struct Blocking = "blocking": String => String);

fn worker() -> lifeboat_worker::Result {
    Worker::new()
        .handle::<Async>(async |request: Async| Ok::<_, HandlerError>(request))
        .handle_blocking::<Blocking>(|request: String| Ok::<_, HandlerError>(request))
        .handle_raw_blocking("raw", |body, _| Ok::<_, HandlerError>(body))
        .run()
}

fn main() -> lifeboat_worker::Result {
    if std::env::var_os("LIFEBOAT_FD").is_some() {
        return worker();
    }
    let mut args = std::env::args().skip(1);
    let requests: u64 = args.next().map_or(Ok(200_000), |text| text.parse())?;
    let bytes: usize = args.next().map_or(Ok(64), |text| text.parse())?;
    let method = args.next().unwrap_or_else(|| "async".to_owned());

    let (mut socket, theirs) = UnixStream::pair()?;
    let mut child = Command::new(std::env::current_exe()?)
        .env("LIFEBOAT_FD", "0")
        .stdin(OwnedFd::from(theirs))
        .spawn()?;
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Hello, None, &Hello::new(Role::Broker, 64 << 20, "roundtrip"))?;
    socket.write_all(&out)?;
    let mut frame = vec![0; bytes + 4096];
    read_frame(&mut socket, &mut frame)?;

    let body = encode_body(&"x".repeat(bytes))?;
    let mut round = |id: u64| -> std::io::Result<()> {
        out.clear();
        let route = Route { attempt: 1, ..Route::request(id, TimeLeft::from_millis(30_000)) };
        put_request(&mut out, route, &method, &Ext::default(), &body);
        socket.write_all(&out)?;
        read_frame(&mut socket, &mut frame)
    };
    for id in 0..requests / 10 {
        round(id)?;
    }
    let begin = Instant::now();
    for id in 0..requests {
        round(requests + id)?;
    }
    let each = begin.elapsed().as_secs_f64() * 1e6 / requests as f64;
    let mut drain = Vec::new();
    put_empty(&mut drain, MessageType::Drain, None);
    socket.write_all(&drain)?;
    let status = child.wait()?;
    writeln!(std::io::stdout(), "{method} {bytes} B: {each:.2} us per round trip; {status}")?;
    std::process::exit(0);
}

/// One read is enough for a small frame.
fn read_frame(socket: &mut UnixStream, frame: &mut [u8]) -> std::io::Result<()> {
    let mut have = socket.read(frame)?;
    loop {
        let need =
            frame[..have].first_chunk::<4>().map_or(4, |length| 4 + u32::from_be_bytes(*length) as usize);
        if have >= need {
            return Ok(());
        }
        have += socket.read(&mut frame[have..need])?;
    }
}
