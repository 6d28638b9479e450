//! The clock: the only place where the program asks what time it is.
//!
//! Everything else is given the time, so that tests can give it too.

use jiff::Timestamp;

/// What time it is.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A time that only ever goes on, for lengths within this process.
///
/// The runtime's, which is the machine's own except in tests, where it can stand still.
pub fn monotonic() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
