//! Weights: the canary's share of traffic.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Percentages with a sign, down to 0.01 %, without leading zeros: `0.5%`, `10%`, `100%`.
const PATTERN: &str = r"^(([0-9]|[1-9][0-9])(\.[0-9]{1,2})?|100(\.0{1,2})?)%$";

/// Maximum length of a text that matches [`PATTERN`].
const MAX_LENGTH: usize = 7;

/// Share of traffic, in hundredths of a percent: 0 to 10,000.
///
/// Written as an integer in percent (`10`), or as a text with a percent sign (`0.5%`): Kubernetes'
/// API has no floating-point numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

/// Text or number that is not a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidWeight(String);

struct WeightVisitor;

// === impl Weight ===

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);

    /// All traffic.
    pub const FULL: Self = Self(10_000);

    /// Returns a weight in hundredths of a percent, at most [`Self::FULL`].
    pub fn from_hundredths(hundredths: u32) -> Self {
        Self(hundredths.min(Self::FULL.0))
    }

    /// Returns the weight in hundredths of a percent.
    pub fn hundredths(self) -> u32 {
        self.0
    }

    /// Returns true if the weight is a whole number of percent.
    pub fn is_whole(self) -> bool {
        self.0.is_multiple_of(100)
    }

    /// Returns the number of replicas that have this share of `stable` ones, rounded up; at least
    /// one.
    pub fn of_replicas(self, stable: u32) -> u32 {
        (u64::from(stable) * u64::from(self.0))
            .div_ceil(u64::from(Self::FULL.0))
            .try_into()
            .unwrap_or(u32::MAX)
            .max(1)
    }

    /// Returns the number of replicas that make this share beside `stable` others, rounded up; at least one.
    /// All traffic takes as many as stable has.
    pub fn beside_replicas(self, stable: u32) -> u32 {
        if self == Self::FULL {
            return stable.max(1);
        }
        (u64::from(stable) * u64::from(self.0))
            .div_ceil(u64::from(Self::FULL.0 - self.0))
            .try_into()
            .unwrap_or(u32::MAX)
            .max(1)
    }

    /// Returns the share that `canary` pods have among these and `stable` others, rounded down to hundredths of
    /// a percent, so that it takes no more pods; nothing where there are none.
    pub fn of_pods(canary: u32, stable: u32) -> Self {
        let all = u64::from(canary) + u64::from(stable);
        let share = (u64::from(canary) * u64::from(Self::FULL.0))
            .checked_div(all)
            .unwrap_or_default();
        share.try_into().map_or(Self::FULL, Self::from_hundredths)
    }

    /// Returns a weight in whole percent; `None` above 100.
    fn from_percent(percent: u64) -> Option<Self> {
        let percent = u32::try_from(percent).ok()?;
        if percent > 100 {
            None
        } else {
            Some(Self(percent * 100))
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, hundredths) = (self.0 / 100, self.0 % 100);
        match (hundredths / 10, hundredths % 10) {
            (0, 0) => write!(f, "{percent}%"),
            (tenths, 0) => write!(f, "{percent}.{tenths}%"),
            _ => write!(f, "{percent}.{hundredths:02}%"),
        }
    }
}

impl FromStr for Weight {
    type Err = InvalidWeight;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| InvalidWeight(format!("{text:?}")))
    }
}

impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_whole() {
            serializer.serialize_u32(self.0 / 100)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WeightVisitor)
    }
}

impl JsonSchema for Weight {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Weight".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The limits bind integers, the pattern and the length bind texts.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "maximum": 100,
            "pattern": PATTERN,
            "maxLength": MAX_LENGTH,
        })
    }
}

