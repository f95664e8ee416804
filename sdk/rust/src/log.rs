//! Lines for the operator and the tenant, kept with the invocation: at most 100 lines and 64 KiB, beyond which they
//! are dropped. Never log a parameter that the contract marks as secret or personal.
//!
//! The macros [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and [`error!`](crate::error)
//! format like `println!`.

use crate::bindings::opsiq::plugin::log::Level;
use crate::host;

/// A line of interest while developing.
pub fn debug(message: &str) {
    host::log(Level::Debug, message);
}

/// A line about the ordinary course.
pub fn info(message: &str) {
    host::log(Level::Info, message);
}

/// A line about something odd that did no harm.
pub fn warn(message: &str) {
    host::log(Level::Warn, message);
}

/// A line about a failure.
pub fn error(message: &str) {
    host::log(Level::Error, message);
}

/// Logs a line of interest while developing; formats like `println!`.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)*) => { $crate::log::debug(&::std::format!($($arg)*)) };
}

/// Logs a line about the ordinary course; formats like `println!`.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => { $crate::log::info(&::std::format!($($arg)*)) };
}

/// Logs a line about something odd that did no harm; formats like `println!`.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)*) => { $crate::log::warn(&::std::format!($($arg)*)) };
}

/// Logs a line about a failure; formats like `println!`.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => { $crate::log::error(&::std::format!($($arg)*)) };
}
