//! Workflow commands of GitHub Actions: each finding becomes an annotation of its line.

use crate::cli::lint::Finding;

/// Returns a workflow command for each finding.
pub(in crate::cli::lint) fn annotations(findings: &[Finding]) -> String {
    findings.iter().map(annotation).collect()
}

fn annotation(finding: &Finding) -> String {
    let subject = finding.subject();
    let message = if subject.is_empty() {
        finding.message.clone()
    } else {
        format!("{subject}: {}", finding.message)
    };
    format!(
        "::{} file={},line={},col={},title={}::{}\n",
        finding.severity.as_str(),
        property(&finding.file),
        finding.place.line,
        finding.place.column,
        finding.check.as_str(),
        data(&message),
    )
}

/// Escapes a message: a command ends with its line.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25");
    text.replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property, which ends at a comma or at two colons.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_command_early() {
        assert_eq!(property("a,b:c%\n"), "a%2Cb%3Ac%25%0A");
        assert_eq!(data("50%: a, b\r\n"), "50%25: a, b%0D%0A");
    }
}
