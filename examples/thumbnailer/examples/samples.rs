//! `samples DIR`: writes a directory of good and hostile images to try the thumbnailer on.

use std::path::PathBuf;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let room: PathBuf = std::env::args_os().nth(1).context("usage: samples DIR")?.into();
    thumbnailer::samples::write_all(&room)
        .with_context(|| format!("cannot write the samples into {}", room.display()))
}
