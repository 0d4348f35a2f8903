//! Shapes of the big circuits of one program, computed once and asked for again and again.
//!
//! Entries are keyed by what the op says; constants are meant by their id, so a cache serves
//! functions that share a constant pool, as all stages after lowering do.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fhec_ir::bootstrap::{ProgramBootstrapError, SineCurve};
use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::key_demand::KeyDemand;
use fhec_ir::linear_map::LinearMap;
use fhec_ir::params::Params;
use fhec_ir::polynomial::Polynomial;
use fhec_ir::polynomial_shape::PolynomialShape;
use fhec_ir::tensor::ConstPool;

use super::linear_cost::{LinearCounts, Rotations, counts};
use crate::approximation::undone_sine::undo_sine;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct CircuitShapes {
    maps: HashMap<String, Arc<Rotations>>,
    counts: HashMap<String, Arc<Vec<(usize, LinearCounts)>>>,
    /// By baby step.
    rotation_sets: HashMap<(String, usize), Arc<BTreeSet<usize>>>,
    polynomials: HashMap<Vec<u64>, Arc<PolynomialShape>>,
    /// By coefficients and message ratio.
    absorbing: HashMap<(Vec<u64>, u64), Option<Polynomial>>,
}

impl CircuitShapes {
    /// Rotations of `map`.
    pub fn rotations(&mut self, map: &LinearMap, consts: &ConstPool) -> Arc<Rotations> {
        let compute = || Arc::new(map.rotations(consts));
        self.maps.entry(format!("{map:?}")).or_insert_with(compute).clone()
    }

    /// Counts of `map` for every baby step.
    pub fn counts(&mut self, map: &LinearMap, consts: &ConstPool) -> Arc<Vec<(usize, LinearCounts)>> {
        let key = format!("{map:?}");
        if let Some(known) = self.counts.get(&key) {
            return known.clone();
        }
        let (rotations, period) = (self.rotations(map, consts), map.input.period);
        let steps = (0..=period.trailing_zeros()).map(|log| 1 << log);
        let made: Arc<Vec<_>> =
            Arc::new(steps.map(|step| (step, counts(&rotations, period, step))).collect());
        self.counts.insert(key, made.clone());
        made
    }

    /// Counts of `map` at one baby step.
    pub fn counts_at(&mut self, map: &LinearMap, consts: &ConstPool, baby_step: usize) -> LinearCounts {
        let all = self.counts(map, consts);
        match all.iter().find(|(step, _)| *step == baby_step) {
            Some((_, counts)) => *counts,
            None => counts(&self.rotations(map, consts), map.input.period, baby_step),
        }
    }

    /// Rotations that `map` needs keys for at a baby step.
    pub fn rotation_set(
        &mut self,
        map: &LinearMap,
        consts: &ConstPool,
        baby_step: usize,
    ) -> Arc<BTreeSet<usize>> {
        let key = (format!("{map:?}"), baby_step);
        if let Some(known) = self.rotation_sets.get(&key) {
            return known.clone();
        }
        let made = Arc::new(rotation_set(&self.rotations(map, consts), baby_step));
        self.rotation_sets.insert(key, made.clone());
        made
    }

    /// Evaluation scheme of `polynomial`.
    pub fn polynomial(&mut self, polynomial: &Polynomial) -> Arc<PolynomialShape> {
        let key = bits(polynomial);
        self.polynomials.entry(key).or_insert_with(|| Arc::new(PolynomialShape::new(polynomial))).clone()
    }

    /// The polynomial that undoes `curve` in the place of `polynomial`, if there is one; its scheme
    /// is known then, too.
    pub fn absorbed(&mut self, polynomial: &Polynomial, curve: SineCurve) -> Option<Polynomial> {
        let key = (bits(polynomial), curve.ratio().to_bits());
        if let Some(known) = self.absorbing.get(&key) {
            return known.clone();
        }
        let made = undo_sine(polynomial, curve);
        if let Some(bent) = &made {
            self.polynomial(bent);
        }
        self.absorbing.insert(key, made.clone());
        made
    }

    /// Keys of `func` and of its bootstraps, and the generic ones where it has these.
    pub fn keys(&mut self, func: &Func<Ckks>, params: &Params) -> Result<KeyDemand, ProgramBootstrapError> {
        let of_ops = KeyDemand::of_ops_with(func, |map, baby_step| {
            BTreeSet::clone(&self.rotation_set(map, &func.consts, baby_step))
        });
        of_ops.with_generic(func, params).with_bootstraps(func, params)
    }
}

/// What tells polynomials over `[-1, 1]` apart.
fn bits(polynomial: &Polynomial) -> Vec<u64> {
    polynomial.coefficients().iter().map(|c| c.to_bits()).collect()
}

/// Rotations that a map needs keys for.
pub fn rotation_set(rotations: &Rotations, baby_step: usize) -> BTreeSet<usize> {
    // Many pairs of vectors have the same few rotations.
    let distinct: BTreeSet<usize> = rotations.values().flatten().copied().collect();
    let steps = distinct.into_iter().flat_map(|r| [r % baby_step, r - r % baby_step]);
    steps.filter(|&steps| steps != 0).collect()
}
