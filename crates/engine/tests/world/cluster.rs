//! Every object that is cached, and the controllers of endpoints and routes.

mod canary;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    route::{RouteKind, RouteRef},
    workload::WorkloadKind,
};
use tidegate_engine::{
    invariants::{RouteSeen, ServiceSeen, VersionSeen, WorkloadSeen},
    observed::{self, Appliers, Endpoints, Labels, PodOwner, RetainedPod},
    pin::Pin,
    weight::Weight,
};

use crate::deployment::{Deployment, Set, Template, count, labels};

/// Time that endpoints take to follow pods and selectors.
const ENDPOINTS_LAG: SignedDuration = SignedDuration::from_millis(200);

/// Time that the gateway takes to accept a route.
const ROUTE_LAG: SignedDuration = SignedDuration::from_millis(300);

/// The objects of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) workload: Option<Deployment>,
    pub(crate) canary: Option<Deployment>,
    pub(crate) canary_service: bool,
    /// Pods that are retained for inspection.
    pub(crate) retained: Vec<RetainedPod>,
    pub(crate) services: Vec<Service>,
    pub(crate) routes: Vec<Route>,
    pub(crate) stable_endpoints: Backend,
    pub(crate) canary_endpoints: Backend,
    pub(crate) commits: Vec<Commit>,
    /// Templates that the `ControllerRevision`s keep.
    pub(crate) kept: BTreeMap<String, Template>,
    /// Time until which new pods find no room.
    pub(crate) no_room_until: Option<Timestamp>,
    /// True if nobody is left to accept a route.
    pub(crate) gateway_gone: bool,
    /// True if nobody calls the workload.
    pub(crate) is_uncalled: bool,
    /// Letter of the template whose config stable's pods read, where each has another.
    pub(crate) config: Option<char>,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) pin: Option<Pin>,
    pub(crate) epoch: Option<u64>,
    /// True if its selector selects a pod of another workload, too.
    pub(crate) spans: bool,
    /// True if Tidegate owns a field that it wrote.
    pub(crate) owned: bool,
    pub(crate) version: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) name: &'static str,
    /// The canary's share, where it is named.
    pub(crate) canary: Option<Weight>,
    pub(crate) epoch: Option<u64>,
    pub(crate) manager: &'static str,
    /// True if Tidegate owns a field that it wrote.
    pub(crate) owned: bool,
    pub(crate) version: u64,
    pub(crate) accepted: bool,
    accepted_at: Timestamp,
}

/// The published ready endpoints of a Service.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pods: Vec<(Owner, u64)>,
    since: Timestamp,
    due: Option<Timestamp>,
}

