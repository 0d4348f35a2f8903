//! Rescale, level changes.

use fhec_ir::scale::{Level, Scale};
use num_bigint::BigInt;

use super::{Evaluator, check_scale};
use crate::error::EvalError;
use crate::ring::Poly;
use crate::ring::basis_extension::Tail;
use crate::rlwe::Ciphertext;

impl Evaluator<'_> {
    /// Divides by the primes between the level and the next one, rounding. *Scale*: `D_level^2`, gives the canonical one of
    /// the new level, exactly. *Level*: one less. *Error*: adds at most `(1 + |s|_1) / 2` per coefficient.
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext, EvalError> {
        let (level, scale) = self.rescaled("rescale", a)?;
        let polys = self.divide(a.polys(), self.context.basis_at(a.polys()[0].basis(), level).chain);
        Ok(Ciphertext::new(polys, level, scale, a.slots(), a.key()))
    }

    /// Level and scale after a rescale.
    pub(super) fn rescaled(&self, op: &'static str, a: &Ciphertext) -> Result<(Level, Scale), EvalError> {
        let Some(level) = a.level().checked_sub(1) else {
            return Err(EvalError::LevelTooLow { op, needed: 1, found: 0 });
        };
        check_scale(op, Scale::squared(a.level()), a.scale())?;
        Ok((level, Scale::canonical(level)))
    }

    /// All polynomials divided and rounded, in as few parallel passes as their number allows.
    fn divide(&self, polys: &[Poly], chain: usize) -> Vec<Poly> {
        match polys {
            [c0, c1] => self.context.divide_round([c0, c1], chain, [Tail::default(); 2]).into(),
            polys => {
                polys.iter().flat_map(|c| self.context.divide_round([c], chain, [Tail::default()])).collect()
            }
        }
    }

    /// Forgets the primes above `level`: the same message at the same scale, whose name stays.
    pub fn mod_drop(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext, EvalError> {
        check_drop("mod_drop", a, level)?;
        let basis = self.context.basis_at(a.polys()[0].basis(), level);
        let polys = a.polys().iter().map(|poly| poly.restricted(self.context, basis)).collect();
        Ok(Ciphertext::new(polys, level, a.scale(), a.slots(), a.key()))
    }

    /// [`Self::mod_drop`] in place; frees nothing until the ciphertext is dropped.
    pub fn mod_drop_assign(&self, a: &mut Ciphertext, level: Level) -> Result<(), EvalError> {
        check_drop("mod_drop", a, level)?;
        let chain = self.context.basis_at(a.polys()[0].basis(), level).chain;
        a.polys_mut().iter_mut().for_each(|poly| poly.truncate(chain));
        a.set_level(level);
        Ok(())
    }

    /// A canonical value at a lower level, at the canonical scale of that level: drops to `level + 1`, multiplies by the
    /// integer next to `D_level q / D_old` (`q`: what the rescale divides by) and rescales.
    ///
    /// *Error*: the constant's rounding, `D_old / (2 D_level q)` relative, and that of a rescale.
    pub fn level_drop(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext, EvalError> {
        check_drop("level_drop", a, level)?;
        check_scale("level_drop", Scale::canonical(a.level()), a.scale())?;
        if level == a.level() {
            return Ok(a.clone());
        }
        let params = self.context.params();
        let divisor = params.rescale_divisor(level + 1);
        let constant =
            params.canonical_scale(level).mul_ratio(&divisor, params.canonical_scale(a.level())).round();
        let mut lifted = self.mod_drop(a, level + 1)?;
        self.mul_big_integer_assign(&mut lifted, &BigInt::from(constant));
        let polys = self.divide(lifted.polys(), params.limbs(level));
        Ok(Ciphertext::new(polys, level, Scale::canonical(level), a.slots(), a.key()))
    }
}

fn check_drop(op: &'static str, a: &Ciphertext, level: Level) -> Result<(), EvalError> {
    if level > a.level() {
        return Err(EvalError::LevelTooLow { op, needed: level, found: a.level() });
    }
    Ok(())
}
