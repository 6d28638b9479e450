//! Where connections go: to a gateway, or to the endpoints of a Service, as kube-proxy sends them.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::StreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _, reflector,
        watcher::{self, watcher},
    },
};
use tokio::task::JoinHandle;

/// Where the connections of clients go.
#[derive(Clone, Debug)]
pub enum Backend {
    /// This address.
    Address(SocketAddr),
    /// A ready endpoint of a Service, each time another.
    Service(Arc<ServiceEndpoints>),
}

/// The ready endpoints of a Service, as long as this is kept.
#[derive(Debug)]
pub struct ServiceEndpoints {
    slices: reflector::Store<EndpointSlice>,
    /// Number of connections so far.
    connections: AtomicUsize,
    watching: JoinHandle<()>,
}

// === impl Backend ===

impl Backend {
    /// Address for a new connection.
    pub(super) fn choose(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Address(address) => Ok(*address),
            Self::Service(endpoints) => endpoints.choose(),
        }
    }
}

impl From<SocketAddr> for Backend {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

// === impl ServiceEndpoints ===

impl ServiceEndpoints {
    /// Begins to follow the endpoints of a Service.
    pub async fn follow(api: Api<EndpointSlice>, service: &str) -> Arc<Self> {
        let (slices, writer) = reflector::store();
        let labels = format!("kubernetes.io/service-name={service}");
        let objects = watcher(api, watcher::Config::default().labels(&labels))
            .default_backoff()
            .reflect(writer)
            .applied_objects();
        let watching = tokio::spawn(objects.for_each(|_| std::future::ready(())));
        // A watch that was dropped has told all that it will.
        let _listed = slices.wait_until_ready().await;
        Arc::new(Self {
            slices,
            connections: AtomicUsize::new(0),
            watching,
        })
    }

    /// The addresses of the ready endpoints, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let slices = self.slices.state();
        let mut addresses: Vec<_> = slices.iter().flat_map(|slice| ready(slice)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Chooses one after the other, as `IPVS` does by default: each has the same share. Nobody answers
    /// where none is ready.
    fn choose(&self) -> io::Result<SocketAddr> {
        let addresses = self.addresses();
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let index = number.checked_rem(addresses.len());
        index
            .and_then(|index| addresses.get(index).copied())
            .ok_or_else(|| io::Error::new(io::ErrorKind::ConnectionRefused, "no ready endpoint"))
    }
}

impl Drop for ServiceEndpoints {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn ready(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port);
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
        return Vec::new();
    };
    let ready = slice.endpoints.iter().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions
            .and_then(|conditions| conditions.ready)
            .unwrap_or(true)
    });
    ready
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, port)))
        .collect()
}
