//! Tests of your own workers: a handler without a broker, and a broker in a line for what needs one.
//!
//! Behind the feature `testing`, which belongs to the dev-dependencies of a worker:
//!
//! ```toml
//! [dev-dependencies]
//! lifeboat-worker = { version = "0.1", features = ["testing"] }
//! ```
//!
//! It owns the other end of the socket, never a second way to run handlers: what they are given and what they answer goes
//! through the code that serves in production. It must never be needed to serve.
//!
//! # A handler, without a broker
//!
//! [`Attempt`] gives a handler one request, as a broker would, in a thread of this process: its body is encoded and decoded,
//! its arguments are found, its reply travels. No file, no other process, about a millisecond. Whatever the handler
//! does becomes an [`Ended`]: an answer, a failure, a panic.
//!
//! ```
//! use std::time::Duration;
//!
//! use lifeboat_worker::prelude::*;
//! use lifeboat_worker::testing::{Attempt, End};
//!
//! method!(struct Greet = "greet": String => String, partial = char);
//!
//! async fn greet(
//!     name: String,
//!     context: Context,
//!     greeting: State<&'static str>,
//!     parts: Parts<Greet>,
//! ) -> Result<String, HandlerError> {
//!     if name.is_empty() {
//!         return Err(HandlerError::new("no_name", "whom?"));
//!     }
//!     for (done, letter) in (1_u64..).zip(name.chars()) {
//!         context.progress(Progress::done(done));
//!         parts.send(&letter).await?;
//!     }
//!     Ok(format!("{} {name}, for the {}. time", *greeting, context.attempt()))
//! }
//!
//! // In a test: `#[tokio::test] async fn ...`, or any other executor.
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let attempt = Attempt::<Greet>::of(greet).state("Ahoy").number(2).deadline(Duration::from_secs(5));
//! let ended = attempt.run("Ada".to_owned()).await?;
//! assert_eq!(ended.parts, ['A', 'd', 'a']);
//! assert_eq!(ended.progress.len(), 3);
//! assert_eq!(ended.reply(), "Ahoy Ada, for the 2. time");
//!
//! let ended = Attempt::<Greet>::of(greet).state("Ahoy").run(String::new()).await?;
//! let End::Failed(error) = &ended.end else { panic!("{ended:?}") };
//! assert_eq!(error.code(), "no_name");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! A blocking handler is tested with [`Attempt::of_blocking`], and a whole worker, with its own states, with
//! [`Attempt::by`]. [`Attempt::start`] gives an attempt that goes on: it tells what the handler says as it comes, and can be
//! [cancelled](Running::cancel) midway.
//!
//! A handler that goes on where another attempt died is tested with what that one left: [`Attempt::saved`] and
//! [`Attempt::previous`] give an attempt its history, and [`Ended::saved`] is what it leaves itself.
//!
//! ```
//! use lifeboat_worker::prelude::*;
//! use lifeboat_worker::testing::Attempt;
//! use lifeboat_worker::{AttemptEnd, PreviousAttempt};
//!
//! method!(struct Convert = "convert": usize => usize);
//!
//! /// Converts so many pages; says how many it did itself.
//! fn convert(pages: usize, context: Context) -> Result<usize, HandlerError> {
//!     let begin: usize = context.last_saved()?.unwrap_or(0);
//!     for page in begin..pages {
//!         context.save_blocking(&(page + 1))?;
//!     }
//!     if context.attempt() > 2 {
//!         context.recycle();
//!     }
//!     Ok(pages - begin)
//! }
//!
//! let ended = Attempt::<Convert>::of_blocking(convert).saved(&7).run_blocking(10)?;
//! assert_eq!(ended.saved(), Some(10));
//! assert!(!ended.recycle_asked);
//! assert_eq!(ended.reply(), 3);
//!
//! let second = PreviousAttempt {
//!     number: 2,
//!     worker: "images-1".to_owned(),
//!     incarnation: 4,
//!     end: AttemptEnd::TimedOut,
//!     reason: Some("attempt_timeout".to_owned()),
//!     duration_ms: 30_000,
//! };
//! let ended = Attempt::<Convert>::of_blocking(convert).previous([second]).run_blocking(2)?;
//! assert!(ended.recycle_asked);
//! # Ok::<_, lifeboat_worker::testing::AttemptError>(())
//! ```
//!
//! Two things differ from production, so that a test sees all there is to see: every
//! [`progress`](crate::Context::progress) is told, where otherwise one in 100 ms is sent, and nothing is ever killed. A handler
//! that crashes takes the test along; that is what the next part is for.
//!
//! # A broker for what needs one
//!
//! [`TestBroker`] runs the program `lifeboat` with real processes of your worker, on a private socket in a directory of its
//! own, until it is dropped. Crashes, retries and limits are then the real ones:
//!
//! ```no_run
//! use lifeboat_worker::testing::TestBroker;
//!
//! # const PROGRAM: &str = "";
//! # macro_rules! env { ($name:literal) => { PROGRAM } }
//! # fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = TestBroker::start(env!("CARGO_BIN_EXE_my-worker"))?;
//! // let client = lifeboat_client::Client::connect(broker.socket()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It gives the socket's path and no client: which one connects is your choice, and a worker needs none. Settings are those of
//! a configuration file, for one pool or several:
//!
//! ```no_run
//! use lifeboat_worker::testing::{Pool, TestBroker};
//!
//! # const PROGRAM: &str = "";
//! # macro_rules! env { ($name:literal) => { PROGRAM } }
//! # fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let images = Pool::new("images", env!("CARGO_BIN_EXE_my-worker"))
//!     .args(["--quality", "80"])
//!     .workers(2)
//!     .settings("limits = { memory = \"1GiB\" }")
//!     .method("thumbnail", "attempt_timeout = \"2s\"\nretry = { on = [\"crash\"], max_attempts = 3 }");
//! let rest = Pool::new("rest", env!("CARGO_BIN_EXE_my-worker")).slots(4);
//! let broker = TestBroker::with([images, rest]).start()?;
//! # Ok(())
//! # }
//! ```
//!
//! The program is the one that `LIFEBOAT_BIN` names, else `lifeboat` in `PATH`, unless
//! [`Setup::lifeboat`] names another.

mod attempt;
mod broker;
mod ended;
mod past;
mod pool;
mod process;
mod running;
mod script;
#[cfg(test)]
mod tests;

pub use lifeboat_protocol::Progress as ToldProgress;

pub use self::attempt::Attempt;
pub use self::broker::{BrokerError, Setup, TestBroker};
pub use self::ended::{AttemptError, End, Ended, Said, Saved};
pub use self::pool::Pool;
pub use self::running::Running;
