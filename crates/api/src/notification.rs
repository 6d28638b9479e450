//! Notifications: where the releases of a Rollout are told of, and the JSON document that is sent there.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CommitId, Revision, config_repo::SecretRef, record::Outcome};

pub use crate::reason::NotificationType;

/// The version of the document's format, in each of them.
pub const VERSION: u32 = 1;

/// Destination that is told of the releases of a Rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationTarget {
    /// Secret with the destination, in the same namespace: `url`, whose host the operator of Tidegate must
    /// allow; `hmacKey`, by which each request is signed, and `ca.crt` for a CA of your own, where these are
    /// wanted. It needs the label `tidegate.io/use: notifications`.
    pub secret_ref: SecretRef,
    /// Format of the message: `Json` for a receiver of your own, `Slack` for an incoming webhook of Slack,
    /// `Teams` for a workflow of Microsoft Teams that posts a card to a channel. Defaults to `Json`.
    #[serde(default)]
    pub format: NotificationFormat,
}

/// Format of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NotificationFormat {
    /// The document itself.
    #[default]
    Json,
    /// A message of Slack.
    Slack,
    /// A card of Microsoft Teams.
    Teams,
}

/// Document that a receiver gets. It gets each at least once, as long as Tidegate is not killed meanwhile, and
/// tells a second delivery by its `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The version of the format: [`VERSION`].
    pub version: u32,
    /// Id that no other notification has.
    pub id: String,
    /// Kind of news.
    #[serde(rename = "type")]
    pub type_: NotificationType,
    /// `Warning` if somebody should look.
    pub severity: Severity,
    /// Time at which it was decided.
    pub time: Timestamp,
    /// The cluster's name, as its operator gave it.
    pub cluster: String,
    /// The Rollout's namespace.
    pub namespace: String,
    /// The Rollout's name.
    pub rollout: String,
    /// Number of the attempt; absent between attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Full name of the attempt's revision, or between attempts of the one that git asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Commit that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Author of that commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Outcome of the attempt, once it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Reason for the outcome or the stall, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Sentence of the event.
    pub message: String,
}

/// Severity of a notification, in the words of Kubernetes' events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// Everything goes as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

// === impl NotificationFormat ===

impl NotificationFormat {
    /// Every format, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Json, Self::Slack, Self::Teams];

    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "Json",
            Self::Slack => "Slack",
            Self::Teams => "Teams",
        }
    }
}
