//! The opsiq command.
fn main() {}
