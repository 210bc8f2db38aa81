//! Whether one scheduler alone brings everything to rest, from any state.

use super::*;

impl Size {
    /// What becomes of the world where everybody dies, whatever of theirs may yet act.
    pub(super) fn recovers_anyhow(&self, world: &World) -> Verdict {
        self.recovers(world, false)?;
        let is_under_way = |at: &At| {
            let (At::Marking { put, .. } | At::Moving { put, .. }) = at else {
                return false;
            };
            put.is_some()
        };
        if world.late.is_empty() && !world.at.iter().any(is_under_way) {
            return Ok(());
        }
        self.recovers(world, true)
    }

    /// What becomes of the world where everybody dies and one scheduler goes on alone.
    fn recovers(&self, world: &World, late_ones_act: bool) -> Verdict {
        let mut world = world.clone();
        for who in 0..world.at.len() {
            world.die(who);
        }
        for put in std::mem::take(&mut world.late) {
            if late_ones_act {
                world.act(&put)?;
            }
        }
        for _ in 0..4 {
            self.tick_alone(&mut world)?;
        }
        let said = |what: &str| Err(format!("{what} for ever: {world:?}"));
        let Some(row) = world.row() else {
            return said("the table is unknown");
        };
        if row.evaluated_location != Some(place(world.location)) {
            return said("the table is not looked at");
        }
        if row.due_at.is_some() || row.active_process.is_some() || world.queue.is_some() {
            return said("the table waits");
        }
        if world.layout.is_moving() || !world.layout.buckets.contains(row.bucket) {
            return said("something stays in a former bucket");
        }
        Ok(())
    }

    fn tick_alone(&self, world: &mut World) -> Verdict {
        let layout = world.layout;
        if layout.is_moving() {
            for action in [
                Action::Begin(0),
                Action::Move(0),
                Action::PutMove(0),
                Action::Settle(0),
            ] {
                self.step(world, action)?;
            }
            world.at[0] = At::Idle;
        }
        world.at[0] = At::Begun(layout);
        for action in [
            Action::List(0),
            Action::Mark(0),
            Action::PutMark(0),
            Action::PutDigest(0),
        ] {
            self.step(world, action)?;
        }
        for bucket in layout.swept().all() {
            let is_due = |row: &TableRow| row.due_at.is_some() && row.bucket == bucket;
            if world.row().is_some_and(is_due) {
                world.at[0] = At::Begun(layout);
                self.step(world, Action::Look(0, bucket.0))?;
                self.step(world, Action::Plan(0))?;
            }
        }
        if world.is_served() {
            self.step(world, Action::EndProcess)?;
        }
        Ok(())
    }
}
