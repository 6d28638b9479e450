//! Queries as people write them, with `{{placeholders}}`.
//!
//! Only valid Kubernetes names are put in, so no value can close a string or add a matcher.

use jiff::SignedDuration;

/// A query with placeholders, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryTemplate(Vec<Part>);

/// Values of the placeholders for one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    /// Namespace of the Rollout.
    pub namespace: String,
    /// Name of the workload.
    pub name: String,
    /// Name of the Service that callers use.
    pub service: String,
    /// Track of the version: `stable` or `canary`.
    pub track: String,
    /// Hash of the revision.
    pub revision: String,
    /// Names that those of the version's pods begin with. Kubernetes appends a dash and five
    /// characters to them.
    pub pod_name_prefixes: Vec<String>,
}

/// Cause for which a query cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that does not exist.
    #[error("the query uses {{{{{found}}}}}, which is unknown: use {}", known())]
    Unknown {
        /// Name of the placeholder.
        found: String,
    },
    /// `{{` alone.
    #[error("the query has {{{{ without }}}}")]
    Unclosed,
    /// A value that is not a Kubernetes name.
    #[error("{{{{{placeholder}}}}} would be {value:?}, which is not a Kubernetes name")]
    NotAName {
        /// Name of the placeholder.
        placeholder: &'static str,
        /// Value of the placeholder.
        value: String,
    },
    /// A prefix whose end is cut away in the names of the pods, which have 63 characters.
    #[error("{prefix} is too long to tell the pods whose names begin with it from others")]
    TooLong {
        /// Prefix of the names.
        prefix: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Namespace,
    Name,
    Service,
    Track,
    Revision,
    Pods,
    Window,
}

/// Length to which Kubernetes cuts the prefix of a generated name, so that the whole has 63.
const MAX_GENERATE_NAME: usize = 58;

/// Name that no pod has. Without a prefix `{{pods}}` must match nothing; an empty expression
/// would match every series without the label.
const NO_POD: &str = "-";

// === impl QueryTemplate ===

