//! What a message in a chat says, whichever chat it is: a title, the sentence, and the facts. Texts come from
//! commits, queries and other servers, so nothing in them may be taken for a chat's own marks.

use tidegate_api::{
    CommitId, Revision,
    notification::{Notification, NotificationType, Severity},
    record::Outcome,
};

/// Longest fact, in characters: an author writes what he likes.
const LONGEST_FACT: usize = 100;

/// Returns what has happened to which Rollout.
pub(super) fn title(notification: &Notification) -> String {
    let Notification {
        namespace, rollout, ..
    } = notification;
    let mark = match notification.severity {
        Severity::Normal => "",
        Severity::Warning => "⚠ ",
    };
    format!("{mark}{namespace}/{rollout}: {}", news(notification))
}

fn news(notification: &Notification) -> &'static str {
    match notification.type_ {
        NotificationType::Started => "release started",
        NotificationType::AwaitingApproval => "approval required",
        NotificationType::RollingBack if notification.outcome == Some(Outcome::Aborted) => {
            "aborting"
        }
        NotificationType::RollingBack => "rolling back",
        NotificationType::Ended => match notification.outcome {
            Some(Outcome::Promoted) => "promoted",
            Some(Outcome::RolledBack) => "rolled back",
            Some(Outcome::Aborted) => "aborted",
            Some(Outcome::Superseded) => "superseded",
            Some(Outcome::Failed) => "first deploy failed",
            None => "ended",
        },
        NotificationType::FailedOver => "failed over to the canary",
        NotificationType::FailoverEnded => "failover ended",
        NotificationType::StableDegraded => "stable is degraded",
        NotificationType::Stalled => "stalled",
        NotificationType::Observed if notification.severity == Severity::Normal => {
            "would have been promoted"
        }
        NotificationType::Observed => "would not have been promoted",
    }
}

/// Returns what it is about, on one line.
pub(super) fn facts(notification: &Notification) -> String {
    let attempt = notification.attempt.map(|number| number.to_string());
    let revision = notification.revision.as_ref();
    let commit = notification.commit.as_ref();
    let facts = [
        ("cluster", Some(notification.cluster.as_str())),
        ("attempt", attempt.as_deref()),
        ("revision", revision.map(Revision::short)),
        ("commit", commit.map(CommitId::short)),
        ("author", notification.author.as_deref()),
        ("reason", notification.reason.as_deref()),
    ];
    let said = facts.into_iter().filter_map(|(name, value)| {
        let value = fitted(value?, LONGEST_FACT, |_| None);
        Some(format!("{name} {value}"))
    });
    said.collect::<Vec<_>>().join(" · ")
}

/// Returns a text with its special characters escaped, cut between two words so that it has at most `limit`
/// characters then. Line breaks and other control characters become spaces.
pub(super) fn fitted(
    text: &str,
    limit: usize,
    escape: impl Fn(char) -> Option<&'static str>,
) -> String {
    let mut fitted = String::with_capacity(text.len());
    let mut length = 0;
    // Length in bytes of what is left room for the ellipsis.
    let mut room = 0;
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        length += escape(c).map_or(1, str::len);
        if length > limit {
            return cut(&fitted[..room]);
        }
        match escape(c) {
            Some(escaped) => fitted.push_str(escaped),
            None => fitted.push(c),
        }
        if length < limit {
            room = fitted.len();
        }
    }
    fitted
}

/// Returns a text without its last, incomplete word, unless it is a single long one.
fn cut(text: &str) -> String {
    let words = match text.rsplit_once(char::is_whitespace) {
        Some((words, _)) if words.len() > text.len() / 2 => words,
        _ => text,
    };
    format!("{}…", words.trim_end_matches([' ', ',', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escape(c: char) -> Option<&'static str> {
        if c == '&' { Some("&amp;") } else { None }
    }

    #[test]
    fn a_text_that_fits_is_left_alone() {
        assert_eq!(fitted("a & b", 9, escape), "a &amp; b");
        assert_eq!(fitted("one\ntwo\t", 8, escape), "one two ");
        assert_eq!(fitted("", 8, escape), "");
    }

    #[test]
    fn a_text_is_cut_at_a_word_and_never_within_an_escape() {
        assert_eq!(fitted("one two, three", 12, escape), "one two…");
        assert_eq!(fitted("a & b", 8, escape), "a &amp;…");
        assert_eq!(fitted("abc&", 7, escape), "abc…");
        for limit in 1..40 {
            let text = "ä&ö <!channel> & many more & many words &&&&&";
            let fitted = fitted(text, limit, escape);
            assert!(fitted.chars().count() <= limit, "{limit}: {fitted}");
            assert!(!fitted.replace("&amp;", "").contains('&'), "{fitted}");
        }
    }

    #[test]
    fn a_single_long_word_is_cut_where_it_must_be() {
        assert_eq!(fitted(&"x".repeat(50), 10, escape), "xxxxxxxxx…");
    }
}
