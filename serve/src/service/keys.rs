//! Keys of clients: named by their content, uploaded in chunks, checked as they arrive.
//!
//! A set belongs to the principal who has uploaded it and to one program. Two principals with the
//! same file have two sets: neither learns of the other.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use fhec_runtime::exec::{ArrivingKeys, ProgramKeys};
use serde::{Deserialize, Serialize};

use super::Options;
use super::catalogue::{Catalogue, Model};
use super::errors::{ServiceError, internal, not_found, of_disk};
use super::folder::{self, StateFolder};
use super::resident::Resident;
use super::spans;
use crate::api::{Code, KeyState, Keys, Problem};
use crate::digest::Digest;

const KIND: &str = "keys";
const ANNOUNCED: &str = "announced.json";
const PART: &str = "evaluation.keys.part";
const WHOLE: &str = "evaluation.keys";
const USED: &str = "used";

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
    },
    /// Its folder is being made or deleted: nobody else may.
    Changing,
}

struct Entry {
    folder: PathBuf,
    announced: Announced,
    state: State,
    /// Jobs that are not finished, and those that are about to be accepted.
    uses: usize,
}

type Entries = Mutex<HashMap<Name, Entry>>;

fn locked(entries: &Entries) -> MutexGuard<'_, HashMap<Name, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keys are not deleted while this is there.
pub(super) struct KeyUse {
    entries: Weak<Entries>,
    name: Name,
}

impl Drop for KeyUse {
    fn drop(&mut self) {
        if let Some(entries) = self.entries.upgrade()
            && let Some(entry) = locked(&entries).get_mut(&self.name)
        {
            entry.uses -= 1;
        }
    }
}

/// Whole keys, for a job.
pub(super) struct WholeKeys {
    pub(super) program: Digest,
    /// Name of the secret key, in hexadecimal digits.
    pub(super) key: String,
    pub(super) reserved: KeyUse,
}

/// A chunk that is worked on: however that ends, the next one can come.
struct Appending<'a> {
    store: &'a KeyStore,
    name: &'a Name,
    /// Where the upload is when this ends.
    offset: u64,
    inherited: u64,
    /// What is checked.
    arriving: ArrivingKeys,
    /// What there is before anything was checked.
    fresh: ArrivingKeys,
    is_over: bool,
}

impl Appending<'_> {
    /// The upload goes on at `offset`.
    fn goes_on_at(mut self, offset: u64) {
        self.offset = offset;
        let fresh = self.fresh.clone();
        let arriving = std::mem::replace(&mut self.arriving, fresh);
        self.put_back(arriving);
    }

    /// The same where what was checked is not there any more.
    fn begins_again_at(mut self, offset: u64) {
        self.offset = offset;
        self.inherited = self.inherited.min(offset);
        self.put_back(self.fresh.clone());
    }

    fn put_back(&mut self, checked: ArrivingKeys) {
        self.is_over = true;
        if let Some(Entry { state: State::Uploading { offset, arriving, touched, inherited }, .. }) =
            self.store.entries().get_mut(self.name)
        {
            (*offset, *inherited) = (self.offset, self.inherited);
            (*arriving, *touched) = (Some(checked), SystemTime::now());
        }
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        // A check has panicked: the chunk counts as one that has not come.
        if !self.is_over {
            let fresh = self.fresh.clone();
            self.put_back(fresh);
        }
    }
}

