//! Whole keys in a bucket: a machine may be lost, and other services find what was uploaded here.
//!
//! A set is two objects: `P/K/evaluation.keys`, and then `P/K/announced.json`, with which it is
//! there. What the bucket answers is not believed: a file has the content of its name or is none.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::load::gone;
use super::{ANNOUNCED, Announced, Entry, KIND, KeyStore, Name, Place, STORED, State, USED, WHOLE};
use crate::api::{Code, Problem};
use crate::digest::Digest;
use crate::service::Options;
use crate::service::bucket::{Bucket, Counts, Failure, KeyBucket};
use crate::service::errors::of_disk;
use crate::service::folder;
use crate::tokens;

/// What a principal has in the bucket is asked for no more often.
const LISTED_FOR: Duration = Duration::from_secs(3);

/// What there is for the keeper to do.
#[derive(Default)]
pub(super) struct Work {
    pub(super) is_there: bool,
    pub(super) closed: bool,
}

/// The bucket, and what is known of it.
pub(super) struct Shared {
    pub(super) bucket: Bucket,
    /// Whose sets were listed, and when.
    pub(super) listed: Mutex<HashMap<Arc<str>, Instant>>,
    /// Sets that are not what they are called: they count as not there.
    damaged: Mutex<HashSet<Name>>,
    /// Held while a set comes to the disk from the bucket, or goes from it: one at a time.
    pub(super) local: Mutex<()>,
    /// Held while an entry in the bucket is written or deleted, so that none comes back.
    pub(super) writing: Mutex<()>,
    pub(super) work: Mutex<Work>,
    pub(super) changed: Condvar,
    /// Bytes of whole keys on the disk.
    pub(super) key_disk: Option<u64>,
    pub(super) keys_live: Duration,
    pub(super) uploads_live: Duration,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a caller is told where the bucket has to be asked and cannot.
pub(super) fn away() -> Problem {
    Problem::new(Code::StoreAway, "the store of keys cannot be reached: try again soon").retry_after(5)
}

pub(super) fn object((principal, keys): &Name, file: &str) -> String {
    format!("{principal}/{keys}/{file}")
}

/// The set and the file that an object is of. Others than ours are left alone.
pub(super) fn parts(object: &str) -> Option<(Name, &str)> {
    let (principal, rest) = object.split_once('/')?;
    let (keys, file) = rest.split_once('/')?;
    let keys: Digest = keys.parse().ok()?;
    tokens::is_name(principal).then(|| ((principal.into(), keys), file))
}

impl Shared {
    pub(super) fn new(bucket: KeyBucket, options: &Options) -> Self {
        Shared {
            bucket: Bucket::new(bucket),
            listed: Mutex::default(),
            damaged: Mutex::default(),
            local: Mutex::default(),
            writing: Mutex::default(),
            work: Mutex::default(),
            changed: Condvar::new(),
            key_disk: options.key_disk,
            keys_live: options.keys_live,
            uploads_live: options.uploads_live,
        }
    }

    pub(super) fn place(&self) -> String {
        self.bucket.place()
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.bucket.counts
    }

    pub(super) fn is_whole_again(&self, name: &Name) {
        locked(&self.damaged).remove(name);
    }

    /// The entry of a set in the bucket, and when it was written last.
    pub(super) fn entry(&self, name: &Name) -> Result<Option<(Announced, SystemTime)>, Failure> {
        if locked(&self.damaged).contains(name) {
            return Ok(None);
        }
        let Some((bytes, modified)) = self.bucket.get(&object(name, ANNOUNCED))? else { return Ok(None) };
        let announced = serde_json::from_slice::<Announced>(&bytes).ok();
        let announced = announced.filter(|announced| announced.length > 0 && announced.key.is_some());
        if announced.is_none() {
            tracing::warn!(target: "fhec::serve", "an entry in the bucket cannot be read: it counts as not there");
        }
        Ok(announced.map(|announced| (announced, modified)))
    }

    pub(super) fn write_entry(&self, name: &Name, announced: &Announced) -> Result<(), Failure> {
        let json = serde_json::to_vec(announced).unwrap_or_default();
        self.bucket.put(&object(name, ANNOUNCED), &json)
    }

    /// Deletes a set from the bucket, its entry first: without it the file is nothing.
    pub(super) fn remove(&self, name: &Name) -> Result<(), Failure> {
        let _writing = locked(&self.writing);
        self.bucket.delete(&object(name, ANNOUNCED))?;
        self.bucket.delete(&object(name, WHOLE))
    }
}

impl KeyStore {
    /// Whether nothing has to be asked of the bucket to tell what there is of a set.
    pub(in crate::service) fn knows(&self, name: &Name) -> bool {
        self.shared.is_none() || self.entries().contains_key(name)
    }

