//! Counts and cost of linear maps for every baby step and fold, from one list of rotations.

use std::collections::BTreeMap;

use super::cost::{CostTable, OpKind, RingShape};

/// Rotations of a map by `(output vector, input vector)`, as `LinearMap::rotations` gives them.
pub type Rotations = BTreeMap<(usize, usize), Vec<usize>>;

/// How many operations of each kind a linear map takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinearCounts {
    /// Hoisted rotations of operands.
    pub babies: usize,
    /// Rotations of partial sums.
    pub giants: usize,
    /// Products with diagonals.
    pub diagonals: usize,
    /// Operand vectors with at least one baby rotation: one decomposition each.
    pub decompositions: usize,
    /// Result vectors.
    pub outputs: usize,
}

/// Seconds of each operation of a linear map.
#[derive(Clone, Copy, Debug)]
pub struct LinearPrices {
    baby: f64,
    giant: f64,
    diagonal: f64,
    decompose: f64,
    finish: f64,
    /// A rotation on its own, after the map.
    pub rotate: f64,
}

impl LinearPrices {
    /// Prices at `limbs` chain primes.
    pub fn at(costs: &CostTable, ring: RingShape, limbs: usize) -> Self {
        let rotate = costs.key_switch(ring, limbs);
        LinearPrices {
            baby: costs.hoisted_rotation(ring, limbs),
            // Its result stays over the special primes: only the half that is switched is divided.
            giant: costs.seconds(ring, OpKind::Decompose, limbs, 2)
                + costs.hoisted_rotation(ring, limbs)
                + costs.seconds(ring, OpKind::ModDown, limbs, 2) / 2.0,
            diagonal: costs.diagonal(ring, limbs),
            decompose: costs.seconds(ring, OpKind::Decompose, limbs, 2),
            finish: costs.seconds(ring, OpKind::ModDown, limbs, 2),
            rotate,
        }
    }

    /// Seconds of a map with these counts.
    pub fn seconds(&self, counts: &LinearCounts) -> f64 {
        self.baby * counts.babies as f64
            + self.giant * counts.giants as f64
            + self.diagonal * counts.diagonals as f64
            + self.decompose * counts.decompositions as f64
            + self.finish * counts.outputs as f64
    }
}

/// Counts for `baby_step`.
pub fn counts(rotations: &Rotations, period: usize, baby_step: usize) -> LinearCounts {
    let mut babies: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    let mut giants: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    for (&(output, input), list) in rotations {
        let babies = babies.entry(input).or_insert_with(|| vec![false; baby_step]);
        let giants = giants.entry(output).or_insert_with(|| vec![false; period / baby_step]);
        for &rotation in list {
            babies[rotation % baby_step] = true;
            giants[rotation / baby_step] = true;
        }
    }
    let set = |flags: &Vec<bool>| flags.iter().skip(1).filter(|&&flag| flag).count();
    LinearCounts {
        babies: babies.values().map(set).sum(),
        giants: giants.values().map(set).sum(),
        diagonals: rotations.values().map(Vec::len).sum(),
        decompositions: babies.values().filter(|flags| set(flags) > 0).count(),
        outputs: giants.len(),
    }
}

/// The cheapest power of two as baby step, with its counts; the smaller one on a tie.
pub fn cheapest_baby_step(
    rotations: &Rotations,
    period: usize,
    prices: &LinearPrices,
) -> (usize, LinearCounts) {
    let mut best = (1, counts(rotations, period, 1));
    for log in 1..=period.trailing_zeros() {
        let candidate = (1 << log, counts(rotations, period, 1 << log));
        if prices.seconds(&candidate.1) < prices.seconds(&best.1) {
            best = candidate;
        }
    }
    best
}

/// Rotations left of an unfolded map's when it is folded: those that reach the nearest copy.
pub fn folded(rotations: &Rotations, output_period: usize, fold: usize) -> Rotations {
    let kept = |list: &Vec<usize>| {
        list.iter().copied().filter(|rotation| rotation % (output_period * fold) < output_period).collect()
    };
    match fold {
        1 => rotations.clone(),
        _ => rotations.iter().map(|(&pair, list)| (pair, kept(list))).collect(),
    }
}

/// The cheapest fold up to `max_fold` (a power of two) with its seconds, the rotations that sum the copies included.
pub fn cheapest_fold(
    rotations: &Rotations,
    period: usize,
    output_period: usize,
    max_fold: usize,
    prices: &LinearPrices,
) -> (usize, f64) {
    let seconds = |fold: usize| {
        let (_, counts) = cheapest_baby_step(&folded(rotations, output_period, fold), period, prices);
        prices.seconds(&counts) + f64::from(fold.trailing_zeros()) * counts.outputs as f64 * prices.rotate
    };
    let folds = (0..=max_fold.max(1).trailing_zeros()).map(|log| (1 << log, seconds(1 << log)));
    folds.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((1, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::circuit_shape::LinearShape;
    use fhec_ir::layout::Layout;
    use fhec_ir::linear_map::{LinearKind, LinearMap};
    use fhec_ir::tensor::{ConstPool, Tensor};

    #[test]
    fn counts_are_those_of_the_circuit_and_folding_filters() {
        let mut consts = ConstPool::default();
        let weight = consts.add(Tensor::from_fn([10, 600], |i| i as f32 + 1.0));
        let input = Layout::dense([6, 10, 10], 4096);
        let map = LinearMap::new(LinearKind::Dense { weight }, input, Layout::dense([10, 1, 1], 4096));
        let rotations = map.rotations(&consts);
        for baby_step in [1, 8, 64] {
            let shape = LinearShape::new(&rotations, baby_step);
            let counts = counts(&rotations, map.input.period, baby_step);
            assert_eq!(
                (counts.babies, counts.giants, counts.diagonals),
                (shape.baby_rotations(), shape.giant_rotations(), shape.diagonals())
            );
        }
        for fold in [2, 8, 64] {
            let direct = LinearMap { fold, ..map.clone() }.rotations(&consts);
            assert_eq!(folded(&rotations, map.output.period, fold), direct);
        }
        let prices =
            LinearPrices::at(&CostTable::default(), RingShape { log_n: 15, special: 2, digit_limbs: 2 }, 8);
        let (fold, _) = cheapest_fold(&rotations, map.input.period, 16, 64, &prices);
        assert!(fold > 1, "ten outputs of 600 inputs are worth folding");
    }
}
