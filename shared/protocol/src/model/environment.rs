//! What nobody of ours does: other writers, crashes, swaps that arrive late.

use super::{
    actions::{Step, Who},
    world::{File, Optimizer, SchedulerAt, World},
};
use crate::invariants::Verdict;

impl World {
    /// A state of a table that there never was.
    pub(super) fn fresh_location(&mut self) -> u8 {
        let mut highest = 0;
        self.each_location(&mut |location| highest = highest.max(*location));
        highest + 1
    }
}

impl Step<'_> {
    pub(super) fn crash(&mut self, who: Who) -> Verdict {
        self.world.left.crashes -= 1;
        match who {
            Who::Scheduler(who) => {
                let scheduler = &mut self.world.schedulers[usize::from(who)];
                scheduler.lease = None;
                scheduler.at = SchedulerAt::Idle;
            }
            Who::Optimizer(who) => self.world.optimizers[usize::from(who)] = Optimizer::Idle,
        }
        Ok(())
    }

    /// Another writer adds a file.
    pub(super) fn append(&mut self, table: u8) -> Verdict {
        let number = self.size.groups + self.world.left.appends - 1;
        self.world.left.appends -= 1;
        let needs_work = self.size.appends_need_work;
        let location = self.world.fresh_location();
        let entry = &mut self.world.catalog[usize::from(table)];
        entry.files.push(if needs_work {
            File::Raw(number)
        } else {
            File::Output {
                by: None,
                rows: 1 << number,
            }
        });
        entry.files.sort_unstable();
        entry.rows |= 1 << number;
        entry.location = location;
        Ok(())
    }

    /// Another writer removes a file with its rows.
    pub(super) fn remove(&mut self, table: u8, file: u8) -> Verdict {
        self.world.left.removals -= 1;
        let location = self.world.fresh_location();
        let entry = &mut self.world.catalog[usize::from(table)];
        let removed = entry.files.remove(usize::from(file));
        entry.rows &= !removed.rows();
        entry.location = location;
        Ok(())
    }

    /// Another writer expires all snapshots but the current one.
    pub(super) fn expire(&mut self, table: u8) -> Verdict {
        self.world.left.expiries -= 1;
        let entry = &mut self.world.catalog[usize::from(table)];
        entry.history_is_whole = false;
        for snapshot in &mut entry.ours {
            snapshot.stands &= snapshot.made == entry.location;
        }
        Ok(())
    }

    pub(super) fn drop_table(&mut self, table: u8) -> Verdict {
        self.world.left.drops -= 1;
        let entry = &mut self.world.catalog[usize::from(table)];
        entry.exists = false;
        entry.files.clear();
        for snapshot in &mut entry.ours {
            snapshot.stands = false;
        }
        entry.rows = 0;
        Ok(())
    }

    /// A table of the same name is made, with one file.
    pub(super) fn create_table(&mut self, table: u8) -> Verdict {
        let rests = self.size.begins_at_rest;
        let location = self.world.fresh_location();
        let entry = &mut self.world.catalog[usize::from(table)];
        entry.exists = true;
        entry.history_is_whole = true;
        entry.location = location;
        entry.files = vec![if rests {
            File::Output { by: None, rows: 1 }
        } else {
            File::Raw(0)
        }];
        entry.rows = 1;
        Ok(())
    }

    /// A swap that nobody heard of reaches the catalog.
    pub(super) fn arrive(&mut self, swap: u8) -> Verdict {
        let swap = self.world.in_flight.remove(usize::from(swap));
        self.act_on_catalog(&swap).map(drop)
    }
}