    /// Makes a set known that is in the bucket. Waits for that.
    ///
    /// # Errors
    /// If nothing is known of it and the bucket cannot be asked.
    pub(in crate::service) fn look_up(&self, name: &Name) -> Result<(), Problem> {
        let Some(shared) = self.shared.as_ref().filter(|_| !self.knows(name)) else { return Ok(()) };
        if let Some((announced, modified)) = shared.entry(name).map_err(|_| away())? {
            self.found(name, announced, modified);
        }
        Ok(())
    }

    /// Whether what a principal has in the bucket was asked a moment ago.
    pub(in crate::service) fn is_fresh(&self, principal: &Arc<str>) -> bool {
        let Some(shared) = &self.shared else { return true };
        locked(&shared.listed).get(principal).is_some_and(|at| at.elapsed() < LISTED_FOR)
    }

    /// Makes known what a principal has in the bucket. Waits for that. Where it cannot be asked,
    /// what was known stays.
    pub(in crate::service) fn refresh(&self, principal: &Arc<str>) {
        let Some(shared) = self.shared.as_ref().filter(|_| !self.is_fresh(principal)) else { return };
        let known = self.stored(|owner| owner == principal);
        let Ok(objects) = shared.bucket.list(&format!("{principal}/")) else { return };
        let entries = objects.iter().filter_map(|object| match parts(&object.name)? {
            (name, ANNOUNCED) if name.0 == *principal => Some((name, object.modified)),
            _ => None,
        });
        let found: HashMap<Name, SystemTime> = entries.collect();
        self.compare(&known, &found);
        for name in found.keys() {
            if self.is_ready_for(name) {
                let Ok(entry) = shared.entry(name) else { return };
                entry.into_iter().for_each(|(announced, modified)| self.found(name, announced, modified));
            }
        }
        let mut listed = locked(&shared.listed);
        listed.retain(|_, at| at.elapsed() < LISTED_FOR);
        listed.insert(Arc::clone(principal), Instant::now());
    }

    /// Sets that are in the bucket as far as is known, and when their entries there were written.
    pub(super) fn stored(&self, is_asked: impl Fn(&Arc<str>) -> bool) -> Vec<(Name, SystemTime)> {
        let entries = self.entries();
        let stored = entries.iter().filter_map(|(name, entry)| match &entry.state {
            State::Whole { place: Place { stored: Some(at), .. }, .. } => Some((name.clone(), *at)),
            _ => None,
        });
        stored.filter(|(name, _)| is_asked(&name.0)).collect()
    }

    /// Compares what was `known` before a list was asked for with what it has: other services use
    /// keys, and delete some.
    pub(super) fn compare(&self, known: &[(Name, SystemTime)], found: &HashMap<Name, SystemTime>) {
        for (name, at) in known {
            let Some(modified) = found.get(name) else {
                self.forget(name, *at);
                continue;
            };
            if let Some(Entry { state: State::Whole { used, place }, .. }) = self.entries().get_mut(name) {
                *used = (*used).max(*modified);
                // Unless it was written since.
                if place.stored == Some(*at) {
                    place.stored = Some(*modified);
                }
            }
        }
    }

    /// Another service has deleted a set that was written to the bucket `at` this time.
    fn forget(&self, name: &Name, at: SystemTime) {
        let folder = {
            let mut entries = self.entries();
            let Some(entry) = entries.get_mut(name).filter(|entry| !entry.is_used()) else { return };
            match &entry.state {
                State::Whole { place, .. } if place.stored == Some(at) => {}
                _ => return,
            }
            entry.state = State::Changing;
            entry.folder.clone()
        };
        self.drop_changing(name, &folder);
    }

    /// Removes a set from disk and memory that nobody else may change now.
    fn drop_changing(&self, name: &Name, folder: &Path) {
        self.resident.remove(name);
        if let Err(error) = folder::remove(folder) {
            tracing::error!(target: "fhec::serve", "keys that are gone stay on the disk: {error}");
        }
        self.entries().remove(name);
    }

    /// Whether nothing stands in the way of a set from the bucket: it is not known, or an upload to
    /// this service that nobody works on.
    fn is_ready_for(&self, name: &Name) -> bool {
        self.entries()
            .get(name)
            .is_none_or(|entry| matches!(entry.state, State::Uploading { arriving: Some(_), .. }))
    }

