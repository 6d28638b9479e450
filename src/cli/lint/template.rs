//! Templates of Helm, which are no YAML before Helm has run.
//!
//! Tidegate's own placeholders, such as `{{pods}}`, are bare words and no actions of a template.

/// Words with which an action of a Go template begins.
const KEYWORDS: [&str; 16] = [
    "if", "else", "end", "range", "with", "define", "template", "block", "include", "toYaml",
    "tpl", "default", "quote", "printf", "required", "lookup",
];

/// Returns the line of the first action of a template.
pub(super) fn first_action(text: &str) -> Option<u64> {
    let mut lines = (1..).zip(text.lines());
    lines
        .find(|(_, line)| has_action(line))
        .map(|(line, _)| line)
}

fn has_action(line: &str) -> bool {
    line.split("{{").skip(1).any(|after| {
        let action = after.trim_start_matches('-').trim_start();
        let word = action.split(|c: char| !c.is_ascii_alphabetic()).next();
        // `.Values`, `$x`, a comment, or a quoted text with which a chart keeps our placeholders.
        action.starts_with(['.', '$', '/', '"', '`'])
            || after.starts_with('-')
            || KEYWORDS.contains(&word.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_told_from_placeholders() {
        for text in [
            "name: {{ .Values.name }}",
            "a: 1\n{{- if .x }}",
            "  {{- include \"x\" . | nindent 4 }}",
            "q: up{n=\"{{ \"{{namespace}}\" }}\"}",
            "{{/* why */}}",
            "{{ end }}",
        ] {
            assert!(first_action(text).is_some(), "{text}");
        }
        for text in [
            r#"query: up{namespace="{{namespace}}",pod=~"{{pods}}"}[{{window}}]"#,
            "query: up{name=\"{{ name }}\",s=\"{{service}}\",t=\"{{track}}\",r=\"{{revision}}\"}",
            "a: {b: {c: 1}}",
        ] {
            assert_eq!(first_action(text), None, "{text}");
        }
    }
}
