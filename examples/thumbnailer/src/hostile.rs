//! Decoders that hang or crash, played on demand: what a bug in a native library does to its process.
//!
//! Owns the two misdeeds and which files provoke them. Must never do either unless the worker was started with the
//! flag that allows it.
#![expect(unsafe_code, reason = "a segmentation fault needs an access that Rust does not allow")]

use std::hint;
use std::path::Path;

/// The suffix of files on which `--endless` loops for ever.
pub const ENDLESS: &str = "endless";

/// The suffix of files on which `--segfault` crashes.
pub const SEGFAULT: &str = "segv";

/// Which misdeeds are allowed; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hostility {
    /// Files named `*.endless` are decoded for ever.
    pub endless: bool,
    /// Files named `*.segv` crash the decoder.
    pub segfault: bool,
}

impl Hostility {
    /// Does what the file's name provokes. Returns only for other files, and where it is not allowed.
    pub fn meet(self, name: &str) {
        let suffix = Path::new(name).extension().and_then(|suffix| suffix.to_str());
        if self.endless && suffix == Some(ENDLESS) {
            decode_for_ever();
        }
        if self.segfault && suffix == Some(SEGFAULT) {
            crash();
        }
    }
}

/// A decoder that makes no progress and looks at nothing: no cancel, no signal flag.
fn decode_for_ever() -> ! {
    let mut state = 1_u64;
    loop {
        state = hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// A decoder that follows a wild pointer.
fn crash() {
    /// In the first page, which Linux maps for nobody (`vm.mmap_min_addr`).
    const WILD: usize = 8;
    let wild = std::ptr::without_provenance_mut::<u8>(hint::black_box(WILD));
    // SAFETY: no Rust object is at this address, so none can be changed: the page is not mapped, and the processor
    // refuses the access. The kernel ends the process with SIGSEGV before the next instruction, so that nothing is
    // ever computed from it. Volatile, so that the access is made, exactly once and as it is written.
    unsafe { wild.write_volatile(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_unless_it_is_allowed() {
        Hostility::default().meet("a.endless");
        Hostility::default().meet("b.segv");
        Hostility { endless: true, segfault: true }.meet("endless.png");
    }
}
