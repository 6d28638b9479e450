//! A chat is told of a release within seconds, signed. While the chat is down nothing waits for it: a breach
//! moves traffic back as ever, and the chat is told of it, in order, when it is back.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header::CONNECTION},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use ring::hmac;
use serde_json::json;
use tidegate_api::{
    CommitId, Intervention,
    intervention::Action,
    notification::{Notification, NotificationType},
    record::Outcome,
    status::RolloutStatus,
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    demo_app::BehaviorChange,
    eventually::eventually,
    scenario::{Context, Scenario, scenario},
    testbed::{ADMIN, LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(notifications, run)];

/// Key that requests are signed by.
const KEY: &str = "correct horse battery staple";

/// Time from a transition until the chat has it.
const SOON: SignedDuration = SignedDuration::from_secs(5);

/// Attempt of the second revision.
const ATTEMPT: u32 = 2;

/// What was received, and when.
type Received = Arc<Mutex<Vec<(Timestamp, Notification)>>>;

/// A chat that can be down.
struct Chat {
    address: SocketAddr,
    received: Received,
    serving: Option<AbortOnDropHandle<()>>,
}

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let mut chat = Chat::open().await?;
    let mut bed = Testbed::new(context).await?;
    bed.notification_hosts.push(chat.address.to_string());
    bed.create::<Secret>(json!({
        "metadata": { "name": "chat", "labels": { "tidegate.io/use": "notifications" } },
        "stringData": { "url": format!("http://{}/hook", chat.address), "hmacKey": KEY },
    }))
    .await?;
    let shop = Shop::new().with_rollout(json!({
        "steps": [
            { "weight": 10, "hold": "1s" },
            { "approval": {} },
            { "weight": 50, "hold": "10m" },
        ],
        "notifications": [{ "secretRef": { "name": "chat" } }],
    }));
    bed.bring(&shop).await?;
    let clients = bed.clients(200);
    let commit = bed
        .commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    let started = chat.told(NotificationType::Started).await?;
    ensure!(
        started.commit.as_ref().map(CommitId::as_str) == Some(commit.as_str())
            && started.rollout == NAME
            && started.namespace == bed.context.namespace
            && started.cluster == "e2e",
        "{started:?}"
    );
    let waits = chat.told(NotificationType::AwaitingApproval).await?;
    ensure!(waits.revision == started.revision, "{waits:?}");

    approve(&bed, &waits).await?;
    bed.step(ATTEMPT, 3).await?;
    let canary = bed.pods_of("v2").await?;
    chat.close();
    let errors = BehaviorChange {
        error_rate: Some(0.5),
        ..BehaviorChange::default()
    };
    bed.behave(&canary, errors).await?;
    let record = bed.rolled_back(ATTEMPT).await?;
    let reaction = bed.reaction(&record).await?;
    println!("      breach while the chat is down: {reaction}");
    ensure!(
        reaction.written.duration_since(reaction.read) < SignedDuration::from_secs(1),
        "traffic waited for the chat"
    );
    bed.all_went_back(&clients, "v1").await?;
    bed.until("the attempt is over", over).await?;

    chat.reopen().await?;
    let back = chat.told_late(NotificationType::RollingBack).await?;
    let ended = chat.told_late(NotificationType::Ended).await?;
    ensure!(
        back.message
            .contains("rolling back: gate \"errors\" breached")
            && back.commit == started.commit,
        "{back:?}"
    );
    ensure!(
        ended.outcome == Some(Outcome::RolledBack)
            && ended.reason.as_deref() == Some("GateBreached"),
        "{ended:?}"
    );
    chat.was_told_once(&[
        NotificationType::Started,
        NotificationType::AwaitingApproval,
        NotificationType::RollingBack,
        NotificationType::Ended,
    ])?;
    drop(clients.stop().await);
    Ok(())
}

fn over(status: &RolloutStatus) -> bool {
    status.attempt.is_none()
}

async fn approve(bed: &Testbed, waits: &Notification) -> Result<()> {
    bed.create::<Intervention>(json!({
        "metadata": { "name": "approve-it" },
        "spec": {
            "rollout": waits.rollout, "attempt": waits.attempt, "step": 2, "revision": waits.revision,
            "action": Action::Approve, "reason": "the chat asks for it", "by": ADMIN,
        },
    }))
    .await
}

// === impl Chat ===

impl Chat {
    async fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let received = Received::default();
        Ok(Self {
            address,
            serving: Some(serve(listener, received.clone())),
            received,
        })
    }

    /// Goes down: nobody listens.
    fn close(&mut self) {
        self.serving = None;
    }

    async fn reopen(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.serving = Some(serve(listener, self.received.clone()));
        Ok(())
    }

    /// Waits until the attempt's notification of this type is there, soon after what it tells of.
    async fn told(&self, type_: NotificationType) -> Result<Notification> {
        let (at, notification) = self.find(type_).await?;
        let took = at.duration_since(notification.time);
        println!("      {type_} told after {:.2} s", took.as_secs_f64());
        ensure!(took < SOON, "{type_} was told after {took:#}");
        Ok(notification)
    }

    /// Waits until the attempt's notification of this type is there, however late.
    async fn told_late(&self, type_: NotificationType) -> Result<Notification> {
        Ok(self.find(type_).await?.1)
    }

    async fn find(&self, type_: NotificationType) -> Result<(Timestamp, Notification)> {
        eventually(&format!("the chat is told of {type_}"), LIMIT, || {
            let mut all = self.of_attempt().into_iter();
            let found = all.find(|(_, one)| one.type_ == type_);
            async { Ok(found) }
        })
        .await
    }

    fn of_attempt(&self) -> Vec<(Timestamp, Notification)> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_attempt = received.clone();
        of_attempt.retain(|(_, one)| one.attempt == Some(ATTEMPT));
        of_attempt
    }

    /// The attempt's notifications have these types, in this order.
    fn was_told_once(&self, types: &[NotificationType]) -> Result<()> {
        let told = self.of_attempt();
        let told: Vec<_> = told.iter().map(|(_, one)| one.type_).collect();
        ensure!(told == types, "the chat was told of {told:?}");
        Ok(())
    }
}

fn serve(listener: TcpListener, received: Received) -> AbortOnDropHandle<()> {
    let router = Router::new().fallback(receive).with_state(received);
    AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            eprintln!("      the chat has failed: {error}");
        }
    }))
}

/// Takes what is signed, and closes the connection: a chat that is down has none left.
async fn receive(
    State(received): State<Received>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(HeaderName, &'static str); 1]) {
    let status = match read(&headers, &body) {
        Ok(notification) => {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            received.push((Timestamp::now(), notification));
            StatusCode::OK
        }
        Err(error) => {
            eprintln!("      the chat refuses a request: {error:#}");
            StatusCode::UNAUTHORIZED
        }
    };
    (status, [(CONNECTION, "close")])
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Notification> {
    let header = |name: &str| headers.get(name).context("a header is missing");
    let timestamp = header("x-tidegate-timestamp")?.to_str()?;
    let signature = header("x-tidegate-signature-256")?.to_str()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    let signed = [timestamp.as_bytes(), b".", body].concat();
    let signed = hmac::sign(&key, &signed);
    let expected = signed
        .as_ref()
        .iter()
        .fold("sha256=".to_owned(), |hex, byte| {
            hex + &format!("{byte:02x}")
        });
    ensure!(signature == expected, "the signature is another's");
    Ok(serde_json::from_slice(body)?)
}
