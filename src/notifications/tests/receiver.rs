//! Receiver of webhooks that answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// Answer to one request.
#[derive(Clone)]
pub(super) enum Reply {
    Status(u16),
    /// With a header.
    With(u16, &'static str, String),
    /// None, however long one waits.
    Never,
}

/// Request that was received.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
}

/// Receiver, until it is dropped.
pub(super) struct Receiver {
    /// `HOST:PORT`.
    pub(super) place: String,
    seen: Arc<Mutex<Seen>>,
    _task: AbortOnDropHandle<()>,
}

impl Receiver {
    /// One that answers with these, and then with 200.
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listen(listener, replies)
    }

    pub(super) fn listen(listener: TcpListener, replies: impl IntoIterator<Item = Reply>) -> Self {
        let seen = Arc::new(Mutex::new(Seen {
            replies: replies.into_iter().collect(),
            requests: Vec::new(),
        }));
        let place = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(seen.clone());
        let serve = async move { axum::serve(listener, router).await.unwrap() };
        Self {
            place,
            seen,
            _task: AbortOnDropHandle::new(tokio::spawn(serve)),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook/s3cret?token=s3cret", self.place)
    }

    /// Every request so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Waits until so many requests were received.
    pub(super) async fn received(&self, number: usize) -> Vec<Request> {
        let enough = || Some(self.requests()).filter(|requests| requests.len() >= number);
        until(&format!("{number} requests"), enough).await
    }

    /// Ids of what was received so far.
    pub(super) fn ids(&self) -> Vec<String> {
        self.requests().iter().map(Request::id).collect()
    }
}

impl Request {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap().to_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

async fn answer(
    State(seen): State<Arc<Mutex<Seen>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, &'static str) {
    let reply = {
        let mut seen = seen.lock().unwrap();
        seen.requests.push(Request {
            path: uri.to_string(),
            headers,
            body: body.to_vec(),
        });
        seen.replies.pop_front()
    };
    let (code, headers) = match reply {
        None => (200, HeaderMap::new()),
        Some(Reply::Status(code)) => (code, HeaderMap::new()),
        Some(Reply::With(code, name, value)) => {
            let name = http::HeaderName::from_static(name);
            (code, HeaderMap::from_iter([(name, value.parse().unwrap())]))
        }
        Some(Reply::Never) => std::future::pending().await,
    };
    let status = StatusCode::from_u16(code).unwrap();
    (status, headers, "what is inside the cluster")
}
