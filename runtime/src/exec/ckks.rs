//! The encrypted backend, and its cache of encoded diagonals.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::evaluation_keys;
use fhec_ir::func::{Func, StageOp};
use fhec_ir::linear_map::{LinearMap, PlainTensor};
use fhec_ir::params::Params;
use fhec_ir::polynomial::Polynomial;
use fhec_ir::polynomial_shape::PolynomialShape;
use fhec_ir::scale::{Level, Scale};
use rayon::prelude::*;

use super::backend::{Backend, Site};
use super::error::{ExecError, level_reason};
use super::keys;
use crate::circuits::bootstrap::Bootstrapping;
use crate::circuits::constant_map::ConstantMap;
use crate::circuits::linear_transform::{DiagonalRows, EncodedMap};
use crate::ckks::{Encoding, Evaluator, FactorEncoder};
use crate::error::EvalError;
use crate::parallel;
use crate::ring::Context;
use crate::rlwe::{Ciphertext, EvaluationKeys, ExtendedCiphertext, KeyRequest};

/// Encoded diagonals of linear maps, kept as long as they fit into a number of bytes. Maps that do not fit are encoded
/// every time they run.
#[derive(Debug)]
pub struct DiagonalCache {
    budget: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    maps: BTreeMap<usize, Arc<(DiagonalRows, EncodedMap)>>,
}

impl DiagonalCache {
    /// A cache of at most `budget` bytes; 0 keeps nothing.
    pub fn new(budget: usize) -> Self {
        DiagonalCache { budget, kept: Mutex::default() }
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    fn get(&self, op: usize) -> Option<Arc<(DiagonalRows, EncodedMap)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).maps.get(&op).cloned()
    }

    /// Whether `bytes` more would fit.
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes().checked_add(bytes).is_some_and(|sum| sum <= self.budget)
    }

    fn insert(&self, op: usize, map: Arc<(DiagonalRows, EncodedMap)>) {
        let bytes = map.1.bytes();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + bytes <= self.budget && kept.maps.insert(op, map).is_none() {
            kept.bytes += bytes;
        }
    }
}

/// Ciphertexts: one program, with the evaluation keys of one secret key. A value is the bundle's ciphertexts.
pub struct Encrypted<'a> {
    func: &'a Func<Ckks>,
    evaluator: Evaluator<'a>,
    encoder: FactorEncoder<'a>,
    cache: DiagonalCache,
    polynomials: BTreeMap<usize, PolynomialShape>,
    constant_maps: BTreeMap<usize, ConstantMap>,
    bootstrapping: Bootstrapping<'a>,
}

impl<'a> Encrypted<'a> {
    /// Executes `func` with `keys`; encoded diagonals may take `cache_bytes`.
    pub fn new(
        context: &'a Context,
        keys: &'a EvaluationKeys,
        func: &'a Func<Ckks>,
        cache_bytes: usize,
    ) -> Self {
        let polynomials = func.ops().par_iter().enumerate().filter_map(|(index, data)| match &data.op {
            Op::Polynomial { polynomial, .. } => Some((index, PolynomialShape::new(polynomial))),
            _ => None,
        });
        let constant_maps = func.ops().par_iter().enumerate().filter_map(|(index, data)| match &data.op {
            Op::LinearMap { map, .. } => Some((index, ConstantMap::of(map, &func.consts)?)),
            _ => None,
        });
        Encrypted {
            func,
            evaluator: Evaluator::new(context, keys),
            encoder: FactorEncoder::new(context),
            cache: DiagonalCache::new(cache_bytes),
            polynomials: polynomials.collect(),
            constant_maps: constant_maps.collect(),
            bootstrapping: Bootstrapping::default(),
        }
    }

    /// The same with bootstraps; without them a program that bootstraps is refused.
    pub fn with_bootstrapping(self, bootstrapping: Bootstrapping<'a>) -> Self {
        Encrypted { bootstrapping, ..self }
    }

    /// Encodes the diagonals of all linear maps, in program order, as far as the cache has room. Returns the bytes kept.
    pub fn preload(&self) -> Result<usize, EvalError> {
        for (index, data) in self.func.ops().iter().enumerate() {
            if let Op::LinearMap { x, map, baby_step } = &data.op
                && !self.constant_maps.contains_key(&index)
            {
                self.map(index, map, *baby_step, self.func.ty(*x).level)?;
            }
        }
        Ok(self.cache.bytes())
    }

