//! The demo's clients while they run, and the line that shows how they fare.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::client::ClientArgs;
use super::tally::{ClientLine, Tally};

/// The client processes and what they have printed.
#[derive(Debug, Default)]
pub(super) struct Clients {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    output: Option<ChildStdout>,
}

impl Drop for Running {
    /// A client that is left over is ended and reaped, however the demo ends.
    fn drop(&mut self) {
        // It has mostly ended and been waited for; both then fail, harmlessly.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the reading threads tell: which client, and what it has printed; `None` when it is done.
type Told = (usize, Option<ClientLine>);

impl Clients {
    /// Starts one more client process.
    pub(super) fn start(&mut self, program: &Path, args: &ClientArgs) -> anyhow::Result<()> {
        let mut command = Command::new(program);
        command.args(["__demo", "client"]);
        command.arg("--socket").arg(&args.socket);
        let numbers = [
            ("--seconds", args.seconds.to_string()),
            ("--seed", args.seed.to_string()),
            ("--index", args.index.to_string()),
            ("--in-flight", args.in_flight.to_string()),
            ("--fault-every-ms", args.fault_every_ms.to_string()),
            ("--parent", args.parent.to_string()),
        ];
        for (name, value) in numbers {
            command.arg(name).arg(value);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("a client of the demo cannot be started")?;
        let output = child.stdout.take();
        self.running.push(Running { child, output });
        Ok(())
    }

    /// Shows a status every second until every client has ended, and gives the sum of what they counted. A client that
    /// is not done `grace` after its time is ended; what it had not heard of by then is lost.
    pub(super) fn watch(
        mut self,
        length: Duration,
        grace: Duration,
        mut screen: Screen,
    ) -> anyhow::Result<Tally> {
        let (tell, told) = mpsc::channel::<Told>();
        for (index, running) in self.running.iter_mut().enumerate() {
            let output = running.output.take().context("a client's output is read once")?;
            let tell = tell.clone();
            thread::Builder::new()
                .name(format!("client-{index}"))
                .spawn(move || read(index, output, &tell))?;
        }
        drop(tell);

        let started = Instant::now();
        let give_up = started + length + grace;
        let mut latest = vec![Tally::default(); self.running.len()];
        let mut next_status = started + Duration::from_secs(1);
        loop {
            let now = Instant::now();
            if now >= next_status {
                screen.show(&sum(&latest), now - started)?;
                next_status += Duration::from_secs(1);
            }
            match told.recv_timeout(next_status.min(give_up).saturating_duration_since(Instant::now())) {
                Ok((index, Some(line))) => latest[index] = line.tally,
                Ok((_, None)) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() >= give_up => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
        screen.end()?;
        Ok(sum(&latest))
    }
}

fn read(index: usize, output: ChildStdout, tell: &mpsc::Sender<Told>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        match serde_json::from_str::<ClientLine>(&line) {
            // Nobody listens any more once the demo has given up.
            Ok(line) => drop(tell.send((index, Some(line)))),
            Err(error) => tracing::error!(%error, "a client of the demo printed an unreadable line"),
        }
    }
    drop(tell.send((index, None)));
}

fn sum(tallies: &[Tally]) -> Tally {
    let mut sum = Tally::default();
    for tally in tallies {
        sum.add(tally);
    }
    sum
}

/// Where the status is shown: in place on a terminal, a line each second elsewhere.
#[derive(Debug)]
pub(super) struct Screen {
    in_place: bool,
    to_stderr: bool,
    last: u64,
}

impl Screen {
    /// On stdout, unless that is kept for JSON.
    pub(super) fn new(json: bool) -> Self {
        let in_place = if json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        Self { in_place, to_stderr: json, last: 0 }
    }

    fn show(&mut self, tally: &Tally, elapsed: Duration) -> io::Result<()> {
        let ended = tally.ended();
        let line = format!(
            "{:>4} s  {:>8} sent  {:>8} ended ({:>6}/s)  ok {}  failed {}  crashed {}  retries {}",
            elapsed.as_secs(),
            tally.sent,
            ended,
            ended.saturating_sub(self.last),
            tally.outcome("ok"),
            tally.outcome("failed"),
            tally.outcome("crashed"),
            tally.retries,
        );
        self.last = ended;
        if self.in_place { self.write(&format!("\r\x1b[K{line}")) } else { self.write(&format!("{line}\n")) }
    }

    fn end(&self) -> io::Result<()> {
        if self.in_place { self.write("\n") } else { Ok(()) }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out: Box<dyn io::Write> =
            if self.to_stderr { Box::new(io::stderr().lock()) } else { Box::new(io::stdout().lock()) };
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
