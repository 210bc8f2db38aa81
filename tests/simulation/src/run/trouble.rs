//! What goes wrong in a world, drawn at its start: of everything somewhat, or one kind again and again. And its end.

use std::{sync::Arc, time::Duration};

use super::World;
use crate::{
    catalog::CatalogWhims,
    draw::{self, Theme},
    dynamo::Whims,
    engine::Perils,
    network::{Held, Weather},
    sqs::QueueWhims,
};

impl World {
    /// Draws what goes wrong in this world: some of everything, much of something, or nothing.
    pub(super) fn start_trouble(&mut self) {
        let engine = Arc::clone(&self.engine);
        if let Some(length) = self.siege {
            self.besiege(length);
            return;
        }
        if self.theme != Theme::Everything {
            self.start_theme();
            return;
        }
        // Each kind of trouble stays away from most worlds, so that the others are not drowned by it.
        let draw = |most: u64| match engine.below(5) {
            0 | 1 => 0,
            2 | 3 => engine.below(most / 10 + 1),
            _ => engine.below(most + 1),
        };
        if engine.below(12) == 0 {
            engine.note(format_args!("nothing goes wrong"));
            return;
        }
        let weather = Weather {
            lost_before: draw(60_000),
            lost_after: draw(60_000),
            late: draw(30_000),
            throttled: draw(100_000),
            error_before: draw(60_000),
            error_after: draw(60_000),
            outage: draw(2_000),
            longest_outage: Duration::from_secs(1 + engine.below(240)),
            slow: draw(100_000),
            slowest: Duration::from_millis(200 + engine.below(30_000)),
            held: draw(20_000),
            which: Held::Writes,
            shortest_hold: Duration::ZERO,
            longest_hold: Duration::from_secs(1 + engine.below(200)),
        };
        let perils = Perils {
            crash: draw(10_000),
            stall: draw(5_000),
            longest_stall: Duration::from_secs(1 + engine.below(300)),
        };
        let whims = Whims {
            short_page: draw(500_000),
            left_out: draw(200_000),
            conflict: draw(100_000),
            index_lags: draw(500_000),
            longest_lag: Duration::from_secs(1 + engine.below(30)),
        };
        let queue = QueueWhims {
            doubled: draw(300_000),
            vanishes: draw(100_000),
            not_taken: draw(200_000),
            late: draw(300_000),
            latest: Duration::from_secs(1 + engine.below(300)),
        };
        let catalog = CatalogWhims {
            listing_breaks: draw(200_000),
            listing_lacks: draw(100_000),
            sent_twice: draw(200_000),
            unheard: draw(500_000),
        };
        let skew = draw(240_000);
        *self.account.skew.lock().unwrap() = skew;
        engine.note(format_args!("{weather:?}"));
        engine.note(format_args!("{perils:?} {whims:?}"));
        engine.note(format_args!("{queue:?} {catalog:?} skew {skew} ms"));
        self.network.set_weather(weather);
        self.dynamo.set_whims(whims);
        self.sqs.set_whims(queue);
        self.pointers.set_whims(catalog);
        engine.set_perils(perils);
    }

    /// Has S3 refuse everything for a time.
    fn besiege(&self, length: Duration) {
        self.engine.note(format_args!("S3 refuses, for {length:?}"));
        self.oracle.let_no_task_fail();
        let begin = self.trouble / 4;
        for (after, besieged) in [(begin, true), (begin + length, false)] {
            let network = Arc::clone(&self.network);
            self.engine
                .after(after, move || network.set_siege(besieged));
        }
    }

    /// One kind of trouble, again and again, and little else: so that the moments come about that a mix of everything
    /// rarely meets.
    fn start_theme(&self) {
        let engine = &self.engine;
        let settings = &self.account.settings;
        let mut weather = Weather::default();
        let mut catalog = CatalogWhims::default();
        let mut perils = Perils::default();
        let seconds = |least: u64, more: u64| Duration::from_secs(least + engine.below(more));
        match self.theme {
            Theme::Everything => {}
            // Who planned under a lease goes on when another holds it.
            Theme::OldLeases => {
                weather.which = Held::UnderLease;
                weather.held = 100_000 + engine.below(400_000);
                weather.shortest_hold = settings.lease_ttl + settings.lease_guard;
                weather.longest_hold = weather.shortest_hold + seconds(10, 60);
            }
            // Who rewrote goes on when another has claimed the task, or the commit.
            Theme::OldClaims => {
                weather.which = Held::Reports;
                weather.held = 300_000 + engine.below(400_000);
                weather.shortest_hold = settings.claim_ttl;
                weather.longest_hold = settings.claim_ttl + seconds(5, 60);
            }
            // A table moves while somebody thinks about it.
            Theme::LateThoughts => {
                weather.which = Held::UnderLease;
                weather.held = 200_000 + engine.below(500_000);
                weather.longest_hold = (settings.lease_ttl / 2).min(seconds(5, 40));
            }
            Theme::UnknownOutcomes => {
                catalog.unheard = 100_000 + engine.below(600_000);
                weather.error_after = engine.below(50_000);
                perils.crash = engine.below(5_000);
            }
            // Blockers come after a look at them, and claims end before the swap.
            Theme::Limits => {
                weather.which = Held::Commits;
                weather.held = 200_000 + engine.below(500_000);
                weather.longest_hold = settings.commit_ttl * 2 + seconds(5, 60);
            }
            // Rewrites take their time.
            Theme::Vectors => {
                weather.which = Held::Reports;
                weather.held = 300_000 + engine.below(600_000);
                weather.longest_hold = seconds(20, 100);
            }
            // Whoever took the lock hears of it late.
            Theme::Locks => {
                weather.which = Held::Locked;
                weather.held = 200_000 + engine.below(500_000);
                weather.longest_hold = seconds(4, 20);
                weather.error_after = engine.below(20_000);
            }
            // Runs stop in the midst of a listing, and the next ones can't go on there.
            Theme::Listings => {
                catalog.listing_breaks = 200_000 + engine.below(500_000);
                perils.crash = engine.below(8_000);
            }
            // Workers die, at every step that they come to.
            Theme::Deaths => {
                perils.crash = 5_000 + engine.below(30_000);
                perils.stall = engine.below(2_000);
                perils.longest_stall = seconds(1, 60);
            }
        }
        engine.note(format_args!(
            "{:?}: {weather:?} {catalog:?} {perils:?}",
            self.theme
        ));
        self.network.set_weather(weather);
        self.pointers.set_whims(catalog);
        engine.set_perils(perils);
    }

    /// Lets nothing go wrong any more, and lifts the limits that would keep tables from any work.
    pub(super) fn end_trouble(&mut self) {
        self.engine
            .note(format_args!("--- nothing goes wrong any more"));
        self.network.set_weather(Weather::default());
        self.dynamo.set_whims(Whims::default());
        self.sqs.set_whims(QueueWhims::default());
        self.pointers.set_whims(CatalogWhims::default());
        self.engine.set_perils(Perils::default());
        *self.account.skew.lock().unwrap() = 0;
        self.fleet.set_clocks_right();
        let lifted = draw::lifted(&self.account.limits(), self.tables);
        self.oracle.set_limits(lifted.clone());
        *self.account.limits.lock().unwrap() = Arc::new(lifted);
        self.fleet.replace_warm();
        let mut rhythm = self.fleet.rhythm.lock().unwrap();
        rhythm.tick = rhythm.tick.max(Duration::from_secs(60));
        rhythm.poll = Duration::from_secs(5);
        rhythm.visibility = rhythm.optimizer_limit + Duration::from_secs(60);
        rhythm.undeleted = 0;
    }
}
