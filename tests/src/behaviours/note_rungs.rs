//! Heeds nothing, and notes when it was told to stop, and how.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;

use lifeboat_protocol::{Header, decode};

use super::ignore_sigterm;
use super::raw::Link;
use crate::clock::now;

pub(super) fn commit(link: &mut Link, file: &Path) -> ! {
    let (terminated, noted) = (ignore_sigterm::begin(), PathBuf::from(file));
    thread::spawn(move || {
        ignore_sigterm::wait(&terminated);
        note(&noted, "sigterm");
    });
    while let Some(frame) = link.read_frame() {
        if let Ok(Header::Cancel { .. }) = decode(&frame).map(|message| message.header) {
            note(file, "cancel");
        }
    }
    super::hang::commit()
}

/// One write, so that lines of several threads do not mix.
fn note(file: &Path, rung: &str) {
    let mut file =
        OpenOptions::new().create(true).append(true).open(file).expect("the file can be written to");
    file.write_all(format!("{rung} {}\n", now()).as_bytes()).expect("the file can be written to");
}
