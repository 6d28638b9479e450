#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;

struct Running {
    address: SocketAddr,
    client: reqwest::Client,
    stop: CancellationToken,
    server: JoinHandle<io::Result<()>>,
}

impl Running {
    async fn start(vars: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = DemoAppConfig::from_vars(vars).unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve_on(listener, config, stop.clone()));
        Self {
            address,
            client: crate::http_client::plain(),
            stop,
            server,
        }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("http://{}{path}", self.address);
        self.client.get(url).send().await.unwrap()
    }

    async fn change(&self, change: &BehaviorChange) -> reqwest::Response {
        let url = format!("http://{}/admin", self.address);
        self.client.post(url).json(change).send().await.unwrap()
    }
}

#[tokio::test]
async fn an_answer_names_what_answered() {
    let app = Running::start(&[("VERSION", "v1"), ("POD_NAME", "shop-0"), ("DEMO_A", "b")]).await;
    let answer = app.get("/any/path").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[VERSION_HEADER], "v1");
    assert_eq!(answer.headers()[POD_HEADER], "shop-0");
    let greeting: Greeting = answer.json().await.unwrap();
    assert_eq!(greeting.env["DEMO_A"], "b");
}

#[tokio::test]
async fn the_error_series_appears_with_the_first_error() {
    let app = Running::start(&[]).await;
    app.get("/").await;
    let before = app.get("/metrics").await.text().await.unwrap();
    assert!(
        before.contains("http_requests_total{code=\"200\"} 1\n"),
        "{before}"
    );
    assert!(!before.contains("code=\"5"), "{before}");
    assert!(
        before.contains("http_request_duration_seconds_bucket{le=\"0.005\"}"),
        "{before}"
    );

    let error_rate = Some(1.0);
    app.change(&BehaviorChange {
        error_rate,
        ..BehaviorChange::default()
    })
    .await;
    assert_eq!(app.get("/").await.status(), 500);
    let after = app.get("/metrics").await.text().await.unwrap();
    assert!(
        after.contains("http_requests_total{code=\"500\"} 1\n"),
        "{after}"
    );
}

#[tokio::test]
async fn a_change_leaves_the_rest_as_it_is() {
    let app = Running::start(&[("LATENCY_MS", "3")]).await;
    let answer = app
        .change(&BehaviorChange {
            ready: Some(false),
            ..BehaviorChange::default()
        })
        .await;
    let behavior: Behavior = answer.json().await.unwrap();
    assert_eq!(
        behavior,
        Behavior {
            error_rate: 0.0,
            latency_ms: 3,
            slow_rate: 1.0,
            ready: false
        }
    );
    assert_eq!(app.get("/readyz").await.status(), 503);
    assert_eq!(app.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_rate_out_of_range_changes_nothing() {
    let app = Running::start(&[]).await;
    let answer = app
        .change(&BehaviorChange {
            error_rate: Some(1.5),
            ..BehaviorChange::default()
        })
        .await;
    assert_eq!(answer.status(), 400);
    let behavior: Behavior = app.get("/admin").await.json().await.unwrap();
    assert!(behavior.error_rate.abs() < f64::EPSILON);
}

#[tokio::test]
async fn draining_serves_old_and_new_connections_and_asks_them_to_close() {
    let app = Running::start(&[("DRAIN_MS", "60000")]).await;
    let mut kept = TcpStream::connect(app.address).await.unwrap();
    assert!(!ask(&mut kept).await.contains("connection: close"));
    app.stop.cancel();
    assert_eq!(app.get("/readyz").await.status(), 503);
    let last = ask(&mut kept).await;
    assert!(
        last.starts_with("HTTP/1.1 200") && last.contains("connection: close"),
        "{last}"
    );
    assert_eq!(
        kept.read(&mut [0]).await.unwrap(),
        0,
        "closed in order, not reset"
    );
    assert_eq!(app.get("/").await.status(), 200);
    assert!(!app.server.is_finished());
}

#[tokio::test]
async fn a_request_in_hand_is_answered_before_the_end() {
    let app = Running::start(&[("DRAIN_MS", "0"), ("LATENCY_MS", "200")]).await;
    let mut client = TcpStream::connect(app.address).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    // On a connection of its own: once this is answered, the one before has been taken up too.
    app.get("/healthz").await;
    app.stop.cancel();
    let answer = read_answer(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    app.server.await.unwrap().unwrap();
}

async fn ask(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_answer(stream).await
}

async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "cut off after {answer:?}");
        answer.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
    answer
}
