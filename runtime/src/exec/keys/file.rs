//! The keys of a program as one file.
//!
//! | record | content |
//! |---|---|
//! | set | secret key's name, number of switching keys, whether there are encapsulation keys |
//! | switching keys | in order of their kinds |
//! | encapsulation keys | if announced |
//!
//! Each record is whole in itself ([`crate::rlwe::wire`]): prefix, header, body, checksum. The
//! prefixes say where the records are, so all of them are read at the same time; what stays in
//! memory is the keys, and of the file no more than one record per thread.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};

use rayon::prelude::*;
use thiserror::Error;

use super::ProgramKeys;
use super::source::{self, Source};
use crate::circuits::mod_raise::EncapsulationKeys;
use crate::error::FormatError;
use crate::ring::Context;
use crate::rlwe::wire::frame::{CHECKSUM, Header, Kind, PREFIX, damaged, open, read_prefix, seal};
use crate::rlwe::{EvaluationKeys, SwitchingKey};

const KIND: Kind = Kind::ProgramKeys;

/// Why keys could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The reader failed.
    #[error("reading evaluation keys: {0}")]
    Io(#[from] io::Error),
    /// The bytes were refused.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl ProgramKeys {
    /// Writes all keys one after the other; never more than one of them per thread as bytes in
    /// memory.
    pub fn write(&self, context: &Context, writer: &mut impl Write) -> io::Result<()> {
        let keys: Vec<&SwitchingKey> = self.evaluation.iter().collect();
        let header = Header {
            count: keys.len() as u32,
            encapsulation: self.encapsulation.is_some(),
            ..Header::new(context, self.id())
        };
        writer.write_all(&seal(KIND, &header, &[]))?;
        for keys in keys.chunks(rayon::current_num_threads()) {
            let records: Vec<Vec<u8>> = keys.par_iter().map(|key| key.to_bytes(context)).collect();
            records.iter().try_for_each(|record| writer.write_all(record))?;
        }
        match &self.encapsulation {
            Some(keys) => writer.write_all(&keys.to_bytes(context)),
            None => Ok(()),
        }
    }

    /// Reads what [`Self::write`] wrote, on all threads. A file that changes meanwhile is an error.
    pub fn read(context: &Context, file: &File) -> Result<Self, ReadError> {
        let keys = read(context, file);
        source::release();
        keys
    }

    /// [`Self::read`] from memory.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, ReadError> {
        read(context, bytes)
    }
}

fn read<S: Source + ?Sized>(context: &Context, source: &S) -> Result<ProgramKeys, ReadError> {
    let mut records = Records { source, end: source.len()?, next: 0 };
    let set = records.next(KIND, 0)?;
    let header =
        source.look(set.offset, set.len, |bytes| open(context, KIND, bytes).map(|(header, _)| header))??;
    let id = header.key(KIND)?;
    // One for every odd number below 2N, and one for products.
    if header.count > context.ring_degree() as u32 + 1 {
        return Err(damaged(KIND, "it announces more keys than there are").into());
    }
    let limit = SwitchingKey::max_body_len(context);
    let switching: Vec<Record> =
        (0..header.count).map(|_| records.next(Kind::SwitchingKey, limit)).collect::<Result<_, _>>()?;
    let limit = EncapsulationKeys::max_body_len(context);
    let encapsulation =
        header.encapsulation.then(|| records.next(Kind::EncapsulationKeys, limit)).transpose()?;
    if records.next < records.end {
        return Err(damaged(KIND, "there is more behind the last key").into());
    }

    let foreign = || damaged(KIND, "it contains a key of another secret key");
    let read = |record: Record| -> Result<SwitchingKey, ReadError> {
        let key =
            source.look(record.offset, record.len, |bytes| SwitchingKey::from_bytes(context, bytes))??;
        if key.id() == id { Ok(key) } else { Err(foreign().into()) }
    };
    let keys: Vec<SwitchingKey> = switching.into_par_iter().map(read).collect::<Result<_, _>>()?;
    let mut evaluation = EvaluationKeys::new(id);
    let mut kinds = BTreeSet::new();
    for key in keys {
        if !kinds.insert(key.kind()) {
            return Err(damaged(KIND, "it contains two keys of one kind").into());
        }
        evaluation.insert(key).map_err(|_| foreign())?;
    }
    let encapsulation = encapsulation.map(|record| {
        source.look(record.offset, record.len, |bytes| EncapsulationKeys::from_bytes(context, bytes))
    });
    let encapsulation = encapsulation.transpose()?.transpose()?;
    Ok(ProgramKeys::new(evaluation, encapsulation).map_err(|_| foreign())?)
}

/// Where a record is.
#[derive(Clone, Copy)]
struct Record {
    offset: u64,
    len: usize,
}

/// Goes from record to record by their prefixes alone.
struct Records<'s, S: ?Sized> {
    source: &'s S,
    end: u64,
    next: u64,
}

impl<S: Source + ?Sized> Records<'_, S> {
    /// The next record, of `kind`, with a body of at most `limit` bytes.
    fn next(&mut self, kind: Kind, limit: usize) -> Result<Record, ReadError> {
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let (header, body) =
            self.source.look(self.next, PREFIX.min(left), |bytes| read_prefix(kind, bytes))??;
        if body > limit {
            return Err(FormatError::Length { object: kind.name(), expected: limit, found: body }.into());
        }
        let len = PREFIX + header + body + CHECKSUM;
        if len > left {
            return Err(FormatError::Length { object: kind.name(), expected: len, found: left }.into());
        }
        let record = Record { offset: self.next, len };
        self.next += len as u64;
        Ok(record)
    }
}
