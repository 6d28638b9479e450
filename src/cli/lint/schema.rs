//! Values against a structural schema, as the API server validates them.
//!
//! Fields that are left blank count as absent, as they do for the API server, and a field that does not exist, which the API
//! server drops, is refused. Values are not repeated where they may hold a credential.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Value};

use super::{
    finding::{Check, Remark},
    places::{element, field},
};

/// Extent to which an object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// Some of its fields: it is a patch of another object.
    Part,
}

/// Validation of one object.
struct Validation {
    extent: Extent,
    remarks: Vec<Remark>,
}

/// Returns all that a schema refuses in an object.
pub(super) fn validate(schema: &JSONSchemaProps, object: &Value, extent: Extent) -> Vec<Remark> {
    let mut validation = Validation {
        extent,
        remarks: Vec::new(),
    };
    validation.value("", schema, object);
    validation.remarks
}

/// Removes blank fields: the API server takes them for absent.
pub(in crate::cli) fn without_blanks(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_blanks);
        }
        Value::Array(items) => items.iter_mut().for_each(without_blanks),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the name that is most like a misspelled one.
pub(super) fn closest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let given = name.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&given, &known.to_lowercase());
    let near = names.map(|known| (distance(known), known));
    let (distance, known) = near.min_by_key(|(distance, _)| *distance)?;
    if distance <= (name.len() / 3).max(1) {
        Some(known)
    } else {
        None
    }
}

// === impl Validation ===

impl Validation {
    fn value(&mut self, path: &str, schema: &JSONSchemaProps, value: &Value) {
        if !has_type(schema, value) {
            let message = format!("this is {}: {}", kind(value), remedy(schema));
            self.say(path, Check::WrongType, message);
            return;
        }
        self.word(path, schema, value);
        match value {
            Value::Object(fields) => self.object(path, schema, fields),
            Value::Array(items) => self.list(path, schema, items),
            Value::String(text) => self.text(path, schema, text),
            Value::Number(number) => self.number(path, schema, number.as_f64()),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&mut self, path: &str, schema: &JSONSchemaProps, fields: &Map<String, Value>) {
        for (name, value) in fields {
            let path = field(path, name);
            if let Some(schema) = schema
                .properties
                .iter()
                .flatten()
                .find(|(known, _)| *known == name)
            {
                self.value(&path, schema.1, value);
            } else if let Some(JSONSchemaPropsOrBool::Schema(schema)) =
                &schema.additional_properties
            {
                self.value(&path, schema, value);
            } else if !takes_any_field(schema) && !self.is_directive(name) {
                let known = schema
                    .properties
                    .iter()
                    .flatten()
                    .map(|(name, _)| name.as_str());
                self.say(&path, Check::UnknownField, unknown_field(name, known));
            }
        }
        let limit = schema
            .max_properties
            .and_then(|limit| usize::try_from(limit).ok());
        if let Some(limit) = limit.filter(|limit| fields.len() > *limit) {
            self.say(
                path,
                Check::InvalidValue,
                format!("at most {limit} fields are allowed"),
            );
        }
        if self.extent == Extent::Whole {
            self.required(path, schema, fields);
        }
    }

    fn required(&mut self, path: &str, schema: &JSONSchemaProps, fields: &Map<String, Value>) {
        for name in schema.required.iter().flatten() {
            if !fields.contains_key(name) {
                let about = schema
                    .properties
                    .iter()
                    .flatten()
                    .find(|(known, _)| *known == name);
                let about = about.and_then(|(_, schema)| first_sentence(schema));
                let about = about.map(|about| format!(" ({about})")).unwrap_or_default();
                self.say(
                    path,
                    Check::MissingField,
                    format!("the field `{name}` is missing: write it{about}"),
                );
            }
        }
    }

    fn list(&mut self, path: &str, schema: &JSONSchemaProps, items: &[Value]) {
        let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
        self.limits(path, "entries", length, schema.min_items, schema.max_items);
        if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                self.value(&element(path, index), schema, item);
            }
        }
        self.unique(path, schema, items);
    }

    /// Each element of a list that is a map has a key of its own.
    fn unique(&mut self, path: &str, schema: &JSONSchemaProps, items: &[Value]) {
        let Some(keys) = &schema.x_kubernetes_list_map_keys else {
            return;
        };
        let key_of =
            |item: &Value| -> Vec<Value> { keys.iter().map(|key| item[key].clone()).collect() };
        for (index, item) in items.iter().enumerate() {
            let key = key_of(item);
            if items[..index].iter().any(|before| key_of(before) == key) {
                let words: Vec<_> = key.iter().map(ToString::to_string).collect();
                let message = format!(
                    "another entry has the {} {}, too: give each its own",
                    keys.join(" and "),
                    words.join(" and ")
                );
                self.say(&element(path, index), Check::InvalidValue, message);
            }
        }
    }

    fn text(&mut self, path: &str, schema: &JSONSchemaProps, text: &str) {
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        self.limits(
            path,
            "characters",
            length,
            schema.min_length,
            schema.max_length,
        );
        let Some(pattern) = &schema.pattern else {
            return;
        };
        if Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text)) {
            let message = match known_form(schema) {
                Some((form, example)) => format!("this is not {form}: write it like {example}"),
                None => format!("the text does not match {pattern}"),
            };
            self.say(path, Check::InvalidValue, message);
        }
    }

    fn number(&mut self, path: &str, schema: &JSONSchemaProps, number: Option<f64>) {
        let number = number.unwrap_or(f64::INFINITY);
        if let Some(min) = schema.minimum.filter(|min| number < *min) {
            self.say(
                path,
                Check::InvalidValue,
                format!("{number} is below the minimum of {min}"),
            );
        }
        if let Some(max) = schema.maximum.filter(|max| number > *max) {
            self.say(
                path,
                Check::InvalidValue,
                format!("{number} is above the maximum of {max}"),
            );
        }
    }

    fn word(&mut self, path: &str, schema: &JSONSchemaProps, value: &Value) {
        let Some(words) = &schema.enum_ else {
            return;
        };
        if words.iter().any(|word| word.0 == *value) {
            return;
        }
        let known: Vec<&str> = words.iter().filter_map(|word| word.0.as_str()).collect();
        let given = value.as_str().unwrap_or_default();
        let message = match closest(given, known.iter().copied()) {
            Some(word) => format!("`{given}` is not a word for this field: did you mean `{word}`?"),
            None => format!(
                "`{given}` is not a word for this field: write {}",
                or(&known)
            ),
        };
        self.say(path, Check::InvalidValue, message);
    }

    fn limits(&mut self, path: &str, unit: &str, length: i64, min: Option<i64>, max: Option<i64>) {
        if let Some(min) = min.filter(|min| length < *min) {
            self.say(
                path,
                Check::InvalidValue,
                format!("{length} {unit}: at least {min} are needed"),
            );
        }
        if let Some(max) = max.filter(|max| length > *max) {
            self.say(
                path,
                Check::InvalidValue,
                format!("{length} {unit}: at most {max} are allowed"),
            );
        }
    }

    /// Returns true for what tells Kustomize how to merge a patch.
    fn is_directive(&self, name: &str) -> bool {
        self.extent == Extent::Part && name.starts_with('$')
    }

    fn say(&mut self, path: &str, check: Check, message: String) {
        self.remarks.push(Remark::new(path, check, message));
    }
}

