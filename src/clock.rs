//! The clock: the only place where the program asks what time it is.
//!
//! Everything else is given the time, so that tests can give it too.

use jiff::Timestamp;

/// What time it is.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A time that only ever goes on, for lengths within this process.
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}
