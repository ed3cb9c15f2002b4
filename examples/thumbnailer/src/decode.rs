//! One thumbnail: bytes in, a thumbnail or a typed refusal out.
//!
//! Owns the decoding and what each of its errors means to the caller. Must never read a file, and **must never limit the
//! memory of the decoder**: the `image` crate's own limits are switched off on purpose. An image that expands to
//! gigabytes runs into the pool's `limits.memory`, its process is ended, and the caller is told `memory_limit`, or `oom`
//! where the kernel keeps the limit. A limit inside the decoder covers what its authors thought of; the process's covers
//! the rest too.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader};
use thiserror::Error;

use crate::{SourceFormat, Thumb, ThumbFormat, Thumbnail, jpeg};

/// JPEG quality of thumbnails, from 1 to 100: where small pictures stop to look better.
const JPEG_QUALITY: u8 = 85;

/// Why there is no thumbnail though the process is healthy. The code for programs is in code font; none is worth
/// another attempt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// `unsupported`: not an image, or of a kind that this program does not read.
    #[error("not a PNG, JPEG or WebP image{}", detail(.0))]
    Unsupported(String),
    /// `broken`: an image that is truncated or corrupt, with the decoder's own words.
    #[error("{0}")]
    Broken(String),
    /// `too_large`: the header promises more bytes than a pointer can count. What merely does not fit into memory is
    /// not refused here, see the module.
    #[error("the image claims to be larger than any memory: {0}")]
    TooLarge(String),
    /// `bad_size`: a thumbnail without pixels was asked for.
    #[error("the thumbnail's longest side must have at least 1 pixel")]
    BadSize,
    /// `not_encoded`: the thumbnail could not be written, with the encoder's own words.
    #[error("the thumbnail cannot be encoded: {0}")]
    NotEncoded(String),
}

fn detail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

impl Refusal {
    /// The code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "unsupported",
            Self::Broken(_) => "broken",
            Self::TooLarge(_) => "too_large",
            Self::BadSize => "bad_size",
            Self::NotEncoded(_) => "not_encoded",
        }
    }

    /// What a decoder's error means. The bytes were recognised as `format` before.
    fn from_decoder(error: &ImageError, format: SourceFormat) -> Self {
        match error {
            ImageError::Unsupported(_) => Self::Unsupported(format!("{format}: {error}")),
            ImageError::Limits(_) => Self::TooLarge(error.to_string()),
            ImageError::Decoding(_)
            | ImageError::Encoding(_)
            | ImageError::Parameter(_)
            | ImageError::IoError(_) => Self::Broken(format!("{format}: {error}")),
        }
    }
}

/// Makes a thumbnail. Blocks, and does not look at cancels: decoders never do.
///
/// # Errors
///
/// Each [`Refusal`].
pub fn thumbnail(request: &Thumbnail) -> Result<Thumb, Refusal> {
    if request.max_side == 0 {
        return Err(Refusal::BadSize);
    }
    let (image, source) = decode(&request.bytes, request.max_side)?;
    let format = match source {
        SourceFormat::Jpeg => ThumbFormat::Jpeg,
        SourceFormat::Png | SourceFormat::Webp => ThumbFormat::Png,
    };
    let (width, height) = (image.width(), image.height());
    let bytes = encode(image, format).map_err(|error| Refusal::NotEncoded(error.to_string()))?;
    Ok(Thumb { bytes, format, width, height, source })
}

/// Decodes, scales down and turns the image as its camera was held.
fn decode(bytes: &[u8], max_side: u32) -> Result<(DynamicImage, SourceFormat), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Broken("the file is empty".to_owned()));
    }
    let (format, source) = recognise(bytes)?;
    if source == SourceFormat::Jpeg && !jpeg::reaches_its_end(bytes) {
        return Err(Refusal::Broken(format!("{source}: it ends before its picture does")));
    }
    let broken = |error| Refusal::from_decoder(&error, source);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(broken)?;
    // A picture that says nonsense about its orientation is still a picture.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    let mut image = if image.width().max(image.height()) > max_side {
        image.thumbnail(max_side, max_side)
    } else {
        image
    };
    // Turned when it is small: the full image would be copied.
    image.apply_orientation(orientation);
    Ok((image, source))
}

