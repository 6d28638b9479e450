//! A Prometheus behind a gateway: one that wants a tenant's header, and two that let GET alone through.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    cluster::free_port,
    eventually::until_true,
    http_client,
    process::{ChildProcess, ProcessSpec},
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(metrics_behind_proxy, run)];

/// Ports of the gateway: for tenants, and for those who may only GET, refused with 403 and 405.
struct Ports {
    tenants: u16,
    forbidden: u16,
    not_allowed: u16,
}

/// Tries each.
async fn run(context: Context) -> Result<()> {
    let mut bed = Testbed::new(context).await?;
    let ports = Ports {
        tenants: free_port()?,
        forbidden: free_port()?,
        not_allowed: free_port()?,
    };
    let _gateway = gateway(&bed, &ports).await?;
    let hosts = [ports.tenants, ports.forbidden, ports.not_allowed];
    bed.metrics_hosts = hosts
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "1s" }] }));
    bed.bring(&shop).await?;
    let clients = bed.clients(50);
    for (attempt, version, port) in [(2, "v2", ports.forbidden), (3, "v3", ports.not_allowed)] {
        let metrics = json!({ "metrics": { "url": url(port) } });
        let shop = shop
            .clone()
            .with_rollout(metrics)
            .with(Release::good(version));
        bed.commit(&shop, "Read the gates behind the gateway")
            .await?;
        let record = bed.outcome(attempt).await?;
        ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    }

    let v4 = shop.with(Release::good("v4"));
    let without = json!({ "metrics": { "url": url(ports.tenants) } });
    bed.commit(
        &v4.clone().with_rollout(without),
        "Read the gates as nobody",
    )
    .await?;
    let words = "answered with status 401: no org id";
    let status = bed
        .until("the gateway's words are told", |status| {
            status.message.contains(words)
        })
        .await?;
    ensure!(status.attempts == 3, "an attempt has begun");
    bed.create::<Secret>(json!({
        "metadata": { "name": "tenant", "labels": { "tidegate.io/use": "metrics" } },
        "stringData": { "X-Scope-OrgID": "team-shop" },
    }))
    .await?;
    let with =
        json!({ "metrics": { "url": url(ports.tenants), "headersFrom": { "name": "tenant" } } });
    bed.commit(&v4.clone().with_rollout(with), "Read the gates as a tenant")
        .await?;
    let record = bed.outcome(4).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    let log = fs::read_to_string(bed.tidegate()?.log()).context("Tidegate's log")?;
    ensure!(
        !log.contains("team-shop"),
        "the header's value is in the log"
    );
    let report = clients.stop().await;
    report.none_failed()
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/prometheus")
}

/// Starts the gateway; it ends when dropped.
async fn gateway(bed: &Testbed, ports: &Ports) -> Result<ChildProcess> {
    let root = bed.context.dir.join("metrics-gateway");
    fs::create_dir_all(&root).context("a folder for the gateway")?;
    let config = root.join("nginx.conf");
    let prometheus = bed.context.cluster.prometheus_url();
    let text = CONFIG
        .replace("ROOT", &root.display().to_string())
        .replace("PROMETHEUS", &prometheus)
        .replace("TENANTS", &ports.tenants.to_string())
        .replace("FORBIDDEN", &ports.forbidden.to_string())
        .replace("NOTALLOWED", &ports.not_allowed.to_string());
    fs::write(&config, text).context("the gateway's configuration")?;
    let process = ProcessSpec::new("metrics-gateway", "/usr/sbin/nginx", root.join("nginx.out"))
        .arg("-e")
        .arg(root.join("error.log"))
        .arg("-c")
        .arg(&config)
        .clean_env()
        .spawn()?;
    let address = format!("http://127.0.0.1:{}/", ports.tenants);
    let client = http_client::plain();
    until_true("the gateway answers", LIMIT, || async {
        Ok(client.get(&address).send().await.is_ok())
    })
    .await?;
    Ok(process)
}

/// As operators write it before a store with tenants, and before a Prometheus that people may read.
const CONFIG: &str = r#"daemon off;
master_process off;
pid ROOT/nginx.pid;
events { worker_connections 512; }
http {
  access_log ROOT/access.log;
  client_body_temp_path ROOT/body;
  proxy_temp_path ROOT/proxy;
  fastcgi_temp_path ROOT/fastcgi;
  uwsgi_temp_path ROOT/uwsgi;
  scgi_temp_path ROOT/scgi;
  server {
    listen 127.0.0.1:TENANTS;
    location /prometheus/ {
      default_type text/plain;
      if ($http_x_scope_orgid = "") { return 401 "no org id\n"; }
      proxy_pass PROMETHEUS/;
    }
  }
  server {
    listen 127.0.0.1:FORBIDDEN;
    location /prometheus/ {
      limit_except GET { deny all; }
      proxy_pass PROMETHEUS/;
    }
  }
  server {
    listen 127.0.0.1:NOTALLOWED;
    location /prometheus/ {
      if ($request_method != GET) { return 405; }
      proxy_pass PROMETHEUS/;
    }
  }
}
"#;
