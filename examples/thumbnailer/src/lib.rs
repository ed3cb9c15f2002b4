//! Thumbnails of images that nobody trusts: a real worker and a real client of Lifeboat, a crash-isolating broker.
//!
//! This crate owns the method `thumbnail`, the decoding behind it and the batch program in front of it. It must never
//! decode an image in the client's process: that is what the workers are for.
//!
//! * [`Thumbnail`] is the method that both sides share.
//! * [`decode`] makes one thumbnail; the worker's handler is little more than a call of it.
//! * [`hostile`] plays decoders that hang or crash, for those who want to watch.
//! * [`batch`] walks a directory, sends every file, writes the thumbnails and tells what became of each.
//! * [`samples`] writes a directory of good and hostile images to try it on.

pub mod batch;
pub mod decode;
pub mod hostile;
mod jpeg;
mod method;
pub mod samples;

pub use method::{SourceFormat, Thumb, ThumbFormat, Thumbnail};
