//! Events of the namespace.

use anyhow::Result;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;

use super::{LIMIT, Testbed};
use crate::eventually::until_true;

// === impl Testbed ===

impl Testbed {
    /// Waits for an event that warns of this as an attempt begins.
    pub async fn warned(&self, sentence: &str) -> Result<()> {
        until_true(&format!("an event says {sentence:?}"), LIMIT, || async {
            let events = self.api::<Event>().list(&ListParams::default()).await?;
            Ok(events.iter().any(|event| warns_of(event, sentence)))
        })
        .await
    }
}

fn warns_of(event: &Event, sentence: &str) -> bool {
    let note = event.note.as_deref().unwrap_or_default();
    event.reason.as_deref() == Some("PreflightWarning") && note.contains(sentence)
}
