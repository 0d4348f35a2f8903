//! Uploads: keys come in chunks, are checked as they arrive, and get their name at the end.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fhec_runtime::exec::ArrivingKeys;

use super::load::refused;
use super::{ANNOUNCED, Announced, Entry, KIND, KeyStore, Name, PART, Place, State, USED, WHOLE, key_name};
use crate::api::{Code, Keys, Problem};
use crate::digest::Digest;
use crate::service::Options;
use crate::service::catalogue::{Catalogue, Model};
use crate::service::errors::{internal, not_found, of_disk};
use crate::service::{folder, spans};

/// Errs where another set of `length` bytes would be more than `principal` may have.
pub(super) fn check_room(
    entries: &HashMap<Name, Entry>,
    principal: &Arc<str>,
    length: u64,
    options: &Options,
) -> Result<(), Problem> {
    let own = || entries.iter().filter(|((owner, _), _)| owner == principal);
    let (sets, most) = (own().count(), options.key_sets_per_principal);
    if sets >= most {
        let detail = format!("{sets} sets of keys are here and {most} are allowed: delete some first");
        return Err(Problem::new(Code::NoRoom, detail));
    }
    let quota = options.keys_per_principal;
    // Lengths from a bucket may be anything.
    let taken = own().map(|(_, entry)| entry.announced.length).fold(0, u64::saturating_add);
    if taken.saturating_add(length) > quota {
        let detail = format!("{taken} bytes of keys are here and {quota} are allowed: delete some first");
        return Err(Problem::new(Code::NoRoom, detail));
    }
    Ok(())
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

impl KeyStore {
    /// Begins an upload, or says where it is; `true` for one that is new.
    pub(in crate::service) fn announce(
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
        // Where the bucket cannot be reached, what is known counts.
        self.refresh(&name.0);
        let _ = self.look_up(name);
        let mut entries = self.entries();
        if let Some(entry) = entries.get(name) {
            if (entry.announced.program, entry.announced.length) != (model.program, length) {
                let detail = "keys of this name were announced for another program or with another length";
                return Err(Problem::new(Code::KeyMismatch, detail));
            }
            let changing = || Problem::new(Code::Busy, "these keys are made or deleted now").retry_after(1);
            return Ok((self.shown(name, entry).ok_or_else(changing)?, false));
        }
        check_room(&entries, &name.0, length, options)?;
        // It counts from now on; its folder is made while others go on.
        let entry = Entry {
            folder: PathBuf::new(),
            announced: announced.clone(),
            state: State::Changing,
            uses: Arc::default(),
        };
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
        let entry = Entry { folder, announced, state, uses: Arc::default() };
        let shown = self.shown(name, &entry).ok_or_else(not_found)?;
        entries.insert(name.clone(), entry);
        Ok((shown, true))
    }

    /// Adds a chunk at `offset`. The last one makes the keys whole, after they were checked.
    ///
    /// # Errors
    /// Where the upload is somewhere else, says where. What cannot become keys of the program is
    /// deleted.
    pub(in crate::service) fn append(
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
                let place = Place { here: true, stored: None };
                entry.state = State::Whole { used: SystemTime::now(), place };
                let shown = self.shown(name, entry).ok_or_else(not_found);
                drop(entries);
                self.wake_keeper();
                shown
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

    /// Uploads of programs that are served again begin to be checked again, from their first byte.
    pub(in crate::service) fn check_again(&self, catalogue: &Catalogue, programs: &BTreeSet<Digest>) {
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
}

fn wrong_offset(at: u64) -> Problem {
    let detail = format!("the upload is at byte {at}: go on there");
    Problem { offset: Some(at), ..Problem::new(Code::WrongOffset, detail) }
}
