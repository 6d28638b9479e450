//! Durations as people write them.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the schema asks of a duration. [`Duration::from_str`] accepts all of this, for no sum of such
/// parts is too large; what it accepts beyond this are longer numbers.
const PATTERN: &str = "^([0-9]{1,9}(ms|s|m|h|d))+$";

/// The most characters that the schema lets a duration have.
const MAX_LENGTH: usize = 32;

/// A length of time, written like `500ms`, `90s`, `1h30m` or `2d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDuration(String);

// === impl Duration ===

impl Duration {
    /// A duration of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// A duration of whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    /// The same length as the standard library has it.
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// The same length as a signed duration, for arithmetic with timestamps.
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
        let invalid = || InvalidDuration(text.to_owned());
        let mut rest = text;
        let mut total = std::time::Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(invalid)?;
            let count: u64 = rest[..digits].parse().map_err(|_| invalid())?;
            rest = &rest[digits..];
            let letters = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let milliseconds = match &rest[..letters] {
                "ms" => Some(count),
                "s" => count.checked_mul(1_000),
                "m" => count.checked_mul(60_000),
                "h" => count.checked_mul(3_600_000),
                "d" => count.checked_mul(86_400_000),
                _ => None,
            };
            let part = std::time::Duration::from_millis(milliseconds.ok_or_else(invalid)?);
            total = total.checked_add(part).ok_or_else(invalid)?;
            rest = &rest[letters..];
        }
        if text.is_empty() {
            Err(invalid())
        } else {
            Ok(Self(total))
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
            ("ms", 1),
        ] {
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

// === impl InvalidDuration ===

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a duration: write it like 500ms, 90s, 1h30m or 2d",
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
            ("2d", 172_800_000),
        ] {
            assert_eq!(text.parse(), Ok(Duration::from_millis(milliseconds)));
            assert_eq!(Duration::from_millis(milliseconds).to_string(), text);
        }
    }

    #[test]
    fn what_the_schema_accepts_can_be_read() {
        assert!(
            PATTERN.contains("{1,9}"),
            "the numbers below are the longest"
        );
        for unit in ["ms", "s", "m", "h", "d"] {
            for number in ["0", "7", "000000000", "999999999"] {
                let part = format!("{number}{unit}");
                for count in 1..=MAX_LENGTH / part.len() {
                    let text = part.repeat(count);
                    assert!(text.parse::<Duration>().is_ok(), "{text}");
                }
            }
        }
        let mixed = "999999999d999999999h999999999m1s";
        assert_eq!(mixed.len(), MAX_LENGTH);
        let duration: Duration = mixed.parse().expect("a duration");
        // The canonical text is read as the same again.
        assert_eq!(duration.to_string().parse(), Ok(duration));
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
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            let error = text.parse::<Duration>().expect_err("not a duration");
            assert!(error.to_string().contains("write it like"), "{error}");
        }
    }
}
