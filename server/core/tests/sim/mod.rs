//! The simulator: `history` drives, `setup` draws the settings, `world` is what is outside the core, `shadow` checks
//! the promises, `coverage` proves that the sweep met what it should.

pub(crate) mod coverage;
pub(crate) mod history;
mod process;
mod setup;
mod shadow;
mod world;
