//! What a long evaluation leaves on disk, so that it goes on where it was after its process has
//! ended.
//!
//! A checkpoint is the ciphertexts that are alive where a layer ends, or where a run was stopped:
//! with them known, no earlier op is run again, and since evaluation is deterministic the answer is
//! the same byte for byte. It holds nothing that the evaluating side does not have anyway.
//!
//! | bytes | content |
//! |---|---|
//! | 4, 4 | `FHCP`, format version |
//! | 4 | length of the header |
//! | | header: a protocol buffer: program, key and input that it is of; position, seconds spent, values |
//! | 32 | BLAKE3 of everything before |
//! | 8, ... | length and bytes of each ciphertext, value by value |
//! | 32 | BLAKE3 of everything before |
//!
//! A new one replaces the old one when it is whole and on disk: at any time there is one, or none
//! yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fhec_ir::ckks::Ckks;
use fhec_ir::entity::Value;
use fhec_ir::func::Func;
use fhec_ir::layers::Layers;
use fhec_ir::program::ProgramId;
use fhec_runtime::FormatError;
use fhec_runtime::exec::Witness;
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::{Ciphertext, KeyId};
use prost::Message;
use thiserror::Error;

use crate::files::{self, Access, FileError};

const MAGIC: &[u8; 4] = b"FHCP";
const VERSION: u32 = 1;
/// Programs have thousands of values, of which tens are alive.
const MAX_HEADER_BYTES: usize = 1 << 20;
const CHECKSUM: usize = 32;
const LOCK: &str = "in-use.lock";

/// Why a checkpoint is of no use.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum CheckpointError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot make the folder {}: {source}", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another process writes checkpoints into {} right now; wait for it, or name another folder", .path.display())]
    Busy { path: PathBuf },
    #[error("{} is of another {what}: remove it to start afresh, or name another folder", .path.display())]
    Foreign { path: PathBuf, what: &'static str },
    #[error("{} has format version {found}, this fhec reads version {VERSION}: remove it to start afresh", .path.display())]
    Version { path: PathBuf, found: u32 },
    #[error("{} is no intact checkpoint ({reason}): remove it to start afresh", .path.display())]
    Damaged { path: PathBuf, reason: String },
}

/// What a checkpoint is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    program: ProgramId,
    key: KeyId,
    input: [u8; 32],
}

impl Identity {
    /// Of the evaluation of `input` by `program` with the keys called `key`.
    pub fn new(program: ProgramId, key: KeyId, context: &Context, input: &[Ciphertext]) -> Self {
        let mut hasher = blake3::Hasher::new();
        input.iter().for_each(|ciphertext| {
            hasher.update(&ciphertext.to_bytes(context));
        });
        Identity { program, key, input: hasher.finalize().into() }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(bytes = "vec", tag = "1")]
    program: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    input: Vec<u8>,
    /// The op that is the next to run.
    #[prost(uint64, tag = "4")]
    next: u64,
    /// Spent on the ops before.
    #[prost(double, tag = "5")]
    seconds: f64,
    #[prost(message, repeated, tag = "6")]
    values: Vec<HeaderValue>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderValue {
    #[prost(uint64, tag = "1")]
    value: u64,
    #[prost(uint64, tag = "2")]
    ciphertexts: u64,
}

/// Where an evaluation was.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The op that is the next to run; the number of ops if the answer is there.
    pub next: usize,
    /// Seconds spent on the ops before, by all processes.
    pub seconds: f64,
    /// What they left for the ops after them.
    pub values: BTreeMap<Value, Vec<Ciphertext>>,
}

/// A folder for checkpoints, for one process at a time.
#[derive(Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
    /// Open and locked.
    _lock: File,
}

impl CheckpointFolder {
    /// Claims `folder`, which is made if need be.
    pub fn claim(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.to_owned();
        fs::create_dir_all(folder)
            .map_err(|source| CheckpointError::Folder { path: path.clone(), source })?;
        let lock_path = folder.join(LOCK);
        let lock = File::create(&lock_path).map_err(|source| FileError::Write { path: lock_path, source })?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(CheckpointError::Busy { path }),
            // Where files cannot be locked, nobody is kept out.
            _ => Ok(CheckpointFolder { path, _lock: lock }),
        }
    }

    /// A file of this name in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The checkpoint of one evaluation: read when it begins, written while it runs.
