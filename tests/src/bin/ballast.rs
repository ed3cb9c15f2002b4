//! A broker inside a program that uses a lot of memory: started through the library, as an embedding program would.
//!
//! Arguments: how many MiB to touch, and the configuration's file. SIGTERM drains it.

use std::io::Write as _;

use lifeboat::cli::broker::{self, BrokerOptions};
use lifeboat::cli::logging::{self, LogFormat};
use lifeboat::config::{Config, process_environment};
use lifeboat::process::{SHIM_ARG, become_subreaper_and_reset_sigchld, run_shim};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let first = args.next().ok_or_else(|| anyhow::anyhow!("say how many MiB"))?;
    if first == SHIM_ARG {
        run_shim(args);
    }
    let mib: usize = first.to_string_lossy().parse()?;
    let file = args.next().ok_or_else(|| anyhow::anyhow!("say which configuration"))?;
    become_subreaper_and_reset_sigchld()?;
    let _log = logging::init(LogFormat::Text);
    // Not zero, or the pages would never be touched.
    let ballast = std::hint::black_box(vec![1_u8; mib << 20]);
    let config = Config::load(file.as_ref(), process_environment())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut terminate = {
        let _entered = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let broker = broker::start(config, BrokerOptions::default())?;
    let http = broker.http().ok_or_else(|| anyhow::anyhow!("HTTP must not be off"))?;
    writeln!(std::io::stderr(), "serving socket={} http={http}", broker.socket().display())?;
    runtime.block_on(terminate.recv());
    broker.drain();
    broker.join()?;
    drop(std::hint::black_box(ballast));
    Ok(())
}
