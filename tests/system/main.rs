//! Whole-system tests in one binary: they drive the built `opsiq` over real sockets with real plugins.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod rooms;
