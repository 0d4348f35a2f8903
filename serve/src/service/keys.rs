//! Keys of clients: named by their content, uploaded in chunks, checked as they arrive.
//!
//! A set belongs to the principal who has uploaded it and to one program. Two principals with the
//! same file have two sets: neither learns of the other.
//!
//! | module | subject |
//! |---|---|
//! | `upload` | keys come in chunks, and become whole |
//! | `load` | whole keys come into memory |
//! | `shared` | a bucket has whole keys, too: what is found and fetched there |
//! | `keeper` | what happens to the bucket, and to the disk, while nobody waits for it |

mod keeper;
mod load;
mod shared;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fhec_runtime::exec::{ArrivingKeys, ProgramKeys};
use serde::{Deserialize, Serialize};

use shared::Shared;

use super::Options;
use super::bucket::Counts;
use super::catalogue::Catalogue;
use super::errors::{ServiceError, internal, not_found};
use super::folder::{self, StateFolder};
use super::resident::Resident;
use crate::api::{Code, KeyState, Keys, Problem};
use crate::digest::Digest;

const KIND: &str = "keys";
const ANNOUNCED: &str = "announced.json";
const PART: &str = "evaluation.keys.part";
const WHOLE: &str = "evaluation.keys";
const USED: &str = "used";
/// Says which bucket has the keys. Its time is when their entry there was written last.
const STORED: &str = "stored";

/// Whose and which.
pub(super) type Name = (Arc<str>, Digest);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Announced {
    program: Digest,
    length: u64,
    /// Name of the secret key, in hexadecimal digits, once the keys are whole.
    #[serde(default)]
    key: Option<String>,
}

enum State {
    Uploading {
        offset: u64,
        /// What is checked; `None` while a request works on it.
        arriving: Option<ArrivingKeys>,
        touched: SystemTime,
        /// What an earlier process has left: of these bytes a power cut may have lost some.
        inherited: u64,
    },
    Whole {
        used: SystemTime,
        place: Place,
    },
    /// It is being made or deleted: nobody else may.
    Changing,
}

/// Where whole keys are: in one of two places at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Their file is on the disk of this service.
    here: bool,
    /// They are in the bucket; when their entry there was written last, as far as is known.
    stored: Option<SystemTime>,
}

struct Entry {
    /// Where they are on the disk, or would be.
    folder: PathBuf,
    announced: Announced,
    state: State,
    /// Held by jobs that are not finished, and those that are about to be accepted.
    uses: Arc<()>,
}

impl Entry {
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.uses) > 1
    }
}

/// Keys are not deleted while this is there.
pub(super) struct KeyUse {
    _held: Arc<()>,
}

/// Whole keys, for a job.
pub(super) struct WholeKeys {
    pub(super) program: Digest,
    /// Name of the secret key, in hexadecimal digits.
    pub(super) key: String,
    pub(super) reserved: KeyUse,
}

/// All sets of all principals.
pub(super) struct KeyStore {
    folder: StateFolder,
    /// Locked for moments only: nobody waits for the disk, or the bucket, with it.
    entries: Mutex<HashMap<Name, Entry>>,
    resident: Resident<Name, ProgramKeys>,
    /// Reads keys: one set at a time.
    loader: Mutex<rayon::ThreadPool>,
    /// The bucket, if there is one.
    shared: Option<Shared>,
    chunk_bytes: u64,
    keys_live: Duration,
    uploads_live: Duration,
}

