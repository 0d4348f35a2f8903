//! The set of evaluation keys of a program.

use std::collections::BTreeMap;

use fhec_ir::key_demand;
use fhec_ir::params::Params;
use fhec_ir::scale::Level;
use rayon::prelude::*;

use super::secret::SecretKey;
use super::switching_key::SwitchingKey;
use crate::error::EvalError;
use crate::names::{KeyId, SwitchingKeyKind};
use crate::ring::automorphism::{conjugation_element, rotation_element};
use crate::ring::{Context, Seed};

/// A key to be generated: its kind and the highest level it is used at. Keys of low levels are much
/// smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRequest {
    /// What it is for.
    pub kind: SwitchingKeyKind,
    /// The highest level it is used at.
    pub level: Level,
}

impl KeyRequest {
    /// For products at `level` or below.
    pub const fn relinearization(level: Level) -> Self {
        KeyRequest { kind: SwitchingKeyKind::Relinearization, level }
    }

    /// For rotations left by `steps` at `level` or below.
    pub fn rotation(context: &Context, steps: i64, level: Level) -> Self {
        KeyRequest {
            kind: SwitchingKeyKind::Galois { element: rotation_element(steps, context.ring_degree()) },
            level,
        }
    }

    /// For conjugations at `level` or below.
    pub fn conjugation(context: &Context, level: Level) -> Self {
        KeyRequest {
            kind: SwitchingKeyKind::Galois { element: conjugation_element(context.ring_degree()) },
            level,
        }
    }

    /// The switching keys of a set as requests.
    pub fn of_set(keys: &key_demand::KeyDemand, params: &Params) -> Vec<KeyRequest> {
        let degree = params.ring_degree();
        let galois = |element, level| KeyRequest { kind: SwitchingKeyKind::Galois { element }, level };
        let rotations = keys.rotations.iter();
        let rotations =
            rotations.map(|(&steps, &level)| galois(rotation_element(steps as i64, degree), level));
        let conjugation = keys.conjugation.map(|level| galois(conjugation_element(degree), level));
        let relinearization = keys.relinearization.map(KeyRequest::relinearization);
        relinearization.into_iter().chain(rotations).chain(conjugation).collect()
    }
}

/// The evaluation keys of one secret key. They are public: the server holds them.
#[derive(Clone, Debug)]
pub struct EvaluationKeys {
    id: KeyId,
    keys: BTreeMap<SwitchingKeyKind, SwitchingKey>,
}

impl EvaluationKeys {
    /// No keys yet.
    pub fn new(id: KeyId) -> Self {
        EvaluationKeys { id, keys: BTreeMap::new() }
    }

    /// Generates the requested keys, each once, up to the highest level asked for, on all threads.
    /// Rotations by 0 need none.
    pub fn generate(
        context: &Context,
        secret: &SecretKey,
        seed: &Seed,
        requests: &[KeyRequest],
    ) -> Result<Self, EvalError> {
        let mut levels: BTreeMap<SwitchingKeyKind, Level> = BTreeMap::new();
        for request in requests {
            let top = context.params().top_level();
            if request.level > top {
                return Err(EvalError::LevelTooHigh { op: "key generation", top, found: request.level });
            }
            let level = levels.entry(request.kind).or_default();
            *level = request.level.max(*level);
        }
        levels.remove(&SwitchingKeyKind::Galois { element: 1 });
        // Keys have parts that only one thread works on, so several are made at a time.
        let keys = levels.into_par_iter().map(|(kind, level)| {
            let key = SwitchingKey::generate(context, secret, seed, kind, level);
            (kind, key)
        });
        Ok(EvaluationKeys { id: secret.id(), keys: keys.collect() })
    }

    /// Adds a key, replacing one of the same kind.
    pub fn insert(&mut self, key: SwitchingKey) -> Result<(), EvalError> {
        if key.id() != self.id {
            return Err(EvalError::KeyMismatch { op: "insert key", left: self.id, right: key.id() });
        }
        self.keys.insert(key.kind(), key);
        Ok(())
    }

    /// Name of the secret key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// All keys, in order of their kinds.
    pub fn iter(&self) -> impl Iterator<Item = &SwitchingKey> {
        self.keys.values()
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.iter().map(SwitchingKey::bytes).sum()
    }

    /// The key of `kind`, usable at `level`.
    pub(crate) fn get(
        &self,
        op: &'static str,
        kind: SwitchingKeyKind,
        level: Level,
    ) -> Result<&SwitchingKey, EvalError> {
        let key = self.keys.get(&kind).ok_or(EvalError::MissingKey { op, key: kind })?;
        if key.level() < level {
            return Err(EvalError::KeyLevel { op, key: kind, key_level: key.level(), level });
        }
        Ok(key)
    }
}
