//! The node agent: what a kubelet is to a cluster, for pods that are processes.
//!
//! ```text
//! watch of the pods bound to the Node ──▶ one task per pod ──▶ its containers, as processes
//!                                             │                 on the pod's own address
//!                                             └──▶ status: podIP, containers, conditions
//! ```
//!
//! Owns the Node, the addresses of its pods and their processes. Everything else, from scheduling
//! to endpoints and garbage collection, is Kubernetes' own. Of a container it knows the image,
//! plain variables and those that name the pod; pods end by being deleted, never by completing.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

pub use self::node::NodeError;
use self::{addresses::Addresses, pod::PodTask};

mod addresses;
mod config;
mod container;
mod node;
mod pod;
mod probe;
mod status;

/// Configuration of a node agent.
#[derive(Clone, Debug)]
pub struct NodeAgentSpec {
    /// The Node that it keeps.
    pub node: String,
    /// The Node's own address.
    pub node_address: IpAddr,
    /// The program that is started with the argument `demo-app` for each container of that image.
    pub program: PathBuf,
    /// Folder of the containers' logs.
    pub log_dir: PathBuf,
}

/// Desired state of a pod, as the API server last said.
#[derive(Clone, Debug)]
enum Wanted {
    /// It is there, perhaps on its way out.
    Pod(Arc<Pod>),
    /// It is gone.
    Gone,
}

struct Agent {
    client: Client,
    spec: Arc<NodeAgentSpec>,
    probes: reqwest::Client,
    addresses: Addresses,
    pods: HashMap<String, watch::Sender<Wanted>>,
    tasks: JoinSet<()>,
    /// Pod and address of each task.
    owners: HashMap<Id, (String, IpAddr)>,
    /// The pods of a list that has begun and is not complete.
    listed: HashSet<String>,
}

// === impl NodeAgentSpec ===

impl NodeAgentSpec {
    /// The Node of the test cluster (E2E.md has its addresses), whose pods run `program`.
    pub fn new(program: impl Into<PathBuf>, log_dir: impl Into<PathBuf>) -> Self {
        Self {
            node: "node-1".to_owned(),
            node_address: IpAddr::from([10, 0, 0, 1]),
            program: program.into(),
            log_dir: log_dir.into(),
        }
    }
}

/// Runs the agent until `stop` is cancelled; its pods' processes end with it.
pub async fn run(
    client: Client,
    spec: NodeAgentSpec,
    stop: CancellationToken,
) -> Result<(), NodeError> {
    node::register(&client, &spec).await?;
    let spec = Arc::new(spec);
    let heart = node::beat(client.clone(), spec.clone());
    let agent = Agent {
        probes: probe::client(),
        client,
        spec,
        addresses: Addresses::default(),
        pods: HashMap::new(),
        tasks: JoinSet::new(),
        owners: HashMap::new(),
        listed: HashSet::new(),
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = heart => {}
        () = agent.run() => {}
    }
    Ok(())
}

// === impl Agent ===

impl Agent {
    async fn run(mut self) {
        let bound = format!("spec.nodeName={}", self.spec.node);
        let pods = Api::<Pod>::all(self.client.clone());
        let events = watcher(pods, watcher::Config::default().fields(&bound)).default_backoff();
        tokio::pin!(events);
        loop {
            tokio::select! {
                event = events.next() => match event.expect("the stream never ends") {
                    Ok(event) => self.take(event),
                    Err(error) => tracing::warn!(%error, "the watch of pods is interrupted"),
                },
                Some(ended) = self.tasks.join_next_with_id() => {
                    let task = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(%error, "a pod's task broke");
                            error.id()
                        }
                    };
                    self.forget(task);
                }
            }
        }
    }

    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Apply(pod) => self.want(pod),
            Event::Delete(pod) => self.gone(&pod.uid().unwrap_or_default()),
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(pod.uid().unwrap_or_default());
                self.want(pod);
            }
            Event::InitDone => {
                let unlisted: Vec<_> = self
                    .pods
                    .keys()
                    .filter(|uid| !self.listed.contains(*uid))
                    .cloned()
                    .collect();
                for uid in unlisted {
                    self.gone(&uid);
                }
            }
        }
    }

    fn want(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let wanted = Wanted::Pod(Arc::new(pod));
        if let Some(known) = self.pods.get(&uid) {
            known.send_replace(wanted);
            return;
        }
        let Some(address) = self.addresses.take() else {
            tracing::error!(uid, "no address is left for another pod");
            return;
        };
        let (sender, receiver) = watch::channel(wanted);
        let task = PodTask::new(
            self.client.clone(),
            self.spec.clone(),
            self.probes.clone(),
            address,
            receiver,
        );
        let task = self.tasks.spawn(task.run());
        self.owners.insert(task.id(), (uid.clone(), address));
        self.pods.insert(uid, sender);
    }

    fn gone(&mut self, uid: &str) {
        if let Some(known) = self.pods.get(uid) {
            known.send_replace(Wanted::Gone);
        }
    }

    fn forget(&mut self, task: Id) {
        if let Some((uid, address)) = self.owners.remove(&task) {
            self.pods.remove(&uid);
            self.addresses.give_back(address);
        }
    }
}

#[cfg(test)]
mod tests;
