//! Schemas of values: Helm's reader follows references to files of the machine and to servers, so those are found before.

use serde_json::Value;

/// Name of a schema's file in a chart.
pub(super) const SCHEMA: &str = "values.schema.json";

/// Keywords whose values are read from where they lead.
const REFERENCES: [&str; 4] = ["$ref", "$dynamicRef", "$recursiveRef", "$schema"];

/// Schemas that the reader has in itself.
const KNOWN: [&str; 2] = ["http://json-schema.org/", "https://json-schema.org/"];

/// Returns the keyword of a schema that leads to another file or server.
pub(super) fn reference_outside(bytes: &[u8]) -> Option<&'static str> {
    // What is no JSON is rejected by Helm.
    let schema = serde_json::from_slice(bytes).ok()?;
    outside_in(&schema)
}

fn outside_in(schema: &Value) -> Option<&'static str> {
    match schema {
        Value::Object(fields) => {
            let leads_outside = |keyword: &&&str| {
                let target = fields.get(**keyword).and_then(Value::as_str);
                target.is_some_and(|target| !is_within(target))
            };
            let keyword = REFERENCES.iter().find(leads_outside).copied();
            keyword.or_else(|| fields.values().find_map(outside_in))
        }
        Value::Array(items) => items.iter().find_map(outside_in),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn is_within(target: &str) -> bool {
    target.is_empty()
        || target.starts_with('#')
        || KNOWN.iter().any(|known| target.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_schema_is_referred_to() {
        let of = |text: &str| reference_outside(text.as_bytes());
        let own = r##"{"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [{"$ref": "#/definitions/a"}]}"##;
        assert_eq!(of(own), None);
        assert_eq!(
            of(r#"{"properties": {"a": {"$ref": "file:///etc/passwd"}}}"#),
            Some("$ref")
        );
        assert_eq!(
            of(r#"{"allOf": [{"$dynamicRef": "other.json"}]}"#),
            Some("$dynamicRef")
        );
        assert_eq!(of(r#"{"$schema": "http://10.0.0.1/"}"#), Some("$schema"));
    }
}
