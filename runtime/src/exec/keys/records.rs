//! The file of a program's keys, made record by record: for clients that send or keep one key at a
//! time, and for several that share the work.

use fhec_ir::key_demand::{Encapsulation, KeyDemand};

use super::KeysError;
use crate::circuits::mod_raise::EncapsulationKeys;
use crate::error::EvalError;
use crate::ring::{Context, Seed};
use crate::rlwe::wire::frame::{Header, Kind, seal};
use crate::rlwe::{KeyRequest, SecretKey, SwitchingKey};

/// Which records the file of a program's keys has. In their order they are the file that
/// [`super::ProgramKeys::write`] writes; each is made by itself, of the same seed or of another.
#[derive(Clone, Debug)]
pub struct KeyRecords {
    switching: Vec<KeyRequest>,
    encapsulation: Option<Encapsulation>,
}

impl KeyRecords {
    /// Of the keys that a program says it needs.
    ///
    /// # Errors
    /// If one is for a level that there is not.
    pub fn new(context: &Context, needed: &KeyDemand) -> Result<Self, KeysError> {
        let mut switching = KeyRequest::of_set(needed, context.params());
        let top = context.params().top_level();
        if let Some(KeyRequest { level: found, .. }) = switching.iter().find(|request| request.level > top) {
            return Err(EvalError::LevelTooHigh { op: "key generation", top, found: *found }.into());
        }
        switching.sort();
        Ok(KeyRecords { switching, encapsulation: needed.encapsulation.clone() })
    }

    /// Number of records.
    pub fn count(&self) -> usize {
        1 + self.switching.len() + usize::from(self.encapsulation.is_some())
    }

    /// Record number `index`, made from `seed`; `None` from [`Self::count`] on. Records have
    /// randomness of their own, also those of one seed.
    pub fn record(
        &self,
        context: &Context,
        secret: &SecretKey,
        seed: &Seed,
        index: usize,
    ) -> Result<Option<Vec<u8>>, KeysError> {
        let Some(index) = index.checked_sub(1) else {
            let header = Header {
                count: self.switching.len() as u32,
                encapsulation: self.encapsulation.is_some(),
                ..Header::new(context, secret.id())
            };
            return Ok(Some(seal(Kind::ProgramKeys, &header, &[])));
        };
        if let Some(&KeyRequest { kind, level }) = self.switching.get(index) {
            let key = SwitchingKey::generate(context, secret, seed, kind, level);
            return Ok(Some(key.to_bytes(context)));
        }
        let encapsulation = self.encapsulation.as_ref().filter(|_| index == self.switching.len());
        let keys = encapsulation.map(|needed| EncapsulationKeys::generate(context, secret, needed, seed));
        Ok(keys.transpose()?.map(|keys| keys.to_bytes(context)))
    }
}
