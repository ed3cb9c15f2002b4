//! Exits in the middle of a request.

pub(super) fn commit(code: i32) -> ! {
    super::complain(&format!("exiting with {code}"));
    std::process::exit(code)
}
