//! Panics where nothing can catch it.

use crate::act::{PANIC, Uncaught};

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{PANIC}");
    }
}

extern "C" fn across() {
    panic!("{PANIC}");
}

pub(super) fn commit(how: Uncaught) -> ! {
    match how {
        Uncaught::InDrop => {
            let _bomb = Bomb;
            panic!("the first of two");
        }
        Uncaught::AcrossC => across(),
        Uncaught::InHook => {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                before(info);
                std::process::abort();
            }));
            panic!("{PANIC}");
        }
    }
    std::process::abort();
}
