//! Ages and lengths of time for people, in one or two units.

use jiff::{SignedDuration, Timestamp};

/// Returns the time since `then`, like `42s`, `3m`, `2h5m` or `4d`; `0s` for a time in the future.
pub fn since(then: Timestamp, now: Timestamp) -> String {
    length(now.duration_since(then))
}

/// A length of time, like `42s`, `3m`, `2h5m` or `4d`; `0s` for a negative one.
pub fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..7_200 => format!("{minutes}m"),
        7_200..36_000 => two(hours, "h", minutes % 60, "m"),
        36_000..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_precisely_as_its_age_makes_sense() {
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (180, "3m"),
            (185, "3m5s"),
            (3_600, "60m"),
            (7_500, "2h5m"),
            (40_000, "11h"),
            (400_000, "4d"),
        ] {
            assert_eq!(length(SignedDuration::from_secs(seconds)), text);
        }
    }
}