    /// The cache of encoded diagonals.
    pub fn cache(&self) -> &DiagonalCache {
        &self.cache
    }

    /// The map of op `index`: encoded if the cache has it or room for it.
    fn map(
        &self,
        index: usize,
        map: &LinearMap,
        baby_step: usize,
        level: Level,
    ) -> Result<MapAtHand, EvalError> {
        if let Some(kept) = self.cache.get(index) {
            return Ok(MapAtHand::Encoded(kept));
        }
        let rows = DiagonalRows::new(map, &self.func.consts, baby_step);
        if !self.cache.has_room(rows.encoded_bytes(&self.encoder, level)) {
            return Ok(MapAtHand::Rows(rows));
        }
        let encoded = rows.encode(&self.encoder, level)?;
        let kept = Arc::new((rows.without_values(), encoded));
        self.cache.insert(index, Arc::clone(&kept));
        Ok(MapAtHand::Encoded(kept))
    }

    fn linear_sums(
        &self,
        site: Site<'_>,
        x: &[Ciphertext],
        map: &LinearMap,
        baby_step: usize,
    ) -> Result<Vec<ExtendedCiphertext>, EvalError> {
        match self.map(site.index, map, baby_step, site.operand.level)? {
            MapAtHand::Encoded(kept) => {
                self.evaluator.linear_map_extended(x, &kept.0, Some(&kept.1), &self.encoder)
            }
            MapAtHand::Rows(rows) => self.evaluator.linear_map_extended(x, &rows, None, &self.encoder),
        }
    }

    /// `f` of every ciphertext, with the vectors of `plain` encoded.
    fn with_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, <Self as Backend>::Value>,
        plain: &PlainTensor,
        encoding: Encoding,
        f: impl Fn(&Ciphertext, &crate::ckks::Plaintext) -> Result<Ciphertext, EvalError> + Sync,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let encoder = self.encoder.encoder();
        let vectors = plain.pack(site.consts);
        let f = |x: &Ciphertext, vector: &Vec<f64>| f(x, &encoder.encode(vector, encoding)?);
        match x {
            Cow::Owned(x) => x.into_par_iter().zip(&vectors).map(|(x, vector)| f(&x, vector)).collect(),
            Cow::Borrowed(x) => x.par_iter().zip(&vectors).map(|(x, vector)| f(x, vector)).collect(),
        }
    }
}

enum MapAtHand {
    Encoded(Arc<(DiagonalRows, EncodedMap)>),
    Rows(DiagonalRows),
}

/// `f` of every ciphertext; those that nothing else needs go as soon as their results are there.
fn each(
    x: Cow<'_, <Encrypted<'_> as Backend>::Value>,
    f: impl Fn(&Ciphertext) -> Result<Ciphertext, EvalError> + Sync + Send,
) -> Result<Vec<Ciphertext>, EvalError> {
    match x {
        Cow::Owned(x) => x.into_par_iter().map(|x| f(&x)).collect(),
        Cow::Borrowed(x) => x.par_iter().map(f).collect(),
    }
}

/// Checks every type of the program against the parameters.
pub(super) fn check_levels(func: &Func<Ckks>, params: &Params) -> Result<(), ExecError> {
    let check = |op: usize, mnemonic: &'static str, ty: &CiphertextType| {
        let error = |reason| Err(ExecError::Params { op, mnemonic, reason, params: params.name().into() });
        if ty.level > params.top_level() || ty.scale.level > params.top_level() {
            return error(level_reason(ty.level.max(ty.scale.level), params.top_level()));
        }
        if !ty.slots.is_power_of_two() || ty.slots > params.slots() {
            return error(format!("{} slots are no power of two up to {}", ty.slots, params.slots()));
        }
        Ok(())
    };
    for &input in func.inputs() {
        check(func.ops().len(), "input", func.ty(input))?;
    }
    for (index, data) in func.ops().iter().enumerate() {
        let mnemonic = data.op.mnemonic();
        check(index, mnemonic, func.ty(data.result))?;
        if let Op::Mul { x, .. } = data.op
            && !params.continues(func.ty(x).level)
        {
            let level = func.ty(x).level;
            let reason =
                format!("a product of ciphertexts at level {level}, where a segment of the chain ends");
            return Err(ExecError::Params { op: index, mnemonic, reason, params: params.name().into() });
        }
    }
    Ok(())
}

