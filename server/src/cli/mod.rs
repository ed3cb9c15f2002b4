//! The command line: one file per subcommand, and the wiring of the rooms.
//!
//! It owns what a person types and sees, and the exit code. It must never decide what becomes of a request or a
//! process, and only here may every room be named.

pub mod broker;
pub mod call;
pub mod check;
mod control_plane;
mod data_plane;
pub mod demo;
mod descriptors;
mod dev;
pub mod exit;
pub mod healthcheck;
pub mod json;
mod limits;
pub mod logging;
pub mod operate;
mod outcome;
mod process_link;
pub mod quarantine;
pub mod remote;
mod report;
pub mod requests;
pub mod serve;
mod spawn_specs;
mod start_name;
pub mod workers;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use self::call::CallArgs;
use self::demo::{DemoArgs, DemoRole};
use self::dev::DevArgs;
use self::exit::Exit;
use self::healthcheck::HealthcheckArgs;
use self::operate::{OperateArgs, Order};
use self::quarantine::QuarantineArgs;
use self::report::ReportArgs;
use self::requests::RequestsArgs;
use self::workers::WorkersArgs;
use crate::config::process_environment;

/// Lifeboat runs code that may crash, hang or leak in worker processes, so that its callers never do.
#[derive(Debug, Parser)]
#[command(name = "lifeboat", version, max_term_width = 100, after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker until SIGTERM or SIGINT (drains; a second one ends at once).
    Serve(ConfigArgs),
    /// Check a configuration and show every effective value.
    Check(ConfigArgs),
    /// Crash workers under load and count: a broker, clients and faults, with nothing to configure.
    Demo(DemoArgs),
    /// Run a broker around one worker program, with nothing to configure; restart it when it changes.
    Dev(DevArgs),
    /// Call a method of a running broker: JSON in, JSON out.
    Call(CallArgs),
    /// Show what every worker is doing.
    Workers(WorkersArgs),
    /// Show the open requests, oldest first; with --failed the last that did not end `ok`.
    Requests(RequestsArgs),
    /// Show what is known of crashes: the reports that are kept, or all that one says.
    Report(ReportArgs),
    /// Show the bodies that are refused for the processes that they crashed, or release them.
    Quarantine(QuarantineArgs),
    /// Replace processes, each by a successor that is ready first; bring back what was drained or tripped.
    Restart(OperateArgs),
    /// Give a pool or worker nothing new and let it finish; it stays out of service until a restart.
    Drain(OperateArgs),
    /// End processes at once with SIGKILL; they are replaced.
    Kill(OperateArgs),
    /// Exit with 0 if the broker is ready, else with 1.
    Healthcheck(HealthcheckArgs),
    /// The parts that the demo starts itself.
    #[command(name = "__demo", subcommand, hide = true)]
    DemoRole(DemoRole),
}

#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration file (TOML).
    #[arg(long, short, env = check::CONFIG_VARIABLE, value_name = "FILE")]
    config: PathBuf,
}

impl Cli {
    /// Does what was asked.
    #[must_use]
    pub fn run(self) -> Exit {
        match self.command {
            Command::Serve(args) => serve::run(&args.config),
            Command::Check(args) => check_config(&args.config),
            Command::Demo(args) => demo::run(&args),
            Command::Dev(args) => dev::run(&args),
            Command::Call(args) => call::run(&args),
            Command::Workers(args) => workers::run(&args),
            Command::Requests(args) => requests::run(&args),
            Command::Report(args) => report::run(&args),
            Command::Quarantine(args) => quarantine::run(&args),
            Command::Restart(args) => operate::run(Order::Restart, &args),
            Command::Drain(args) => operate::run(Order::Drain, &args),
            Command::Kill(args) => operate::run(Order::Kill, &args),
            Command::Healthcheck(args) => healthcheck::run(&args),
            Command::DemoRole(role) => role.run(),
        }
    }
}

fn check_config(path: &std::path::Path) -> Exit {
    match check::run(path, process_environment(), &mut std::io::stdout().lock()) {
        Ok(_) => Exit::Done,
        Err(check::CheckError::Config(error)) => {
            serve::complain(&error.to_string());
            Exit::Usage
        }
        // Whoever stopped reading has seen enough.
        Err(check::CheckError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error @ check::CheckError::Output(_)) => {
            serve::complain(&error.to_string());
            Exit::Failed
        }
    }
}
