//! Credentials: the URL and the key appear nowhere, whatever goes wrong.

use std::io;

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::{receiver::Reply, *};

/// Log that is kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn neither_a_log_nor_an_event_nor_debug_shows_the_url_or_the_key() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,tidegate=trace"))
        .with_writer(log.clone())
        .with_ansi(false);
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let away = "http://s3cret:s3cret@127.0.0.1:9/hook/s3cret?s3cret";
    let unnamed = "https://nowhere.invalid/hook/s3cret?s3cret";
    let elsewhere = "https://elsewhere.example.com/s3cret";
    let replies = [
        Reply::Status(500),
        Reply::Status(404),
        Reply::With(302, "location", "http://127.0.0.1:9/s3cret".to_owned()),
    ];
    let receiver = Receiver::start(replies).await;
    let hosts = [receiver.place.as_str(), "127.0.0.1:9", "nowhere.invalid"];
    let pace = Pace {
        longest_age: Duration::ZERO,
        ..quick()
    };
    let bench = bench_at(pace, &hosts, None);
    let urls = [
        away,
        unnamed,
        elsewhere,
        "s3cret",
        "https://s3cret:s3cret@s3cret:x",
    ];
    let mut dropped = 0;
    for url in urls {
        bench.secret(&[("url", url), ("hmacKey", "s3cret")]);
        bench.tell(&rolled_back("1"));
        dropped += 1;
        bench
            .until_counted(NotificationResult::dropped, dropped)
            .await;
    }
    bench.secret(&[("url", &receiver.url()), ("hmacKey", "s3cret")]);
    for id in ["2", "3", "4", "5"] {
        bench.tell(&rolled_back(id));
    }
    bench.until_counted(NotificationResult::sent, 1).await;
    bench.until_counted(NotificationResult::rejected, 2).await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("notification not delivered"), "{log}");
    let notes = until("seven events", || {
        Some(bench.notes()).filter(|notes| notes.len() >= 7)
    })
    .await;
    let shown = format!("{log}\n{notes:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(!shown.contains("inside the cluster"), "{shown}");
    let settings = NotifierSettings {
        operators: None,
        hosts: vec!["chat.example.com".to_owned()],
    };
    assert!(!format!("{settings:?}").contains("s3cret"));
}
