//! Whether a JPEG is all there: decoders fill what is missing with grey and say nothing.
//!
//! Owns the walk along its markers. Must never judge what is between them: that is the decoder's.

/// Start of scan: compressed data follow its header.
const SOS: u8 = 0xda;
/// End of image.
const EOI: u8 = 0xd9;

/// Whether the end marker is reached. What follows it (cameras append things) does not matter, nor do end markers of
/// previews, which lie within other segments.
pub(crate) fn reaches_its_end(bytes: &[u8]) -> bool {
    // After the start marker, which is how it was recognised.
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let Some((marker, after)) = next_marker(rest) else { return false };
        rest = match marker {
            EOI => return true,
            // Restart markers, and the one without meaning, have no length.
            0x01 | 0xd0..=0xd8 => after,
            _ => {
                let Some(length) = after.first_chunk().map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
                else {
                    return false;
                };
                // A length counts itself. One that does not is the decoder's to complain about.
                let Some(after) = after.get(length.max(2)..) else { return false };
                if marker == SOS { skip_data(after) } else { after }
            }
        };
    }
}

/// The next marker and what follows it. Between segments there may be fill bytes.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let at = bytes.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
    Some((bytes[at + 1], &bytes[at + 2..]))
}

/// Compressed data up to the next marker: in them 0xff stands before 0 or in restart markers only.
fn skip_data(bytes: &[u8]) -> &[u8] {
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
    let end = bytes.windows(2).position(ends);
    end.map_or(&[], |end| &bytes[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceFormat, samples};

    #[test]
    fn every_cut_is_noticed() {
        let whole = samples::picture(SourceFormat::Jpeg, 40, 30).expect("can be encoded");
        assert!(reaches_its_end(&whole));
        for length in 0..whole.len() {
            assert!(!reaches_its_end(&whole[..length]), "cut at {length} of {}", whole.len());
        }
        let followed = [&whole[..], b"\xff\xd8 and more"].concat();
        assert!(reaches_its_end(&followed));
    }

    #[test]
    fn a_preview_does_not_count() {
        let whole = samples::picture(SourceFormat::Jpeg, 8, 8).expect("can be encoded");
        let length = u16::try_from(whole.len() + 2).expect("a tiny picture").to_be_bytes();
        let preview = [&[0xff, 0xe1], &length[..], &whole].concat();
        let with_preview = [&whole[..2], &preview, &whole[2..]].concat();
        assert!(reaches_its_end(&with_preview));
        assert!(!reaches_its_end(&with_preview[..with_preview.len() - 1]));
    }
}
