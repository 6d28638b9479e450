//! A line for each finding, as compilers write them.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::cli::lint::{Finding, Report, Severity};

/// Prints the findings, in colors where a terminal shows them and `NO_COLOR` is not set.
pub(in crate::cli::lint) fn print(report: &Report) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    write(&mut out, &report.findings)
}

fn write(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let style = style(finding.severity);
        let mut subject = finding.subject();
        if !subject.is_empty() {
            subject.push_str(": ");
        }
        writeln!(
            out,
            "{}:{}:{}: {style}{}{style:#}: {subject}{} [{}]",
            finding.file,
            finding.place.line,
            finding.place.column,
            finding.severity.as_str(),
            finding.message,
            finding.check.as_str(),
        )?;
    }
    Ok(())
}

fn style(severity: Severity) -> Style {
    let color = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
    };
    color.on_default().bold()
}

#[cfg(test)]
pub(in crate::cli::lint) mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    /// The findings without colors.
    pub(in crate::cli::lint) fn plain(findings: &[Finding]) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        write(&mut out, findings).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }
}
