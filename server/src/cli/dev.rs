//! `lifeboat dev`: a broker around one command, with nothing to configure, for whoever writes a worker.
//!
//! It owns the command's arguments, the configuration made of them, and the private place of the socket; what a person sees
//! meanwhile is `attend`'s. It must never do what `serve` could not be configured to do.

mod attend;
mod snippet;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::sync::mpsc;

use self::attend::Attendant;
use self::watch::Watch;
use super::broker::{self, BrokerOptions};
use super::exit::Exit;
use super::logging::{self, FILTER_VARIABLE, LogFormat, LogGuard};
use super::serve::{Signals, serve_until_told};
use crate::config::{Config, find_program};
use crate::process::become_subreaper_and_reset_sigchld;

/// The pool around the command.
const POOL: &str = "dev";

/// Starts and deaths that may wait to be shown.
const WAITING: usize = 1024;

/// How long requests that run have to end when the person wants to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is logged when no variable says otherwise: deaths are told here, in fewer words.
const FILTER: &str = "warn,lifeboat::output=info,lifeboat::cli::dev=info,lifeboat::observe::log=error";

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first words that are no options are the worker's program (a path, or a name in PATH) and its arguments; whatever follows \
the program belongs to it. When its file changes, or a file that an argument names, its processes are replaced: the next \
one is ready before the old one leaves. Ctrl-C gives requests that run one second, then everything is killed; so do SIGTERM \
and a terminal that is closed. A second Ctrl-C kills at once.

What it logs is chosen by LIFEBOAT_LOG alone: RUST_LOG is left to the worker.")]
pub(super) struct DevArgs {
    /// The worker's program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// How many processes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    workers: u16,
    /// How many requests each process executes at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    slots: u16,
    /// Where clients connect [default: a directory of its own, gone at the end]
    #[arg(long, short = 's', value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where HTTP listens; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    http: SocketAddr,
    /// Leave the processes alone when the program's files change
    #[arg(long)]
    no_watch: bool,
}

/// Runs the broker until SIGTERM, SIGINT or SIGHUP; a second signal ends it at once.
pub(super) fn run(args: &DevArgs) -> Exit {
    let adopting = become_subreaper_and_reset_sigchld();
    let log = logging::init_with(LogFormat::Brief, FILTER, &[FILTER_VARIABLE]);
    if let Err(error) = adopting {
        tracing::warn!(%error, "descendants that escape their worker are searched for in the whole system");
    }
    let program = match program(&args.command, env::var("PATH").ok().as_deref()) {
        Ok(program) => program,
        Err(why) => {
            log.complain(&why);
            return Exit::Usage;
        }
    };
    match dev(args, program, &log) {
        Ok(()) => Exit::Done,
        Err(error) => {
            log.complain(&format!("{error:#}"));
            Exit::Failed
        }
    }
}

fn dev(args: &DevArgs, program: PathBuf, log: &LogGuard) -> anyhow::Result<()> {
    let signals = Signals::register()?;
    let signals = if is_hangup_ignored() { signals } else { signals.and_hangup()? };
    let home = args.socket.is_none().then(home).transpose()?;
    let socket = match (&args.socket, &home) {
        (Some(socket), _) => std::path::absolute(socket)?,
        (None, home) => home.as_ref().context("there is no directory")?.path().join("broker.sock"),
    };
    let config = Config::parse(&configuration(args, &program, &socket)?, "the options", [])?;
    // Before the first process is started: a change is one of what that was started from.
    let watch = Watch::new(if args.no_watch { Vec::new() } else { watch::files(&program, &args.command) });
    let (tell, news) = mpsc::channel(WAITING);
    let options = BrokerOptions {
        owns_all_children: true,
        news: Some(tell),
        log_lines_dropped: Some(log.dropped_lines()),
        ..BrokerOptions::default()
    };
    let broker = broker::start(config, options)?;
    tracing::info!("serving {} on {}; Ctrl-C ends it", program.display(), socket.display());
    if let Some(http) = broker.http() {
        tracing::info!("health and metrics: http://{http}/worker-health, http://{http}/metrics");
    }
    Attendant::start(socket, news, watch)?;
    serve_until_told(broker, signals, Some(PATIENCE))?;
    // The socket is gone by now; the lock beside it goes with the directory.
    home.map_or(Ok(()), TempDir::close).context("the socket's directory could not be removed")
}

/// Whether whoever started this wants it to outlive the terminal, as `nohup` does.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is signal 1, SIGHUP.
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}

