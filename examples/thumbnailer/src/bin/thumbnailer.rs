//! `thumbnailer DIR --out OUT`: thumbnails of a whole directory, and the truth about every file that has none.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use thumbnailer::batch::{self, Account, Options};

/// Some file has no thumbnail.
const INCOMPLETE: u8 = 1;
/// Nothing could be done, or not to the end.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(account) if account.broker_lost() => UNUSABLE.into(),
        Ok(account) if account.is_complete() => ExitCode::SUCCESS,
        Ok(_) => INCOMPLETE.into(),
        Err(error) => {
            // Nothing is left to do about a stderr that is gone.
            drop(writeln!(io::stderr(), "thumbnailer: {}", batch::chain(error.as_ref())));
            UNUSABLE.into()
        }
    }
}

fn run(options: &Options) -> anyhow::Result<Account> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let account = runtime.block_on(batch::run(options))?;
    let mut out = io::stdout().lock();
    if let Some(table) = account.table() {
        writeln!(out, "{table}")?;
    }
    writeln!(out, "{}", account.summary())?;
    Ok(account)
}