impl QueryTemplate {
    /// Parses a query.
    pub fn parse(query: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = query;
        while let Some((text, after)) = rest.split_once("{{") {
            let (found, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            parts.push(Part::Text(text.to_owned()));
            parts.push(Part::Placeholder(Placeholder::parse(found)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Returns true if the query uses `{{window}}`.
    pub(crate) fn uses_window(&self) -> bool {
        self.uses(Placeholder::Window)
    }

    /// Returns true if the query names pods.
    pub(crate) fn names_pods(&self) -> bool {
        self.uses(Placeholder::Pods)
    }

    /// Returns true if the query names a version by its pods and in no other way.
    pub(crate) fn tells_versions_by_pods(&self) -> bool {
        self.uses(Placeholder::Pods)
            && !self.uses(Placeholder::Track)
            && !self.uses(Placeholder::Revision)
    }

    fn uses(&self, placeholder: Placeholder) -> bool {
        self.0.contains(&Part::Placeholder(placeholder))
    }

    /// Returns the query with all placeholders replaced. `{{window}}` is rounded down, so that it never
    /// reaches back further than it may.
    pub(crate) fn expand(
        &self,
        variables: &Variables,
        window: SignedDuration,
    ) -> Result<String, TemplateError> {
        self.0
            .iter()
            .map(|part| part.expand(variables, window))
            .collect()
    }
}

// === impl Part ===

impl Part {
    fn expand(
        &self,
        variables: &Variables,
        window: SignedDuration,
    ) -> Result<String, TemplateError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Placeholder(placeholder) => placeholder.value(variables, window),
        }
    }
}

// === impl Placeholder ===

impl Placeholder {
    const ALL: [Self; 7] = [
        Self::Namespace,
        Self::Name,
        Self::Service,
        Self::Track,
        Self::Revision,
        Self::Pods,
        Self::Window,
    ];

    fn parse(found: &str) -> Result<Self, TemplateError> {
        let found = found.trim();
        let named = Self::ALL
            .into_iter()
            .find(|placeholder| placeholder.name() == found);
        named.ok_or_else(|| TemplateError::Unknown {
            found: found.to_owned(),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Name => "name",
            Self::Service => "service",
            Self::Track => "track",
            Self::Revision => "revision",
            Self::Pods => "pods",
            Self::Window => "window",
        }
    }

    fn value(self, variables: &Variables, window: SignedDuration) -> Result<String, TemplateError> {
        match self {
            Self::Namespace => self.checked(&variables.namespace),
            Self::Name => self.checked(&variables.name),
            Self::Service => self.checked(&variables.service),
            Self::Track => self.checked(&variables.track),
            Self::Revision => self.checked(&variables.revision),
            Self::Pods => self.pods(&variables.pod_name_prefixes),
            Self::Window => Ok(in_promql(window)),
        }
    }

    fn checked(self, value: &str) -> Result<String, TemplateError> {
        if !value.is_empty() && value.chars().all(is_valid_in_names) {
            Ok(value.to_owned())
        } else {
            Err(TemplateError::NotAName {
                placeholder: self.name(),
                value: value.to_owned(),
            })
        }
    }

    /// Returns `(checkout-canary-5d4f8c7b9-[a-z0-9]{5}|…)`. Matchers anchor their expressions
    /// themselves. A dot is escaped as `[.]`, which means the same in all three kinds of strings.
    fn pods(self, prefixes: &[String]) -> Result<String, TemplateError> {
        let pods = prefixes.iter().map(|prefix| self.pods_with(prefix));
        let pods = pods.collect::<Result<Vec<_>, _>>()?.join("|");
        Ok(format!(
            "({})",
            if pods.is_empty() { NO_POD } else { &pods }
        ))
    }

    fn pods_with(self, prefix: &str) -> Result<String, TemplateError> {
        let mut generate_name = format!("{}-", self.checked(prefix)?);
        if prefix.len() > MAX_GENERATE_NAME {
            return Err(TemplateError::TooLong {
                prefix: prefix.to_owned(),
            });
        }
        // Of a name of just that length, only the dash is cut.
        generate_name.truncate(MAX_GENERATE_NAME);
        Ok(format!(
            "{}[a-z0-9]{{5}}",
            generate_name.replace('.', "[.]")
        ))
    }
}

/// Returns a range: in whole seconds, but a short one, where a part of a second is much.
fn in_promql(window: SignedDuration) -> String {
    if window < SignedDuration::from_secs(10) && window.subsec_millis() != 0 {
        format!("{}ms", window.as_millis().max(1))
    } else {
        format!("{}s", window.as_secs().max(1))
    }
}

fn is_valid_in_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

fn known() -> String {
    Placeholder::ALL
        .map(|placeholder| format!("{{{{{}}}}}", placeholder.name()))
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::canary;

    fn expand(query: &str, variables: &Variables) -> Result<String, TemplateError> {
        QueryTemplate::parse(query)?.expand(variables, SignedDuration::from_millis(90_700))
    }

    #[test]
    fn every_placeholder_is_put_in() {
        let query = r#"x{a="{{namespace}}/{{name}}/{{ service }}/{{track}}/{{revision}}",pod=~"{{pods}}"}[{{window}}]"#;
        let expanded = r#"x{a="shop/checkout/checkout-svc/canary/0a1b2c",pod=~"(checkout-canary-5d4f8c7b9-[a-z0-9]{5})"}[90s]"#;
        assert_eq!(expand(query, &canary()).as_deref(), Ok(expanded));
    }

    #[test]
    fn braces_of_promql_are_left_alone() {
        let query = r#"sum(x{pod=~"a{2}"}) / sum(x{})"#;
        assert_eq!(expand(query, &canary()).as_deref(), Ok(query));
    }

    /// Expands `{{pods}}` for these prefixes.
    fn pods(names: &[&str]) -> Result<String, TemplateError> {
        let variables = Variables {
            pod_name_prefixes: names.iter().map(ToString::to_string).collect(),
            ..canary()
        };
        expand("{{pods}}", &variables)
    }

    #[test]
    fn pods_are_those_whose_names_begin_so_alone() {
        assert_eq!(
            pods(&["a-1", "b.c-2"]).as_deref(),
            Ok("(a-1-[a-z0-9]{5}|b[.]c-2-[a-z0-9]{5})")
        );
        assert_eq!(pods(&[]).as_deref(), Ok("(-)"));
        let (just_fits, too_long) = ("a".repeat(58), "a".repeat(59));
        assert_eq!(
            pods(&[&just_fits]),
            Ok(format!("({just_fits}[a-z0-9]{{5}})"))
        );
        assert_eq!(
            pods(&[&too_long]),
            Err(TemplateError::TooLong { prefix: too_long })
        );
    }

    #[test]
    fn an_unknown_placeholder_is_rejected_with_the_known_ones() {
        let error = QueryTemplate::parse("x{pod=~\"{{pod}}\"}")
            .expect_err("unknown")
            .to_string();
        assert_eq!(
            error,
            "the query uses {{pod}}, which is unknown: use {{namespace}}, {{name}}, {{service}}, \
             {{track}}, {{revision}}, {{pods}}, {{window}}"
        );
        let error = QueryTemplate::parse("x[{{window]")
            .expect_err("unclosed")
            .to_string();
        assert_eq!(error, "the query has {{ without }}");
    }

    #[test]
    fn a_value_cannot_add_a_matcher() {
        let variables = Variables {
            track: r#"canary",job="other"#.into(),
            ..canary()
        };
        assert!(matches!(
            expand("{{track}}", &variables),
            Err(TemplateError::NotAName {
                placeholder: "track",
                ..
            })
        ));
    }
}
