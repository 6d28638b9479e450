//! Interventions that have no answer yet, and whose they are.

use tidegate_api::intervention::InterventionSpec;

/// An intervention without an answer.
#[derive(Clone, Debug)]
pub struct Intervention {
    /// The object's name.
    pub name: String,
    /// The object's uid.
    pub uid: String,
    /// Spec of the Intervention.
    pub spec: InterventionSpec,
    /// Attribution of it, as far as it was asked.
    pub attribution: Attribution,
}

/// Attribution of an Intervention: can its `spec.by` be believed? The API server is asked for the same in
/// another's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// It was not asked yet.
    Unknown,
    /// A policy denies the Intervention in another's name.
    Enforced,
    /// No policy does.
    Missing {
        /// Words of the API server, if it refused for another cause.
        said: Option<String>,
    },
}
