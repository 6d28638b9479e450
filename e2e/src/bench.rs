//! Benches: what is measured on the cluster of the scenarios. They print counts, shares and times beside
//! their goals, and hold nothing to be right: that is what scenarios are for.
//!
//! | module | content |
//! |---|---|
//! | `audit` | the requests of Tidegate, by the API server's audit log |
//! | `requests` | the requests of a release and of a rollback |
//! | `estate` | many apps of fake pods |
//! | `exporter` | their metrics |
//! | `process` | CPU and memory of Tidegate |
//! | `many` | releases and a breach of many apps at once |
//! | `idle` | many apps that nobody releases |

pub mod audit;
mod estate;
mod exporter;
mod idle;
mod many;
mod process;
mod requests;

use std::sync::Arc;

use anyhow::Result;
use clap::Subcommand;

use self::estate::{Estate, Size};
use crate::{cluster::Cluster, scenario::Context};

/// One thing that is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum Bench {
    /// Requests to the API server of a release of five steps, and of a rollback.
    Requests,
    /// Releases of many apps at once, and a breach of all of them.
    Many(Size),
    /// Memory, CPU and requests of many apps that nobody releases.
    Idle {
        /// Number of apps and their distribution.
        #[command(flatten)]
        size: Size,
        /// Number of minutes in which nothing is released.
        #[arg(long, default_value_t = 5)]
        minutes: u32,
    },
}

// === impl Bench ===

impl Bench {
    /// Measures it, and prints what came out.
    pub async fn run(&self, cluster: &Arc<Cluster>) -> Result<()> {
        match self {
            Self::Requests => {
                let context =
                    Context::new(cluster, requests::NAMESPACE, requests::NAMESPACE).await?;
                Box::pin(requests::run(context)).await
            }
            Self::Many(size) => {
                let estate = Box::pin(Estate::found(cluster, *size)).await?;
                Box::pin(many::run(&estate)).await
            }
            Self::Idle { size, minutes } => {
                let estate = Box::pin(Estate::found(cluster, *size)).await?;
                Box::pin(idle::run(&estate, *minutes)).await
            }
        }
    }
}
