//! The chart's templates without Helm, for what has to be exactly as they say.

use anyhow::Result;
use serde_json::Value;

/// Returns the objects of a template. Lines of the template language are left out, and a condition within a line is
/// taken to hold.
pub(super) fn objects(template: &str) -> Result<Vec<Value>> {
    let plain: Vec<_> = template.lines().filter_map(plain).collect();
    let plain = plain.join("\n");
    let objects = plain.split("\n---");
    Ok(objects
        .map(serde_saphyr::from_str)
        .collect::<Result<_, _>>()?)
}

/// Returns a line without the template language, if there is more in it.
fn plain(line: &str) -> Option<String> {
    let Some((before, rest)) = line.split_once("{{ if ") else {
        return (!line.contains("{{")).then(|| line.to_owned());
    };
    let (_condition, rest) = rest.split_once("}}")?;
    let (held, after) = rest.split_once("{{ end }}")?;
    Some(format!("{before}{held}{after}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_the_template_language_are_left_out() {
        let template = "a: 1\n{{- if .Values.b }}\nb: 2\nc: {{ toJson . }}\n{{- end }}\n";
        let read = objects(template).expect("one object");
        assert_eq!(read, [json!({ "a": 1, "b": 2 })]);
    }

    #[test]
    fn a_condition_within_a_line_holds() {
        let template = "a: [b{{ if not .Values.c }}, c{{ end }}]\n";
        let read = objects(template).expect("one object");
        assert_eq!(read, [json!({ "a": ["b", "c"] })]);
    }
}
