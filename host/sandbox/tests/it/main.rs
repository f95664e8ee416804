//! The sandbox against components that try to get out of it. Each attack has a twin that shows it would work: the same
//! component with the limit raised, or in an engine of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capabilities;
mod ends;
mod guest;
mod host;
mod limits;
mod loading;
mod straight;
