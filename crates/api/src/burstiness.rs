//! Burstiness: how much more than by chance bad requests come together.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `Auto`, or a number from 1 on with up to two decimals: `2`, `"2.5"`.
const PATTERN: &str = r"^(Auto|[1-9][0-9]?(\.[0-9]{1,2})?|100)$";

/// Maximum length of a text that matches [`PATTERN`].
const MAX_LENGTH: usize = 5;

/// Greatest number.
const MAX: f64 = 100.0;

/// Factor by which bad requests vary more than independent ones.
///
/// Written as `Auto`, as an integer (`2`), or as a text (`"2.5"`): Kubernetes has no type for a number or a
/// text that may have decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Burstiness {
    /// Measured on stable before each attempt.
    #[default]
    Auto,
    /// This factor, at least 1.
    Factor(f64),
}

/// Text or number that is not a burstiness.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InvalidBurstiness(String);

struct BurstinessVisitor;

// === impl Burstiness ===

impl fmt::Display for Burstiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("Auto"),
            Self::Factor(factor) => write!(f, "{factor}"),
        }
    }
}

impl Serialize for Burstiness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Burstiness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BurstinessVisitor)
    }
}

impl JsonSchema for Burstiness {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Burstiness".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The limits bind integers, the pattern and the length bind texts. Left blank it is the default, and not null.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "nullable": false,
            "minimum": 1,
            "maximum": 100,
            "pattern": PATTERN,
            "maxLength": MAX_LENGTH,
        })
    }
}

// === impl BurstinessVisitor ===

impl de::Visitor<'_> for BurstinessVisitor {
    type Value = Burstiness;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a burstiness: Auto, or a number from 1 to 100")
    }

    fn visit_u64<E: de::Error>(self, factor: u64) -> Result<Burstiness, E> {
        match u32::try_from(factor) {
            Ok(factor) => self.visit_f64(f64::from(factor)),
            Err(_) => Err(E::custom(InvalidBurstiness(factor.to_string()))),
        }
    }

    fn visit_i64<E: de::Error>(self, factor: i64) -> Result<Burstiness, E> {
        match u64::try_from(factor) {
            Ok(factor) => self.visit_u64(factor),
            Err(_) => Err(E::custom(InvalidBurstiness(factor.to_string()))),
        }
    }

    fn visit_f64<E: de::Error>(self, factor: f64) -> Result<Burstiness, E> {
        if (1.0..=MAX).contains(&factor) {
            Ok(Burstiness::Factor(factor))
        } else {
            Err(E::custom(InvalidBurstiness(factor.to_string())))
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Burstiness, E> {
        if text == "Auto" {
            return Ok(Burstiness::Auto);
        }
        let is_plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
        match text.parse() {
            Ok(factor) if is_plain => self.visit_f64(factor),
            Ok(_) | Err(_) => Err(E::custom(InvalidBurstiness(format!("{text:?}")))),
        }
    }
}

// === impl InvalidBurstiness ===

impl fmt::Display for InvalidBurstiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not a burstiness: write Auto, or a number from 1 to 100 like 2 or \"2.5\"",
            self.0
        )
    }
}

impl std::error::Error for InvalidBurstiness {}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Burstiness, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn it_is_auto_or_a_number_from_1_on() {
        for (written, burstiness) in [
            (json!("Auto"), Burstiness::Auto),
            (json!(2), Burstiness::Factor(2.0)),
            (json!("2"), Burstiness::Factor(2.0)),
            (json!("2.5"), Burstiness::Factor(2.5)),
            (json!(100), Burstiness::Factor(100.0)),
        ] {
            let parsed = read(written.clone()).expect("a burstiness");
            assert_eq!(parsed, burstiness, "{written}");
            let again = serde_json::to_value(parsed).expect("JSON");
            assert_eq!(read(again).expect("a burstiness"), burstiness);
        }
    }

    #[test]
    fn others_are_refused_with_a_sentence() {
        for written in [
            json!(0),
            json!(-1),
            json!(101),
            json!("auto"),
            json!("0.5"),
            json!("1e1"),
            json!("NaN"),
            json!(""),
        ] {
            let error = read(written.clone()).expect_err("not a burstiness");
            assert!(
                error.to_string().contains("write Auto, or a number"),
                "{written}: {error}"
            );
        }
    }
}