/// Name of a secret key as text.
pub(super) fn key_name(key: fhec_runtime::rlwe::KeyId) -> String {
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl KeyStore {
    /// Finds what is there.
    pub(super) fn open(
        folder: &StateFolder,
        catalogue: &Catalogue,
        options: &Options,
    ) -> Result<Self, ServiceError> {
        let error = |source| ServiceError::State { path: options.state.clone(), source };
        let shared = options.key_bucket.clone().map(|bucket| Shared::new(bucket, options));
        let place = shared.as_ref().map(Shared::place);
        let mut entries = HashMap::new();
        for (principal, path, name) in folder.all(KIND).map_err(error)? {
            let Ok(keys) = name.parse::<Digest>() else { continue };
            match entry(&path, catalogue, place.as_deref()) {
                Ok(entry) => {
                    entries.insert((Arc::from(principal), keys), entry);
                }
                // Without their name: logs do not hold what tells that two principals are one.
                Err(error) => {
                    tracing::warn!(target: "fhec::serve", principal, "keys that are left alone: {error}");
                }
            }
        }
        let loader = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|index| format!("loader-{index}"))
            .build()?;
        Ok(KeyStore {
            folder: folder.clone(),
            entries: Mutex::new(entries),
            resident: Resident::new(options.key_memory),
            loader: Mutex::new(loader),
            shared,
            chunk_bytes: options.chunk_bytes,
            keys_live: options.keys_live,
            uploads_live: options.uploads_live,
        })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the owner sees; nothing while the set is being made or deleted.
    fn shown(&self, name: &Name, entry: &Entry) -> Option<Keys> {
        let (state, offset, touched, live) = match &entry.state {
            State::Uploading { offset, touched, .. } => {
                (KeyState::Uploading, *offset, *touched, self.uploads_live)
            }
            State::Whole { used, .. } => (KeyState::Whole, entry.announced.length, *used, self.keys_live),
            State::Changing => return None,
        };
        Some(Keys {
            keys: name.1,
            program: entry.announced.program,
            state,
            length: entry.announced.length,
            offset,
            chunk_bytes: self.chunk_bytes,
            resident: self.resident.has(name),
            expires_in_seconds: live.saturating_sub(touched.elapsed().unwrap_or_default()).as_secs(),
        })
    }

    /// What `principal` has, as far as it is known here: [`KeyStore::refresh`] asks the bucket.
    pub(super) fn list(&self, principal: &Arc<str>) -> Vec<Keys> {
        let entries = self.entries();
        let own = entries.iter().filter(|((owner, _), _)| owner == principal);
        let mut list: Vec<Keys> = own.filter_map(|(name, entry)| self.shown(name, entry)).collect();
        list.sort_by_key(|keys| keys.keys);
        list
    }

    /// What there is of one set, as far as it is known here: [`KeyStore::look_up`] asks the bucket.
    pub(super) fn get(&self, name: &Name) -> Result<Keys, Problem> {
        let entries = self.entries();
        entries.get(name).and_then(|entry| self.shown(name, entry)).ok_or_else(not_found)
    }

    /// The whole keys of this name, for a job: they stay until its end. Waits neither for the disk
    /// nor for the bucket.
    pub(super) fn reserve(&self, name: &Name) -> Result<WholeKeys, Problem> {
        let mut entries = self.entries();
        let entry = entries.get_mut(name).ok_or_else(not_found)?;
        let used = match &mut entry.state {
            State::Whole { used, .. } => used,
            State::Uploading { .. } => {
                return Err(Problem::new(Code::KeysNotWhole, "upload the rest of the keys first"));
            }
            State::Changing => return Err(not_found()),
        };
        let key = entry.announced.key.clone().ok_or_else(|| internal("whole keys without a name"))?;
        *used = SystemTime::now();
        let reserved = KeyUse { _held: Arc::clone(&entry.uses) };
        Ok(WholeKeys { program: entry.announced.program, key, reserved })
    }

    /// Keys of `principal` for a program that are whole, as far as it is known here.
    pub(super) fn whole_of(&self, principal: &Arc<str>, program: &Digest) -> Vec<Digest> {
        let entries = self.entries();
        let own = entries.iter().filter(|((owner, _), entry)| {
            owner == principal
                && entry.announced.program == *program
                && matches!(entry.state, State::Whole { .. })
        });
        let mut names: Vec<Digest> = own.map(|((_, keys), _)| *keys).collect();
        names.sort();
        names
    }

    /// Starts their time to live again.
    pub(super) fn touch(&self, name: &Name) -> Result<(), Problem> {
        self.look_up(name)?;
        let folder = {
            let mut entries = self.entries();
            let entry = entries.get_mut(name).ok_or_else(not_found)?;
            let here = match &mut entry.state {
                State::Uploading { touched, .. } => {
                    *touched = SystemTime::now();
                    true
                }
                // Of its entry in the bucket the keeper takes care.
                State::Whole { used, place } => {
                    *used = SystemTime::now();
                    place.here
                }
                State::Changing => return Err(not_found()),
            };
            here.then(|| entry.folder.clone())
        };
        if let Some(folder) = folder {
            touch(&folder);
        }
        Ok(())
    }

    /// Deletes a set that no job uses: whole keys in the bucket first. Where it cannot be reached,
    /// nothing is deleted.
    pub(super) fn delete(&self, name: &Name) -> Result<(), Problem> {
        self.look_up(name)?;
        let (folder, state) = {
            let mut entries = self.entries();
            let entry = entries.get_mut(name).ok_or_else(not_found)?;
            match &entry.state {
                State::Changing => return Err(not_found()),
                State::Uploading { arriving: None, .. } => {
                    let detail = "a chunk of these keys is being checked";
                    return Err(Problem::new(Code::Busy, detail).retry_after(1));
                }
                _ if entry.is_used() => {
                    let detail = "jobs that are not finished use these keys: cancel them first";
                    return Err(Problem::new(Code::KeysInUse, detail));
                }
                _ => {}
            }
            (entry.folder.clone(), std::mem::replace(&mut entry.state, State::Changing))
        };
        let unshared = match (&self.shared, &state) {
            (Some(shared), State::Whole { .. }) => shared.remove(name).map_err(|_| shared::away()),
            _ => Ok(()),
        };
        let removed = unshared.and_then(|()| {
            self.resident.remove(name);
            folder::remove(&folder).map_err(internal)
        });
        let mut entries = self.entries();
        match (&removed, entries.get_mut(name)) {
            // Still there as it was.
            (Err(problem), Some(entry)) if problem.code == Code::StoreAway || folder.is_dir() => {
                entry.state = state;
            }
            _ => drop(entries.remove(name)),
        }
        removed
    }

    /// Deletes what nobody has used for long and no job uses now. Of whole keys in a bucket the
    /// keeper takes care: other services may use them.
    pub(super) fn sweep(&self, options: &Options) {
        let old: Vec<Name> = {
            let entries = self.entries();
            let is_old = |entry: &Entry| {
                let (touched, live) = match &entry.state {
                    State::Uploading { touched, .. } => (touched, options.uploads_live),
                    State::Whole { used, .. } if self.shared.is_none() => (used, options.keys_live),
                    State::Whole { .. } | State::Changing => return false,
                };
                !entry.is_used() && touched.elapsed().is_ok_and(|age| age > live)
            };
            entries.iter().filter(|(_, entry)| is_old(entry)).map(|(name, _)| name.clone()).collect()
        };
        for name in old {
            match self.delete(&name) {
                Ok(()) => tracing::info!(target: "fhec::serve", "deleted keys that nobody has used for long"),
                Err(problem) => tracing::debug!(target: "fhec::serve", "{}", problem.detail),
            }
        }
    }

    /// Whether keys are in memory.
    pub(super) fn is_resident(&self, name: &Name) -> bool {
        self.resident.has(name)
    }

    /// Sets of keys in memory.
    pub(super) fn resident_sets(&self) -> usize {
        self.resident.len()
    }

    /// Bytes of keys in memory.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.resident.bytes()
    }

    /// What operators watch of the bucket.
    pub(super) fn bucket_counts(&self) -> Option<&Counts> {
        self.shared.as_ref().map(Shared::counts)
    }
}

