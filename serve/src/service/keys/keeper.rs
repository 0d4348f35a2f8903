//! What happens to bucket and disk while nobody waits for it: keys are stored, times of use are
//! written, the disk is kept within its budget, what nobody has used for long is deleted.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::shared::{Shared, Work, locked, object, parts};
use super::{ANNOUNCED, Announced, Entry, KeyStore, Name, Place, STORED, State, WHOLE};
use crate::service::bucket::Failure;
use crate::service::folder;

/// The keeper looks whether there is something to do so often, also where nobody has told.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// After a failure it tries again after so long, then after twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// All of the bucket is looked through so often.
const TIDY_EVERY: Duration = Duration::from_secs(3600);
/// A store takes files of so many bytes in one request.
const MOST_BYTES: u64 = 5 << 30;
/// The time of an entry is behind that of the last use by up to one part of so many of its life.
const TOUCHES: u32 = 10;

impl KeyStore {
    /// The keeper has something to do.
    pub(super) fn wake_keeper(&self) {
        if let Some(shared) = &self.shared {
            locked(&shared.work).is_there = true;
            shared.changed.notify_all();
        }
    }

    /// The keeper ends when it has done what it does now.
    pub(in crate::service) fn close(&self) {
        if let Some(shared) = &self.shared {
            locked(&shared.work).closed = true;
            shared.changed.notify_all();
        }
    }

    /// Nothing more is fetched from the bucket. Waits up to `grace` until what is here is there: a
    /// disk may not outlive the process.
    pub(in crate::service) fn drain(&self, grace: Duration) {
        let Some(shared) = &self.shared else { return };
        shared.bucket.end_fetches();
        let begun = Instant::now();
        while begun.elapsed() < grace && !self.whole(is_waiting).is_empty() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Keeps bucket and disk until [`KeyStore::close`]; at once where there is no bucket.
    pub(in crate::service) fn keep(&self) {
        let Some(shared) = &self.shared else { return };
        let (mut pause, mut tidied) = (FIRST_PAUSE, None::<Instant>);
        loop {
            locked(&shared.work).is_there = false;
            let mut done = self.store_all(shared).and_then(|()| self.touch_all(shared));
            // Whoever fetches makes room for it.
            if let Ok(local) = shared.local.try_lock() {
                self.evict(shared, &local, 0);
            }
            if done.is_ok() && tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
                done = self.tidy(shared);
                tidied = done.is_ok().then(Instant::now);
            }
            let work = locked(&shared.work);
            let (wait, is_ok) = match done {
                Ok(()) => (LOOK_EVERY, true),
                Err(_) => (pause, false),
            };
            pause = if is_ok { FIRST_PAUSE } else { (2 * pause).min(LONGEST_PAUSE) };
            let idle = |work: &mut Work| !(work.closed || is_ok && work.is_there);
            let waited = shared.changed.wait_timeout_while(work, wait, idle);
            if waited.unwrap_or_else(PoisonError::into_inner).0.closed {
                return;
            }
        }
    }

    /// Names of whole sets that are `wanted`.
    fn whole(&self, wanted: impl Fn(&Entry, SystemTime, Place) -> bool) -> Vec<Name> {
        let entries = self.entries();
        let whole = entries.iter().filter(|(_, entry)| match entry.state {
            State::Whole { used, place } => wanted(entry, used, place),
            _ => false,
        });
        whole.map(|(name, _)| name.clone()).collect()
    }

    /// Stores what is not in the bucket yet. What the bucket refuses does not hold up the rest.
    pub(super) fn store_all(&self, shared: &Shared) -> Result<(), Failure> {
        let mut refused = Ok(());
        let waiting = self.whole(is_waiting);
        shared.counts().waiting.set(waiting.len() as i64);
        for name in waiting {
            match self.store(shared, &name) {
                Ok(()) => {
                    shared.counts().waiting.dec();
                }
                Err(failure) if failure.is_away => return Err(failure),
                Err(failure) => refused = Err(failure),
            }
            if locked(&shared.work).closed {
                break;
            }
        }
        refused
    }

    fn store(&self, shared: &Shared, name: &Name) -> Result<(), Failure> {
        let Some((path, announced)) = self.not_stored(name) else { return Ok(()) };
        let file = File::open(path.join(WHOLE));
        let Some(file) = logged(file) else { return Ok(()) };
        shared.bucket.put_file(&object(name, WHOLE), &file, announced.length)?;
        let _writing = locked(&shared.writing);
        if self.not_stored(name).is_none() {
            // Deleted meanwhile, and so is what was stored since.
            return shared.bucket.delete(&object(name, WHOLE));
        }
        shared.write_entry(name, &announced)?;
        shared.is_whole_again(name);
        shared.counts().stored.inc();
        let mut entries = self.entries();
        if let Some(Entry { state: State::Whole { place, .. }, .. }) = entries.get_mut(name) {
            place.stored = Some(SystemTime::now());
            drop(entries);
            // Where it is not kept the set is stored again after the next start.
            logged(folder::write(&path.join(STORED), shared.place().as_bytes()));
        }
        Ok(())
    }

    /// A set that is on the disk alone.
    fn not_stored(&self, name: &Name) -> Option<(PathBuf, Announced)> {
        let entries = self.entries();
        let entry = entries.get(name)?;
        match &entry.state {
            State::Whole { place: Place { stored: None, .. }, .. } => {
                Some((entry.folder.clone(), entry.announced.clone()))
            }
            _ => None,
        }
    }

