#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::*;
use crate::demo_app::{self, DemoAppConfig};

fn per_second(rate: u32) -> NonZeroU32 {
    NonZeroU32::new(rate).unwrap()
}

async fn an_app(vars: &[(&str, &str)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let vars = vars
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = DemoAppConfig::from_vars(vars).unwrap();
    tokio::spawn(demo_app::serve_on(
        listener,
        config,
        CancellationToken::new(),
    ));
    address
}

#[tokio::test]
async fn every_answer_is_written_down() {
    let app = an_app(&[("VERSION", "v1"), ("POD_NAME", "shop-0")]).await;
    for spec in [
        LoadSpec::new(app, "shop.example", per_second(500)),
        LoadSpec::new(app, "shop.example", per_second(500)).with_new_connections(),
    ] {
        let report = spec
            .for_a_time(Duration::from_millis(200))
            .start()
            .finished()
            .await;
        assert!(report.total() > 1, "{report}");
        assert_eq!(report.failures(), Vec::<&Answer>::new());
        assert_eq!(report.share("v1").of, report.total() as u64);
        assert!(report.first_seen("v1").unwrap() < report.last_seen("v1").unwrap());
        assert_eq!(report.share("v2").of, 0);
    }
}

#[tokio::test]
async fn a_server_error_is_a_failure() {
    let app = an_app(&[("VERSION", "v2"), ("ERROR_RATE", "1")]).await;
    let load = LoadSpec::new(app, "x", per_second(200)).start();
    let first = load
        .first_answers_since(Timestamp::UNIX_EPOCH, 5)
        .await
        .unwrap();
    assert_eq!(first.failures().len(), 5);
    assert_eq!(first.kinds()["v2 500"], 5);
    load.stop().await;
}

#[tokio::test]
async fn a_load_that_ends_early_is_not_waited_for() {
    let app = an_app(&[]).await;
    let load = LoadSpec::new(app, "x", per_second(100))
        .for_a_time(Duration::from_millis(50))
        .start();
    assert!(
        load.first_answers_since(Timestamp::UNIX_EPOCH, 100_000)
            .await
            .is_none()
    );
}

#[tokio::test]
async fn refused_reset_and_timeout_are_told_apart() {
    let vacant = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = vacant.local_addr().unwrap();
    drop(vacant);
    assert_eq!(one_failure(refusing).await, TransportError::Refused);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closing = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    assert_eq!(one_failure(closing).await, TransportError::Reset);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(
        one_failure(listener.local_addr().unwrap()).await,
        TransportError::Timeout
    );
}

#[tokio::test]
async fn a_call_is_judged_by_its_grpc_code() {
    for (rate, kind, failed) in [("0", "v1 gRPC 0", false), ("1", "v1 gRPC 13", true)] {
        let app = an_app(&[("VERSION", "v1"), ("ERROR_RATE", rate)]).await;
        let load = LoadSpec::new(app, "shop.example", per_second(200))
            .with_grpc("/shop.Checkout/Pay")
            .start();
        let first = load
            .first_answers_since(Timestamp::UNIX_EPOCH, 5)
            .await
            .unwrap();
        assert_eq!(first.kinds().get(kind), Some(&5), "{first}");
        assert_eq!(first.failures().len(), if failed { 5 } else { 0 });
        load.stop().await;
    }
}

async fn one_failure(server: SocketAddr) -> TransportError {
    let mut spec = LoadSpec::new(server, "x", per_second(100));
    spec.timeout = Duration::from_millis(200);
    let load = spec.start();
    let report = load.first_answers_since(Timestamp::UNIX_EPOCH, 1).await;
    let answer = report.unwrap().answers()[0].clone();
    match answer.outcome {
        Outcome::Failed(error) => error,
        Outcome::Answered { .. } | Outcome::Called { .. } => panic!("{answer:?}"),
    }
}