/// The entry of a folder; `bucket` is the place that keys are stored in now.
fn entry(path: &Path, catalogue: &Catalogue, bucket: Option<&str>) -> io::Result<Entry> {
    let announced: Announced = folder::read_json(&path.join(ANNOUNCED))?;
    let modified = |name: &str| fs::metadata(path.join(name)).and_then(|file| file.modified());
    let stored = fs::read_to_string(path.join(STORED)).ok();
    let stored = stored.filter(|stored| Some(&stored[..]) == bucket).and_then(|_| modified(STORED).ok());
    let here = path.join(WHOLE).is_file();
    let state = match (here, &announced.key) {
        (true, Some(_)) => {
            let used = modified(USED).or_else(|_| modified(WHOLE))?;
            State::Whole { used, place: Place { here, stored } }
        }
        // Its file is lost, and the bucket has it.
        (false, Some(_)) if stored.is_some() => {
            let used = modified(USED).or_else(|_| modified(ANNOUNCED))?;
            State::Whole { used, place: Place { here, stored } }
        }
        (true, None) => return Err(io::Error::other("keys without a name")),
        (false, _) => {
            let part = fs::metadata(path.join(PART));
            // A killed process may have written a part of a chunk: its bytes are right as far as
            // they go. If they are not, after a power cut, the check of their record says so.
            let offset = part.as_ref().map_or(0, fs::Metadata::len);
            // An upload becomes whole here first, whatever was stored before.
            let _ = fs::remove_file(path.join(STORED));
            let touched = part.and_then(|part| part.modified()).or_else(|_| modified(ANNOUNCED))?;
            if offset >= announced.length {
                // All there and not checked yet: the last byte is to come again.
                let file = fs::OpenOptions::new().write(true).open(path.join(PART))?;
                file.set_len(announced.length - 1)?;
            }
            let offset = offset.min(announced.length - 1);
            // Of a program that is not served: it may be again, and else it goes with time.
            let demand = catalogue.of_program(&announced.program);
            let demand = demand.map(|model| model.program().interface.keys.clone()).unwrap_or_default();
            let arriving = Some(ArrivingKeys::new(&demand));
            State::Uploading { offset, arriving, touched, inherited: offset }
        }
    };
    Ok(Entry { folder: path.to_owned(), announced, state, uses: Arc::default() })
}

/// Keeps the time of the last use where a restart finds it. Losing it loses nothing but time to
/// live.
fn touch(folder: &Path) {
    let touched = File::options().write(true).create(true).truncate(false).open(folder.join(USED));
    if let Err(error) = touched.and_then(|file| file.set_modified(SystemTime::now())) {
        tracing::warn!(target: "fhec::serve", "a time of use is not kept: {error}");
    }
}
