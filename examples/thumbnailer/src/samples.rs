//! Images to try a decoder on: good ones, and those that a decoder should not survive.
//!
//! Owns how they are made; they are small files, whatever they expand to. Must never need more memory than a thumbnail
//! of them would.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use image::{DynamicImage, ImageError, ImageFormat, RgbImage};

use crate::SourceFormat;
use crate::hostile;

/// Width and height of the [`bomb`] that [`write_all`] makes: 30 000 × 30 000 pixels of 3 bytes are 2.7 GB.
pub const BOMB_SIDE: u32 = 30_000;

/// The good pictures of [`write_all`]: path, format, width, height.
pub const GOOD: [(&str, SourceFormat, u32, u32); 8] = [
    ("dot.png", SourceFormat::Png, 1, 1),
    ("exact.png", SourceFormat::Png, 128, 128),
    ("holiday/beach.jpg", SourceFormat::Jpeg, 1600, 1200),
    ("holiday/portrait.jpg", SourceFormat::Jpeg, 300, 800),
    ("holiday/map.png", SourceFormat::Png, 2400, 1800),
    ("web/banner.webp", SourceFormat::Webp, 640, 90),
    ("web/tiny.webp", SourceFormat::Webp, 3, 2),
    // A name that lies: a JPEG all the same.
    ("web/lying.png", SourceFormat::Jpeg, 256, 192),
];

/// Writes a directory of good and hostile files below `room`, which is made if it is missing.
///
/// # Errors
///
/// What the file system or an encoder says.
pub fn write_all(room: &Path) -> io::Result<()> {
    for (path, format, width, height) in GOOD {
        write(room, path, &picture(format, width, height).map_err(io::Error::other)?)?;
    }
    for (path, format) in [
        ("broken/cut.png", SourceFormat::Png),
        ("broken/cut.jpg", SourceFormat::Jpeg),
        ("broken/cut.webp", SourceFormat::Webp),
    ] {
        let whole = picture(format, 400, 300).map_err(io::Error::other)?;
        write(room, path, &whole[..whole.len() / 2])?;
    }
    write(room, "broken/empty.jpg", b"")?;
    write(room, "broken/text.png", b"This is a text, whatever its name says.\n")?;
    write(room, "hostile/bomb.png", &bomb(BOMB_SIDE).map_err(io::Error::other)?)?;
    let dot = picture(SourceFormat::Png, 1, 1).map_err(io::Error::other)?;
    write(room, &format!("hostile/loop.{}", hostile::ENDLESS), &dot)?;
    write(room, &format!("hostile/wild.{}", hostile::SEGFAULT), &dot)
}

fn write(room: &Path, path: &str, bytes: &[u8]) -> io::Result<()> {
    let path = room.join(path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, bytes)
}

/// A good picture: red grows from left to right, green from top to bottom.
///
/// # Errors
///
/// What the encoder says, such as about a side of zero.
pub fn picture(format: SourceFormat, width: u32, height: u32) -> Result<Vec<u8>, ImageError> {
    let shade =
        |at: u32, of: u32| u8::try_from(u64::from(at) * 255 / u64::from(of.max(1))).unwrap_or(u8::MAX);
    let pixels =
        RgbImage::from_fn(width, height, |x, y| image::Rgb([shade(x, width), shade(y, height), 128]));
    let format = match format {
        SourceFormat::Png => ImageFormat::Png,
        SourceFormat::Jpeg => ImageFormat::Jpeg,
        SourceFormat::Webp => ImageFormat::WebP,
    };
    let mut bytes = Vec::new();
    DynamicImage::from(pixels).write_to(&mut io::Cursor::new(&mut bytes), format)?;
    Ok(bytes)
}

/// A decompression bomb: a valid PNG with one bit a pixel, all of the same colour, that becomes three bytes a pixel.
/// Written row by row, so that making it takes no memory.
///
/// # Errors
///
/// What the encoder says, such as about a side of zero.
pub fn bomb(side: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_palette(vec![200, 30, 30, 30, 30, 200]);
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer()?;
    let row = vec![0_u8; usize::try_from(side.div_ceil(8)).unwrap_or(usize::MAX)];
    for _ in 0..side {
        stream.write_all(&row)?;
    }
    stream.finish()?;
    writer.finish()?;
    Ok(bytes)
}

/// The checksum of a PNG's chunk, over its type and data.
#[cfg(test)]
pub(crate) fn png_checksum(chunk: &[u8]) -> u32 {
    !chunk.iter().fold(u32::MAX, |mut sum, byte| {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
        sum
    })
}
