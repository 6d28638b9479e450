//! The narrator, who watches the Rollout and the clients and shows what changes.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use kube::runtime::{WatchStreamExt as _, watcher};
use tidegate_api::{Rollout, status::RolloutStatus};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    display::Display,
    moment::{Moment, Place, Traffic, heading},
};
use crate::{
    load::Load,
    testbed::{NAME, Testbed},
};

/// Interval at which the clients are looked at.
const TICK: Duration = Duration::from_millis(250);

/// Length of "now" for the clients' answers.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// Time for which a log says nothing although the clients see something else than before.
const QUIET: Duration = Duration::from_secs(2);

/// Watches and shows.
pub(super) struct Narrator<'a> {
    clients: &'a Load,
    changes: Pin<Box<dyn Stream<Item = RolloutStatus> + Send>>,
    display: Display,
    began: Instant,
    status: Option<RolloutStatus>,
    /// Content and time of the last line.
    told: (Place, Traffic, Instant),
}

// === impl Narrator ===

impl<'a> Narrator<'a> {
    /// Shows on standard output.
    pub(super) fn new(bed: &Testbed, clients: &'a Load) -> Self {
        let changes = watcher::watch_object(bed.api::<Rollout>(), NAME).default_backoff();
        let changes = changes.filter_map(|change| {
            let rollout = change.ok().flatten();
            std::future::ready(rollout.and_then(|rollout| rollout.status))
        });
        let began = Instant::now();
        Self {
            clients,
            changes: Box::pin(changes),
            display: Display::open(),
            began,
            status: None,
            told: (Place::default(), Traffic::default(), began),
        }
    }

    /// Says what happens next.
    pub(super) fn headline(&mut self, text: &str) {
        self.display.line("");
        self.display.line(text);
        self.display.line("");
        self.display.line(&heading());
    }

    /// Shows what happens until `work` is done.
    pub(super) async fn watch<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> T {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(status) = self.changes.next() => self.status = Some(status),
                _ = tick.tick() => {}
            }
            self.show();
        }
    }

    /// Gives the terminal back.
    pub(super) fn end(&mut self) {
        self.display.close();
    }

    fn show(&mut self) {
        let Some(status) = self.status.clone() else {
            return;
        };
        let from = Timestamp::now() - LAST_SECOND;
        let moment = Moment {
            elapsed: self.began.elapsed(),
            status,
            traffic: Traffic::of(&self.clients.report_since(from)),
        };
        let (place, traffic, at) = &self.told;
        let moved = moment.place() != *place;
        // A screen shows the clients all the time; a log says now and then how they fare.
        let stirred = !self.display.is_live()
            && at.elapsed() >= QUIET
            && moment.traffic.shares != traffic.shares;
        if moved || stirred {
            self.display.line(&moment.line());
            self.told = (moment.place(), moment.traffic.clone(), Instant::now());
        }
        self.display.draw(&moment);
    }
}
