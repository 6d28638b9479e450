//! The demo on the screen: a terminal with a panel that lives beneath the lines, or lines alone.

use std::io::{self, IsTerminal as _, Stdout, Write as _};

use ratatui::{
    Terminal, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    style::{Color, Style, Stylize as _},
    text::{Line, Span, Text},
    widgets::{Paragraph, Widget as _, Wrap},
};
use tidegate_api::gate::{GateStatus, Verdict};

use super::moment::{Moment, Traffic};

/// Height of the panel.
const HEIGHT: u16 = 8;

/// Width of a bar of 100 %.
const BAR: u32 = 50;

/// The places in which versions are shown, so that the panel does not jump.
const VERSIONS: usize = 2;

/// A terminal, or a plain log.
pub(super) struct Display {
    /// Part that is redrawn beneath the lines; a log has lines alone.
    panel: Option<Box<Terminal<CrosstermBackend<Stdout>>>>,
}

// === impl Display ===

impl Display {
    /// Standard output, with a panel where it is a terminal that can have one.
    ///
    /// The terminal stays in its usual mode, so Ctrl-C ends the demo as it ends everything else.
    pub(super) fn open() -> Self {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Self { panel: None };
        }
        let options = TerminalOptions {
            viewport: Viewport::Inline(HEIGHT),
        };
        let terminal = Terminal::with_options(CrosstermBackend::new(io::stdout()), options);
        Self {
            panel: terminal.ok().map(Box::new),
        }
    }

    /// Returns true where there is a panel.
    pub(super) fn is_live(&self) -> bool {
        self.panel.is_some()
    }

    /// Writes a line that stays.
    pub(super) fn line(&mut self, text: &str) {
        match &mut self.panel {
            None => println!("{text}"),
            Some(terminal) => {
                let width = terminal.size().map_or(80, |size| size.width.max(1));
                let paragraph = Paragraph::new(text).wrap(Wrap { trim: false });
                let height = paragraph_height(text, width);
                let _seen_or_not =
                    terminal.insert_before(height, |buffer| paragraph.render(buffer.area, buffer));
            }
        }
    }

    /// Redraws the panel.
    pub(super) fn draw(&mut self, moment: &Moment) {
        if let Some(terminal) = &mut self.panel {
            let _seen_or_not = terminal
                .draw(|frame| frame.render_widget(Paragraph::new(panel(moment)), frame.area()));
        }
    }

    /// Takes the panel away; from here on there are lines alone.
    pub(super) fn close(&mut self) {
        if let Some(mut terminal) = self.panel.take() {
            let _gone_or_not = terminal.clear().and_then(|()| terminal.show_cursor());
            let _flushed_or_not = io::stdout().flush();
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.close();
    }
}

/// Number of rows that a text takes; words that wrap early may take one more.
fn paragraph_height(text: &str, width: u16) -> u16 {
    let width = usize::from(width);
    let rows = text.chars().count().div_ceil(width).max(1);
    let early = usize::from(rows > 1);
    u16::try_from(rows + early).unwrap_or(u16::MAX)
}

/// The panel's content.
fn panel(moment: &Moment) -> Text<'static> {
    let status = &moment.status;
    let facts = [
        status.step.as_ref().map(|step| format!("   step {step}")),
        status
            .weight
            .as_ref()
            .map(|weight| format!("   canary {weight}")),
    ];
    let facts: String = facts.into_iter().flatten().collect();
    let mut lines = vec![
        Line::default(),
        Line::from(vec![
            "Tidegate  ".dim(),
            Span::from(format!("{:?}", status.phase)).bold(),
            Span::from(facts),
        ]),
        Line::from(format!("          {}", moment.message())),
    ];
    lines.push(moment.gates().next().map_or_else(Line::default, gate));
    lines.extend(bars(&moment.traffic));
    lines.push(Line::from(vec![
        "clients   ".dim(),
        Span::from(requests(&moment.traffic)),
    ]));
    Text::from(lines)
}

fn gate(gate: &GateStatus) -> Line<'static> {
    let color = match gate.verdict {
        Verdict::Pass => Color::Green,
        Verdict::Breach | Verdict::Error => Color::Red,
        Verdict::Tolerated | Verdict::NoData => Color::Yellow,
        Verdict::Pending | Verdict::Gathering => Color::Gray,
    };
    Line::from(vec![
        "gate      ".dim(),
        Span::from(format!("{} ", gate.name)),
        Span::styled(format!("{:?}", gate.verdict), Style::new().fg(color)),
        Span::from(format!("  {}", gate.message)),
    ])
}

fn bars(traffic: &Traffic) -> Vec<Line<'static>> {
    let mut bars: Vec<_> = traffic
        .shares
        .iter()
        .take(VERSIONS)
        .map(|(version, share)| bar(version, *share))
        .collect();
    bars.resize_with(VERSIONS, Line::default);
    bars
}

fn bar(version: &str, share: f64) -> Line<'static> {
    let filled = (0..BAR)
        .filter(|cell| f64::from(*cell) < share * f64::from(BAR))
        .count();
    Line::from(vec![
        Span::from(format!("{version:<9} ")),
        "█".repeat(filled).cyan(),
        "░".repeat(BAR as usize - filled).dim(),
        Span::from(format!(" {:5.1} %", share * 100.0)),
    ])
}

fn requests(traffic: &Traffic) -> String {
    format!(
        "{} requests in the last second, {} failed",
        traffic.requests, traffic.failed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_always_has_the_same_height() {
        let mut moment = Moment::default();
        let height = panel(&moment).height();
        moment.traffic.shares = vec![("v1".to_owned(), 0.9), ("v2".to_owned(), 0.1)];
        assert_eq!(panel(&moment).height(), height);
        assert!(height <= usize::from(HEIGHT));
    }

    #[test]
    fn a_bar_is_as_long_as_the_share() {
        let text = bar("v1", 0.5).to_string();
        assert_eq!(text.matches('█').count(), 25);
        assert!(text.ends_with("  50.0 %"), "{text}");
    }

    #[test]
    fn a_long_line_gets_the_rows_that_it_needs() {
        assert_eq!(paragraph_height("", 80), 1);
        assert_eq!(paragraph_height(&"x".repeat(80), 80), 1);
        assert_eq!(paragraph_height(&"x ".repeat(60), 80), 3);
    }
}