/// Step of a controller.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// A Deployment is gone.
    Gone(&'static str),
    /// The pods of a Deployment have changed: the canary's or the workload's.
    Pods { is_canary: bool },
    /// The endpoints of a Service have changed.
    Endpoints { service: &'static str, ready: u32 },
    /// The gateway has accepted a route.
    RouteAccepted(&'static str),
}

/// Owner of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    is_canary: bool,
    template: Template,
}

/// Revision that a commit asked for.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) id: String,
    pub(crate) revision: String,
    pub(crate) sequence: i64,
    pub(crate) template: Template,
    pub(crate) first_deploy: bool,
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new(now: Timestamp) -> Self {
        let route = Route {
            name: "checkout",
            canary: None,
            epoch: None,
            manager: "tidegate-sync",
            owned: false,
            version: 1,
            accepted: true,
            accepted_at: now,
        };
        Self {
            workload: None,
            canary: None,
            canary_service: false,
            retained: Vec::new(),
            services: vec![Service::new("checkout"), Service::new("checkout-internal")],
            routes: vec![route],
            stable_endpoints: Backend::new(now),
            canary_endpoints: Backend::new(now),
            commits: Vec::new(),
            kept: BTreeMap::new(),
            no_room_until: None,
            gateway_gone: false,
            is_uncalled: false,
            config: None,
        }
    }

    /// The revision that git asks for: the newest that is kept.
    pub(crate) fn wanted(&self) -> Option<&Commit> {
        let head = self.commits.last();
        head.filter(|head| self.kept.contains_key(&head.revision))
    }

    /// One step of every controller: the last thing that it did.
    pub(crate) fn control(&mut self, now: Timestamp) -> Option<Change> {
        let mut last = None;
        for (slot, is_canary) in [(&mut self.workload, false), (&mut self.canary, true)] {
            let Some(deployment) = slot else { continue };
            if deployment.going.is_some_and(|going| going <= now) {
                return slot.take().map(|gone| Change::Gone(gone.name));
            }
            deployment.no_room_until = self.no_room_until;
            if deployment.sync(now) {
                last = Some(Change::Pods { is_canary });
            }
        }
        last.or_else(|| self.publish(now))
            .or_else(|| self.accept_routes(now))
    }

    /// Returns a change in words.
    pub(crate) fn told(&self, change: Change, now: Timestamp) -> String {
        match change {
            Change::Gone(name) => format!("the Deployment {name} is gone"),
            Change::Pods { is_canary } => {
                let deployment = if is_canary {
                    &self.canary
                } else {
                    &self.workload
                };
                let pods = deployment
                    .as_ref()
                    .map(|one| (one.name, pods_in_words(one, now)));
                let (name, pods) = pods.unwrap_or_default();
                format!("the pods of {name}: {pods}")
            }
            Change::Endpoints { service, ready } => {
                format!("{service} has {ready} ready endpoints")
            }
            Change::RouteAccepted(name) => format!("the gateway has taken the route {name}"),
        }
    }

    /// Returns the time at which something changes by itself.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let deployments = [&self.workload, &self.canary]
            .into_iter()
            .flatten()
            .flat_map(|one| one.next_change(now));
        let endpoints = [&self.stable_endpoints, &self.canary_endpoints]
            .into_iter()
            .filter_map(|backend| backend.due);
        let routes = self
            .routes
            .iter()
            .filter(|route| !route.accepted)
            .map(|route| route.accepted_at);
        deployments
            .chain(endpoints)
            .chain(routes)
            .filter(|at| *at > now)
            .min()
    }

    pub(crate) fn routes_seen(&self) -> Vec<RouteSeen> {
        let seen = |route: &Route| {
            let canary = route.canary.unwrap_or_default();
            let stable = Weight::from_hundredths(Weight::FULL.hundredths() - canary.hundredths());
            RouteSeen {
                name: route.name.to_owned(),
                stable,
                canary,
                split: route.canary.is_some(),
                epoch: route.epoch,
            }
        };
        self.routes.iter().map(seen).collect()
    }

    pub(crate) fn services_seen(&self) -> Vec<ServiceSeen> {
        let seen = |service: &Service| ServiceSeen {
            name: service.name.to_owned(),
            pin: service.pin.clone(),
            epoch: service.epoch,
        };
        self.services.iter().map(seen).collect()
    }

    /// Returns true if the workload is to have no pod.
    pub(crate) fn is_switched_off(&self) -> bool {
        self.workload
            .as_ref()
            .is_some_and(|workload| workload.replicas == 0)
    }

    /// Number of the workload's ready pods.
    pub(crate) fn ready_of_workload(&self, now: Timestamp) -> u32 {
        let sets = self.workload.iter().flat_map(|workload| &workload.sets);
        sets.map(|set| set.ready(now)).sum()
    }

    pub(crate) fn workload_seen(&self, now: Timestamp) -> Option<WorkloadSeen> {
        let workload = self.workload.as_ref()?;
        let sets = workload.sets.iter();
        Some(WorkloadSeen {
            versions: sets
                .map(|set| VersionSeen {
                    id: set.template.version(),
                    template: set.template.content(),
                    replicas: count(set.pods.len()),
                    ready: set.ready(now),
                })
                .collect(),
            template: workload.template.content(),
            replicas: workload.replicas,
            paused: workload.paused,
            passed_by: workload.appliers == Appliers::PassBy,
            epoch: workload.epoch,
        })
    }

    fn publish(&mut self, now: Timestamp) -> Option<Change> {
        let callers = self.services.first();
        let stable =
            callers.map_or_else(Vec::new, |service| self.selected(service.pin.as_ref(), now));
        let canary = if self.canary_service {
            self.selected(Some(&Pin::Canary), now)
        } else {
            Vec::new()
        };
        if self.stable_endpoints.follow(stable, now) {
            return Some(Change::Endpoints {
                service: "checkout",
                ready: self.stable_endpoints.ready(),
            });
        }
        if self.canary_endpoints.follow(canary, now) {
            return Some(Change::Endpoints {
                service: "checkout-canary",
                ready: self.canary_endpoints.ready(),
            });
        }
        None
    }

    /// The ready pods that the Service's selector with this pin selects, in order.
    fn selected(&self, pin: Option<&Pin>, now: Timestamp) -> Vec<(Owner, u64)> {
        let mut selected = Vec::new();
        for (deployment, is_canary) in [(&self.workload, false), (&self.canary, true)] {
            let sets = deployment.iter().flat_map(|one| &one.sets);
            for set in sets.filter(|set| is_selected(set, is_canary, pin)) {
                let owner = Owner {
                    is_canary,
                    template: set.template,
                };
                let ready = set.pods.iter().filter(|pod| pod.is_ready(now));
                selected.extend(ready.map(|pod| (owner, pod.id)));
            }
        }
        selected.sort_unstable();
        selected
    }

    fn accept_routes(&mut self, now: Timestamp) -> Option<Change> {
        if self.gateway_gone {
            return None;
        }
        let route = self
            .routes
            .iter_mut()
            .find(|route| !route.accepted && route.accepted_at <= now)?;
        route.accepted = true;
        Some(Change::RouteAccepted(route.name))
    }
}

