//! What each action does, by the functions of `transition` and `layout`, or wrong on purpose.

use super::*;

impl Size {
    fn mark(&self, world: &World, layout: &Layout, location: u8) -> Option<TableRow> {
        let table = the_table();
        let before = world.row();
        let mut home = layout.home_of(&table);
        if let Some(before) = before {
            if self.is(Mutation::MarkMovesNothing) {
                home = before.home();
            }
            if self.is(Mutation::MarkMovesBack) && before.layout > home.layout {
                let mut moved = before.clone();
                (moved.bucket, moved.layout) = (home.bucket, home.layout);
                return transition::mark(Some(&moved), home, &table, Some(&place(location)), NOW)
                    .or(Some(moved));
            }
        }
        transition::mark(before, home, &table, Some(&place(location)), NOW)
    }

    pub(super) fn step(&self, world: &mut World, action: Action) -> Verdict {
        match action {
            Action::Commit => world.location += 1,
            Action::Resize => {
                world.resizes += 1;
                let wanted = count(self.counts[usize::from(world.resizes)]);
                if let Some(mut after) = resize(&world.layout, wanted) {
                    if self.is(Mutation::FormerGivenUp) {
                        after.former = None;
                    } else {
                        invariants::layout_step(&world.layout, &after)?;
                    }
                    world.layout = after;
                }
            }
            Action::EndProcess => {
                world.queue = None;
                let freed = world
                    .row()
                    .and_then(|row| transition::free(row, &ProcessId::from("p"), None, None, 0));
                if let Some(freed) = freed {
                    let put = world.put_of(freed);
                    world.act(&put)?;
                }
            }
            Action::LateActs => {
                let put = world.late.remove(0);
                world.act(&put)?;
            }
            Action::Crash(who) => {
                world.crashes -= 1;
                world.die(who);
            }
            Action::Begin(who) => {
                world.begins = world.begins.saturating_sub(1);
                world.at[who] = At::Begun(world.layout);
            }
            Action::List(who) => self.list(world, who)?,
            Action::Mark(who) => {
                if let At::Found {
                    layout,
                    held,
                    location,
                } = world.at[who].clone()
                {
                    let marked = self.mark(world, &layout, location);
                    let put = marked.map(|marked| world.put_of(marked));
                    world.at[who] = At::Marking {
                        layout,
                        held,
                        location,
                        put,
                    };
                }
            }
            Action::PutMark(who) => {
                if let At::Marking {
                    layout,
                    held,
                    location,
                    put,
                } = world.at[who].clone()
                {
                    let acted = put.as_ref().map_or(Ok(true), |put| world.act(put))?;
                    world.at[who] = if acted {
                        At::Marked {
                            layout,
                            held,
                            location,
                        }
                    } else {
                        At::Found {
                            layout,
                            held,
                            location,
                        }
                    };
                }
            }
            Action::PutDigest(who) => self.put_digest(world, who)?,
            Action::Look(who, bucket) => {
                let held = world.take(who, bucket)?;
                if let Some(seen) = world.table.clone() {
                    world.at[who] = At::Looked {
                        held,
                        seen,
                        location: world.location,
                    };
                }
            }
            Action::Plan(who) => self.plan(world, who)?,
            Action::Move(who) => self.read_to_move(world, who),
            Action::PutMove(who) => {
                if let At::Moving { layout, put, keeps } = world.at[who].clone() {
                    let acted = put.as_ref().map_or(Ok(true), |put| world.act(put))?;
                    world.at[who] = match (acted, keeps) {
                        (false, _) => At::Begun(layout),
                        (true, true) => At::Idle,
                        (true, false) => At::Moved(layout),
                    };
                }
            }
            Action::Settle(who) => {
                if let At::Moved(layout) = world.at[who] {
                    let generation = match self.is(Mutation::SettledForOthers) {
                        true => world.layout.generation,
                        false => layout.generation,
                    };
                    if let Some(after) = settle(&world.layout, generation) {
                        invariants::layout_step(&world.layout, &after)?;
                        world.layout = after;
                    }
                    world.at[who] = At::Idle;
                }
            }
        }
        Ok(())
    }

