//! Clock: the only place where the program reads the time.
//!
//! Everything else is given the time, so that tests can give it too.

use jiff::Timestamp;

/// Returns the current time.
#[expect(clippy::disallowed_methods, reason = "everybody else asks here")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns a monotonic time, for durations within this process.
///
/// It is the runtime's, which is the machine's own except in tests, where it can stand still.
pub fn monotonic() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
