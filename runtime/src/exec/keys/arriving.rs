//! A key file that is checked while it grows: what is foreign or damaged is refused after one
//! record, not after all of them.

use std::fs::File;

use fhec_ir::key_demand::KeyDemand;

use super::file::ReadError;
use super::source::Source;
use crate::circuits::mod_raise::EncapsulationKeys;
use crate::error::FormatError;
use crate::ring::Context;
use crate::rlwe::wire::frame::{CHECKSUM, Kind, PREFIX, damaged, open, read_prefix};
use crate::rlwe::{KeyId, SwitchingKey};

const KIND: Kind = Kind::ProgramKeys;

/// How far the file of a program's keys has been checked. No key is expanded: of each record the
/// kind, the size, the checksum, the parameters and the secret key's name are compared. What else
/// may be wrong with a key says [`super::ProgramKeys::read`].
#[derive(Clone, Debug)]
pub struct ArrivingKeys {
    switching: u32,
    encapsulation: bool,
    id: Option<KeyId>,
    /// Records that have been checked, that of the set included.
    records: u32,
    /// Where the next one begins.
    next: u64,
}

impl ArrivingKeys {
    /// Nothing yet of the keys that a program needs.
    pub fn new(demand: &KeyDemand) -> Self {
        let (switching, encapsulation) = (demand.levels().count() as u32, demand.encapsulation.is_some());
        ArrivingKeys { switching, encapsulation, id: None, records: 0, next: 0 }
    }

    /// Checks the records that are whole in `file` and were not before.
    ///
    /// # Errors
    /// If the file cannot become the keys of this program, however it goes on.
    pub fn check(&mut self, context: &Context, file: &File) -> Result<(), ReadError> {
        let end = file.len()?;
        loop {
            let left = usize::try_from(end.saturating_sub(self.next)).unwrap_or(usize::MAX);
            let Some((kind, limit)) = self.expected(context) else {
                let more = || damaged(KIND, "there is more behind the last key");
                return if left > 0 { Err(more().into()) } else { Ok(()) };
            };
            if left < PREFIX {
                return Ok(());
            }
            let (header, body) = file.look(self.next, PREFIX, |bytes| read_prefix(kind, bytes))??;
            if body > limit {
                return Err(FormatError::Length { object: kind.name(), expected: limit, found: body }.into());
            }
            let len = PREFIX + header + body + CHECKSUM;
            if left < len {
                return Ok(());
            }
            let header =
                file.look(self.next, len, |bytes| open(context, kind, bytes).map(|(header, _)| header))??;
            let id = header.key(kind)?;
            if self.records == 0
                && (header.count, header.encapsulation) != (self.switching, self.encapsulation)
            {
                return Err(damaged(KIND, "it announces other keys than the program needs").into());
            }
            if *self.id.get_or_insert(id) != id {
                return Err(damaged(KIND, "it contains a key of another secret key").into());
            }
            self.records += 1;
            self.next += len as u64;
        }
    }

    /// Kind and largest body of the next record, if there is to be one.
    fn expected(&self, context: &Context) -> Option<(Kind, usize)> {
        match self.records {
            0 => Some((KIND, 0)),
            n if n <= self.switching => Some((Kind::SwitchingKey, SwitchingKey::max_body_len(context))),
            n if self.encapsulation && n == self.switching + 1 => {
                Some((Kind::EncapsulationKeys, EncapsulationKeys::max_body_len(context)))
            }
            _ => None,
        }
    }

    /// Bytes of the records that have been checked: where the first one that was not begins.
    pub fn checked_bytes(&self) -> u64 {
        self.next
    }

    /// Name of the secret key, once the first record is there.
    pub fn id(&self) -> Option<KeyId> {
        self.id
    }

    /// Whether all records are there.
    pub fn is_whole(&self) -> bool {
        self.records == 1 + self.switching + u32::from(self.encapsulation)
    }
}

/// Most bytes that the file of these keys has: of each key one half, in no more bits than in
/// memory, and what is around it.
pub fn most_file_bytes(demand: &KeyDemand, params: &fhec_ir::params::Params) -> u64 {
    /// Prefix, header and checksum of a record; headers have a fingerprint, a name, two seeds.
    const AROUND: u64 = 1 << 10;
    /// Of an encapsulation: the list of its rotations.
    const PER_ROTATION: u64 = 8;
    let rotations = demand.encapsulation.as_ref().map_or(0, |keys| keys.rotations.len() as u64);
    demand.bytes(params).div_ceil(2) + AROUND * (demand.count() as u64 + 2) + PER_ROTATION * rotations
}
