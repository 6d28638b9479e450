//! Attribution of Interventions: a dry run of one that bears another's name. Asked so, and not by looking for
//! a policy, any policy will do, and one that does not hold in this namespace will not.

use kube::{
    Api, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use tidegate_api::{Intervention, intervention::InterventionSpec};
use tidegate_engine::observed::Attribution;

use super::{Effects, ExecuteError, failed};

/// A name that nobody has.
const NOBODY: &str = "tidegate:nobody";

/// Words by which the API server tells that a policy or a webhook denies an object, in contrast to a missing
/// right or a quota.
const DENIALS: [&str; 2] = ["denied request", "denied the request"];

// === impl Effects ===

impl Effects<'_> {
    /// Asks if this Intervention would be denied if it bore another's name; returns its uid with the answer.
    pub(super) async fn check_attribution(
        self,
        name: &str,
    ) -> Result<(String, Attribution), ExecuteError> {
        let namespace = &self.subject.id.namespace;
        let asked = self.caches.interventions.get(namespace, name);
        let known = asked.as_ref().and_then(|asked| asked.0.as_ref().ok());
        let known =
            known.ok_or_else(|| ExecuteError::Missing(format!("the Intervention {name}")))?;
        let another = Intervention {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", known.spec.rollout)),
                ..ObjectMeta::default()
            },
            spec: InterventionSpec {
                by: NOBODY.to_owned(),
                ..known.spec.clone()
            },
            status: None,
        };
        let api: Api<Intervention> = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let attribution = match api.create(&params, &another).await {
            Ok(_) => Attribution::Missing { said: None },
            Err(kube::Error::Api(refusal)) if matches!(refusal.code, 400 | 403 | 422) => {
                let said = refusal.message.clone();
                if DENIALS.iter().any(|words| said.contains(words)) {
                    Attribution::Enforced
                } else {
                    Attribution::Missing { said: Some(said) }
                }
            }
            Err(error) => {
                let what = format!("dry-run the Intervention {name} in another's name");
                return Err(failed(what)(error));
            }
        };
        Ok((known.uid().unwrap_or_default(), attribution))
    }
}

#[cfg(test)]
mod tests;