/// All sets of all principals.
pub(super) struct KeyStore {
    folder: StateFolder,
    /// Locked for moments only: nobody waits for the disk with it.
    entries: Arc<Entries>,
    resident: Resident<Name, ProgramKeys>,
    /// Reads keys: one set at a time.
    loader: Mutex<rayon::ThreadPool>,
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
        let mut entries = HashMap::new();
        for (principal, path, name) in folder.all(KIND).map_err(error)? {
            let Ok(keys) = name.parse::<Digest>() else { continue };
            match entry(&path, catalogue) {
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
            entries: Arc::new(Mutex::new(entries)),
            resident: Resident::new(options.key_memory),
            loader: Mutex::new(loader),
            chunk_bytes: options.chunk_bytes,
            keys_live: options.keys_live,
            uploads_live: options.uploads_live,
        })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        locked(&self.entries)
    }

    /// What the owner sees; nothing while the set is being made or deleted.
    fn shown(&self, name: &Name, entry: &Entry) -> Option<Keys> {
        let (state, offset, touched, live) = match &entry.state {
            State::Uploading { offset, touched, .. } => {
                (KeyState::Uploading, *offset, *touched, self.uploads_live)
            }
            State::Whole { used } => (KeyState::Whole, entry.announced.length, *used, self.keys_live),
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

    /// What `principal` has, or what there is of one set.
    pub(super) fn list(&self, principal: &Arc<str>) -> Vec<Keys> {
        let entries = self.entries();
        let own = entries.iter().filter(|((owner, _), _)| owner == principal);
        let mut list: Vec<Keys> = own.filter_map(|(name, entry)| self.shown(name, entry)).collect();
        list.sort_by_key(|keys| keys.keys);
        list
    }

    pub(super) fn get(&self, name: &Name) -> Result<Keys, Problem> {
        let entries = self.entries();
        entries.get(name).and_then(|entry| self.shown(name, entry)).ok_or_else(not_found)
    }

    /// Begins an upload, or says where it is; `true` for one that is new.
    pub(super) fn announce(
        &self,
        name: &Name,
        model: &Model,
        length: u64,
        options: &Options,
    ) -> Result<(Keys, bool), Problem> {
        if length == 0 || length > model.key_file_max_bytes {
            let most = model.key_file_max_bytes;
            return Err(Problem::new(
                Code::TooLarge,
                format!("keys of this program have up to {most} bytes, not {length}"),
            ));
        }
        let announced = Announced { program: model.program, length, key: None };
        let mut entries = self.entries();
        if let Some(entry) = entries.get(name) {
            if (entry.announced.program, entry.announced.length) != (model.program, length) {
                let detail = "keys of this name were announced for another program or with another length";
                return Err(Problem::new(Code::KeyMismatch, detail));
            }
            let changing = || Problem::new(Code::Busy, "these keys are made or deleted now").retry_after(1);
            return Ok((self.shown(name, entry).ok_or_else(changing)?, false));
        }
        let own = || entries.iter().filter(|((owner, _), _)| *owner == name.0);
        let (sets, most) = (own().count(), options.key_sets_per_principal);
        if sets >= most {
            let detail = format!("{sets} sets of keys are here and {most} are allowed: delete some first");
            return Err(Problem::new(Code::NoRoom, detail));
        }
        let quota = options.keys_per_principal;
        let taken: u64 = own().map(|(_, entry)| entry.announced.length).sum();
        if taken.saturating_add(length) > quota {
            return Err(Problem::new(
                Code::NoRoom,
                format!("{taken} bytes of keys are here and {quota} are allowed: delete some first"),
            ));
        }
        // It counts from now on; its folder is made while others go on.
        let entry =
            Entry { folder: PathBuf::new(), announced: announced.clone(), state: State::Changing, uses: 0 };
        entries.insert(name.clone(), entry);
        drop(entries);
        let fill = |path: &Path| folder::write_json(&path.join(ANNOUNCED), &announced);
        let folder = self.folder.of(&name.0, KIND);
        let folder = folder.and_then(|of| folder::make_folder(&of, &name.1.to_string(), fill));
        let mut entries = self.entries();
        let folder = folder.map_err(|error| {
            entries.remove(name);
            of_disk(error)
        })?;
        let arriving = Some(ArrivingKeys::new(&model.program().interface.keys));
        let state = State::Uploading { offset: 0, arriving, touched: SystemTime::now(), inherited: 0 };
        let entry = Entry { folder, announced, state, uses: 0 };
        let shown = self.shown(name, &entry).ok_or_else(not_found)?;
        entries.insert(name.clone(), entry);
        Ok((shown, true))
    }

    /// Adds a chunk at `offset`. The last one makes the keys whole, after they were checked.
    ///
    /// # Errors
    /// Where the upload is somewhere else, says where. What cannot become keys of the program is
    /// deleted.
    pub(super) fn append(
        &self,
        name: &Name,
        catalogue: &Catalogue,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Keys, Problem> {
        let (path, announced, mut appending) = {
            let mut entries = self.entries();
            let entry = entries.get_mut(name).ok_or_else(not_found)?;
            let (at, arriving, touched, inherited) = match &mut entry.state {
                State::Uploading { offset, arriving, touched, inherited } => {
                    (offset, arriving, touched, *inherited)
                }
                State::Whole { .. } => return Err(wrong_offset(entry.announced.length)),
                State::Changing => return Err(not_found()),
            };
            if *at != offset {
                return Err(wrong_offset(*at));
            }
            if offset.saturating_add(bytes.len() as u64) > entry.announced.length {
                return Err(Problem::new(Code::TooLarge, "the chunk goes beyond the announced length"));
            }
            let busy = || Problem::new(Code::Busy, "another request uploads these keys").retry_after(1);
            *touched = SystemTime::now();
            let arriving = arriving.take().ok_or_else(busy)?;
            let demand = catalogue.of_program(&entry.announced.program);
            let demand = demand.map(|model| model.program().interface.keys.clone()).unwrap_or_default();
            let fresh = ArrivingKeys::new(&demand);
            let (store, is_over) = (self, false);
            let appending = Appending { store, name, offset, inherited, arriving, fresh, is_over };
            (entry.folder.clone(), entry.announced.clone(), appending)
        };
        let part = path.join(PART);
        let end = offset + bytes.len() as u64;
        let Some(model) = catalogue.of_program(&announced.program) else {
            appending.goes_on_at(offset);
            return Err(Problem::new(Code::ModelGone, "the program of these keys is not served any more"));
        };
        let file = match folder::append(&part, offset, bytes) {
            Ok(file) => file,
            Err(error) => {
                appending.goes_on_at(offset);
                return Err(of_disk(error));
            }
        };
        let whole = end == announced.length;
        let span = spans::chunk(&model.name, bytes.len() as u64);
        let checked = span.in_scope(|| appending.arriving.check(&model.context, &file));
        let checked = checked.map_err(|error| refused(&error));
        let good = appending.arriving.checked_bytes();
        if let Err(Problem { code: Code::KeysRefused, .. }) = &checked
            && good < appending.inherited
        {
            // Not the fault of what was sent: a record from before the last start is damaged, as a
            // power cut leaves it. It is to come again; then its bytes count.
            let cut = fs::OpenOptions::new().write(true).open(&part).and_then(|part| part.set_len(good));
            let at = if cut.is_ok() { good } else { 0 };
            appending.inherited = 0;
            appending.begins_again_at(at);
            return Err(wrong_offset(at));
        }
        let checked = checked.and_then(|()| match whole {
            true => self.finish(name, &model, &path, &announced, &appending.arriving, file),
            false => Ok(()),
        });
        match checked {
            Ok(()) if whole => {
                let mut entries = self.entries();
                appending.is_over = true;
                let entry = entries.get_mut(name).ok_or_else(not_found)?;
                entry.announced.key = appending.arriving.id().map(key_name);
                entry.state = State::Whole { used: SystemTime::now() };
                self.shown(name, entry).ok_or_else(not_found)
            }
            Ok(()) => {
                appending.goes_on_at(end);
                self.get(name)
            }
            Err(problem) if !matches!(problem.code, Code::KeysRefused | Code::WrongDigest) => {
                // Not the fault of the bytes. If they are all there, the last one is to come again.
                let at = end.min(announced.length - 1);
                let cut = fs::OpenOptions::new().write(true).open(&part).and_then(|part| part.set_len(at));
                match cut.is_ok() && good <= at {
                    true => appending.goes_on_at(at),
                    false => appending.begins_again_at(at),
                }
                Err(problem)
            }
            Err(problem) => {
                // However it goes on, this never becomes what was announced. Until the folder is
                // gone the name is taken.
                let removed = folder::remove(&path);
                appending.is_over = true;
                self.entries().remove(name);
                removed.map_err(internal)?;
                Err(problem)
            }
        }
    }

    /// Checks a key file that is all there, and gives it its name.
    fn finish(
        &self,
        name: &Name,
        model: &Model,
        path: &Path,
        announced: &Announced,
        arriving: &ArrivingKeys,
        mut file: File,
    ) -> Result<(), Problem> {
        let (true, Some(key)) = (arriving.is_whole(), arriving.id()) else {
            return Err(Problem::new(Code::KeysRefused, "the key file ends before its last key"));
        };
        file.rewind().map_err(internal)?;
        if Digest::of_reader(&file).map_err(internal)? != name.1 {
            return Err(Problem::new(Code::WrongDigest, "the key file is not the one that was announced"));
        }
        let keys = self.read(model, &file)?;
        let bytes = keys.bytes() as u64;
        let announced = Announced { key: Some(key_name(key)), ..announced.clone() };
        let named = file
            .sync_all()
            .and_then(|()| folder::write_json(&path.join(ANNOUNCED), &announced))
            .and_then(|()| File::create(path.join(USED)).map(drop))
            .and_then(|()| fs::rename(path.join(PART), path.join(WHOLE)))
            .and_then(|()| folder::sync(path));
        named.map_err(of_disk)?;
        self.resident.insert(name.clone(), keys, bytes);
        Ok(())
    }

    /// Reads all keys of a file, and checks that the program needs no others. One file at a time:
    /// keys take a lot of memory.
    fn read(&self, model: &Model, file: &File) -> Result<Arc<ProgramKeys>, Problem> {
        let bytes = file.metadata().map_err(internal)?.len();
        let _reading = spans::keys(&model.name, bytes).entered();
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        loader.install(|| {
            let keys = ProgramKeys::read(&model.context, file).map_err(|error| refused(&error))?;
            let keys = Arc::new(keys);
            let session = model.server.session(Arc::clone(&keys));
            session.map_err(|reason| Problem::new(Code::KeysRefused, reason.to_string()))?;
            Ok(keys)
        })
    }

    /// The whole keys of this name, for a job: they stay until its end. Does not wait for the disk.
    pub(super) fn reserve(&self, name: &Name) -> Result<WholeKeys, Problem> {
        let mut entries = self.entries();
        let entry = entries.get_mut(name).ok_or_else(not_found)?;
        let used = match &mut entry.state {
            State::Whole { used } => used,
            State::Uploading { .. } => {
                return Err(Problem::new(Code::KeysNotWhole, "upload the rest of the keys first"));
            }
            State::Changing => return Err(not_found()),
        };
        let key = entry.announced.key.clone().ok_or_else(|| internal("whole keys without a name"))?;
        *used = SystemTime::now();
        entry.uses += 1;
        let reserved = KeyUse { entries: Arc::downgrade(&self.entries), name: name.clone() };
        Ok(WholeKeys { program: entry.announced.program, key, reserved })
    }

    /// The keys in memory; read where they are not, which takes a second or two for a ResNet-20.
    /// `loaded` is told that they were.
    pub(super) fn load(
        &self,
        name: &Name,
        model: &Model,
        loaded: impl FnOnce(),
    ) -> Result<Arc<ProgramKeys>, Problem> {
        if let Some(keys) = self.resident.get(name) {
            return Ok(keys);
        }
        let path = {
            let entries = self.entries();
            let whole = entries.get(name).filter(|entry| matches!(entry.state, State::Whole { .. }));
            let gone = || Problem::new(Code::KeysNotWhole, "the keys of this job are not here any more");
            whole.map(|entry| entry.folder.join(WHOLE)).ok_or_else(gone)?
        };
        let file = File::open(path).map_err(internal)?;
        let keys = self.read(model, &file)?;
        loaded();
        let bytes = keys.bytes() as u64;
        // Only what was not deleted meanwhile is kept; the caller has it in any case.
        let entries = self.entries();
        let is_here = entries.get(name).is_some_and(|entry| matches!(entry.state, State::Whole { .. }));
        Ok(if is_here { self.resident.insert(name.clone(), keys, bytes) } else { keys })
    }

    /// Keys of `principal` for a program that are whole.
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
        let folder = {
            let mut entries = self.entries();
            let entry = entries.get_mut(name).ok_or_else(not_found)?;
            match &mut entry.state {
                State::Uploading { touched, .. } => *touched = SystemTime::now(),
                State::Whole { used } => *used = SystemTime::now(),
                State::Changing => return Err(not_found()),
            }
            entry.folder.clone()
        };
        touch(&folder);
        Ok(())
    }

    /// Deletes a set that no job uses.
    pub(super) fn delete(&self, name: &Name) -> Result<(), Problem> {
        let (folder, state) = {
            let mut entries = self.entries();
            let entry = entries.get_mut(name).ok_or_else(not_found)?;
            match &entry.state {
                State::Changing => return Err(not_found()),
                State::Uploading { arriving: None, .. } => {
                    let detail = "a chunk of these keys is being checked";
                    return Err(Problem::new(Code::Busy, detail).retry_after(1));
                }
                _ if entry.uses > 0 => {
                    let detail = "jobs that are not finished use these keys: cancel them first";
                    return Err(Problem::new(Code::KeysInUse, detail));
                }
                _ => {}
            }
            self.resident.remove(name);
            (entry.folder.clone(), std::mem::replace(&mut entry.state, State::Changing))
        };
        let removed = folder::remove(&folder);
        let mut entries = self.entries();
        match entries.get_mut(name) {
            // Still there as it was.
            Some(entry) if removed.is_err() && folder.is_dir() => entry.state = state,
            _ => drop(entries.remove(name)),
        }
        removed.map_err(internal)
    }

    /// Deletes what nobody has used for long and no job uses now.
    pub(super) fn sweep(&self, options: &Options) {
        let old: Vec<Name> = {
            let entries = self.entries();
            let is_old = |entry: &Entry| {
                let (touched, live) = match &entry.state {
                    State::Uploading { touched, .. } => (touched, options.uploads_live),
                    State::Whole { used } => (used, options.keys_live),
                    State::Changing => return false,
                };
                entry.uses == 0 && touched.elapsed().is_ok_and(|age| age > live)
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

    /// Uploads of programs that are served again begin to be checked again, from their first byte.
    pub(super) fn check_again(&self, catalogue: &Catalogue, programs: &BTreeSet<Digest>) {
        for entry in self.entries().values_mut() {
            let (State::Uploading { arriving: Some(arriving), .. }, Some(model)) =
                (&mut entry.state, catalogue.of_program(&entry.announced.program))
            else {
                continue;
            };
            if programs.contains(&model.program) {
                *arriving = ArrivingKeys::new(&model.program().interface.keys);
            }
        }
    }

    /// Sets of keys in memory.
    pub(super) fn resident_sets(&self) -> usize {
        self.resident.len()
    }

    /// Bytes of keys in memory.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.resident.bytes()
    }
}

/// The entry of a folder.
fn entry(path: &Path, catalogue: &Catalogue) -> io::Result<Entry> {
    let announced: Announced = folder::read_json(&path.join(ANNOUNCED))?;
    let modified = |name: &str| fs::metadata(path.join(name)).and_then(|file| file.modified());
    let state = match (path.join(WHOLE).is_file(), &announced.key) {
        (true, Some(_)) => State::Whole { used: modified(USED).or_else(|_| modified(WHOLE))? },
        (true, None) => return Err(io::Error::other("keys without a name")),
        (false, _) => {
            let part = fs::metadata(path.join(PART));
            // A killed process may have written a part of a chunk: its bytes are right as far as
            // they go. If they are not, after a power cut, the check of their record says so.
            let offset = part.as_ref().map_or(0, fs::Metadata::len);
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
    Ok(Entry { folder: path.to_owned(), announced, state, uses: 0 })
}

/// Keeps the time of the last use where a restart finds it. Losing it loses nothing but time to
/// live.
fn touch(folder: &Path) {
    let touched = File::options().write(true).create(true).truncate(false).open(folder.join(USED));
    if let Err(error) = touched.and_then(|file| file.set_modified(SystemTime::now())) {
        tracing::warn!(target: "fhec::serve", "a time of use is not kept: {error}");
    }
}

fn wrong_offset(at: u64) -> Problem {
    let detail = format!("the upload is at byte {at}: go on there");
    Problem { offset: Some(at), ..Problem::new(Code::WrongOffset, detail) }
}

fn refused(error: &fhec_runtime::exec::ReadError) -> Problem {
    match error {
        fhec_runtime::exec::ReadError::Format(reason) => {
            Problem::new(Code::KeysRefused, format!("the keys are of no use here: {reason}"))
        }
        error => internal(error),
    }
}
