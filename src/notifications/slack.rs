//! Messages of Slack's incoming webhooks.
//!
//! Every text of a block is `plain_text`, which Slack does not read for its `mrkdwn`: a metric's name with `_` stays
//! as it is. `&`, `<` and `>` are control characters in each kind of text, by which a channel would be alerted
//! (`<!channel>`), so they are escaped (<https://docs.slack.dev/messaging/formatting-message-text>).

use serde_json::{Value, json};
use tidegate_api::notification::Notification;

use super::chat;

/// Longest text of a header, in characters.
const LONGEST_HEADER: usize = 150;

/// Longest text of a section, in characters, and of a context's element.
const LONGEST_TEXT: usize = 3000;

/// Returns the message.
pub(super) fn message(notification: &Notification) -> Value {
    let title = chat::title(notification);
    let summary = format!("{title}: {}", notification.message);
    json!({
        // It stands in what a phone shows; the blocks are what the channel shows.
        "text": escaped(&summary, LONGEST_TEXT),
        "mrkdwn": false,
        "unfurl_links": false,
        "blocks": [
            { "type": "header", "text": plain(&title, LONGEST_HEADER) },
            { "type": "section", "text": plain(&notification.message, LONGEST_TEXT) },
            { "type": "context", "elements": [plain(&chat::facts(notification), LONGEST_TEXT)] },
        ],
    })
}

fn plain(text: &str, limit: usize) -> Value {
    json!({ "type": "plain_text", "text": escaped(text, limit), "emoji": false })
}

fn escaped(text: &str, limit: usize) -> String {
    chat::fitted(text, limit, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifications::tests::rolled_back;

    #[test]
    fn nothing_in_a_text_is_a_mark_of_slack() {
        let mut notification = rolled_back("1");
        notification.message = "<!channel> *now* `x` http_requests & more".to_owned();
        let message = message(&notification);
        let escaped = "&lt;!channel&gt; *now* `x` http_requests &amp; more";
        let section = &message["blocks"][1]["text"];
        assert_eq!(section["text"], escaped);
        assert_eq!(section["type"], "plain_text", "stars and backticks stay");
        assert_eq!(
            message["text"],
            format!("⚠ shop/checkout: rolled back: {escaped}")
        );
        assert_eq!(message["mrkdwn"], false);
        let facts = &message["blocks"][2]["elements"][0]["text"];
        assert_eq!(
            *facts,
            "cluster production · attempt 7 · revision 4f2c9a1be0 · author Ada &lt;ada@example.com&gt; \
             · reason GateBreached"
        );
    }

    #[test]
    fn a_message_stays_within_slacks_limits() {
        let mut notification = rolled_back("1");
        notification.message = "<word> ".repeat(2000);
        notification.namespace = "n".repeat(63);
        notification.rollout = "r".repeat(120);
        notification.author = Some("<a> ".repeat(5000));
        let message = message(&notification);
        let length = |text: &Value| text.as_str().map_or(0, |text| text.chars().count());
        assert_eq!(length(&message["blocks"][0]["text"]["text"]), 150);
        for text in [
            &message["text"],
            &message["blocks"][1]["text"]["text"],
            &message["blocks"][2]["elements"][0]["text"],
        ] {
            assert!((100..=3000).contains(&length(text)), "{}", length(text));
        }
    }
}