/// A directory that nobody else may enter.
fn home() -> anyhow::Result<TempDir> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
    let place = runtime.filter(|path| path.is_absolute()).unwrap_or_else(env::temp_dir);
    tempfile::Builder::new().prefix("lifeboat-dev-").tempdir_in(&place).with_context(|| {
        format!("no directory can be made in {}: name a socket with --socket", place.display())
    })
}

/// Finds the worker's program; its path depends on no directory. The error says what to do.
fn program(command: &[String], path: Option<&str>) -> Result<PathBuf, String> {
    let Some(name) = command.first() else {
        return Err("name the worker's program".to_owned());
    };
    match find_program(name, path) {
        Ok(found) => std::path::absolute(found).map_err(|error| format!("{name}: {error}")),
        Err(why) => {
            let here = Path::new(name);
            let help = if here.is_dir() {
                "it is a directory; write the path of the worker's program in it".to_owned()
            } else if !name.contains('/') && here.is_file() {
                format!("for the file in this directory write ./{name}")
            } else if here.is_file() {
                format!(
                    "make it executable (chmod +x), or name its interpreter before it, such as python3 {name}"
                )
            } else {
                "build it first, or write its path as it is seen from this directory".to_owned()
            };
            Err(format!("{name} {why}: {help}"))
        }
    }
}

fn configuration(args: &DevArgs, program: &Path, socket: &Path) -> anyhow::Result<String> {
    let text = |path: &Path| {
        let text = path.to_str().with_context(|| format!("the path {} is not UTF-8", path.display()))?;
        anyhow::Ok(toml::Value::from(text))
    };
    let mut command = vec![text(program)?];
    command.extend(args.command.iter().skip(1).map(|word| toml::Value::from(&**word)));
    Ok(format!(
        r#"
[broker]
socket = {socket}
http = "{http}"

[pools.{POOL}]
command = {command}
workers = {workers}
slots = {slots}
accept_any_method = true
# One that does not work is tried again at once when it changes; until then its complaints must not fill the screen.
restart = {{ max = "10s" }}
output = {{ burst = 10000, per_second = 1000 }}
"#,
        socket = text(socket)?,
        http = args.http,
        command = toml::Value::Array(command),
        workers = args.workers,
        slots = args.slots,
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(words: &[&str]) -> Config {
        let cli = Cli::try_parse_from(["lifeboat", "dev"].iter().chain(words)).unwrap();
        let Command::Dev(args) = cli.command else { panic!("another command") };
        let program = program(&args.command, Some("/bin")).unwrap();
        let text = configuration(&args, &program, Path::new("/tmp/dev.sock")).unwrap();
        Config::parse(&text, "the options", []).unwrap()
    }

    #[test]
    fn the_command_is_all_that_is_needed() {
        let config = parsed(&["/bin/sh", "-c", "exit \"1\"", "--workers", "5"]);
        assert!(config.warnings.is_empty() && config.unknown_yet.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.commands[0].argv, ["/bin/sh", "-c", "exit \"1\"", "--workers", "5"]);
        let pool = &config.settings.pools[0];
        assert_eq!((pool.name.as_str(), pool.workers.get(), pool.slots.get()), ("dev", 1, 1));
    }

    #[test]
    fn options_come_before_the_command() {
        let config = parsed(&["--workers", "3", "--slots", "2", "--", "sh", "-x", "--", "y"]);
        let pool = &config.settings.pools[0];
        assert_eq!((pool.workers.get(), pool.slots.get()), (3, 2));
        assert_eq!(config.broker.socket, Path::new("/tmp/dev.sock"));
        assert_eq!(config.commands[0].argv, ["/bin/sh", "-x", "--", "y"]);
    }

    #[test]
    fn a_program_that_cannot_be_run_is_told_with_what_to_do() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("worker.py");
        fs::write(&file, "pass").unwrap();
        let refused = |name: &str| program(&[name.to_owned()], Some("/bin")).unwrap_err();
        assert!(refused("no-such-worker").contains("is not in PATH: build it first"));
        assert!(refused("./no-such-worker").contains("does not exist: build it first"));
        assert!(refused(room.path().to_str().unwrap()).contains("it is a directory"));
        assert!(refused(file.to_str().unwrap()).contains("chmod +x"));
        // Tests run in the package's directory.
        assert!(
            refused("Cargo.toml")
                .contains("is not in PATH: for the file in this directory write ./Cargo.toml")
        );
    }
}
