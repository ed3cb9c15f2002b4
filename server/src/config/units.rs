//! Durations and sizes in human form, read strictly and written so that they read back as the same value.
//!
//! Owns the two formats. Must never accept a number without a unit: whoever wrote it knew the unit, we do not.

use std::time::Duration;

use bytesize::{ByteSize, GIB, KIB, MIB, TIB};

/// Reads `"1m 30s"`. `None` when it is no duration.
pub(super) fn duration(text: &str) -> Option<Duration> {
    // "0" without a unit is accepted by the parser; we ask for "0s" as everywhere else.
    if text.trim() == "0" { None } else { humantime::parse_duration(text.trim()).ok() }
}

/// Writes a duration so that [`duration`] reads the same value.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Reads `"16MiB"` or `"1.5GB"`: a number, then `B`, `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB` or `TiB`. `None` when it
/// is no size. `Mb` and `M` are refused: they could be bits, or powers of either base.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    let known = ["B", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"].contains(&unit);
    if known { text.parse().ok().map(|ByteSize(bytes)| bytes) } else { None }
}

/// Writes a size so that [`size`] reads the same value: in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    const MEGA: u64 = 1_000_000;
    for (unit, name) in
        [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (1000 * MEGA, "GB"), (MEGA, "MB"), (KIB, "KiB")]
    {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_in_human_form() {
        assert_eq!(duration("10s"), Some(Duration::from_secs(10)));
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration(" 250ms "), Some(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for wrong in ["", "0", "10", "s", "-1s", "ten", "10 parsecs", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sizes_in_human_form() {
        assert_eq!(size("16MiB"), Some(16 << 20));
        assert_eq!(size("1.5 GiB"), Some(3 << 29));
        assert_eq!(size("64kB"), Some(64_000));
        assert_eq!(size("0B"), Some(0));
        assert_eq!(size("512B"), Some(512));
        for wrong in ["", "16", "16M", "16Mb", "16mib", "MiB", "-1MiB", "1e9B", "1.2.3MiB", "16 apples"] {
            assert_eq!(size(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn durations_read_back(millis in 0..=4_000_000_000_u64) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(value)), Some(value));
        }

        #[test]
        fn sizes_read_back(bytes in any::<u64>(), shift in 0..60_u32) {
            let value = bytes >> shift << shift;
            prop_assert_eq!(size(&show_size(value)), Some(value));
        }

        #[test]
        fn any_text_is_read_without_panic(text in any::<String>()) {
            let _ = (duration(&text), size(&text));
        }
    }
}
