//! A program ready to run for everybody: all that depends on no key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use fhec_ir::bootstrap::{BootstrapParams, ProgramBootstrapError};
use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::fact::WEIGHT_BYTES;
use fhec_ir::func::Func;
use fhec_ir::linear_map::LinearMap;
use fhec_ir::polynomial_shape::PolynomialShape;
use fhec_ir::program::ProgramId;
use fhec_ir::scale::Level;
use rayon::prelude::*;
use thiserror::Error;

use super::weights::{DiagonalCache, EncodedRows};
use crate::circuits::bootstrap::{Bootstrapping, SetupError};
use crate::circuits::constant_map::ConstantMap;
use crate::circuits::linear_transform::DiagonalRows;
use crate::ckks::FactorEncoder;
use crate::error::EvalError;
use crate::ring::Context;

/// Why a program cannot be prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// What the program says of its bootstraps makes no sense.
    #[error(transparent)]
    Bootstraps(#[from] ProgramBootstrapError),
    /// A bootstrap's matrices cannot be encoded.
    #[error("a bootstrap of the program cannot be prepared: {0}")]
    Setup(#[from] SetupError),
    /// What the program says of the memory for weights is no number.
    #[error("the program's memory for weights cannot be read: {reason}; compile the model again")]
    WeightBytes {
        /// What is wrong.
        reason: String,
    },
}

/// A program with its tables, encoded weights and matrices of bootstraps. It depends on no key, so
/// clients share one; each has a [`Session`](super::Session) on it.
pub struct Prepared {
    program: Arc<Func<Ckks>>,
    id: OnceLock<ProgramId>,
    encoder: FactorEncoder,
    weights: DiagonalCache,
    polynomials: BTreeMap<usize, PolynomialShape>,
    constant_maps: BTreeMap<usize, ConstantMap>,
    bootstrapping: Bootstrapping,
}

impl Prepared {
    /// Prepares `program`, scheduled for the parameters of `context`, and encodes the matrices of
    /// its bootstraps. Weights are encoded when they are used first, or by [`Self::preload`]; no
    /// more of them are kept than `max_weight_bytes`, and than the program says ([`WEIGHT_BYTES`]).
    pub fn new(
        context: &Arc<Context>,
        program: impl Into<Arc<Func<Ckks>>>,
        max_weight_bytes: usize,
    ) -> Result<Self, PrepareError> {
        let program = program.into();
        let planned: Option<u64> = program
            .fact(WEIGHT_BYTES)
            .map_err(|error| PrepareError::WeightBytes { reason: error.to_string() })?;
        let kept = planned.map_or(max_weight_bytes, |bytes| max_weight_bytes.min(bytes as usize));
        let encoder = FactorEncoder::new(context);
        let bootstraps = BootstrapParams::checked_of_program(&program, context.params())?;
        let bootstrapping = Bootstrapping::new(bootstraps, &program, &encoder)?;
        Ok(Prepared::with_bootstrapping(encoder, program, bootstrapping, kept))
    }

    /// Prepares `program` with bootstraps of the caller's, whatever it says itself of bootstraps
    /// and of memory; `weight_bytes` are kept of its weights.
    pub fn with_bootstrapping(
        encoder: FactorEncoder,
        program: impl Into<Arc<Func<Ckks>>>,
        bootstrapping: Bootstrapping,
        weight_bytes: usize,
    ) -> Self {
        let program = program.into();
        let polynomials = program.ops().par_iter().enumerate().filter_map(|(index, data)| match &data.op {
            Op::Polynomial { polynomial, .. } => Some((index, PolynomialShape::new(polynomial))),
            _ => None,
        });
        let constant_maps = program.ops().par_iter().enumerate().filter_map(|(index, data)| match &data.op {
            Op::LinearMap { map, .. } => Some((index, ConstantMap::of(map, &program.consts)?)),
            _ => None,
        });
        Prepared {
            polynomials: polynomials.collect(),
            constant_maps: constant_maps.collect(),
            id: OnceLock::new(),
            weights: DiagonalCache::new(weight_bytes),
            program,
            encoder,
            bootstrapping,
        }
    }

    /// Encodes the diagonals of all linear maps, in program order, as far as there is room for
    /// them. Returns the bytes kept.
    pub fn preload(&self) -> Result<usize, EvalError> {
        for (index, data) in self.program.ops().iter().enumerate() {
            if let Op::LinearMap { x, map, baby_step } = &data.op
                && !self.constant_maps.contains_key(&index)
            {
                self.map(index, map, *baby_step, self.program.ty(*x).level)?;
            }
        }
        Ok(self.weights.bytes())
    }

    /// The program.
    pub fn program(&self) -> &Arc<Func<Ckks>> {
        &self.program
    }

    /// The program's name, found when it is asked for first.
    pub fn id(&self) -> ProgramId {
        *self.id.get_or_init(|| ProgramId::of(&self.program))
    }

    /// The tables.
    pub fn context(&self) -> &Arc<Context> {
        self.encoder.encoder().context()
    }

    /// The encoder of its constants.
    pub fn encoder(&self) -> &FactorEncoder {
        &self.encoder
    }

    /// Its bootstraps.
    pub fn bootstrapping(&self) -> &Bootstrapping {
        &self.bootstrapping
    }

    /// Bytes of encoded weights that are kept now.
    pub fn weight_bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Bytes of everything encoded: weights that are kept now, and matrices of bootstraps.
    pub fn encoded_bytes(&self) -> usize {
        self.weight_bytes() + self.bootstrapping.bytes()
    }

    /// How the polynomial of op `index` is evaluated.
    pub(super) fn polynomial(&self, index: usize) -> &PolynomialShape {
        &self.polynomials[&index]
    }

    /// The map of op `index` if its diagonals are constants.
    pub(super) fn constant_map(&self, index: usize) -> Option<&ConstantMap> {
        self.constant_maps.get(&index)
    }

    /// The map of op `index`: encoded if it is kept, or there is room to keep it.
    pub(super) fn map(
        &self,
        index: usize,
        map: &LinearMap,
        baby_step: usize,
        level: Level,
    ) -> Result<MapAtHand, EvalError> {
        if let Some(kept) = self.weights.get(index) {
            return Ok(MapAtHand::Encoded(kept));
        }
        let rows = DiagonalRows::new(map, &self.program.consts, baby_step);
        if !self.weights.has_room(rows.encoded_bytes(&self.encoder, level)) {
            return Ok(MapAtHand::Rows(rows));
        }
        let encoded = rows.encode(&self.encoder, level)?;
        let kept = Arc::new((rows.without_values(), encoded));
        self.weights.insert(index, Arc::clone(&kept));
        Ok(MapAtHand::Encoded(kept))
    }
}

impl fmt::Debug for Prepared {
    /// Without weights.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Prepared");
        out.field("program", &self.program.name).field("context", self.context());
        out.finish_non_exhaustive()
    }
}

/// A linear map, with its diagonals encoded or still to be.
pub(super) enum MapAtHand {
    Encoded(Arc<EncodedRows>),
    Rows(DiagonalRows),
}