/// Reads what [`PATTERN`] matches.
fn parse(text: &str) -> Option<Weight> {
    let number = text.strip_suffix('%')?;
    let (percent, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let all_digits = percent
        .bytes()
        .chain(decimals.bytes())
        .all(|byte| byte.is_ascii_digit());
    let padded = percent.len() > 1 && percent.starts_with('0');
    if !all_digits || padded || !(1..=2).contains(&decimals.len()) {
        return None;
    }
    let whole = Weight::from_percent(percent.parse().ok()?)?;
    let decimals: u32 = format!("{decimals:0<2}").parse().ok()?;
    let hundredths = whole.0 + decimals;
    if hundredths > Weight::FULL.0 {
        None
    } else {
        Some(Weight(hundredths))
    }
}

// === impl WeightVisitor ===

impl de::Visitor<'_> for WeightVisitor {
    type Value = Weight;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a weight: an integer from 0 to 100, or a text like \"0.5%\"")
    }

    fn visit_u64<E: de::Error>(self, percent: u64) -> Result<Weight, E> {
        Weight::from_percent(percent).ok_or_else(|| E::custom(InvalidWeight(percent.to_string())))
    }

    fn visit_i64<E: de::Error>(self, percent: i64) -> Result<Weight, E> {
        match u64::try_from(percent) {
            Ok(percent) => self.visit_u64(percent),
            Err(_) => Err(E::custom(InvalidWeight(percent.to_string()))),
        }
    }

    fn visit_f64<E: de::Error>(self, percent: f64) -> Result<Weight, E> {
        Err(E::custom(InvalidWeight(percent.to_string())))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Weight, E> {
        text.parse().map_err(E::custom)
    }
}

// === impl InvalidWeight ===

impl fmt::Display for InvalidWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not a weight: write an integer from 0 to 100, or a percentage with at most two \
             decimals like \"0.5%\"",
            self.0
        )
    }
}

impl std::error::Error for InvalidWeight {}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Weight, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn weights_go_down_to_a_hundredth() {
        for (written, hundredths) in [
            (json!(0), 0),
            (json!(10), 1_000),
            (json!(100), 10_000),
            (json!("0%"), 0),
            (json!("0.29%"), 29),
            (json!("0.5%"), 50),
            (json!("0.05%"), 5),
            (json!("10%"), 1_000),
            (json!("33.3%"), 3_330),
            (json!("100.00%"), 10_000),
        ] {
            let weight = read(written.clone()).expect("a weight");
            assert_eq!(weight.hundredths(), hundredths, "{written}");
            let again = serde_json::to_value(weight).expect("JSON");
            assert_eq!(read(again).expect("a weight"), weight);
        }
    }

    #[test]
    fn other_texts_and_numbers_are_refused_with_a_sentence() {
        for written in [
            json!(-1),
            json!(101),
            json!(0.5),
            json!("10"),
            json!("010%"),
            json!("-1%"),
            json!("+1%"),
            json!("0.001%"),
            json!("1.%"),
            json!(".5%"),
            json!("100.01%"),
            json!("%"),
            json!(""),
        ] {
            let error = read(written.clone()).expect_err("not a weight");
            assert!(
                error.to_string().contains("like \"0.5%\""),
                "{written}: {error}"
            );
        }
    }

    #[test]
    fn weights_are_shown_in_percent() {
        for (hundredths, shown) in [(0, "0%"), (5, "0.05%"), (50, "0.5%"), (1_000, "10%")] {
            assert_eq!(Weight::from_hundredths(hundredths).to_string(), shown);
        }
        assert_eq!(json!(Weight::from_hundredths(1_000)), json!(10));
        assert_eq!(json!(Weight::from_hundredths(25)), json!("0.25%"));
    }

    #[test]
    fn a_share_of_replicas_is_rounded_up_and_never_none() {
        for (percent, stable, replicas) in
            [(10, 5, 1), (50, 5, 3), (0, 5, 1), (100, 5, 5), (100, 0, 1)]
        {
            let weight = Weight::from_hundredths(percent * 100);
            assert_eq!(weight.of_replicas(stable), replicas);
        }
    }
}
