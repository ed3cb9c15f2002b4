//! The command line of `thumbnailer`.
//!
//! Owns its words and bounds. Must never touch the file system.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Parser;

/// What `--help` says last.
const EXIT_CODES: &str = "\
Each thumbnail is named after its file, with its own suffix added: beach.jpg.jpg, banner.webp.png.
Existing thumbnails are replaced. Symbolic links are followed.

Exit codes:
  0  every file has a thumbnail
  1  some file has none; the table says which, and why
  2  the command line is wrong, or the broker cannot be reached, or it was lost on the way";

/// Makes thumbnails of all images in a directory. The images are decoded by the workers of a Lifeboat broker, so that
/// none of them can harm this program.
#[derive(Clone, Debug, Parser)]
#[command(name = "thumbnailer", version, after_help = EXIT_CODES)]
pub struct Options {
    /// The directory with the images; all files in it are sent, also those in directories below
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Where the thumbnails go, in the same tree; made if it is missing. Must lie outside DIR
    #[arg(long, value_name = "OUT")]
    pub out: PathBuf,
    /// The longest side of a thumbnail, in pixels; smaller images are not enlarged
    #[arg(long, value_name = "PIXELS", default_value = "128")]
    pub size: NonZeroU32,
    /// The broker's socket [default: LIFEBOAT_SOCKET, else where a broker listens by default]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// How many files are under way at a time
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: u16,
    /// Allow no more attempts for a file than this; the broker's configuration may allow fewer
    #[arg(long, value_name = "N")]
    pub attempts: Option<NonZeroU16>,
    /// Do not even read larger files. What the broker accepts is its own `max_body`
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub max_file: ByteSize,
}
