//! Talking to a running broker: the socket that a command uses, its runtime, its output.
//!
//! It owns what all commands that need a broker share. It must never print what only one of them knows.

use std::future::Future;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use lifeboat_client::{Client, ConnectError, OperateError};
use serde::Serialize;
use thiserror::Error;

use super::exit::Exit;
use super::serve::complain;

/// How long a command tries to reach a broker: a person waits.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Which broker a command talks to.
#[derive(Debug, clap::Args)]
pub struct Remote {
    /// The broker's socket [default: $XDG_RUNTIME_DIR/lifeboat/lifeboat.sock, else /run/lifeboat/lifeboat.sock]
    #[arg(long, short = 's', env = "LIFEBOAT_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Why a command could not do its work. The text says what to do.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// No broker can be talked to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker did not do it.
    #[error(transparent)]
    Operate(#[from] OperateError),
    /// The answer cannot be shown.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    /// The answer cannot be written as JSON.
    #[error("cannot write the answer as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// What was asked for cannot be sent, or what came cannot be shown.
    #[error("{0}")]
    Value(String),
}

impl Remote {
    /// Connects. Tries for a short time only: a person waits.
    ///
    /// # Errors
    ///
    /// When no broker answers at the socket.
    pub(super) async fn connect(&self) -> Result<Client, RemoteError> {
        let mut builder = Client::builder().name("lifeboat-cli").connect_timeout(CONNECT_TIMEOUT);
        if let Some(socket) = &self.socket {
            builder = builder.socket(socket);
        }
        Ok(builder.connect().await?)
    }
}

/// Runs a command to its end; what went wrong goes to stderr.
pub(super) fn run(command: impl Future<Output = Result<Exit, RemoteError>>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start the runtime: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(command) {
        Ok(exit) => exit,
        // Whoever reads the output has seen enough, as `head` does.
        Err(RemoteError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            complain(&error.to_string());
            Exit::Failed
        }
    }
}

/// Prints a value as one line of JSON.
///
/// # Errors
///
/// When stdout cannot be written to.
pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), RemoteError> {
    let text = serde_json::to_string(value)?;
    print_line(&text)
}

/// Prints a line.
///
/// # Errors
///
/// When stdout cannot be written to.
pub(super) fn print_line(text: &str) -> Result<(), RemoteError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(RemoteError::Output)
}

/// An empty table for a terminal: plain columns under headings, no lines.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().copied());
    table
}

/// A length of time for people: `350 ms`, `4.2 s`, `3m 20s`.
pub(super) fn shown_ms(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => humantime::format_duration(Duration::from_secs(millis / 1_000)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::shown_ms;

    #[test]
    fn times_are_as_exact_as_people_want_them() {
        let shown = [0, 999, 1_000, 59_999, 60_000, 3_725_400].map(shown_ms);
        assert_eq!(shown, ["0 ms", "999 ms", "1.0 s", "59.9 s", "1m", "1h 2m 5s"]);
    }
}
