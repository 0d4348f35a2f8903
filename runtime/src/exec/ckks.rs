//! The encrypted backend.

use std::borrow::Cow;
use std::sync::Arc;

use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::func::{Func, StageOp};
use fhec_ir::key_demand;
use fhec_ir::linear_map::{LinearMap, PlainTensor};
use fhec_ir::params::Params;
use fhec_ir::polynomial::Polynomial;
use fhec_ir::scale::Scale;
use fhec_ir::slot_mask::SlotMask;
use rayon::prelude::*;

use super::backend::{Backend, Site};
use super::error::{ExecError, level_reason};
use super::keys::{self, ProgramKeys};
use super::prepared::{MapAtHand, Prepared};
use crate::ckks::{Encoding, Evaluator};
use crate::error::EvalError;
use crate::parallel;
use crate::rlwe::{Ciphertext, ExtendedCiphertext, KeyRequest};

/// Ciphertexts: a prepared program with the evaluation keys of one secret key. A value is the
/// bundle's ciphertexts. Clones share program and keys.
#[derive(Clone, Debug)]
pub struct Encrypted {
    prepared: Arc<Prepared>,
    keys: Arc<ProgramKeys>,
}

impl Encrypted {
    /// Executes the program of `prepared` with `keys`, which [`Backend::check_program`] checks.
    pub fn new(prepared: &Arc<Prepared>, keys: impl Into<Arc<ProgramKeys>>) -> Self {
        Encrypted { prepared: Arc::clone(prepared), keys: keys.into() }
    }

    /// What it shares with backends of other keys.
    pub fn prepared(&self) -> &Arc<Prepared> {
        &self.prepared
    }

    /// The keys.
    pub fn keys(&self) -> &Arc<ProgramKeys> {
        &self.keys
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(self.prepared.context(), self.keys.evaluation())
    }