/// By the first bytes alone: names lie.
fn recognise(bytes: &[u8]) -> Result<(ImageFormat, SourceFormat), Refusal> {
    const READ: [(ImageFormat, SourceFormat); 3] = [
        (ImageFormat::Png, SourceFormat::Png),
        (ImageFormat::Jpeg, SourceFormat::Jpeg),
        (ImageFormat::WebP, SourceFormat::Webp),
    ];
    let guessed = image::guess_format(bytes).map_err(|_| Refusal::Unsupported(String::new()))?;
    READ.into_iter()
        .find(|(format, _)| *format == guessed)
        .ok_or_else(|| Refusal::Unsupported(format!("it looks like {}", guessed.to_mime_type())))
}

/// Eight bits a channel, with transparency only where the format has it.
fn encode(image: DynamicImage, format: ThumbFormat) -> Result<Vec<u8>, ImageError> {
    let color = image.color();
    let mut bytes = Vec::new();
    match format {
        ThumbFormat::Jpeg => {
            let image = if color.has_color() {
                DynamicImage::from(image.into_rgb8())
            } else {
                DynamicImage::from(image.into_luma8())
            };
            image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))?;
        }
        ThumbFormat::Png => {
            let image = match (color.has_color(), color.has_alpha()) {
                (true, true) => DynamicImage::from(image.into_rgba8()),
                (true, false) => DynamicImage::from(image.into_rgb8()),
                (false, true) => DynamicImage::from(image.into_luma_alpha8()),
                (false, false) => DynamicImage::from(image.into_luma8()),
            };
            image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn make(bytes: Vec<u8>, max_side: u32) -> Result<Thumb, Refusal> {
        thumbnail(&Thumbnail { name: "test".to_owned(), bytes, max_side })
    }

    #[test]
    fn each_format_is_scaled_and_keeps_its_proportions() {
        for format in [SourceFormat::Png, SourceFormat::Jpeg, SourceFormat::Webp] {
            let thumb = make(samples::picture(format, 200, 50).expect("can be encoded"), 64).expect("good");
            assert_eq!((thumb.source, thumb.width, thumb.height), (format, 64, 16));
            let seen = image::load_from_memory(&thumb.bytes).expect("a thumbnail is an image");
            assert_eq!((seen.width(), seen.height()), (64, 16));
        }
    }

    #[test]
    fn small_images_are_not_enlarged() {
        let thumb =
            make(samples::picture(SourceFormat::Png, 1, 1).expect("can be encoded"), 64).expect("good");
        assert_eq!((thumb.width, thumb.height), (1, 1));
    }

    #[test]
    fn what_is_no_image_is_unsupported() {
        let plain = make(b"just a text".to_vec(), 64).expect_err("no image");
        assert_eq!(plain.to_string(), "not a PNG, JPEG or WebP image");
        let gif = make(b"GIF89a......".to_vec(), 64).expect_err("no format of ours");
        assert_eq!(gif.to_string(), "not a PNG, JPEG or WebP image (it looks like image/gif)");
        assert_eq!((plain.code(), gif.code()), ("unsupported", "unsupported"));
    }

    #[test]
    fn half_an_image_is_broken() {
        for format in [SourceFormat::Png, SourceFormat::Jpeg, SourceFormat::Webp] {
            let mut bytes = samples::picture(format, 200, 150).expect("can be encoded");
            bytes.truncate(bytes.len() / 2);
            let refusal = make(bytes, 64).expect_err("half of it is missing");
            assert_eq!(refusal.code(), "broken", "{format}: {refusal}");
        }
        assert_eq!(make(Vec::new(), 64), Err(Refusal::Broken("the file is empty".to_owned())));
    }

    #[test]
    fn more_than_an_address_space_is_too_large() {
        let mut bytes = samples::bomb(8).expect("can be encoded");
        // Width and height in the header, of which the checksum must know.
        bytes[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let checksum = samples::png_checksum(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let refusal = make(bytes, 64).expect_err("nobody has as much memory");
        assert_eq!(refusal.code(), "too_large", "{refusal}");
    }

    #[test]
    fn no_side_is_a_bad_size() {
        assert_eq!(make(Vec::new(), 0), Err(Refusal::BadSize));
    }
}
