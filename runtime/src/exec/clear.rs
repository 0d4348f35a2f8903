//! The backend of exact slots: what a program means, as in [`fhec_ir::interp::run_ckks`].

use std::borrow::Cow;
use std::sync::Arc;

use fhec_ir::ckks::{CiphertextType, Ckks};
use fhec_ir::func::Func;
use fhec_ir::interp::{self, Bundle};
use fhec_ir::linear_map::{LinearMap, PlainTensor};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::slot_mask::SlotMask;

use super::backend::{Backend, Site};
use super::error::ExecError;
use crate::error::EvalError;

/// Exact slots. Levels and scales do not change what a program means: `rescale`, `relinearize` and
/// `level_drop` are the identity, and a `bootstrap` masks and bends as it says.
#[derive(Clone, Debug)]
pub struct Clear {
    program: Arc<Func<Ckks>>,
}

impl Clear {
    /// Runs `program`.
    pub fn new(program: &Arc<Func<Ckks>>) -> Self {
        Clear { program: Arc::clone(program) }
    }
}

impl Backend for Clear {
    type Value = Bundle;

    fn program(&self) -> &Arc<Func<Ckks>> {
        &self.program
    }

    fn check_program(&self) -> Result<(), ExecError> {
        Ok(())
    }

    fn check_input(&self, ty: &CiphertextType, value: &Bundle) -> Result<(), String> {
        check_bundle(ty, value)
    }

    fn linear_map(&self, site: Site<'_>, x: &Bundle, map: &LinearMap, _: usize) -> Result<Bundle, EvalError> {
        Ok(map.apply(site.consts, x))
    }

    fn polynomial(
        &self,
        _: Site<'_>,
        x: Cow<'_, Bundle>,
        polynomial: &Polynomial,
    ) -> Result<Bundle, EvalError> {
        let mut y = x.into_owned();
        y.iter_mut().for_each(|vector| polynomial.eval_slots(vector));
        Ok(y)
    }

    fn add(&self, _: Site<'_>, x: &Bundle, y: &Bundle) -> Result<Bundle, EvalError> {
        Ok(zip(x, y, |x, y| x + y))
    }

    fn sub(&self, _: Site<'_>, x: &Bundle, y: &Bundle) -> Result<Bundle, EvalError> {
        Ok(zip(x, y, |x, y| x - y))
    }

    fn mul(&self, _: Site<'_>, x: &Bundle, y: &Bundle) -> Result<Bundle, EvalError> {
        Ok(zip(x, y, |x, y| x * y))
    }

    fn add_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Bundle>,
        plain: &PlainTensor,
    ) -> Result<Bundle, EvalError> {
        Ok(zip(&x, &plain.pack(site.consts), |x, y| x + y))
    }

    fn mul_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Bundle>,
        plain: &PlainTensor,
    ) -> Result<Bundle, EvalError> {
        Ok(zip(&x, &plain.pack(site.consts), |x, y| x * y))
    }

    fn mul_scalar(&self, _: Site<'_>, x: Cow<'_, Bundle>, factor: f64) -> Result<Bundle, EvalError> {
        Ok(map(&x, |slot| slot * factor))
    }

    fn add_scalar(&self, _: Site<'_>, x: Cow<'_, Bundle>, offset: f64) -> Result<Bundle, EvalError> {
        Ok(map(&x, |slot| slot + offset))
    }

    fn rotate(&self, _: Site<'_>, x: &Bundle, steps: i64) -> Result<Bundle, EvalError> {
        let mut y = x.clone();
        for vector in &mut y {
            let by = steps.rem_euclid(vector.len().max(1) as i64) as usize;
            vector.rotate_left(by);
        }
        Ok(y)
    }

    fn conjugate(&self, _: Site<'_>, x: &Bundle) -> Result<Bundle, EvalError> {
        Ok(x.clone())
    }

    fn relinearize(&self, _: Site<'_>, x: Cow<'_, Bundle>) -> Result<Bundle, EvalError> {
        Ok(x.into_owned())
    }

    fn rescale(&self, _: Site<'_>, x: Cow<'_, Bundle>) -> Result<Bundle, EvalError> {
        Ok(x.into_owned())
    }

    fn level_drop(&self, _: Site<'_>, x: Cow<'_, Bundle>) -> Result<Bundle, EvalError> {
        Ok(x.into_owned())
    }

    fn bootstrap(
        &self,
        _: Site<'_>,
        x: &Bundle,
        sine: Option<f64>,
        mask: Option<SlotMask>,
    ) -> Result<Bundle, EvalError> {
        let mut refreshed = x.clone();
        interp::refresh(&mut refreshed, sine, mask);
        Ok(refreshed)
    }
}

/// Says what is wrong with a bundle of slots, if anything.
pub(super) fn check_bundle(ty: &CiphertextType, value: &Bundle) -> Result<(), String> {
    if value.len() == ty.vectors && value.iter().all(|vector| vector.len() == ty.slots) {
        return Ok(());
    }
    let lengths: Vec<usize> = value.iter().map(Vec::len).collect();
    Err(format!("found vectors of lengths {lengths:?}"))
}

fn map(x: &Bundle, f: impl Fn(f64) -> f64) -> Bundle {
    x.iter().map(|vector| vector.iter().map(|&slot| f(slot)).collect()).collect()
}

fn zip(x: &Bundle, y: &Bundle, f: impl Fn(f64, f64) -> f64) -> Bundle {
    let slots = |(x, y): (&Vec<f64>, &Vec<f64>)| x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect();
    x.iter().zip(y).map(slots).collect()
}