    /// Takes the database's bucket, lists, and compares with the digest.
    fn list(&self, world: &mut World, who: usize) -> Verdict {
        let At::Begun(layout) = world.at[who] else {
            return Ok(());
        };
        let bucket = layout.bucket_of_database(&the_table().database());
        let held = world.take(who, bucket.0)?;
        let location = world.location;
        world.at[who] = match world.digest {
            Some((seen, ..)) if seen == location => At::Idle,
            _ => At::Found {
                layout,
                held,
                location,
            },
        };
        Ok(())
    }

    fn put_digest(&self, world: &mut World, who: usize) -> Verdict {
        let At::Marked {
            layout,
            held,
            location,
        } = world.at[who]
        else {
            return Ok(());
        };
        let by = layout.generation;
        let stands = match self.is(Mutation::DigestOfOldLayout) {
            true => layout,
            false => world.layout,
        };
        let written = world.digest.map(|(_, by, epoch)| (by, Epoch(epoch)));
        let lease = lease(who, held);
        let bucket = world.bucket(held.bucket);
        let checked = transition::check_digest(&bucket, &lease, by, Some(&stands), written);
        if checked.is_ok() {
            world.digest = Some((location, by, held.epoch));
            if world.location == location {
                invariants::digest_was_marked(&place(location), world.row())?;
            }
        }
        world.at[who] = At::Idle;
        Ok(())
    }

    /// Concludes from what was seen, or starts a process; refused where the lease or the bucket is not its own.
    fn plan(&self, world: &mut World, who: usize) -> Verdict {
        let At::Looked {
            held,
            seen,
            location,
        } = std::mem::replace(&mut world.at[who], At::Idle)
        else {
            return Ok(());
        };
        let lease = lease(who, held);
        if !transition::is_newest(&world.bucket(held.bucket), &lease) {
            return Ok(());
        }
        let mut before = world.row().cloned();
        if let (Some(before), true) = (&mut before, self.is(Mutation::AnyOwnerPlans)) {
            before.bucket = lease.bucket;
        }
        let conclusion = Conclusion {
            evaluated_location: Some(place(location)),
            text: String::new(),
            next_due_at: None,
            failures: 0,
        };
        let is_active = before
            .as_ref()
            .is_some_and(|row| row.active_process.is_some());
        let starts = world.processes > 0 && !is_active;
        let written = if starts {
            let process = NewProcess {
                process: ProcessId::from("p"),
                kind: icepress_model::ProcessKind::Rewrite,
                table: the_table(),
                created_at: NOW,
                header: String::new(),
                reservation: None,
                check_at: NOW,
                conclusion,
            };
            transition::start(before.as_ref(), &lease, &seen.row, &process)
        } else {
            transition::conclude(before.as_ref(), &lease, &seen.row, &conclusion)
        };
        match written {
            Ok(mut after) => {
                if let Some(before) = world.row() {
                    after.bucket = before.bucket;
                    invariants::planned_by_owner(before, &lease)?;
                }
                if starts {
                    world.processes -= 1;
                    world.queue = Some(held.bucket);
                } else if is_active && !self.is(Mutation::NotSentAgain) {
                    world.queue = world.queue.and(Some(held.bucket));
                }
                let put = world.put_of(after);
                world.act(&put)?;
                Ok(())
            }
            Err(CoordinationError::Fenced(_) | CoordinationError::Moved(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn read_to_move(&self, world: &mut World, who: usize) {
        let At::Begun(layout) = world.at[who] else {
            return;
        };
        let home = layout.home_of(&the_table());
        let moved = world.row().and_then(|row| transition::rehome(row, home));
        let queue = world.queue.map(BucketId);
        let stays = moved.as_ref().or(world.row());
        let keeps = stays.is_some_and(|row| keeps_former(&layout, row, queue));
        let put = moved.map(|moved| world.put_of(moved));
        world.at[who] = At::Moving { layout, put, keeps };
    }
}
