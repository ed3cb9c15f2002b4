//! Every order of the signs of one death, at every step of a request's life and of its replacement's start.
//!
//! Nobody chooses what is worth trying: every permutation of every set of signs that contains the death itself is
//! played, and whatever comes after the evidence is news of the dead that meets the replacement somewhere in its start.

mod check;
mod play;
mod steps;

use play::{History, Stage};
use steps::Step;

/// What can be seen of a death, in any order. The evidence comes after the exit, and there is nothing else to hold to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Exit,
    Evidence,
    EndOfFile,
    ReadError,
    WriteError,
    ProtocolError,
    Limit,
}

const MAY_BE_SEEN: [Sign; 5] =
    [Sign::EndOfFile, Sign::ReadError, Sign::WriteError, Sign::ProtocolError, Sign::Limit];

/// What the kernel says of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It crashed by itself, whatever the broker did.
    OwnCrash,
    /// It exited by itself.
    OwnExit,
    /// A SIGKILL: the broker's if it had sent one, else somebody's.
    Killed,
}

/// Which limit the sign [`Sign::Limit`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitKind {
    Attempt,
    Progress,
    Output,
    Deadline,
}

/// Everything that makes one history.
#[derive(Clone, Copy, Debug)]
struct Case<'a> {
    step: Step,
    slots: u16,
    signs: &'a [Sign],
    stage: Stage,
    end: End,
    limit: LimitKind,
    /// The process never read the last that was written to it.
    unread: bool,
    /// The request may be tried again.
    retried: bool,
    /// The process had answered before, and is replaced at once.
    productive: bool,
    /// Time passes from sign to sign, so that graces end.
    slow: bool,
}

/// Every order of every set of signs that contains the exit and, after it, the evidence.
fn every_order() -> Vec<Vec<Sign>> {
    let mut orders = Vec::new();
    for set in 0..1_usize << MAY_BE_SEEN.len() {
        let others = MAY_BE_SEEN.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
        let mut signs: Vec<Sign> = others.map(|(_, sign)| *sign).collect();
        signs.extend([Sign::Exit, Sign::Evidence]);
        permute(&mut signs, 0, &mut orders);
    }
    orders
}

fn permute(signs: &mut Vec<Sign>, from: usize, into: &mut Vec<Vec<Sign>>) {
    if from == signs.len() {
        let place = |sign| signs.iter().position(|other| *other == sign);
        if place(Sign::Exit) < place(Sign::Evidence) {
            into.push(signs.clone());
        }
        return;
    }
    for other in from..signs.len() {
        signs.swap(from, other);
        permute(signs, from + 1, into);
        signs.swap(from, other);
    }
}

/// Plays every order at a step, with every stage of the replacement and one and two slots. What else there is to vary
/// goes round, so that every order meets every end, limit and policy.
fn play_all(step: Step) -> usize {
    let orders = every_order();
    assert_eq!(orders.len(), 5056, "all permutations of all sets, the evidence after the exit");
    let mut histories = 0;
    for (number, signs) in orders.iter().enumerate() {
        for (turn, (stage, slots)) in
            Stage::ALL.into_iter().flat_map(|stage| [(stage, 1), (stage, 2)]).enumerate()
        {
            let round = number + turn;
            let case = Case {
                step,
                slots,
                signs,
                stage,
                end: [End::OwnCrash, End::OwnExit, End::Killed][round % 3],
                limit: [LimitKind::Attempt, LimitKind::Progress, LimitKind::Output, LimitKind::Deadline]
                    [round / 3 % 4],
                unread: round / 2 % 2 == 1,
                retried: round / 4 % 2 == 1,
                productive: round / 8 % 2 == 1,
                slow: round / 16 % 2 == 1 && !signs.contains(&Sign::Limit),
            };
            History::new(case).play();
            histories += 1;
        }
    }
    histories
}

macro_rules! every_order_at {
    ($($name:ident: $step:expr,)*) => {$(
        #[test]
        fn $name() {
            println!("{} histories of a death with a request that is {:?}", play_all($step), $step);
        }
    )*};
}

every_order_at! {
    with_a_request_that_waits: Step::Queued,
    with_a_request_that_was_just_dispatched: Step::Dispatched,
    with_a_request_that_executes: Step::Executing,
    with_a_request_that_its_client_gave_up: Step::GivenUp,
    with_a_request_that_was_told_to_stop: Step::ToldToStop,
    with_a_request_whose_process_was_terminated: Step::Terminated,
    with_a_request_that_was_answered_just_before: Step::Answered,
    with_a_request_that_waits_for_its_next_attempt: Step::BackingOff,
    with_a_request_that_is_held_behind: Step::HeldBehind,
}
