//! Where things may be told, and what is said of a Secret that does not say it.

use super::*;

/// Tells of something while the Secret is wrong, and gives what is said of it.
async fn said_of(bench: &Bench) -> String {
    bench.tell(&rolled_back("1"));
    bench.until_noted("cannot be told").await
}

#[tokio::test]
async fn a_secret_that_is_missing_is_said_and_one_that_comes_is_used() {
    let receiver = Receiver::start([]).await;
    let bench = bench(&[&receiver.place]);
    let note = said_of(&bench).await;
    assert!(
        note.ends_with(
            "the Secret `chat` of spec.notifications is not in this namespace: create it"
        ),
        "{note}"
    );
    bench.secret(&[("url", &receiver.url())]);
    receiver.received(1).await;
    bench.until_counted(NotificationResult::sent, 1).await;
}

#[tokio::test]
async fn wrong_keys_are_said_and_corrected_ones_are_used() {
    for (values, sentence) in [
        (&[("address", "x")][..], "has no key `url`: add it"),
        (&[("url", "hooks.example.com/s3cret")], "is no address"),
        (&[("url", "ftp://s3cret@example.com")], "is no address"),
        (
            &[("url", " \n")],
            "the value of `url` in the Secret `chat` is empty",
        ),
        (
            &[("url", "https://chat.example.com"), ("hmacKey", "")],
            "the value of `hmacKey` in the Secret `chat` is empty",
        ),
    ] {
        let receiver = Receiver::start([]).await;
        let bench = bench(&[&receiver.place, "chat.example.com"]);
        bench.secret(values);
        let note = said_of(&bench).await;
        assert!(
            note.contains(sentence) && !note.contains("s3cret"),
            "{note}"
        );
        bench.secret(&[("url", &receiver.url())]);
        receiver.received(1).await;
    }
}

#[tokio::test]
async fn a_ca_bundle_without_certificates_is_said() {
    let receiver = Receiver::start([]).await;
    let bench = bench(&[&receiver.place]);
    bench.secret(&[("url", &receiver.url()), ("ca.crt", "s3cret")]);
    let note = said_of(&bench).await;
    assert!(
        note.ends_with("the CA bundle has no usable certificate in PEM"),
        "{note}"
    );
    bench.secret(&[("url", &receiver.url())]);
    receiver.received(1).await;
}

#[tokio::test]
async fn a_secret_that_was_replaced_is_used_from_then_on() {
    let (first, second) = (Receiver::start([]).await, Receiver::start([]).await);
    let bench = bench(&[&first.place, &second.place]);
    bench.secret(&[("url", &first.url())]);
    bench.tell(&rolled_back("1"));
    first.received(1).await;
    bench.secret(&[("url", &second.url()), ("hmacKey", "new")]);
    bench.tell(&rolled_back("2"));
    let requests = second.received(1).await;
    assert!(requests[0].headers.contains_key("x-tidegate-signature-256"));
    assert_eq!(first.ids(), ["1"]);
}

#[tokio::test]
async fn only_a_secret_with_the_label_is_used() {
    let receiver = Receiver::start([]).await;
    let bench = bench(&[&receiver.place]);
    bench.secret(&[("url", &receiver.url())]);
    bench.script.edit("secrets/chat", |secret| {
        secret["metadata"]["labels"] = json!({ "tidegate.io/use": "git" });
    });
    let note = said_of(&bench).await;
    assert!(
        note.contains("kubectl label secret chat --namespace shop tidegate.io/use=notifications"),
        "{note}"
    );
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn only_hosts_that_the_operator_allows_are_told() {
    let receiver = Receiver::start([]).await;
    let bench = bench(&["chat.example.com"]);
    for url in [
        receiver.url(),
        "https://chat.example.com:8443/s3cret".to_owned(),
        "https://chat.example.com.evil.test/s3cret".to_owned(),
        "https://chat.example.com@evil.test/s3cret".to_owned(),
    ] {
        bench.secret(&[("url", &url)]);
        let destination = Destination::own(
            "shop",
            &rollout(NotificationFormat::Json).spec.notifications[0],
        );
        let error = destination.address(&bench.notifier.0).await.err().unwrap();
        let error = error.to_string();
        assert!(
            error.contains("does not allow: have it added to --notification-hosts")
                && !error.contains("s3cret"),
            "{error}"
        );
    }
    for url in [
        "https://chat.example.com/a",
        "https://CHAT.example.com:443/a",
    ] {
        bench.secret(&[("url", url)]);
        let destination = Destination::own(
            "shop",
            &rollout(NotificationFormat::Json).spec.notifications[0],
        );
        assert!(
            destination.address(&bench.notifier.0).await.is_ok(),
            "{url}"
        );
    }
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn nothing_is_told_in_the_clear_unless_the_operator_names_the_port() {
    let bench = bench(&["chat.example.com", "receiver.shop:80"]);
    let destination = Destination::own(
        "shop",
        &rollout(NotificationFormat::Json).spec.notifications[0],
    );
    bench.secret(&[("url", "http://chat.example.com/a")]);
    let error = destination.address(&bench.notifier.0).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains("is plain http: write https, or have chat.example.com:80 added"),
        "{error}"
    );
    bench.secret(&[("url", "http://receiver.shop/a")]);
    assert!(destination.address(&bench.notifier.0).await.is_ok());
}

#[tokio::test]
async fn the_operators_destination_is_told_of_every_rollout_from_files_as_they_are_now() {
    let (first, second) = (Receiver::start([]).await, Receiver::start([]).await);
    let folder = tempfile::tempdir().unwrap();
    let write = |url: &str| std::fs::write(folder.path().join("url"), url).unwrap();
    write(&first.url());
    std::fs::write(folder.path().join("hmacKey"), "k3y").unwrap();
    let operators = OperatorsDestination {
        directory: folder.path().to_owned(),
        format: NotificationFormat::Json,
    };
    let bench = bench_at(quick(), &[], Some(operators));
    let mut rollout = rollout(NotificationFormat::Json);
    rollout.spec.notifications.clear();
    bench.notifier.send(&rollout, &[rolled_back("1")]);
    let requests = first.received(1).await;
    assert!(requests[0].headers.contains_key("x-tidegate-signature-256"));

    std::fs::remove_file(folder.path().join("url")).unwrap();
    bench.notifier.send(&rollout, &[rolled_back("2")]);
    bench.until_counted(NotificationResult::retried, 1).await;
    write(&second.url());
    second.received(1).await;
    assert!(bench.notes().is_empty(), "no team could mend it");
}
