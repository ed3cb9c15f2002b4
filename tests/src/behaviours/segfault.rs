//! Writes to memory that is not there.
#![expect(unsafe_code, reason = "a real segmentation fault is what the broker must survive")]

pub(super) fn commit() -> ! {
    let nowhere = std::hint::black_box(8 as *mut u8);
    // SAFETY: the kernel maps nothing below mmap_min_addr (64 KiB), so this write never reaches memory: the process is
    // ended by SIGSEGV at this instruction, as intended.
    unsafe { nowhere.write_volatile(1) };
    super::hang::commit()
}
