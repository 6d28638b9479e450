//! The live screen of a terminal.
//!
//! Owns the terminal and the keys; what is on the screen is [`story`](super::story)'s.

use std::{thread, time::Duration};

use futures::Stream;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    widgets::{Paragraph, Wrap},
};
use tidegate_api::Rollout;
use tokio::sync::mpsc;

use super::{next, story};
use crate::clock;

/// How often times are shown anew while nothing changes.
const REFRESH: Duration = Duration::from_secs(1);

/// What a person did at the keyboard.
enum Key {
    /// The screen is to be left.
    Quit,
    /// The terminal has another size, or another key was pressed.
    Redraw,
}

/// Shows the Rollout until `q` is pressed or it is gone.
pub(super) async fn follow(changes: &mut (impl Stream<Item = Option<Rollout>> + Unpin)) -> anyhow::Result<()> {
    let mut rollout = next(changes).await?;
    let mut terminal = Screen::open()?;
    let mut keys = keys();
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        terminal.draw(&rollout)?;
        tokio::select! {
            change = next(changes) => rollout = change?,
            key = keys.recv() => match key {
                Some(Key::Redraw) => {}
                Some(Key::Quit) | None => return Ok(()),
            },
            _ = refresh.tick() => {}
        }
    }
}

/// The terminal while it is ours; it is given back when this goes.
struct Screen(DefaultTerminal);

// === impl Screen ===

impl Screen {
    fn open() -> std::io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    fn draw(&mut self, rollout: &Rollout) -> std::io::Result<()> {
        let text = story::text(rollout, clock::now());
        self.0.draw(|frame| {
            let story = Paragraph::new(text).wrap(Wrap { trim: false });
            frame.render_widget(story, frame.area());
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
        Event::Key(KeyEvent { kind: KeyEventKind::Press, code: KeyCode::Char('q') | KeyCode::Esc, .. }) => Key::Quit,
        Event::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, .. })
            if modifiers.contains(KeyModifiers::CONTROL) =>
        {
            Key::Quit
        }
        Event::Key(_)
        | Event::Resize(..)
        | Event::FocusGained
        | Event::FocusLost
        | Event::Mouse(_)
        | Event::Paste(_) => Key::Redraw,
    }
}
