//! Which switching keys a scheduled program needs, and up to which level: asked by the passes that plan memory and
//! by key generation, so that both mean the same keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::circuit_shape::LinearShape;
use crate::ckks::{Ckks, Op};
use crate::func::Func;
use crate::linear_map::LinearMap;
use crate::params::Params;
use crate::scale::Level;

/// Switching keys, each with the highest level it is used at; at lower levels the same key is truncated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvaluationKeys {
    /// For `relinearize` and for products inside polynomials.
    pub relinearization: Option<Level>,
    /// By steps to the left, `1..slots`.
    pub rotations: BTreeMap<usize, Level>,
    /// For `conjugate`.
    pub conjugation: Option<Level>,
}

impl EvaluationKeys {
    /// The keys that `func` uses. Bootstraps bring keys of their own, which are not among them.
    pub fn of(func: &Func<Ckks>) -> Self {
        EvaluationKeys::with(func, |map, baby_step| {
            LinearShape::of(map, &func.consts, baby_step).rotation_set()
        })
    }

    /// [`EvaluationKeys::of`] for a caller who knows the rotations of the linear maps already.
    pub fn with(
        func: &Func<Ckks>,
        mut rotation_set: impl FnMut(&LinearMap, usize) -> BTreeSet<usize>,
    ) -> Self {
        let mut keys = EvaluationKeys::default();
        for data in func.ops() {
            let Some(&operand) = crate::func::StageOp::operands(&data.op).first() else { continue };
            let ty = func.ty(operand);
            match &data.op {
                Op::LinearMap { map, baby_step, .. } => {
                    rotation_set(map, *baby_step).into_iter().for_each(|steps| keys.rotate(steps, ty.level));
                }
                Op::Rotate { steps, .. } => {
                    keys.rotate(steps.rem_euclid(ty.slots as i64) as usize, ty.level);
                }
                Op::Conjugate { .. } => keys.conjugation = keys.conjugation.max(Some(ty.level)),
                Op::Relinearize { .. } => keys.relinearization = keys.relinearization.max(Some(ty.level)),
                Op::Polynomial { polynomial, .. } if polynomial.degree() > 1 => {
                    keys.relinearization = keys.relinearization.max(Some(ty.level));
                }
                _ => {}
            }
        }
        keys
    }

    /// Notes a rotation at `level`; rotating by nothing needs no key.
    pub fn rotate(&mut self, steps: usize, level: Level) {
        if steps != 0 {
            let highest = self.rotations.entry(steps).or_insert(level);
            *highest = level.max(*highest);
        }
    }

    /// Levels of all keys, one entry per key.
    pub fn levels(&self) -> impl Iterator<Item = Level> + '_ {
        self.relinearization.iter().chain(self.rotations.values()).chain(&self.conjugation).copied()
    }

    /// Bytes of all keys with both halves expanded.
    pub fn bytes(&self, params: &Params) -> u64 {
        self.levels().map(|level| switching_key_bytes(params, level)).sum()
    }
}

/// Bytes of one switching key for ciphertexts up to `level`, both halves expanded: per digit two polynomials over
/// the chain primes of that level and the special primes.
pub fn switching_key_bytes(params: &Params, level: Level) -> u64 {
    let limbs = params.limbs(level) + params.p().len();
    (params.digits(level).len() * 2 * limbs * params.ring_degree() * size_of::<u64>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{ConstSource, parse_func};

    #[test]
    fn each_key_reaches_the_highest_level_it_is_used_at() {
        let program = r#"
            func ckks keys {
              const @0 : f32[4, 4] = random(1)
              input %0 : ct<1, 16, 5, D5, 2>
              %1 = rotate(%0) {steps=-1}
              %2 = level_drop(%1) {level=3}
              %3 = linear_map(%2) {map={kind={dense=@0}, input={shape=[4, 1, 1], gap=1, multiplex=1, plane=[1, 1],
                period=4, slots=16}, output={shape=[4, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=4, slots=16}},
                baby_step=2}
              %4 = rescale(%3)
              %5 = rotate(%4) {steps=2}
              %6 = mul(%5, %5)
              %7 = relinearize(%6)
              return %7
            }"#;
        let func = parse_func(program, &ConstSource::default()).unwrap();
        let keys = EvaluationKeys::of(&func);
        assert_eq!(keys.rotations, BTreeMap::from([(1, 3), (2, 3), (15, 5)]));
        assert_eq!((keys.relinearization, keys.conjugation), (Some(2), None));
    }
}
