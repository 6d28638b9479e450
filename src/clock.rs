//! Clock: the only place where the program reads the time.
//!
//! Everything else is given the time, so that tests can give it too.

use jiff::{SignedDuration, Timestamp};

/// Returns the current time.
#[expect(clippy::disallowed_methods, reason = "everybody else asks here")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns the time that was so long ago.
pub fn before(time: SignedDuration) -> Timestamp {
    now().saturating_sub(time).unwrap_or(Timestamp::MIN)
}

/// Returns a monotonic time, for durations within this process.
///
/// It is the runtime's, which is the machine's own except in tests, where it can stand still.
pub fn monotonic() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
