//! Attribution of Interventions: is the one who asks the one whom `spec.by` names? A task for each open
//! Intervention that lets a revision in, beside the reconciles, which requeues its Rollout with the answer.
//!
//! The API server is asked by dry runs of the same Intervention: in the name of nobody, which must be denied,
//! and in Tidegate's own name, which must not, so that it is the name that makes the difference. Asked so, and
//! not by looking for a policy, any policy will do, and one that does not hold in this namespace will not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tidegate_api::{Intervention, NamespacedName, intervention::InterventionSpec};
use tidegate_engine::observed::{self, Attribution};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::{caches::Caches, kubernetes::caller, requeue::RequeueSender};

/// Answers, by Rollout.
pub(crate) struct Attributions {
    requeue_tx: RequeueSender,
    asked: Mutex<HashMap<NamespacedName, OfRollout>>,
}

/// Answers for the open Interventions of one Rollout, by uid.
type OfRollout = HashMap<String, Asked>;

/// An Intervention about which the API server is or was asked.
struct Asked {
    answer: Arc<OnceLock<Attribution>>,
    _task: AbortOnDropHandle<()>,
}

/// A name that nobody has.
const NOBODY: &str = "tidegate:nobody";

/// Words by which the API server tells that a policy or a webhook denies an object, in contrast to a missing
/// right or a quota.
const DENIALS: [&str; 2] = ["denied request", "denied the request"];

/// Waits between tries. Whoever asked is told after the last.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

// === impl Attributions ===

impl Attributions {
    pub(crate) fn new(requeue_tx: RequeueSender) -> Self {
        Self {
            requeue_tx,
            asked: Mutex::default(),
        }
    }

    /// Returns the answers for the Interventions of a Rollout, by uid.
    pub(crate) fn answers(&self, rollout: &NamespacedName) -> HashMap<String, Attribution> {
        let all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = all.get(rollout).into_iter().flatten();
        let answered = asked.filter_map(|(uid, asked)| Some((uid.clone(), asked.answer.get()?)));
        answered
            .map(|(uid, answer)| (uid, answer.clone()))
            .collect()
    }

    /// Asks about these open Interventions, unless it was asked, and forgets all others of the Rollout.
    pub(crate) fn ask(
        &self,
        client: &Client,
        caches: &Caches,
        rollout: &NamespacedName,
        open: &[observed::Intervention],
    ) {
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_empty() {
            all.remove(rollout);
            return;
        }
        let of_rollout = all.entry(rollout.clone()).or_default();
        of_rollout.retain(|uid, _| open.iter().any(|one| one.uid == *uid));
        for one in open.iter().filter(|one| one.spec.needs_revision()) {
            let known = caches.interventions.get(&rollout.namespace, &one.name);
            let known = known.as_ref().and_then(|known| known.0.as_ref().ok());
            let Some(known) = known.filter(|known| known.metadata.uid.as_ref() == Some(&one.uid))
            else {
                continue;
            };
            of_rollout
                .entry(one.uid.clone())
                .or_insert_with(|| self.start(client.clone(), rollout.clone(), known.clone()));
        }
    }

    /// Forgets a Rollout.
    pub(crate) fn forget(&self, rollout: &NamespacedName) {
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(rollout);
    }

    fn start(&self, client: Client, rollout: NamespacedName, known: Intervention) -> Asked {
        let answer = Arc::new(OnceLock::new());
        let (told, requeue_tx) = (answer.clone(), self.requeue_tx.clone());
        let span = tracing::info_span!("attribution", rollout.namespace, rollout.name);
        let ask = async move {
            let attribution = attribution(&client, &rollout.namespace, &known).await;
            told.get_or_init(|| attribution);
            requeue_tx.requeue(rollout);
        };
        Asked {
            answer,
            _task: AbortOnDropHandle::new(tokio::spawn(ask.instrument(span))),
        }
    }
}

/// Asks until there is an answer. Where there is none the name cannot be believed.
async fn attribution(client: &Client, namespace: &str, known: &Intervention) -> Attribution {
    let mut pauses = PAUSES.into_iter();
    loop {
        match ask_once(client, namespace, known).await {
            Ok(attribution) => return attribution,
            Err(error) => {
                tracing::warn!(%error, "cannot ask if another's name would be denied");
                let Some(pause) = pauses.next() else {
                    let said = Some(error.to_string());
                    return Attribution::Missing { said };
                };
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn ask_once(
    client: &Client,
    namespace: &str,
    known: &Intervention,
) -> Result<Attribution, kube::Error> {
    let api: Api<Intervention> = Api::namespaced(client.clone(), namespace);
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match api.create(&params, &in_name_of(known, NOBODY)).await {
        // A policy that writes the name by itself.
        Ok(made) if made.spec.by != NOBODY => return Ok(Attribution::Enforced),
        Ok(_) => return Ok(Attribution::Missing { said: None }),
        Err(error) if is_denial(&error) => {}
        Err(error) => return refusal(error),
    }
    let own = caller::username(client.clone()).await?.unwrap_or_default();
    match api.create(&params, &in_name_of(known, &own)).await {
        Ok(_) => Ok(Attribution::Enforced),
        Err(error) => refusal(error),
    }
}

/// The same Intervention in another name. Policies may select by labels and annotations.
fn in_name_of(known: &Intervention, by: &str) -> Intervention {
    Intervention {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", known.spec.rollout)),
            labels: known.metadata.labels.clone(),
            annotations: known.metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        spec: InterventionSpec {
            by: by.to_owned(),
            ..known.spec.clone()
        },
        status: None,
    }
}

/// Returns true if a policy or a webhook denies the object, by whatever code.
fn is_denial(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    DENIALS.iter().any(|words| status.message.contains(words))
}

/// Returns the attribution where the API server refuses; what it cannot answer now is an error.
fn refusal(error: kube::Error) -> Result<Attribution, kube::Error> {
    match &error {
        kube::Error::Api(status)
            if is_denial(&error) || matches!(status.code, 400..500) && status.code != 429 =>
        {
            let said = Some(status.message.clone());
            Ok(Attribution::Missing { said })
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests;
