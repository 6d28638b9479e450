//! Queues: in nobody's way, bounded, and not kept for ever.

use tokio::net::TcpListener;

use super::{receiver::Reply, *};

#[tokio::test]
async fn a_destination_that_is_away_is_told_when_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let bench = bench(&[&place.to_string()]);
    bench.secret(&[("url", &format!("http://{place}/s3cret"))]);
    for id in ["1", "2", "3"] {
        bench.tell(&rolled_back(id));
    }
    let note = bench.until_noted("it cannot be reached").await;
    assert!(!note.contains("s3cret"), "{note}");
    let receiver = Receiver::listen(TcpListener::bind(place).await.unwrap(), []);
    receiver.received(3).await;
    assert_eq!(receiver.ids(), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_destination_that_hangs_holds_up_no_other_and_loses_what_does_not_fit() {
    let hangs = Receiver::start([Reply::Never]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("url"), hangs.url()).unwrap();
    let operators = OperatorsDestination {
        directory: folder.path().to_owned(),
        format: NotificationFormat::Json,
    };
    let receiver = Receiver::start([]).await;
    let bench = bench_at(quick(), &[&receiver.place], Some(operators));
    bench.secret(&[("url", &receiver.url())]);
    bench.tell(&rolled_back("first"));
    hangs.received(1).await;
    // Nothing is sent in between: telling never waits.
    for number in 0..QUEUE + 5 {
        bench.tell(&rolled_back(&number.to_string()));
    }
    bench
        .until_counted(NotificationResult::dropped, 5 + 5)
        .await;
    receiver.received(QUEUE).await;
    assert_eq!(hangs.requests().len(), 1);
}

#[tokio::test]
async fn a_task_ends_when_nothing_comes_and_begins_again() {
    let receiver = Receiver::start([]).await;
    let pace = Pace {
        idle: Duration::from_millis(5),
        ..quick()
    };
    let bench = bench_at(pace, &[&receiver.place], None);
    bench.secret(&[("url", &receiver.url())]);
    for round in 1..=3 {
        bench.tell(&rolled_back(&round.to_string()));
        receiver.received(round).await;
        let tasks = &bench.notifier.0.tasks;
        until("the task has ended", || tasks.is_empty().then_some(())).await;
        assert!(bench.notifier.0.queues().is_empty());
    }
}

#[tokio::test]
async fn what_waits_at_the_end_is_delivered() {
    let receiver = Receiver::start([Reply::Status(503)]).await;
    let bench = bench(&[&receiver.place]);
    bench.secret(&[("url", &receiver.url())]);
    for id in ["1", "2", "3"] {
        bench.tell(&rolled_back(id));
    }
    bench.notifier.drain(LIMIT).await;
    assert_eq!(receiver.ids(), ["1", "1", "2", "3"]);
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_destination_that_hangs() {
    let receiver = Receiver::start([Reply::Never]).await;
    let bench = bench(&[&receiver.place]);
    bench.secret(&[("url", &receiver.url())]);
    bench.tell(&rolled_back("1"));
    receiver.received(1).await;
    let began = clock::monotonic();
    bench.notifier.drain(Duration::from_millis(50)).await;
    assert!(clock::monotonic().duration_since(began) < LIMIT);
}
