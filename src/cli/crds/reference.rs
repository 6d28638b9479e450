//! The reference of every field, made from the same schemas that the API server gets.
//!
//! One Markdown file per kind, one section per object, one row per field. What a field means is said
//! once, at its Rust type.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
    JSONSchemaPropsOrArray,
};

use super::{Files, commands, definitions, reasons};

/// The first line of each generated Markdown file.
const HEAD: &str = "<!-- Generated from crates/api by `cargo xtask codegen`: do not edit. -->\n";

/// The references of all our kinds, of conditions and events, and of the command line, by file name:
/// `rollout.md`, …
pub fn files() -> Files {
    let mut files: Files = definitions()
        .iter()
        .map(|crd| {
            let name = crd.spec.names.kind.to_lowercase();
            (format!("{name}.md"), page(crd))
        })
        .collect();
    let reasons = HEAD.to_owned() + &reasons::page();
    files.insert("conditions-and-events.md".to_owned(), reasons);
    files.insert("cli.md".to_owned(), commands::page());
    files
}

fn page(crd: &CustomResourceDefinition) -> String {
    let names = &crd.spec.names;
    let mut text = format!("{HEAD}\n# {}\n", names.kind);
    for version in &crd.spec.versions {
        let short = names
            .short_names
            .as_deref()
            .unwrap_or_default()
            .join("`, `");
        let _ = write!(
            text,
            "\n`apiVersion: {}/{}`, `kind: {}`; for kubectl also `{short}`. It lives in a \
             namespace.\n",
            crd.spec.group, version.name, names.kind,
        );
        if let Some(root) = schema(version) {
            for (name, field) in fields(root) {
                section(&mut text, name, field);
            }
        }
    }
    text
}

fn schema(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// An object's section, and after it those of the objects in it.
fn section(text: &mut String, path: &str, object: &JSONSchemaProps) {
    let _ = write!(
        text,
        "\n## {path}\n\n{}\n",
        object.description.as_deref().unwrap_or_default()
    );
    text.push_str("\n| field | type | meaning |\n|---|---|---|\n");
    let required = object.required.as_deref().unwrap_or_default();
    for (name, field) in fields(object) {
        row(text, path, name, field, required.contains(name));
    }
    rules(text, object);
    for (name, field) in fields(object) {
        let path = child_path(path, name, field);
        let inner = element(field);
        if fields(inner).next().is_some() {
            section(text, &path, inner);
        }
    }
}

fn row(text: &mut String, path: &str, name: &str, field: &JSONSchemaProps, required: bool) {
    let mut kind = kind(field);
    if fields(element(field)).next().is_some() {
        kind = format!("[{kind}](#{})", anchor(&child_path(path, name, field)));
    }
    let mut meaning = cell(field.description.as_deref().unwrap_or_default());
    for note in notes(field) {
        let _ = write!(meaning, " {note}");
    }
    let mark = if required { ", required" } else { "" };
    let _ = writeln!(text, "| `{name}` | {kind}{mark} | {meaning} |");
}

/// Lists the validation rules of the API server, by their messages.
fn rules(text: &mut String, object: &JSONSchemaProps) {
    let rules = object
        .x_kubernetes_validations
        .as_deref()
        .unwrap_or_default();
    if rules.is_empty() {
        return;
    }
    text.push_str("\nRefused where it does not hold:\n\n");
    for rule in rules {
        let message = rule.message.as_deref().unwrap_or(&rule.rule);
        let _ = writeln!(text, "- {message}");
    }
}

/// The type of a field in one word.
fn kind(field: &JSONSchemaProps) -> String {
    if let Some(item) = items(field) {
        return format!("list of {}", kind(item));
    }
    if field.enum_.is_some() {
        return "word".to_owned();
    }
    if field.x_kubernetes_int_or_string == Some(true) {
        return "whole number or text".to_owned();
    }
    match (field.type_.as_deref(), field.format.as_deref()) {
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some("string"), _) if is_duration(field) => "duration".to_owned(),
        (Some("string"), _) => "text".to_owned(),
        (Some("integer"), _) => "whole number".to_owned(),
        (Some(other), _) => other.to_owned(),
        (None, _) => "anything".to_owned(),
    }
}

/// The limits of a field, each a short sentence. Its description says its default.
fn notes(field: &JSONSchemaProps) -> Vec<String> {
    let inner = element(field);
    let mut notes = Vec::new();
    if let Some(words) = &inner.enum_ {
        let words: Vec<String> = words.iter().map(|word| code(&word.0)).collect();
        notes.push(format!("One of {}.", words.join(", ")));
    }
    notes.extend(range("", field.minimum, field.maximum));
    notes.extend(range(" entries", field.min_items, field.max_items));
    if !is_duration(field) {
        notes.extend(range(" characters", field.min_length, field.max_length));
        notes.extend(
            field
                .pattern
                .iter()
                .map(|pattern| format!("Matches `{}`.", cell(pattern))),
        );
    }
    notes
}

fn range<T: std::fmt::Display>(unit: &str, least: Option<T>, most: Option<T>) -> Option<String> {
    match (least, most) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}.")),
        (Some(least), None) => Some(format!("At least {least}{unit}.")),
        (None, Some(most)) => Some(format!("At most {most}{unit}.")),
        (None, None) => None,
    }
}

fn fields(object: &JSONSchemaProps) -> impl Iterator<Item = (&String, &JSONSchemaProps)> {
    object.properties.iter().flatten()
}

fn items(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match field.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

/// Returns the element of a list, or the field itself.
fn element(field: &JSONSchemaProps) -> &JSONSchemaProps {
    items(field).map_or(field, element)
}

fn child_path(path: &str, name: &str, field: &JSONSchemaProps) -> String {
    let list = if items(field).is_some() { "[]" } else { "" };
    format!("{path}.{name}{list}")
}

/// The anchor that Markdown renderers give to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == '-');
    kept.collect::<String>().to_lowercase()
}

fn is_duration(field: &JSONSchemaProps) -> bool {
    let pattern = field.pattern.as_deref();
    pattern.is_some_and(|pattern| pattern.contains("(h|m|s|ms)"))
}

fn code(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// A text on one line, without what would end a table's cell.
fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}
