//! A server that answers with exactly the bytes that it is told to.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::task::AbortOnDropHandle;

/// The `Date` of [`super::NOW`].
pub(super) const DATE: &str = "Fri, 15 Jan 2027 08:00:00 GMT";

/// Gives the bytes of the answer to a method and a query.
pub(super) type Script = dyn Fn(&str, &str) -> Vec<u8> + Send + Sync;

pub(super) struct Server {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    pub(super) async fn start(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_by_method(move |_, query| script(query)).await
    }

    pub(super) async fn start_by_method(
        script: impl Fn(&str, &str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let script: Arc<Script> = Arc::new(script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen) = (script.clone(), seen.clone());
                tokio::spawn(async move { serve(stream, &*script, &seen).await });
            }
        });
        Self {
            url,
            requests,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// All requests so far: head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("requests").clone()
    }
}

/// Answers one request, and then closes the connection unless the answer stops short of its end: a
/// body that says `HANG` at its end is left open.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &Script,
    seen: &Mutex<Vec<String>>,
) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let method = request.split(' ').next().unwrap_or_default();
    let mut answer = script(method, &query_of(&request));
    seen.lock().expect("requests").push(request);
    let hangs = answer.ends_with(b"HANG");
    if hangs {
        answer.truncate(answer.len() - 4);
    }
    let written = stream.write_all(&answer).await.is_ok() && stream.flush().await.is_ok();
    if hangs {
        std::future::pending::<()>().await;
    }
    if written {
        let _ = stream.shutdown().await;
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The query in a request's form.
fn query_of(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let path = head.split(' ').nth(1).unwrap_or_default();
    let form = path.split_once('?').map_or(body, |(_, form)| form);
    let url = reqwest::Url::parse(&format!("http://form/?{form}")).expect("a form");
    url.query_pairs()
        .find(|(name, _)| name == "query")
        .map(|(_, query)| query.into_owned())
        .expect("a query")
}

/// Whether a query is the one for the age of the samples.
pub(super) fn asks_for_age(query: &str) -> bool {
    query.contains("timestamp(")
}

/// An answer as Prometheus writes it.
pub(super) fn answer(status: &str, media_type: &str, date: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(super) fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "application/json", DATE, body)
}