pub struct Checkpoints<'a> {
    path: PathBuf,
    context: &'a Context,
    identity: Identity,
    /// Ops before which a layer ends, the end of the program among them.
    cuts: BTreeSet<usize>,
    interval: Duration,
    begun: Instant,
    written: Instant,
    /// Seconds that earlier processes spent.
    spent: f64,
}

impl<'a> Checkpoints<'a> {
    /// Of an evaluation of `program` that is called `identity`, in the file `path`, with at least
    /// `interval` between two of them.
    pub fn new(
        path: PathBuf,
        context: &'a Context,
        identity: Identity,
        program: &Func<Ckks>,
        interval: Duration,
    ) -> Self {
        let layers = Layers::of(program);
        let ends: BTreeMap<usize, usize> =
            layers.of_op.iter().enumerate().map(|(op, &layer)| (layer, op + 1)).collect();
        let now = Instant::now();
        Checkpoints {
            path,
            context,
            identity,
            cuts: ends.into_values().chain([program.ops().len()]).collect(),
            interval,
            begun: now,
            written: now,
            spent: 0.0,
        }
    }

    /// The checkpoint that is there, if there is one. From now on time counts.
    ///
    /// # Errors
    /// If there is one that is damaged or of another evaluation: it is left as it is.
    pub fn resume(&mut self, program: &Func<Ckks>) -> Result<Option<Checkpoint>, CheckpointError> {
        let found = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(FileError::Read { path: self.path.clone(), source }.into()),
            Ok(file) => Some(self.read(file, program)?),
        };
        self.spent = found.as_ref().map_or(0.0, |checkpoint| checkpoint.seconds);
        self.begun = Instant::now();
        self.written = self.begun;
        Ok(found)
    }

    /// Seconds spent so far, by all processes.
    pub fn seconds(&self) -> f64 {
        self.spent + self.begun.elapsed().as_secs_f64()
    }

    /// Removes the checkpoint: its answer is somewhere else.
    pub fn remove(self) -> Result<(), CheckpointError> {
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FileError::Write { path: self.path, source }.into())
            }
            _ => Ok(()),
        }
    }

    fn damaged(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Damaged { path: self.path.clone(), reason: reason.into() }
    }

    fn read(&self, file: File, program: &Func<Ckks>) -> Result<Checkpoint, CheckpointError> {
        let in_file = |source| FileError::Read { path: self.path.clone(), source };
        let left = file.metadata().map_err(in_file)?.len();
        let mut reader = Hashed { file: BufReader::new(file), hasher: blake3::Hasher::new(), left, of: self };
        if reader.bytes(4)? != MAGIC {
            return Err(self.damaged("it is none at all"));
        }
        match u32::from_le_bytes(reader.array()?) {
            VERSION => (),
            found => return Err(CheckpointError::Version { path: self.path.clone(), found }),
        }
        let length = u32::from_le_bytes(reader.array()?) as usize;
        if length > MAX_HEADER_BYTES {
            return Err(self.damaged("its header is too long"));
        }
        let header = reader.bytes(length)?;
        reader.checksum()?;
        let header = Header::decode(&header[..]).map_err(|error| self.damaged(error.to_string()))?;
        let Identity { program: ProgramId(of_program), key, input } = &self.identity;
        let of: [(&'static str, &[u8], &[u8]); 3] = [
            ("program", &header.program, of_program),
            ("key", &header.key, &key.0),
            ("image, or of the same one encrypted anew", &header.input, input),
        ];
        if let Some((what, ..)) = of.into_iter().find(|(_, found, expected)| found != expected) {
            return Err(CheckpointError::Foreign { path: self.path.clone(), what });
        }
        let mut values = BTreeMap::new();
        for HeaderValue { value, ciphertexts } in header.values {
            let value = usize::try_from(value).ok().filter(|&value| value < program.value_count());
            let value =
                value.map(Value::new).ok_or_else(|| self.damaged("a value that the program lacks"))?;
            if ciphertexts != program.ty(value).vectors as u64 {
                return Err(self.damaged("a value with another number of ciphertexts"));
            }
            let of_value = (0..ciphertexts).map(|_| reader.ciphertext()).collect::<Result<_, _>>()?;
            values.insert(value, of_value);
        }
        reader.checksum()?;
        if reader.left > 0 {
            return Err(self.damaged("it has trailing bytes"));
        }
        Ok(Checkpoint { next: header.next as usize, seconds: header.seconds, values })
    }

    fn write(&self, next: usize, live: &[(Value, &Vec<Ciphertext>)]) -> Result<(), FileError> {
        let of_value = |(value, bundle): &(Value, &Vec<Ciphertext>)| HeaderValue {
            value: value.index() as u64,
            ciphertexts: bundle.len() as u64,
        };
        let header = Header {
            program: self.identity.program.0.to_vec(),
            key: self.identity.key.0.to_vec(),
            input: self.identity.input.to_vec(),
            next: next as u64,
            seconds: self.seconds(),
            values: live.iter().map(of_value).collect(),
        };
        let header = header.encode_to_vec();
        files::write_atomically(&self.path, Access::Ordinary, |writer| {
            let mut hasher = blake3::Hasher::new();
            // Nothing stands for the hash of everything before.
            let mut put = |bytes: Option<&[u8]>| {
                let hash = bytes.is_none().then(|| hasher.finalize());
                let bytes = bytes.or(hash.as_ref().map(|hash| &hash.as_bytes()[..])).unwrap_or_default();
                hasher.update(bytes);
                writer.write_all(bytes)
            };
            put(Some(MAGIC))?;
            put(Some(&VERSION.to_le_bytes()))?;
            put(Some(&(header.len() as u32).to_le_bytes()))?;
            put(Some(&header))?;
            put(None)?;
            for ciphertext in live.iter().flat_map(|(_, bundle)| *bundle) {
                let bytes = ciphertext.to_bytes(self.context);
                put(Some(&(bytes.len() as u64).to_le_bytes()))?;
                put(Some(&bytes))?;
            }
            put(None)
        })
        .map(drop)
    }
}

