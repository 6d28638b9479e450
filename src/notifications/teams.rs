//! Cards of Microsoft Teams, for a workflow that posts what its webhook receives to a channel. (The connectors that
//! took a `MessageCard` are retired.)
//!
//! Texts are runs of a `RichTextBlock`: a `TextBlock` would be read as Markdown, links included.

use serde_json::{Value, json};
use tidegate_api::{
    notification::{Notification, Severity},
    record::Outcome,
};

use super::chat;

/// Longest text of a title, in characters.
const LONGEST_TITLE: usize = 150;

/// Longest sentence, in characters. Teams takes messages of 28 KB, and a character may be four bytes of it.
const LONGEST_TEXT: usize = 3000;

/// Returns the message.
pub(super) fn message(notification: &Notification) -> Value {
    let title = fitted(&chat::title(notification), LONGEST_TITLE);
    let text = fitted(&notification.message, LONGEST_TEXT);
    let facts = fitted(&chat::facts(notification), LONGEST_TEXT);
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": { "width": "Full" },
        "body": [
            block(json!({ "text": title, "weight": "Bolder", "size": "Medium", "color": color(notification) })),
            block(json!({ "text": text })),
            block(json!({ "text": facts, "size": "Small", "isSubtle": true })),
        ],
    });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card,
        }],
    })
}

fn block(mut run: Value) -> Value {
    run["type"] = json!("TextRun");
    json!({ "type": "RichTextBlock", "inlines": [run] })
}

fn color(notification: &Notification) -> &'static str {
    match notification.severity {
        Severity::Warning => "Attention",
        Severity::Normal if notification.outcome == Some(Outcome::Promoted) => "Good",
        Severity::Normal => "Default",
    }
}

fn fitted(text: &str, limit: usize) -> String {
    chat::fitted(text, limit, |_| None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifications::tests::rolled_back;

    #[test]
    fn a_card_shows_texts_as_they_are() {
        let mut notification = rolled_back("1");
        notification.message = "[click](https://evil.test) *now* <at>all</at>".to_owned();
        let message = message(&notification);
        let card = &message["attachments"][0]["content"];
        assert_eq!(card["type"], "AdaptiveCard");
        let runs: Vec<_> = (0..3)
            .map(|block| {
                assert_eq!(card["body"][block]["type"], "RichTextBlock");
                &card["body"][block]["inlines"][0]
            })
            .collect();
        assert!(runs.iter().all(|run| run["type"] == "TextRun"));
        assert_eq!(runs[0]["text"], "⚠ shop/checkout: rolled back");
        assert_eq!(runs[0]["color"], "Attention");
        assert_eq!(runs[1]["text"], notification.message);
    }

    #[test]
    fn a_card_of_the_longest_texts_is_one_that_teams_takes() {
        let mut notification = rolled_back("1");
        notification.message = "😀\" ".repeat(5000);
        notification.author = Some("😀".repeat(5000));
        let bytes = message(&notification).to_string().len();
        assert!(bytes < 28_000, "{bytes}");
    }
}