// === impl Service ===

impl Service {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            pin: None,
            epoch: None,
            spans: false,
            owned: false,
            version: 1,
        }
    }

    pub(crate) fn seen(&self) -> observed::Service {
        let mut selector: Labels = labels();
        let pin = Pin::labels(self.pin.as_ref(), WorkloadKind::Deployment);
        selector.extend(
            pin.into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))),
        );
        observed::Service {
            name: self.name.to_owned(),
            selector,
            epoch: self.epoch,
            external: false,
            for_peers: false,
            pin_setting: None,
            foreign_pod: self.spans.then(|| "basket-1".to_owned()),
            waiting: None,
            manager: None,
        }
    }
}

// === impl Route ===

impl Route {
    pub(crate) fn write(
        &mut self,
        canary: Option<Weight>,
        epoch: Option<u64>,
        manager: &'static str,
        now: Timestamp,
    ) {
        if self.canary != canary {
            (self.accepted, self.accepted_at) = (false, now + ROUTE_LAG);
        }
        (self.canary, self.epoch, self.manager) = (canary, epoch, manager);
        self.owned = manager == "tidegate";
        self.version += 1;
    }

    /// Somebody else writes a part of it that is no business of Tidegate's.
    pub(crate) fn write_elsewhere(&mut self, now: Timestamp) {
        (self.accepted, self.accepted_at) = (false, now + ROUTE_LAG);
        self.version += 1;
    }

    pub(crate) fn seen(&self) -> observed::Route {
        let state = observed::RouteState {
            weight: self.canary,
            split: self.canary.is_some(),
            accepted: self.accepted,
            followed: self.accepted,
            pending_parents: Vec::new(),
            epoch: self.epoch,
            obstacle: None,
            manager: Some(self.manager)
                .filter(|manager| !manager.starts_with("tidegate"))
                .map(str::to_owned),
        };
        observed::Route {
            route: RouteRef::new(RouteKind::HttpRoute, self.name),
            state: Some(state),
        }
    }
}

// === impl Backend ===

impl Backend {
    fn new(now: Timestamp) -> Self {
        Self {
            pods: Vec::new(),
            since: now,
            due: None,
        }
    }

    pub(crate) fn ready(&self) -> u32 {
        count(self.pods.len())
    }

    pub(crate) fn seen(&self) -> Endpoints {
        let mut owners: Vec<_> = self.pods.iter().map(|(owner, _)| *owner).collect();
        owners.dedup();
        let owners = owners.into_iter().map(Owner::seen).collect();
        Endpoints {
            ready: self.ready(),
            since: self.since,
            owners,
        }
    }

    /// Follows what is selected, a little later; whether it has changed.
    fn follow(&mut self, selected: Vec<(Owner, u64)>, now: Timestamp) -> bool {
        if selected == self.pods {
            self.due = None;
            return false;
        }
        let due = *self.due.get_or_insert(now + ENDPOINTS_LAG);
        if now < due {
            return false;
        }
        (self.pods, self.since, self.due) = (selected, now, None);
        true
    }
}

// === impl Owner ===

impl Owner {
    fn seen(self) -> PodOwner {
        let version = self.template.version();
        if self.is_canary {
            PodOwner::Canary(version)
        } else {
            PodOwner::Workload(version)
        }
    }
}

/// Returns true if a selector with this pin selects the pods of a set.
fn is_selected(set: &Set, is_canary: bool, pin: Option<&Pin>) -> bool {
    match pin {
        None => true,
        Some(Pin::Version(version)) => !is_canary && set.template.is_of(version),
        Some(Pin::Canary) => is_canary,
    }
}

fn pods_in_words(deployment: &Deployment, now: Timestamp) -> String {
    let sets = deployment.sets.iter().filter(|set| !set.pods.is_empty());
    let word = |set: &Set| {
        format!(
            "{} of {} ({} ready)",
            set.pods.len(),
            set.template.letter,
            set.ready(now)
        )
    };
    let words: Vec<_> = sets.map(word).collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}
