//! A snapshot in a few words.

use std::fmt::Write as _;

use lifeboat_core::evidence::{ProcessSnapshot, ThreadState};

use crate::observe::describe::printable;

/// What a process was doing: `main thread sleeping in futex_do_wait, 1 of 4 threads running, 99 % CPU`. Empty where nothing
/// was seen.
pub(in crate::observe) fn doing(snapshot: &ProcessSnapshot) -> String {
    let Some(main) = snapshot.threads.first() else { return String::new() };
    let mut text = format!("main thread {}", main.state.label());
    // Writing to a text cannot fail.
    if let Some(function) = &main.function {
        let _ = write!(text, " in {}", printable(function));
    }
    let seen = snapshot.threads.len();
    if seen > 1 {
        let running = snapshot.threads.iter().filter(|thread| thread.state == ThreadState::Running).count();
        let _ = write!(text, ", {running} of {seen} threads running");
    }
    if let Some(lately) = snapshot.cpu_lately.filter(|lately| !lately.within.is_zero()) {
        let percent = 100.0 * lately.used.as_secs_f64() / lately.within.as_secs_f64();
        let _ = write!(text, ", {percent:.0} % CPU");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lifeboat_core::evidence::{CpuLately, ThreadSnapshot};

    use super::*;

    #[test]
    fn says_what_the_main_thread_does_and_how_busy_the_others_are() {
        let thread = |state, function: Option<&str>| ThreadSnapshot {
            id: 1,
            name: String::new(),
            state,
            cpu: Duration::ZERO,
            switches: None,
            function: function.map(str::to_owned),
            system_call: None,
        };
        let mut snapshot = ProcessSnapshot::default();
        assert_eq!(doing(&snapshot), "");
        snapshot.threads.push(thread(ThreadState::Sleeping, Some("futex_do_wait")));
        assert_eq!(doing(&snapshot), "main thread sleeping in futex_do_wait");
        snapshot.threads.push(thread(ThreadState::Running, None));
        let (used, within) = (Duration::from_millis(995), Duration::from_secs(1));
        snapshot.cpu_lately = Some(CpuLately { used, within });
        let text = "main thread sleeping in futex_do_wait, 1 of 2 threads running, 100 % CPU";
        assert_eq!(doing(&snapshot), text);
    }
}
