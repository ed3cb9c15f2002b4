//! `lifeboat restart`, `drain` and `kill`: orders for a pool or a worker.

use serde::Serialize;

use super::exit::Exit;
use super::remote::{self, Remote};

/// The arguments of all three.
#[derive(Debug, clap::Args)]
pub struct OperateArgs {
    /// The name of a pool (all its workers) or of a worker, such as `images-0`
    #[arg(value_name = "POOL|WORKER")]
    target: String,
    #[command(flatten)]
    remote: Remote,
    /// Print one JSON object: the names of the workers concerned
    #[arg(long)]
    json: bool,
}

/// What can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Replace processes, one after the other.
    Restart,
    /// Give it nothing new.
    Drain,
    /// SIGKILL, now.
    Kill,
}

#[derive(Serialize)]
struct Shown<'a> {
    affected: &'a [String],
}

/// Gives the order. Done as soon as the broker has taken it, not when its last process has followed it.
pub(super) fn run(order: Order, args: &OperateArgs) -> Exit {
    remote::run(async {
        let admin = args.remote.connect().await?.admin();
        let target = args.target.as_str();
        let (affected, done) = match order {
            Order::Restart => (admin.restart(target).await?, "restarting"),
            Order::Drain => (admin.drain(target).await?, "draining"),
            Order::Kill => (admin.kill(target).await?, "killed"),
        };
        if args.json {
            remote::print_json(&Shown { affected: &affected })?;
        } else {
            remote::print_line(&format!("{done} {}", affected.join(", ")))?;
        }
        Ok(Exit::Done)
    })
}
