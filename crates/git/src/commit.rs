//! Commits as values: what is read out of one, and what goes into one of ours.

use std::fmt::Write as _;

use jiff::Timestamp;

/// The name of a commit.
pub type CommitId = gix::ObjectId;

/// A commit, as it is shown to people and kept in records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: CommitId,
    /// Who wrote it.
    pub author: Person,
    /// When it was committed.
    pub time: Timestamp,
    /// The first line of its message.
    pub subject: String,
    /// The whole message.
    pub message: String,
}

/// Somebody named in a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// For example `Ada Lovelace`.
    pub name: String,
    /// For example `ada@example.com`.
    pub email: String,
}

/// Who commits, and when. The time is the caller's, so that a commit is a function of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Who.
    pub person: Person,
    /// When.
    pub at: Timestamp,
}

/// The trailers that every commit of ours carries, one group for each attempt it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailers {
    /// `Tidegate-Outcome`, for example `RolledBack`, or `Started`.
    pub outcome: String,
    /// `Tidegate-Rollout`, for example `shop/checkout`.
    pub rollout: String,
    /// `Tidegate-Revision`.
    pub revision: String,
    /// `Tidegate-Config-Commit`: the commit that asked for the revision, where one is known.
    pub config_commit: Option<String>,
    /// `Tidegate-Id`: the attempt's.
    pub id: String,
}

/// The key of the trailer that a crashed writer finds its own commit by.
const ID_KEY: &str = "Tidegate-Id";

// === impl Signature ===

impl Signature {
    /// Tidegate's own, which its commits carry.
    pub fn of_tidegate(at: Timestamp) -> Self {
        let person = Person {
            name: "Tidegate".to_owned(),
            email: "tidegate@tidegate.io".to_owned(),
        };
        Self { person, at }
    }

    pub(super) fn to_gix(&self) -> gix::actor::Signature {
        // These characters end a field of the header.
        let clean = |text: &str| {
            text.replace(['<', '>', '\n', '\r', '\0'], " ")
                .trim()
                .to_owned()
        };
        gix::actor::Signature {
            name: clean(&self.person.name).into(),
            email: clean(&self.person.email).into(),
            time: gix::date::Time::new(self.at.as_second(), 0),
        }
    }
}

// === impl Trailers ===

impl Trailers {
    /// The lines, each with its line break.
    fn write_to(&self, message: &mut String) {
        let config_commit = self.config_commit.as_deref();
        let lines = [
            ("Tidegate-Outcome", Some(self.outcome.as_str())),
            ("Tidegate-Rollout", Some(&self.rollout)),
            ("Tidegate-Revision", Some(&self.revision)),
            ("Tidegate-Config-Commit", config_commit),
            (ID_KEY, Some(&self.id)),
        ];
        for (key, value) in lines {
            if let Some(value) = value {
                let _ = writeln!(message, "{key}: {}", one_line(value));
            }
        }
    }
}

/// A message of `text` and, as its last paragraph, the trailers of every group: git reads
/// trailers from the last paragraph only.
pub(super) fn message_with_trailers<'a>(
    text: &str,
    groups: impl IntoIterator<Item = &'a Trailers>,
) -> String {
    let mut message = text.trim().to_owned();
    message.push_str("\n\n");
    for group in groups {
        group.write_to(&mut message);
    }
    message
}

/// Whether `message` is one that speaks of the attempt `id`.
pub(super) fn carries_id(message: &str, id: &str) -> bool {
    message.lines().any(|line| {
        line.split_once(':')
            .is_some_and(|(key, value)| key == ID_KEY && value.trim() == one_line(id))
    })
}

/// A value that cannot begin a trailer of its own.
fn one_line(value: &str) -> String {
    let spaced: String = value
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    spaced.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers(id: &str) -> Trailers {
        Trailers {
            outcome: "Promoted".into(),
            rollout: "shop/checkout".into(),
            revision: "4f1c".into(),
            config_commit: None,
            id: id.into(),
        }
    }

    #[test]
    fn all_groups_are_in_the_last_paragraph() {
        let message = message_with_trailers("Two\n", [&trailers("a"), &trailers("b")]);
        let last = message
            .trim_end()
            .rsplit("\n\n")
            .next()
            .expect("a paragraph");
        assert_eq!(last.matches("Tidegate-Id: ").count(), 2);
        assert!(carries_id(&message, "a") && carries_id(&message, "b"));
        assert!(!carries_id(&message, "c"));
    }

    #[test]
    fn a_value_cannot_add_a_trailer() {
        let message = message_with_trailers("One", [&trailers("a\nTidegate-Id: b")]);
        assert!(!carries_id(&message, "b"));
    }
}