    /// Writes entries again that say too little of when their keys were used: other services delete
    /// what has not been used for long.
    pub(super) fn touch_all(&self, shared: &Shared) -> Result<(), Failure> {
        let late = shared.keys_live / TOUCHES;
        let is_late = |_: &Entry, used: SystemTime, place: Place| {
            place.stored.is_some_and(|at| used.duration_since(at).is_ok_and(|behind| behind > late))
        };
        for name in self.whole(is_late) {
            let _writing = locked(&shared.writing);
            let known = self.stored_entry(&name);
            let Some((path, announced, at)) = known else { continue };
            // One that another service has deleted does not come back.
            if shared.entry(&name)?.is_none() {
                self.compare(&[(name, at)], &HashMap::new());
                continue;
            }
            shared.write_entry(&name, &announced)?;
            let now = SystemTime::now();
            let here = match self.entries().get_mut(&name) {
                Some(Entry { state: State::Whole { place, .. }, .. }) => {
                    place.stored = Some(now);
                    place.here
                }
                _ => false,
            };
            if here {
                let mark = File::options().write(true).open(path.join(STORED));
                logged(mark.and_then(|mark| mark.set_modified(now)));
            }
        }
        Ok(())
    }

    fn stored_entry(&self, name: &Name) -> Option<(PathBuf, Announced, SystemTime)> {
        let entries = self.entries();
        let entry = entries.get(name)?;
        match &entry.state {
            State::Whole { place: Place { stored: Some(at), .. }, .. } => {
                Some((entry.folder.clone(), entry.announced.clone(), *at))
            }
            _ => None,
        }
    }

    /// Removes files of sets that are in the bucket from the disk, until there is room for `room`
    /// bytes: what was used longest ago goes first, and nothing that a job uses.
    pub(super) fn evict(&self, shared: &Shared, _local: &MutexGuard<'_, ()>, room: u64) {
        let Some(most) = shared.key_disk else { return };
        loop {
            let path = {
                let mut entries = self.entries();
                let here = entries.values_mut().filter_map(|entry| match &mut entry.state {
                    State::Whole { used, place } if place.here => {
                        let may_go = place.stored.is_some() && Arc::strong_count(&entry.uses) == 1;
                        Some((entry.announced.length, *used, may_go.then_some((place, &entry.folder))))
                    }
                    _ => None,
                });
                let here: Vec<_> = here.collect();
                let taken = here.iter().fold(room, |sum, (length, ..)| sum.saturating_add(*length));
                if taken <= most {
                    return;
                }
                let oldest = here.into_iter().filter_map(|(_, used, may_go)| Some((used, may_go?)));
                let Some((_, (place, folder))) = oldest.min_by_key(|(used, _)| *used) else { return };
                place.here = false;
                folder.clone()
            };
            if logged(folder::remove(&path)).is_none() {
                return;
            }
        }
    }

    /// Looks through all of the bucket: deletes what no service has used for long, forgets what
    /// other services have deleted, and removes files without an entry.
    pub(super) fn tidy(&self, shared: &Shared) -> Result<(), Failure> {
        let large = self.whole(|entry, _, _| entry.announced.length > MOST_BYTES).len();
        if large > 0 {
            tracing::warn!(target: "fhec::serve", "{large} sets of keys are too large for the bucket");
        }
        let is_old = |entry: &Entry, used: SystemTime, place: Place| {
            place.stored.is_none() && !entry.is_used() && is_older(used, shared.keys_live)
        };
        self.whole(is_old).iter().for_each(|name| drop(self.delete(name)));
        let known = self.stored(|_| true);
        let objects = shared.bucket.list("")?;
        let (mut found, mut files) = (HashMap::new(), HashSet::new());
        for item in &objects {
            match parts(&item.name) {
                Some((name, ANNOUNCED)) => {
                    found.insert(name, item.modified);
                }
                Some((name, WHOLE)) if is_older(item.modified, shared.uploads_live) => {
                    files.insert(name);
                }
                _ => {}
            }
        }
        self.compare(&known, &found);
        for (name, modified) in found {
            files.remove(&name);
            if !is_older(modified, shared.keys_live) {
                continue;
            }
            let is_needed = self.entries().get(&name).and_then(|entry| match &entry.state {
                State::Whole { used, .. } => Some(entry.is_used() || !is_older(*used, shared.keys_live)),
                State::Changing => Some(true),
                State::Uploading { .. } => None,
            });
            match is_needed {
                Some(true) => continue,
                Some(false) => drop(self.delete(&name)),
                None => shared.remove(&name)?,
            }
            tracing::info!(target: "fhec::serve", "deleted keys that nobody has used for long");
        }
        for name in files {
            let _writing = locked(&shared.writing);
            // Its entry may have come since.
            if shared.bucket.get(&object(&name, ANNOUNCED))?.is_none() {
                shared.bucket.delete(&object(&name, WHOLE))?;
            }
        }
        Ok(())
    }
}

/// Whether a set is to be stored.
fn is_waiting(entry: &Entry, _: SystemTime, place: Place) -> bool {
    place.stored.is_none() && entry.announced.length <= MOST_BYTES
}

fn is_older(time: SystemTime, than: Duration) -> bool {
    time.elapsed().is_ok_and(|age| age > than)
}

/// What was done, if it was; else the log says why not.
fn logged<T>(done: std::io::Result<T>) -> Option<T> {
    done.map_err(|error| tracing::warn!(target: "fhec::serve", "the copy of keys: {error}")).ok()
}
