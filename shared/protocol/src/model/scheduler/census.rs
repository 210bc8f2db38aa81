//! What a scheduler does in a census: it lists, compares, marks, and only then notes what it saw.

use icepress_model::Epoch;

use super::{Written, epoch_of, unless_fenced};
use crate::{
    invariants::{self, Verdict},
    model::{
        actions::Step,
        mutations::Mutation,
        rows::{self, LAYOUT, NOW, table_id},
        world::{News, SchedulerAt, Seen},
    },
    transition,
};

impl Step<'_> {
    pub(in crate::model) fn list(&mut self, who: u8) -> Verdict {
        let tables = self.world.catalog.iter();
        let listed = tables.map(|entry| entry.exists.then_some(entry.location));
        let listed = listed.collect();
        self.go(who, SchedulerAt::Listed(listed));
        Ok(())
    }

    pub(in crate::model) fn compare(&mut self, who: u8) -> Verdict {
        let SchedulerAt::Listed(listed) = self.at(who) else {
            return Err("only what was listed can be compared".to_owned());
        };
        let news = self.news(&listed);
        let has_lease = self.world.schedulers[usize::from(who)].lease.is_some();
        if has_lease {
            return self.begin_recording(who, news);
        }
        let nothing_new = news.marks.is_empty() && news.gone.is_empty() && news.digest.is_none();
        let next = if nothing_new {
            SchedulerAt::Idle
        } else {
            SchedulerAt::Found {
                news,
                compared_with: self.world.digest.clone(),
            }
        };
        self.go(who, next);
        Ok(())
    }

    fn news(&self, listed: &[Option<u8>]) -> News {
        let mut marks = Vec::new();
        let mut gone = Vec::new();
        let mut digest = Vec::new();
        for (table, (now, last)) in (0..).zip(listed.iter().zip(&self.world.digest)) {
            digest.push(match (now, last) {
                (Some(location), Seen::At(seen)) if seen == location => *last,
                (Some(location), _) => {
                    marks.push((table, *location));
                    Seen::At(*location)
                }
                (None, Seen::Never) => Seen::Never,
                (None, Seen::At(_)) => Seen::MissingOnce,
                (None, Seen::MissingOnce) => {
                    gone.push(table);
                    Seen::Never
                }
            });
        }
        News {
            marks,
            gone,
            digest: Some(digest).filter(|digest| *digest != self.world.digest),
        }
    }

    pub(in crate::model) fn compare_again(&mut self, who: u8) -> Verdict {
        let SchedulerAt::Found {
            news,
            compared_with,
        } = self.at(who)
        else {
            return Err("only what is new is recorded".to_owned());
        };
        if compared_with == self.world.digest {
            self.begin_recording(who, news)
        } else {
            self.list(who)
        }
    }

    fn begin_recording(&mut self, who: u8, mut news: News) -> Verdict {
        if self.is(Mutation::DigestBeforeMarks)
            && let Some(digest) = news.digest.take()
        {
            let lease = self.lease_of(who);
            if !transition::is_newest(&self.world.bucket_row(0), &lease) {
                self.after_write(who, Written::Fenced, SchedulerAt::Idle);
                return Ok(());
            }
            self.world.digest = digest;
            self.world.digest_epoch = epoch_of(&lease);
        }
        self.go(who, SchedulerAt::Recording(news));
        Ok(())
    }

    pub(in crate::model) fn mark(&mut self, who: u8) -> Verdict {
        let mut at = self.at(who);
        let SchedulerAt::Recording(news) = &mut at else {
            return Err("only what is new is marked".to_owned());
        };
        let (table, location) = news.marks.remove(0);
        let location = rows::location(location);
        self.write_mark(table, Some(&location))?;
        self.go(who, at);
        Ok(())
    }

    pub(in crate::model) fn force(&mut self, who: u8) -> Verdict {
        let mut at = self.at(who);
        let SchedulerAt::Recording(news) = &mut at else {
            return Err("only what is new is marked".to_owned());
        };
        let table = news.gone.remove(0);
        // The rows of the database are read, and those marked that are gone: there may be none.
        if self.world.rows[usize::from(table)].is_some() {
            self.write_mark(table, None)?;
        }
        self.go(who, at);
        Ok(())
    }

    fn write_mark(
        &mut self,
        table: u8,
        location: Option<&icepress_model::MetadataLocation>,
    ) -> Verdict {
        let before = self.world.table_row(table);
        let home = self.world.home_of(table);
        let after = transition::mark(before.as_ref(), home, &table_id(table), location, NOW);
        if let Some(after) = after {
            invariants::table_step(before.as_ref(), &after)?;
            self.world.put_table(table, &after);
        }
        Ok(())
    }

    pub(in crate::model) fn put_digest(&mut self, who: u8) -> Verdict {
        let SchedulerAt::Recording(News {
            digest: Some(digest),
            ..
        }) = self.at(who)
        else {
            self.go(who, SchedulerAt::Idle);
            return Ok(());
        };
        let lease = self.lease_of(who);
        let newest = Epoch(u64::from(self.world.digest_epoch));
        let bucket = self.world.bucket_row(0);
        let accepted = self.is(Mutation::LeaseUnchecked)
            || unless_fenced(transition::check_digest(
                &bucket,
                &lease,
                LAYOUT,
                None,
                Some((LAYOUT, newest)),
            ))?
            .is_some();
        let written = if accepted {
            self.check_accepted(&lease)?;
            invariants::accepted_epoch(newest, lease.epoch)?;
            self.world.digest = digest;
            self.world.digest_epoch = epoch_of(&lease);
            Written::Accepted
        } else {
            Written::Fenced
        };
        self.after_write(who, written, SchedulerAt::Idle);
        Ok(())
    }
}