    /// A set is in the bucket, and whole.
    fn found(&self, name: &Name, announced: Announced, modified: SystemTime) {
        let folder = self.folder.path(&name.0, KIND, &name.1.to_string());
        let state = State::Whole { used: modified, place: Place { here: false, stored: Some(modified) } };
        let whole = Entry { folder: folder.clone(), announced, state, uses: Arc::default() };
        let mut entries = self.entries();
        match entries.get_mut(name) {
            None => drop(entries.insert(name.clone(), whole)),
            Some(Entry { state: state @ State::Uploading { arriving: Some(_), .. }, .. }) => {
                *state = State::Changing;
                drop(entries);
                self.drop_changing(name, &folder);
                self.entries().entry(name.clone()).or_insert(whole);
            }
            Some(_) => {}
        }
    }

    /// A set in the bucket is not what it is called: for this service it is not there.
    pub(super) fn is_damaged(&self, name: &Name) {
        // Without its name: logs do not hold digests of keys beside principals.
        tracing::error!(target: "fhec::serve", "keys in the bucket are damaged: they count as not there");
        let Some(shared) = &self.shared else { return };
        locked(&shared.damaged).insert(name.clone());
        let folder = {
            let mut entries = self.entries();
            let Some(entry) = entries.get_mut(name) else { return };
            match &entry.state {
                State::Whole { place: Place { stored: Some(_), .. }, .. } => {}
                _ => return,
            }
            entry.state = State::Changing;
            entry.folder.clone()
        };
        self.drop_changing(name, &folder);
    }

    /// Fetches the file of a set that is in the bucket, if it has at most `most` bytes.
    pub(super) fn fetch(&self, name: &Name, most: u64) -> Result<File, Problem> {
        let shared = self.shared.as_ref().ok_or_else(gone)?;
        let local = locked(&shared.local);
        let (path, announced, stored) = {
            let entries = self.entries();
            let entry = entries.get(name).ok_or_else(gone)?;
            let State::Whole { place: Place { stored: Some(at), .. }, .. } = entry.state else {
                return Err(gone());
            };
            (entry.folder.clone(), entry.announced.clone(), at)
        };
        // Another lane may have fetched it meanwhile.
        if let Ok(file) = File::open(path.join(WHOLE)) {
            self.is_here(name);
            return Ok(file);
        }
        if announced.length > most {
            self.is_damaged(name);
            return Err(gone());
        }
        self.evict(shared, &local, announced.length);
        let (mut failure, mut is_good) = (None, None);
        let fill = |path: &Path| {
            let mut file = File::create(path.join(WHOLE))?;
            match shared.bucket.fetch(&object(name, WHOLE), &mut file, announced.length) {
                Ok(fetched) => is_good = Some(fetched? == Some(name.1)),
                Err(reason) => failure = Some(reason),
            }
            if is_good != Some(true) {
                return Err(io::Error::other("the file was not fetched"));
            }
            file.sync_all()?;
            folder::write_json(&path.join(ANNOUNCED), &announced)?;
            folder::write(&path.join(STORED), shared.place().as_bytes())?;
            File::options().write(true).open(path.join(STORED))?.set_modified(stored)?;
            File::create(path.join(USED)).map(drop)
        };
        let of = self.folder.of(&name.0, KIND);
        // What is left there where the file was lost.
        let of = of.and_then(|of| folder::remove(&path).map(|()| of));
        let made = of.and_then(|of| folder::make_folder(&of, &name.1.to_string(), fill));
        match (made, failure) {
            (Ok(_), _) => {}
            (Err(_), Some(_)) => return Err(away()),
            (Err(_), None) if is_good == Some(false) => {
                self.is_damaged(name);
                return Err(gone());
            }
            (Err(error), None) => return Err(of_disk(error)),
        }
        shared.counts().fetched.inc();
        let file = File::open(path.join(WHOLE)).map_err(of_disk)?;
        if !self.is_here(name) {
            // Deleted meanwhile.
            folder::remove(&path).map_err(of_disk)?;
            return Err(gone());
        }
        Ok(file)
    }

    /// The file of a whole set is on the disk. Whether there still is such a set.
    fn is_here(&self, name: &Name) -> bool {
        let mut entries = self.entries();
        let Some(Entry { state: State::Whole { used, place }, .. }) = entries.get_mut(name) else {
            return false;
        };
        (*used, place.here) = (SystemTime::now(), true);
        true
    }
}
