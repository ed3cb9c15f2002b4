//! The demo's clients while they run, and the line that shows how they fare.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

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

/// What the other threads tell.
#[derive(Debug)]
pub(super) enum Told {
    /// A client has printed this.
    Line(usize, ClientLine),
    /// A client prints nothing more.
    Done,
    /// The demo was told to end.
    Interrupted,
}

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

    /// Shows a status every second until every client has ended, and gives the sum of what they counted, and how many
    /// did not come to their end. A client that is not done `grace` after its time is ended; what it had not heard of by then is lost. An error if the demo is
    /// told to end meanwhile.
    pub(super) fn watch(
        mut self,
        length: Duration,
        grace: Duration,
        mut screen: Screen,
        (tell, told): (mpsc::Sender<Told>, &mpsc::Receiver<Told>),
    ) -> anyhow::Result<(Tally, usize)> {
        for (index, running) in self.running.iter_mut().enumerate() {
            let output = running.output.take().context("a client's output is read once")?;
            let tell = tell.clone();
            thread::Builder::new()
                .name(format!("client-{index}"))
                .spawn(move || read(index, output, &tell))?;
        }
        let started = Instant::now();
        let give_up = started + length + grace;
        let mut latest = vec![Tally::default(); self.running.len()];
        let mut left = self.running.len();
        let mut finished = 0;
        let mut next_status = started + Duration::from_secs(1);
        while left > 0 && Instant::now() < give_up {
            if Instant::now() >= next_status {
                screen.show(&sum(&latest), started.elapsed())?;
                next_status += Duration::from_secs(1);
            }
            match told.recv_timeout(next_status.min(give_up).saturating_duration_since(Instant::now())) {
                Ok(Told::Line(index, line)) => {
                    finished += usize::from(line.last);
                    latest[index] = line.tally;
                }
                Ok(Told::Done) => left -= 1,
                Ok(Told::Interrupted) => anyhow::bail!("it was interrupted"),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        screen.end()?;
        Ok((sum(&latest), self.running.len() - finished))
    }
}

fn read(index: usize, output: ChildStdout, tell: &mpsc::Sender<Told>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        match serde_json::from_str::<ClientLine>(&line) {
            // Nobody listens any more once the demo has given up.
            Ok(line) => drop(tell.send(Told::Line(index, line))),
            Err(error) => tracing::error!(%error, "a client of the demo printed an unreadable line"),
        }
    }
    drop(tell.send(Told::Done));
}

/// Tells of SIGINT and SIGTERM, from a thread that lives as long as the process.
pub(super) fn tell_interrupts(tell: mpsc::Sender<Told>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                // Nobody listens any more at the end of the demo.
                drop(tell.send(Told::Interrupted));
            }
        });
    })?;
    Ok(())
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
