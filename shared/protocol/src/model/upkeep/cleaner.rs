//! What somebody does who expires, step by step.

use super::{Active, At, Cleaner, Files, Look, Mutation, Record, Snapshot, World, union};

impl World {
    /// The next step of somebody who expires.
    pub(super) fn clean(&mut self, who: usize, mutation: Option<Mutation>) {
        let is = |it| mutation == Some(it);
        let Some(Cleaner { by_hand, at }) = self.cleaners[who].clone() else {
            return;
        };
        let next = match at {
            At::Start => Some(At::Loaded {
                version: self.version,
                snapshots: self.snapshots.clone(),
                main: self.main,
                tag: self.tag,
            }),
            At::Loaded {
                version,
                snapshots,
                main,
                tag,
            } => Some(self.decide((version, snapshots), (main, tag), mutation)),
            At::Decided { version, going } => {
                if is(Mutation::DeleteBeforeCommit) {
                    let stay = self.snapshots.iter().filter(|it| !going.contains(it));
                    let live = stay.fold(0, |all, (_, files)| all | files);
                    self.stored &= !(union(&going) & !live);
                }
                if !is(Mutation::NotWrittenDown) {
                    self.records.push(Record {
                        going: going.clone(),
                        dead: None,
                    });
                }
                Some(At::WrittenDown { version, going })
            }
            At::WrittenDown { version, going } => {
                Some(self.swap(version, &going, is(Mutation::SwapUncompared)))
            }
            At::Settling if is(Mutation::LookedAtBefore) => Some(At::LookedBefore(self.look())),
            At::LookedBefore(look) => {
                let next = self.next_record();
                next.map(|going| At::Looking { going, look })
            }
            At::Settling => self.next_record().map(|going| At::Reading { going }),
            At::Reading { going } => Some(At::Looking {
                going,
                look: self.look(),
            }),
            At::Looking { going, look } => {
                let live = match is(Mutation::MainAlone) {
                    true => look.main_live,
                    false => look.live,
                };
                Some(self.tell_the_dead(going, live, &look.present))
            }
            At::Deleting { going } => Some(self.delete_one(going)),
        };
        match next {
            Some(at) => self.cleaners[who] = Some(Cleaner { by_hand, at }),
            None => {
                self.cleaners[who] = None;
                if !by_hand && self.active == Some(Active::Expire) {
                    self.active = None;
                }
            }
        }
    }

    /// Asks who works on what, and decides on the state that was loaded before.
    fn decide(
        &self,
        (version, snapshots): (u8, Vec<Snapshot>),
        (main, tag): (u8, Option<u8>),
        mutation: Option<Mutation>,
    ) -> At {
        let pinned = match mutation {
            Some(Mutation::PinsIgnored) => None,
            _ => self.pinned(),
        };
        let tag = tag.filter(|_| mutation != Some(Mutation::MainAlone));
        let kept = [Some(main), tag, pinned];
        let going: Vec<Snapshot> = snapshots
            .into_iter()
            .filter(|(id, _)| !kept.contains(&Some(*id)))
            .collect();
        match going.is_empty() {
            true => At::Settling,
            false => At::Decided { version, going },
        }
    }

    fn swap(&mut self, version: u8, going: &[Snapshot], uncompared: bool) -> At {
        if self.version != version && !uncompared {
            // Whoever was first has it now: what was written down is for nothing.
            let mine = Record {
                going: going.to_vec(),
                dead: None,
            };
            if let Some(place) = self.records.iter().position(|record| *record == mine) {
                self.records.remove(place);
            }
            return At::Start;
        }
        if let Some(Active::Rewrite {
            base,
            exposed: false,
            ..
        }) = &self.active
            && going.contains(base)
        {
            self.broken = Some("a snapshot is expired that a rewrite works on");
        }
        self.snapshots.retain(|it| !going.contains(it));
        self.version += 1;
        At::Settling
    }

    fn look(&self) -> Look {
        Look {
            live: union(&self.snapshots),
            present: self.snapshots.iter().map(|(id, _)| *id).collect(),
            main_live: self.files_of_main(),
        }
    }

    /// Reads the next of what is written down; at the end of it all it is through.
    fn next_record(&mut self) -> Option<Vec<Snapshot>> {
        let snapshots = self.snapshots.clone();
        let is_let_go = |record: &Record| record.going.iter().any(|it| !snapshots.contains(it));
        // What was for nothing goes, unless its writer may yet commit it.
        let cleaners = &self.cleaners;
        let is_on_its_way = |record: &Record| {
            cleaners.iter().flatten().any(|cleaner| {
                matches!(&cleaner.at, At::WrittenDown { going, .. } if *going == record.going)
            })
        };
        self.records
            .retain(|record| is_let_go(record) || is_on_its_way(record));
        let next = self.records.iter().find(|record| is_let_go(record))?;
        Some(next.going.clone())
    }

    /// What is dead of what somebody let go of, on the table as it was looked at.
    fn tell_the_dead(&mut self, going: Vec<Snapshot>, live: Files, present: &[u8]) -> At {
        let record = self.records.iter_mut().find(|it| it.going == going);
        // Another run may be through with it.
        let Some(record) = record else {
            return At::Settling;
        };
        let gone = going.iter().filter(|(id, _)| !present.contains(id));
        let named = gone.fold(0, |all, (_, files)| all | files);
        record.dead = Some(match record.dead {
            None => named & !live,
            Some(dead) => dead & !live,
        });
        At::Deleting { going }
    }

    /// One file of what is written down as dead; at its end the record goes.
    fn delete_one(&mut self, going: Vec<Snapshot>) -> At {
        let Some(place) = self.records.iter().position(|it| it.going == going) else {
            return At::Settling;
        };
        let left = self.records[place].dead.unwrap_or(0) & self.stored;
        if left == 0 {
            self.records.remove(place);
            return At::Settling;
        }
        self.stored &= !(1 << left.trailing_zeros());
        At::Deleting { going }
    }
}