    fn linear_sums(
        &self,
        site: Site<'_>,
        x: &[Ciphertext],
        map: &LinearMap,
        baby_step: usize,
    ) -> Result<Vec<ExtendedCiphertext>, EvalError> {
        let (evaluator, encoder) = (self.evaluator(), self.prepared.encoder());
        match self.prepared.map(site.index, map, baby_step, site.operand.level)? {
            MapAtHand::Encoded(kept) => evaluator.linear_map_extended(x, &kept.0, Some(&kept.1), encoder),
            MapAtHand::Rows(rows) => evaluator.linear_map_extended(x, &rows, None, encoder),
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
        let encoder = self.prepared.encoder().encoder();
        let vectors = plain.pack(site.consts);
        let f = |x: &Ciphertext, vector: &Vec<f64>| {
            site.control.check()?;
            f(x, &encoder.encode(vector, encoding)?)
        };
        match x {
            Cow::Owned(x) => x.into_par_iter().zip(&vectors).map(|(x, vector)| f(&x, vector)).collect(),
            Cow::Borrowed(x) => x.par_iter().zip(&vectors).map(|(x, vector)| f(x, vector)).collect(),
        }
    }
}

/// `f` of every ciphertext; those that nothing else needs go as soon as their results are there.
fn each(
    site: Site<'_>,
    x: Cow<'_, <Encrypted as Backend>::Value>,
    f: impl Fn(&Ciphertext) -> Result<Ciphertext, EvalError> + Sync + Send,
) -> Result<Vec<Ciphertext>, EvalError> {
    let f = |x: &Ciphertext| {
        site.control.check()?;
        f(x)
    };
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

impl Backend for Encrypted {
    type Value = Vec<Ciphertext>;

    fn run<R: Send>(&self, op: impl FnOnce() -> R + Send) -> R {
        parallel::awake(op)
    }

    fn program(&self) -> &Arc<Func<Ckks>> {
        self.prepared.program()
    }

    fn check_program(&self) -> Result<(), ExecError> {
        let (func, params) = (self.program(), self.prepared.context().params());
        let (bootstrapping, keys) = (self.prepared.bootstrapping(), &self.keys);
        check_levels(func, params)?;
        let mut needed = key_demand::KeyDemand::of_ops(func);
        for (op, data) in func.ops().iter().enumerate() {
            if let Op::Bootstrap { x, level, mask, .. } = data.op {
                let mnemonic = data.op.mnemonic();
                if bootstrapping.bootstrappers.is_empty() {
                    return Err(ExecError::Unsupported {
                        op,
                        mnemonic,
                        backend: "ciphertexts without bootstraps",
                    });
                }
                let ty = func.ty(x);
                let found = bootstrapping.find(keys.encapsulation(), (ty.slots, mask), ty.level, level);
                let bootstrapper = found.map_err(|reason| ExecError::Params {
                    op,
                    mnemonic,
                    reason,
                    params: params.name().into(),
                })?;
                needed.bootstrap(bootstrapper.bootstrap_params(), params);
            }
        }
        let missing = keys::missing(&KeyRequest::of_set(&needed, params), keys.evaluation());
        if !missing.is_empty() {
            return Err(ExecError::MissingKeys { key: keys.id(), missing });
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
            let key = self.keys.id();
            if c.key() != key {
                return Err(format!(
                    "ciphertext {index} belongs to key {}, the evaluation keys to {key}",
                    c.key()
                ));
            }
            if c.polys().iter().any(|poly| {
                let context = self.prepared.context();
                poly.degree() != context.ring_degree() || poly.basis() != context.basis(ty.level)
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
        let evaluator = self.evaluator();
        if let Some(constants) = self.prepared.constant_map(site.index) {
            let then = |sum| site.control.check().map_or_else(|stop| Err(stop.into()), |()| Ok(sum));
            return evaluator.constant_map(x, constants, then);
        }
        let sums = self.linear_sums(site, x, map, baby_step)?;
        Ok(sums.iter().map(|sum| evaluator.divide_special(sum)).collect())
    }

    fn linear_map_rescale(
        &self,
        site: Site<'_>,
        _: Site<'_>,
        x: &Vec<Ciphertext>,
        map: &LinearMap,
        baby_step: usize,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let evaluator = self.evaluator();
        if let Some(constants) = self.prepared.constant_map(site.index) {
            let then = |sum| {
                site.control.check()?;
                evaluator.rescale(&sum)
            };
            return evaluator.constant_map(x, constants, then);
        }
        let sums = self.linear_sums(site, x, map, baby_step)?;
        sums.iter().map(|sum| evaluator.divide_special_rescale(sum)).collect()
    }

    fn polynomial(
        &self,
        site: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        _: &Polynomial,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let (evaluator, shape) = (self.evaluator(), self.prepared.polynomial(site.index));
        each(site, x, |x| evaluator.polynomial(x, shape))
    }

    fn add(
        &self,
        _: Site<'_>,
        x: &Vec<Ciphertext>,
        y: &Vec<Ciphertext>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        x.par_iter().zip(y).map(|(x, y)| self.evaluator().add(x, y)).collect()
    }

    fn sub(
        &self,
        _: Site<'_>,
        x: &Vec<Ciphertext>,
        y: &Vec<Ciphertext>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        x.par_iter().zip(y).map(|(x, y)| self.evaluator().sub(x, y)).collect()
    }

    fn mul(
        &self,
        site: Site<'_>,
        x: &Vec<Ciphertext>,
        y: &Vec<Ciphertext>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        if std::ptr::eq(x, y) {
            return each(site, Cow::Borrowed(x), |x| self.evaluator().square(x));
        }
        let product = |(x, y): (&Ciphertext, &Ciphertext)| {
            site.control.check()?;
            self.evaluator().mul(x, y)
        };
        x.par_iter().zip(y).map(product).collect()
    }

    fn add_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        plain: &PlainTensor,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let encoding = Encoding::summand(site.operand.level, site.operand.scale);
        self.with_plain(site, x, plain, encoding, |x, p| self.evaluator().add_plain(x, p))
    }

    fn mul_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        plain: &PlainTensor,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let level = site.operand.level;
        let encoding = Encoding::factor_between(level, Scale::canonical(level), Scale::squared(level));
        self.with_plain(site, x, plain, encoding, |x, p| self.evaluator().mul_plain(x, p))
    }

    fn mul_scalar(
        &self,
        site: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        factor: f64,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        each(site, x, |x| self.evaluator().mul_scalar(x, factor))
    }

    fn add_scalar(
        &self,
        _: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
        offset: f64,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let mut sum = x.into_owned();
        sum.par_iter_mut().try_for_each(|x| self.evaluator().add_scalar_assign(x, offset))?;
        Ok(sum)
    }

    fn rotate(&self, site: Site<'_>, x: &Vec<Ciphertext>, steps: i64) -> Result<Vec<Ciphertext>, EvalError> {
        each(site, Cow::Borrowed(x), |x| self.evaluator().rotate(x, steps))
    }

    fn conjugate(&self, site: Site<'_>, x: &Vec<Ciphertext>) -> Result<Vec<Ciphertext>, EvalError> {
        each(site, Cow::Borrowed(x), |x| self.evaluator().conjugate(x))
    }

    fn relinearize(&self, site: Site<'_>, x: Cow<'_, Vec<Ciphertext>>) -> Result<Vec<Ciphertext>, EvalError> {
        each(site, x, |x| self.evaluator().relinearize(x))
    }

    fn relinearize_rescale(
        &self,
        site: Site<'_>,
        _: Site<'_>,
        x: Cow<'_, Vec<Ciphertext>>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        each(site, x, |x| self.evaluator().relinearize_rescale(x))
    }

    fn rescale(&self, site: Site<'_>, x: Cow<'_, Vec<Ciphertext>>) -> Result<Vec<Ciphertext>, EvalError> {
        each(site, x, |x| self.evaluator().rescale(x))
    }

    fn level_drop(&self, site: Site<'_>, x: Cow<'_, Vec<Ciphertext>>) -> Result<Vec<Ciphertext>, EvalError> {
        each(site, x, |x| self.evaluator().level_drop(x, site.result.level))
    }

    fn bootstrap(
        &self,
        site: Site<'_>,
        x: &Vec<Ciphertext>,
        _: Option<f64>,
        mask: Option<SlotMask>,
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let (from, to) = (site.operand, site.result);
        let (evaluator, keys) = (self.evaluator(), self.keys.encapsulation());
        let bootstrapper = self
            .prepared
            .bootstrapping()
            .find(keys, (from.slots, mask), from.level, to.level)
            .expect("a program without its bootstraps is refused by check_program");
        // One after the other: each uses all threads and gigabytes of keys.
        let mut refreshed = Vec::with_capacity(x.len());
        let mut rest = x.as_slice();
        if bootstrapper.takes_pairs() {
            while let [a, b, others @ ..] = rest {
                site.control.check()?;
                refreshed.extend(bootstrapper.bootstrap_pair(&evaluator, keys, [a, b], to.level)?);
                rest = others;
            }
        }
        for x in rest {
            site.control.check()?;
            refreshed.push(bootstrapper.bootstrap(&evaluator, keys, x, to.level)?);
        }
        Ok(refreshed)
    }
}
