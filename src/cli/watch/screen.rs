//! The live screen of a terminal.
//!
//! Owns the terminal and the keys; the text is [`text`]'s.

use std::{thread, time::Duration};

use futures::Stream;
use jiff::Timestamp;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    text::Text,
    widgets::{Paragraph, Wrap},
};
use tidegate_api::Rollout;
use tokio::sync::mpsc;

use super::{
    changes::{Change, Ended, Lost, next},
    text,
};
use crate::clock;

/// Interval at which times are redrawn while nothing changes.
const REFRESH: Duration = Duration::from_secs(1);

/// Input at the keyboard.
enum Key {
    /// The screen is to be left.
    Quit,
    /// The terminal has another size, or another key was pressed.
    Redraw,
}

/// Shows the Rollout until `q` is pressed or there is nothing more to watch.
pub(super) async fn follow(
    changes: &mut (impl Stream<Item = Result<Change, Ended>> + Unpin),
) -> anyhow::Result<()> {
    let mut shown = Shown::default();
    let mut terminal = Screen::open()?;
    let mut keys = keys();
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        terminal.draw(&shown)?;
        tokio::select! {
            change = next(changes) => shown.take(change?, clock::now()),
            key = keys.recv() => match key {
                Some(Key::Redraw) => {}
                Some(Key::Quit) | None => return Ok(()),
            },
            _ = refresh.tick() => {}
        }
    }
}

/// Content of the screen.
#[derive(Default)]
struct Shown {
    /// The Rollout as it was heard of last.
    rollout: Option<Box<Rollout>>,
    /// Loss of the connection, since which the Rollout may have changed.
    lost: Option<Lost>,
}

// === impl Shown ===

impl Shown {
    fn take(&mut self, change: Change, now: Timestamp) {
        match change {
            Change::Now(rollout) => {
                *self = Self {
                    rollout: Some(rollout),
                    lost: None,
                }
            }
            Change::Lost(why) => self.lost = Some(Lost::on(self.lost.take(), why, now)),
        }
    }

    fn text(&self, now: Timestamp) -> Text<'static> {
        text::text(self.rollout.as_deref(), self.lost.as_ref(), now)
    }
}

/// The terminal while it is ours; it is given back when this goes.
struct Screen(DefaultTerminal);

// === impl Screen ===

impl Screen {
    fn open() -> std::io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    fn draw(&mut self, shown: &Shown) -> std::io::Result<()> {
        let text = shown.text(clock::now());
        self.0.draw(|frame| {
            let paragraph = Paragraph::new(text).wrap(Wrap { trim: false });
            frame.render_widget(paragraph, frame.area());
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The keys, read on a thread of their own because reading one blocks. The thread ends with the
/// program, or at the first key after the screen was left.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(8);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(key(&event)).is_err() {
                return;
            }
        }
    });
    receiver
}

fn key(event: &Event) -> Key {
    match event {
        Event::Key(KeyEvent {
            kind: KeyEventKind::Press,
            code: KeyCode::Char('q') | KeyCode::Esc,
            ..
        }) => Key::Quit,
        Event::Key(KeyEvent {
            code: KeyCode::Char('c'),
            modifiers,
            ..
        }) if modifiers.contains(KeyModifiers::CONTROL) => Key::Quit,
        Event::Key(_)
        | Event::Resize(..)
        | Event::FocusGained
        | Event::FocusLost
        | Event::Mouse(_)
        | Event::Paste(_) => Key::Redraw,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::cli::story::tests::at_step_two;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn now() -> Change {
        Change::Now(Box::new(at_step_two()))
    }

    #[test]
    fn a_lost_connection_is_shown_until_the_rollout_is_heard_of_again() {
        let mut shown = Shown::default();
        let lost = "connection lost since 10:04:12 UTC: refused";
        shown.take(now(), at("2026-11-25T10:04:00Z"));
        for time in ["2026-11-25T10:04:12Z", "2026-11-25T10:05:00Z"] {
            shown.take(Change::Lost("refused".to_owned()), at(time));
            let text = shown.text(at(time)).to_string();
            assert!(
                text.contains(lost) && text.contains("shop/checkout"),
                "{text}"
            );
        }
        shown.take(now(), at("2026-11-25T10:05:10Z"));
        assert!(
            !shown
                .text(at("2026-11-25T10:05:10Z"))
                .to_string()
                .contains("connection")
        );
    }
}
