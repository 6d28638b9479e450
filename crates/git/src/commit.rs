//! Commits as values: those read from a repository, and the parts of those that are written.

use std::fmt::Write as _;

use jiff::Timestamp;

/// Name of a commit: the hash of its content.
pub use gix::ObjectId;

/// A commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Name of the commit.
    pub id: ObjectId,
    /// Author of the change.
    pub author: Person,
    /// Time of the commit, to the second, as its committer's clock had it.
    pub time: Timestamp,
    /// First line of the message.
    pub subject: String,
    /// The whole message, the subject included.
    pub message: String,
}

/// An author or a committer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// For example `Ada Lovelace`.
    pub name: String,
    /// For example `ada@example.com`.
    pub email: String,
}

/// A committer with the time of the commit. The caller gives the time, so that a commit is a
/// function of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The author or committer.
    pub(crate) person: Person,
    /// Time of the commit; git keeps the second.
    pub(crate) at: Timestamp,
}

/// Pipelines that the host of a repository starts for a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ci {
    /// They run.
    Run,
    /// They are skipped: the message has `[skip ci]`, which GitHub, GitLab, Bitbucket, Gitea and Forgejo
    /// look for. The push option `ci.skip` fails where a server takes no options.
    Skip,
}

/// Trailers of a commit that Tidegate writes, one group for each attempt that the commit is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailers {
    /// `Tidegate-Outcome`, for example `RolledBack`, or `Started`.
    pub outcome: String,
    /// `Tidegate-Rollout`, for example `shop/checkout`.
    pub rollout: String,
    /// `Tidegate-Revision`.
    pub revision: String,
    /// `Tidegate-Config-Commit`: the commit that requested the revision, if it is known.
    pub config_commit: Option<String>,
    /// `Tidegate-Id`: the id of the attempt.
    pub id: String,
}

/// Key of the trailer by which a writer finds its own commit after a crash.
const ID_KEY: &str = "Tidegate-Id";

// === impl Ci ===

impl Ci {
    /// Skips pipelines, or has them run.
    pub fn skip_if(skip: bool) -> Self {
        if skip { Self::Skip } else { Self::Run }
    }
}

// === impl Signature ===

impl Signature {
    /// Tidegate's own signature.
    pub fn of_tidegate(at: Timestamp) -> Self {
        let person = Person {
            name: "Tidegate".to_owned(),
            email: "tidegate@tidegate.io".to_owned(),
        };
        Self { person, at }
    }

    pub(crate) fn to_gix(&self) -> gix::actor::Signature {
        gix::actor::Signature {
            name: header_field(&self.person.name).into(),
            email: header_field(&self.person.email).into(),
            time: gix::date::Time::new(self.at.as_second(), 0),
        }
    }
}

/// `text` without the characters that end a field of a commit's header.
fn header_field(text: &str) -> String {
    text.replace(['<', '>', '\n', '\r', '\0'], " ")
        .trim()
        .to_owned()
}

// === impl Trailers ===

impl Trailers {
    /// Appends the trailers, one on a line.
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

/// A commit message of `text`, the mark for CI and, as its last paragraph, the trailers of every group: git reads
/// trailers from the last paragraph only.
pub(crate) fn message_with_trailers<'a>(
    text: &str,
    ci: Ci,
    groups: impl IntoIterator<Item = &'a Trailers>,
) -> String {
    let mut message = text.trim().to_owned();
    message.push_str("\n\n");
    if ci == Ci::Skip {
        message.push_str("[skip ci]\n\n");
    }
    for group in groups {
        group.write_to(&mut message);
    }
    message
}

/// Returns true if `message` has a trailer with the attempt's `id`.
pub(crate) fn carries_id(message: &str, id: &str) -> bool {
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
        let message = message_with_trailers("Two\n", Ci::Skip, [&trailers("a"), &trailers("b")]);
        let last = message
            .trim_end()
            .rsplit("\n\n")
            .next()
            .expect("a paragraph");
        assert_eq!(last.matches("Tidegate-Id: ").count(), 2);
        assert!(carries_id(&message, "a") && carries_id(&message, "b"));
        assert!(!carries_id(&message, "c"));
        assert!(
            message.starts_with("Two\n\n[skip ci]\n\nTidegate-"),
            "{message}"
        );
    }

    #[test]
    fn a_value_cannot_add_a_trailer() {
        let message = message_with_trailers("One", Ci::Run, [&trailers("a\nTidegate-Id: b")]);
        assert!(!carries_id(&message, "b"));
    }
}
