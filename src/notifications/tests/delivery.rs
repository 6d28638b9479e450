//! What is sent, and what comes of each answer.

use std::process::Command;

use super::{receiver::Reply, *};
use crate::notifications::signature::signature;

async fn chat(replies: impl IntoIterator<Item = Reply>) -> (Receiver, Bench) {
    let receiver = Receiver::start(replies).await;
    let bench = bench(&[&receiver.place]);
    bench.secret(&[("url", &receiver.url()), ("hmacKey", "k3y\n")]);
    (receiver, bench)
}

#[tokio::test]
async fn the_document_is_sent_signed_and_once() {
    let (receiver, bench) = chat([]).await;
    bench.tell(&rolled_back("1"));
    bench.tell(&rolled_back("2"));
    let requests = receiver.received(2).await;
    let sent: Notification = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(sent, rolled_back("1"));
    assert_eq!(receiver.ids(), ["1", "2"], "in their order");
    let request = &requests[0];
    assert_eq!(request.path, "/hook/s3cret?token=s3cret");
    assert_eq!(request.header("content-type"), "application/json");
    let timestamp: i64 = request.header("x-tidegate-timestamp").parse().unwrap();
    let age = clock::now().as_second() - timestamp;
    assert!((0..60).contains(&age), "{age} s old");
    let key = tidegate_git::Secret::new("k3y");
    assert_eq!(
        request.headers["x-tidegate-signature-256"],
        signature(&key, timestamp, &request.body)
    );
    bench.until_counted(NotificationResult::sent, 2).await;
}

#[test]
fn a_signature_is_that_of_the_standard_tools() {
    // printf '1764489600.{}' | openssl dgst -sha256 -hmac key
    let key = tidegate_git::Secret::new("key");
    let signed = signature(&key, 1_764_489_600, b"{}");
    let expected = "sha256=856977c55bcfdf494347996462734525da89c7f3b427d8738307a35ac6a06f8d";
    assert_eq!(signed, expected);
}

/// The example of the guide, run by Python itself.
#[test]
fn the_guide_verifies_what_is_signed_and_nothing_else() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guides/notifications.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, example) = guide.split_once("```python\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let key = tidegate_git::Secret::new("k3y");
    let verified = |timestamp: i64, signed: &str, sent: &str| {
        let signature = signature(&key, timestamp, signed.as_bytes());
        let signature = signature.to_str().unwrap();
        let headers = format!(
            "{{'X-Tidegate-Timestamp': '{timestamp}', 'X-Tidegate-Signature-256': '{signature}'}}"
        );
        let script = format!("{example}\nprint(verified(b'k3y', {headers}, b'{sent}'))");
        let output = Command::new("python3")
            .args(["-c", &script])
            .output()
            .ok()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let now = clock::now().as_second();
    let Some(good) = verified(now, "{}", "{}") else {
        eprintln!("there is no python3: skipped");
        return;
    };
    assert_eq!(good, "True");
    assert_eq!(verified(now, "{}", "{ }").unwrap(), "False", "changed");
    let old = now - 3600;
    assert_eq!(verified(old, "{}", "{}").unwrap(), "False", "sent again");
}

#[tokio::test]
async fn without_a_key_nothing_is_signed() {
    let receiver = Receiver::start([]).await;
    let bench = bench(&[&receiver.place]);
    bench.secret(&[("url", &receiver.url())]);
    bench.tell(&rolled_back("1"));
    let requests = receiver.received(1).await;
    let signed = requests[0].headers.get("x-tidegate-signature-256");
    assert!(signed.is_none());
}

#[tokio::test]
async fn each_format_has_its_own_body() {
    let (receiver, bench) = chat([]).await;
    let formats = [NotificationFormat::Slack, NotificationFormat::Teams];
    for (sent, format) in formats.into_iter().enumerate() {
        bench.notifier.send(&rollout(format), &[rolled_back("1")]);
        receiver.received(sent + 1).await;
    }
    let requests = receiver.requests();
    assert_eq!(requests[0].json()["blocks"][0]["type"], "header");
    assert_eq!(requests[1].json()["type"], "message");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_the_same_id_before_the_next_is_sent() {
    let (receiver, bench) = chat([Reply::Status(503), Reply::Status(500)]).await;
    bench.tell(&rolled_back("1"));
    bench.tell(&rolled_back("2"));
    receiver.received(4).await;
    assert_eq!(receiver.ids(), ["1", "1", "1", "2"]);
    bench.until_counted(NotificationResult::retried, 2).await;
    bench.until_counted(NotificationResult::sent, 2).await;
    let note = bench.until_noted("cannot be told").await;
    assert_eq!(
        note,
        "the destination in the Secret shop/chat cannot be told, and is tried again for an hour: it answered 503 \
         Service Unavailable"
    );
    assert_eq!(bench.notes().len(), 1, "it is said once");
}

#[tokio::test]
async fn a_destination_that_is_busy_has_its_time() {
    let busy = Reply::With(429, "retry-after", "1".to_owned());
    let (receiver, bench) = chat([busy]).await;
    let began = clock::monotonic();
    bench.tell(&rolled_back("1"));
    receiver.received(2).await;
    assert!(clock::monotonic().duration_since(began) >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_destination_cannot_ask_for_any_time() {
    let receiver = Receiver::start([Reply::With(503, "retry-after", "86400".to_owned())]).await;
    let pace = Pace {
        longest_asked: Duration::from_millis(10),
        ..quick()
    };
    let bench = bench_at(pace, &[&receiver.place], None);
    bench.secret(&[("url", &receiver.url())]);
    bench.tell(&rolled_back("1"));
    receiver.received(2).await;
    bench.until_counted(NotificationResult::sent, 1).await;
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again_and_holds_up_nothing() {
    let (receiver, bench) = chat([Reply::Status(410)]).await;
    bench.tell(&rolled_back("1"));
    bench.tell(&rolled_back("2"));
    receiver.received(2).await;
    assert_eq!(receiver.ids(), ["1", "2"]);
    bench.until_counted(NotificationResult::rejected, 1).await;
    let note = bench.until_noted("was not told of Ended").await;
    assert!(note.ends_with("it answered 410 Gone"), "{note}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start([]).await;
    let (receiver, bench) = chat([Reply::With(307, "location", elsewhere.url())]).await;
    bench.tell(&rolled_back("1"));
    bench.until_counted(NotificationResult::rejected, 1).await;
    let note = bench.until_noted("redirects are not followed").await;
    assert!(!note.contains("s3cret"), "{note}");
    bench.tell(&rolled_back("2"));
    receiver.received(2).await;
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn what_is_no_news_any_more_is_dropped() {
    let replies = [Reply::Status(503), Reply::Status(503), Reply::Status(503)];
    let receiver = Receiver::start(replies).await;
    let pace = Pace {
        longest_age: Duration::ZERO,
        ..quick()
    };
    let bench = bench_at(pace, &[&receiver.place], None);
    bench.secret(&[("url", &receiver.url())]);
    for id in ["1", "2", "3", "4"] {
        bench.tell(&rolled_back(id));
    }
    bench.until_counted(NotificationResult::dropped, 3).await;
    bench.until_counted(NotificationResult::sent, 1).await;
    assert_eq!(receiver.ids(), ["1", "2", "3", "4"], "each is tried");
}
