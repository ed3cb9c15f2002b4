//! What the failure stories (`docs/stories.md`) say of several topics at once, or of a combination.

mod deaths;
mod places;
mod policies;
mod tasks;
mod truth;
mod waits;
