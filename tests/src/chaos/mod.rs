//! What the chaos is made of, shared by its client processes, its workers and the test that takes the account.
//!
//! Owns the methods' names, what a client may ask for, which crash reasons that may truthfully lead to, and the journal
//! in which a client process says what it sent and what came of it.

mod journal;
mod mischief;

pub use journal::{Ended, Entry, Journal, Sent, Tried, read_journal};
pub use mischief::{Plan, is_answered, reasons};

/// The pools: workers on the SDK one request at a time, the same with several slots and retries, and raw ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pool {
    /// `plain`.
    Plain,
    /// `wide`.
    Wide,
    /// `raw`.
    Raw,
}

/// What becomes of a call at its client's end. Each has methods of its own, so that the broker's counters can be compared
/// with what the clients counted: exactly for the first, within bounds for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Its client waits for its end.
    Kept,
    /// Its client drops it half way.
    Dropped,
    /// Its client may be killed.
    Mortal,
}

/// A method that no pool names.
pub const NOBODYS: &str = "nobodys";

/// The methods of all pools and classes.
pub const METHODS: [(&str, Pool, Class); 9] = [
    ("plain-kept", Pool::Plain, Class::Kept),
    ("plain-dropped", Pool::Plain, Class::Dropped),
    ("plain-mortal", Pool::Plain, Class::Mortal),
    ("wide-kept", Pool::Wide, Class::Kept),
    ("wide-dropped", Pool::Wide, Class::Dropped),
    ("wide-mortal", Pool::Wide, Class::Mortal),
    ("raw-kept", Pool::Raw, Class::Kept),
    ("raw-dropped", Pool::Raw, Class::Dropped),
    ("raw-mortal", Pool::Raw, Class::Mortal),
];

impl Pool {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Wide, Self::Raw];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Wide => "wide",
            Self::Raw => "raw",
        }
    }

    /// Its method for calls of a class.
    ///
    /// # Panics
    ///
    /// Never: [`METHODS`] is complete.
    #[must_use]
    pub fn method(self, class: Class) -> &'static str {
        let found = METHODS.iter().find(|(_, pool, of)| *pool == self && *of == class);
        found.expect("every pool has a method of every class").0
    }
}

/// The pool and the class of a method.
#[must_use]
pub fn place_of(method: &str) -> Option<(Pool, Class)> {
    METHODS.iter().find(|(name, ..)| *name == method).map(|(_, pool, class)| (*pool, *class))
}