impl Witness<Vec<Ciphertext>> for Checkpoints<'_> {
    fn reached(&mut self, next: usize, live: &[(Value, &Vec<Ciphertext>)]) {
        let due = self.written.elapsed() >= self.interval || self.cuts.last() == Some(&next);
        if !due || !self.cuts.contains(&next) {
            return;
        }
        match self.write(next, live) {
            Ok(()) => tracing::debug!(next, path = %self.path.display(), "checkpoint written"),
            // What is computed already is worth more than the file; the one before is still there.
            Err(error) => tracing::warn!(%error, "no checkpoint"),
        }
        self.written = Instant::now();
    }

    fn stopped(&mut self, next: usize, live: &[(Value, &Vec<Ciphertext>)]) {
        match self.write(next, live) {
            Ok(()) => tracing::debug!(next, path = %self.path.display(), "checkpoint written at the end"),
            Err(error) => tracing::warn!(%error, "no checkpoint"),
        }
    }

    fn keeps(&self) -> bool {
        true
    }
}

/// A file that is hashed as it is read, and never read beyond its end.
struct Hashed<'r, 'a> {
    file: BufReader<File>,
    hasher: blake3::Hasher,
    left: u64,
    of: &'r Checkpoints<'a>,
}

impl Hashed<'_, '_> {
    /// The next bytes; none are allocated that are not there.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, CheckpointError> {
        let left = self.left.checked_sub(length as u64);
        self.left = left.ok_or_else(|| self.of.damaged("it is truncated"))?;
        let mut bytes = vec![0; length];
        let read = self.file.read_exact(&mut bytes);
        read.map_err(|source| FileError::Read { path: self.of.path.clone(), source })?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes(N)?);
        Ok(array)
    }

    /// Compares the next bytes with the hash of everything before them.
    fn checksum(&mut self) -> Result<(), CheckpointError> {
        let expected = self.hasher.finalize();
        let found = self.bytes(CHECKSUM)?;
        match found[..] == expected.as_bytes()[..] {
            true => Ok(()),
            false => Err(self.of.damaged("its checksum is wrong")),
        }
    }

    fn ciphertext(&mut self) -> Result<Ciphertext, CheckpointError> {
        let length = usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX);
        let bytes = self.bytes(length)?;
        let ciphertext = Ciphertext::from_bytes(self.of.context, &bytes);
        ciphertext.map_err(|error: FormatError| self.of.damaged(error.to_string()))
    }
}