impl Backend for Encrypted<'_> {
    type Value = Vec<Ciphertext>;

    fn run<R: Send>(&self, op: impl FnOnce() -> R + Send) -> R {
        parallel::awake(op)
    }

    fn check_program(&self, func: &Func<Ckks>) -> Result<(), ExecError> {
        if !std::ptr::eq(func, self.func) {
            let (prepared, given) = (self.func.name.clone(), func.name.clone());
            return Err(ExecError::OtherProgram { prepared, given });
        }
        let params = self.evaluator.context().params();
        check_levels(func, params)?;
        let mut needed = evaluation_keys::EvaluationKeys::of_ops(func);
        for (op, data) in func.ops().iter().enumerate() {
            if let Op::Bootstrap { x, level } = data.op {
                let mnemonic = data.op.mnemonic();
                if self.bootstrapping.bootstrappers.is_empty() {
                    return Err(ExecError::Unsupported {
                        op,
                        mnemonic,
                        backend: "ciphertexts without bootstraps",
                    });
                }
                let ty = func.ty(x);
                let found = self.bootstrapping.find(ty.slots, ty.level, level);
                let bootstrapper = found.map_err(|reason| ExecError::Params {
                    op,
                    mnemonic,
                    reason,
                    params: params.name().into(),
                })?;
                needed.bootstrap(bootstrapper.bootstrap_params(), params);
            }
        }
        let missing = keys::missing(&KeyRequest::of_set(&needed, params), self.evaluator.keys());
        if !missing.is_empty() {
            return Err(ExecError::MissingKeys { key: self.evaluator.keys().id(), missing });
        }
        Ok(())
    }

    fn check_input(&self, ty: &CiphertextType, value: &Vec<Ciphertext>) -> Result<(), String> {
        if value.len() != ty.vectors {
            return Err(format!("found {} ciphertexts", value.len()));
        }
        for (index, c) in value.iter().enumerate() {
            let found = c.bundle_type(ty.vectors);
            if found != *ty {
                let found = fhec_ir::func::StageType::print(&found);
                return Err(format!("ciphertext {index} is of {found}"));
            }
            let key = self.evaluator.keys().id();
            if c.key() != key {
                return Err(format!(
                    "ciphertext {index} belongs to key {}, the evaluation keys to {key}",
                    c.key()
                ));
            }
            if c.polys().iter().any(|poly| {
                poly.degree() != self.evaluator.context().ring_degree()
                    || poly.basis() != self.evaluator.context().basis(ty.level)
            }) {
                return Err(format!("ciphertext {index} was made with other parameters"));
            }
        }
        Ok(())
    }

    fn linear_map(
        &self,
        site: Site<'_>,
        x: &Vec<Ciphertext>,
        map: &LinearMap,
        baby_step: usize,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        if let Some(constants) = self.constant_maps.get(&site.index) {
            return self.evaluator.constant_map(x, constants, Ok);
        }
        let sums = self.linear_sums(site, x, map, baby_step)?;
        Ok(sums.iter().map(|sum| self.evaluator.divide_special(sum)).collect())
    }

    fn linear_map_rescale(
        &self,
        site: Site<'_>,
        _: Site<'_>,
        x: &Vec<Ciphertext>,
        map: &LinearMap,
        baby_step: usize,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        if let Some(constants) = self.constant_maps.get(&site.index) {
            return self.evaluator.constant_map(x, constants, |sum| self.evaluator.rescale(&sum));
        }
        let sums = self.linear_sums(site, x, map, baby_step)?;
        sums.iter().map(|sum| self.evaluator.divide_special_rescale(sum)).collect()
    }

    fn polynomial(
        &self,
        site: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        _: &Polynomial,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let shape = &self.polynomials[&site.index];
        each(x, |x| self.evaluator.polynomial(x, shape))
    }

    fn add(
        &self,
        _: Site<'_>,
        x: &Vec<Ciphertext>,
        y: &Vec<Ciphertext>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        x.par_iter().zip(y).map(|(x, y)| self.evaluator.add(x, y)).collect()
    }

    fn sub(
        &self,
        _: Site<'_>,
        x: &Vec<Ciphertext>,
        y: &Vec<Ciphertext>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        x.par_iter().zip(y).map(|(x, y)| self.evaluator.sub(x, y)).collect()
    }

    fn mul(
        &self,
        _: Site<'_>,
        x: &Vec<Ciphertext>,
        y: &Vec<Ciphertext>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        if std::ptr::eq(x, y) {
            return x.par_iter().map(|x| self.evaluator.square(x)).collect();
        }
        x.par_iter().zip(y).map(|(x, y)| self.evaluator.mul(x, y)).collect()
    }

    fn add_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        plain: &PlainTensor,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let encoding = Encoding::summand(site.operand.level, site.operand.scale);
        self.with_plain(site, x, plain, encoding, |x, p| self.evaluator.add_plain(x, p))
    }

    fn mul_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        plain: &PlainTensor,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let level = site.operand.level;
        let encoding = Encoding::factor_between(level, Scale::canonical(level), Scale::squared(level));
        self.with_plain(site, x, plain, encoding, |x, p| self.evaluator.mul_plain(x, p))
    }

    fn mul_scalar(
        &self,
        _: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        factor: f64,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        each(x, |x| self.evaluator.mul_scalar(x, factor))
    }

    fn add_scalar(
        &self,
        _: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        offset: f64,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let mut sum = x.into_owned();
        sum.par_iter_mut().try_for_each(|x| self.evaluator.add_scalar_assign(x, offset))?;
        Ok(sum)
    }

    fn rotate(&self, _: Site<'_>, x: &Vec<Ciphertext>, steps: i64) -> Result<Vec<Ciphertext>, EvalError> {
        x.par_iter().map(|x| self.evaluator.rotate(x, steps)).collect()
    }

    fn conjugate(&self, _: Site<'_>, x: &Vec<Ciphertext>) -> Result<Vec<Ciphertext>, EvalError> {
        x.par_iter().map(|x| self.evaluator.conjugate(x)).collect()
    }

    fn relinearize(&self, _: Site<'_>, x: Cow<'_, Vec<Ciphertext>>) -> Result<Vec<Ciphertext>, EvalError> {
        each(x, |x| self.evaluator.relinearize(x))
    }

    fn relinearize_rescale(
        &self,
        _: Site<'_>,
        _: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        each(x, |x| self.evaluator.relinearize_rescale(x))
    }

    fn rescale(&self, _: Site<'_>, x: Cow<'_, Vec<Ciphertext>>) -> Result<Vec<Ciphertext>, EvalError> {
        each(x, |x| self.evaluator.rescale(x))
    }

    fn level_drop(&self, site: Site<'_>, x: Cow<'_, Vec<Ciphertext>>) -> Result<Vec<Ciphertext>, EvalError> {
        each(x, |x| self.evaluator.level_drop(x, site.result.level))
    }

    fn bootstrap(&self, site: Site<'_>, x: &Vec<Ciphertext>) -> Result<Vec<Ciphertext>, EvalError> {
        let (from, to) = (site.operand, site.result);
        let bootstrapper = self
            .bootstrapping
            .find(from.slots, from.level, to.level)
            .expect("a program without its bootstraps is refused by check_program");
        // One after the other: each uses all threads and gigabytes of keys.
        let keys = self.bootstrapping.encapsulation;
        let mut refreshed = Vec::with_capacity(x.len());
        let mut rest = x.as_slice();
        if bootstrapper.takes_pairs() {
            while let [a, b, others @ ..] = rest {
                refreshed.extend(bootstrapper.bootstrap_pair(&self.evaluator, keys, [a, b], to.level)?);
                rest = others;
            }
        }
        for x in rest {
            refreshed.push(bootstrapper.bootstrap(&self.evaluator, keys, x, to.level)?);
        }
        Ok(refreshed)
    }
}
