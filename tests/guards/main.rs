//! Guards: rules of the repository that no compiler checks, each with the text that tells how to keep it.

mod documents;
mod manifests;
mod rooms;
mod source;
mod stories;
mod style;
