//! The `lifeboat` program. Everything is in the library; this only starts it.

use clap::Parser as _;
use lifeboat::cli::{Cli, exit::Exit};
use lifeboat::process::{SHIM_ARG, run_shim};

fn main() -> Exit {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == SHIM_ARG) {
        run_shim(args);
    }
    Cli::parse().run()
}