fn takes_any_field(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_preserve_unknown_fields == Some(true)
}

fn has_type(schema: &JSONSchemaProps, value: &Value) -> bool {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match schema.type_.as_deref() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some(_) | None => true,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "a blank",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// Returns what to write instead of a value of another type.
fn remedy(schema: &JSONSchemaProps) -> String {
    if let Some((form, example)) = known_form(schema) {
        return format!("write {form}, like {example}");
    }
    let remedy = match schema.type_.as_deref() {
        Some("object") => "write a mapping",
        Some("array") => "write a list, each entry of which begins with `- `",
        Some("string") => "write a text, in quotes if it looks like something else",
        Some("boolean") => "write true or false, without quotes",
        Some("integer") => "write a whole number, without quotes",
        Some(_) | None => "write a number, without quotes",
    };
    remedy.to_owned()
}

/// Returns the name and examples of a form that the API's own types have.
fn known_form(schema: &JSONSchemaProps) -> Option<(&'static str, &'static str)> {
    let pattern = schema.pattern.as_deref().unwrap_or_default();
    if schema.x_kubernetes_int_or_string == Some(true) {
        return Some(("a percentage", "10, or \"0.5%\" with at most two decimals"));
    }
    if pattern.contains("(h|m|s|ms)") {
        return Some(("a duration", "90s, 5m or 1h30m"));
    }
    if pattern.starts_with("^https?://") {
        let example = "https://prometheus.example.com, without user, query and fragment";
        return Some(("an address", example));
    }
    None
}

fn unknown_field<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.collect();
    match closest(name, known.iter().copied()) {
        Some(field) => format!("the field `{name}` does not exist: did you mean `{field}`?"),
        None => format!(
            "the field `{name}` does not exist: the fields here are {}",
            known.join(", ")
        ),
    }
}

fn first_sentence(schema: &JSONSchemaProps) -> Option<&str> {
    let description = schema.description.as_deref()?;
    let end = description
        .find(". ")
        .or_else(|| description.strip_suffix('.').map(str::len));
    Some(&description[..end.unwrap_or(description.len())])
}

fn or(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, [])) => format!("`{last}`"),
        Some((last, others)) => format!("`{}` or `{last}`", others.join("`, `")),
        None => String::new(),
    }
}
