//! Durations in the grammar of the Gateway API (GEP-2257): `90s`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Grammar of GEP-2257: at most four parts of at most five digits each.
///
/// [`Duration::from_str`] accepts more digits, because the sum of four parts may need them when it
/// is written back.
const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Maximum number of parts, as in [`PATTERN`].
const MAX_PARTS: usize = 4;

/// Maximum length of a text that matches [`PATTERN`].
const MAX_LENGTH: usize = 28;

/// Length of time, written like `500ms`, `90s` or `1h30m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// Text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDuration(String);

// === impl Duration ===

impl Duration {
    /// Returns a duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// Returns a duration of whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    /// Returns the duration as the standard library has it.
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// Returns the duration as a signed one, for arithmetic with timestamps.
    pub fn as_signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX)
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| InvalidDuration(text.to_owned()))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if left >= size {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": MAX_LENGTH })
    }
}

/// Sums the parts of `text`; `None` where it is not made of one to four of them.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = std::time::Duration::ZERO;
    for _ in 0..MAX_PARTS {
        let (part, after) = parse_part(rest)?;
        total = total.checked_add(part)?;
        rest = after;
        if rest.is_empty() {
            return Some(Duration(total));
        }
    }
    None
}

/// Splits the first part, like `90s`, off `text`.
fn parse_part(text: &str) -> Option<(std::time::Duration, &str)> {
    let (count, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let count: u64 = count.parse().ok()?;
    let end = rest
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let milliseconds = match unit {
        "ms" => Some(count),
        "s" => count.checked_mul(1_000),
        "m" => count.checked_mul(60_000),
        "h" => count.checked_mul(3_600_000),
        _ => None,
    };
    Some((std::time::Duration::from_millis(milliseconds?), rest))
}

// === impl InvalidDuration ===

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a duration: write it like 500ms, 90s or 1h30m",
            self.0
        )
    }
}

impl std::error::Error for InvalidDuration {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("500ms", 500),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("48h", 172_800_000),
        ] {
            assert_eq!(text.parse(), Ok(Duration::from_millis(milliseconds)));
            assert_eq!(Duration::from_millis(milliseconds).to_string(), text);
        }
    }

    #[test]
    fn what_the_schema_accepts_can_be_read() {
        assert!(
            PATTERN.contains("{1,5}"),
            "the numbers below are the longest"
        );
        for unit in ["ms", "s", "m", "h"] {
            for number in ["0", "7", "00000", "99999"] {
                for count in 1..=MAX_PARTS {
                    let text = format!("{number}{unit}").repeat(count);
                    assert!(text.len() <= MAX_LENGTH, "{text}");
                    let duration: Duration = text.parse().expect("a duration");
                    // The canonical text is read as the same again.
                    assert_eq!(duration.to_string().parse(), Ok(duration), "{text}");
                }
            }
        }
    }

    #[test]
    fn other_texts_are_refused_with_a_sentence() {
        for text in [
            "",
            "5",
            "m",
            "1.5h",
            "-1s",
            "1w",
            "2d",
            "1h1m1s1ms1ms",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            let error = text.parse::<Duration>().expect_err("not a duration");
            assert!(error.to_string().contains("write it like"), "{error}");
        }
    }
}
