//! Lines on standard output: in colors where a terminal shows them and `NO_COLOR` is not set.

use std::io::{self, Write};

use anstyle::{AnsiColor, Effects};
use ratatui::{
    style::{Color, Modifier, Style},
    text::Line,
};

/// Prints lines.
pub(in crate::cli) fn print(lines: &[Line<'_>]) -> io::Result<()> {
    write(&mut anstream::stdout().lock(), lines)
}

fn write(out: &mut impl Write, lines: &[Line<'_>]) -> io::Result<()> {
    for line in lines {
        for span in line {
            let style = ansi(line.style.patch(span.style));
            write!(out, "{style}{}{style:#}", span.content)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn ansi(style: Style) -> anstyle::Style {
    let mut effects = Effects::new();
    for (modifier, effect) in [
        (Modifier::BOLD, Effects::BOLD),
        (Modifier::DIM, Effects::DIMMED),
    ] {
        if style.add_modifier.contains(modifier) {
            effects |= effect;
        }
    }
    let color = style.fg.and_then(color).map(anstyle::Color::from);
    anstyle::Style::new().fg_color(color).effects(effects)
}

/// Returns the color of those that the story uses.
fn color(color: Color) -> Option<AnsiColor> {
    match color {
        Color::Red => Some(AnsiColor::Red),
        Color::Green => Some(AnsiColor::Green),
        Color::Yellow => Some(AnsiColor::Yellow),
        Color::Cyan => Some(AnsiColor::Cyan),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use ratatui::style::Stylize as _;

    use super::*;

    #[test]
    fn colors_are_those_of_the_lines() {
        let mut out = Vec::new();
        write(
            &mut out,
            &[Line::from("well").green().bold(), Line::from("plain")],
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\u{1b}[1m\u{1b}[32mwell\u{1b}[0m\nplain\n"
        );
    }
}
