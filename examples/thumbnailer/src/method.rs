//! The method `thumbnail`: what is sent and what comes back.
//!
//! Owns the types that travel. Must never know how either side works.

use std::fmt;

use lifeboat_client::method;
use serde::{Deserialize, Serialize};

/// Asks for a thumbnail of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// What the file is called, for messages. It is not opened: the worker sees only `bytes`.
    pub name: String,
    /// The file's contents, whatever they are.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The longest side that the thumbnail may have, in pixels. Smaller images are not enlarged.
    pub max_side: u32,
}

method!("thumbnail": Thumbnail => Thumb);

/// A thumbnail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumb {
    /// The encoded thumbnail.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// How it is encoded.
    pub format: ThumbFormat,
    /// Its width, in pixels.
    pub width: u32,
    /// Its height, in pixels.
    pub height: u32,
    /// What the file turned out to be, whatever its name says.
    pub source: SourceFormat,
}

/// How a thumbnail is encoded: as JPEG if the file was one, else as PNG, which loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThumbFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
}

impl ThumbFormat {
    /// The suffix of its files, without a dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }
}

/// The formats that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
}

impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Webp => "WebP",
        })
    }
}
