//! Counts and cost of linear maps for every baby step and fold, from one list of rotations.

use std::collections::BTreeMap;

use fhec_ir::linear_map::LinearMap;
use fhec_ir::params::LOG_N_RANGE;
use fhec_ir::tensor::ConstPool;

use super::cost::{CostTable, OpKind, RingShape};

/// Rotations of a map by `(output vector, input vector)`, ascending, as `LinearMap::rotations`
/// gives them.
pub type Rotations = BTreeMap<(usize, usize), Vec<usize>>;

/// How many operations of each kind a linear map takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinearCounts {
    /// Hoisted rotations of operands.
    pub babies: usize,
    /// What is multiplied with diagonals: these rotations, and operands as they are.
    pub tiles: usize,
    /// Rotations of partial sums.
    pub giants: usize,
    /// Products with diagonals.
    pub diagonals: usize,
    /// Operand vectors with at least one baby rotation: one decomposition each.
    pub decompositions: usize,
    /// Result vectors.
    pub outputs: usize,
    /// Sums of products, one for every giant step of a result, an unrotated one included.
    pub sums: usize,
    /// How often an operand's products are added to a sum that is in memory already.
    pub additions: usize,
}

/// Seconds of each operation of a linear map.
#[derive(Clone, Debug)]
pub struct LinearPrices {
    baby: f64,
    /// A baby step divided by the special primes.
    divided_baby: f64,
    giant: f64,
    /// A giant step of a sum over the chain, which needs no division.
    chain_giant: f64,
    /// By `log2` of the share of a polynomial that a diagonal takes: over chain and special primes,
    /// and over the chain.
    diagonal: Vec<[f64; 2]>,
    /// A rotation that is laid out for products, likewise.
    tile: [f64; 2],
    /// A sum that is made or added to, over chain and special primes and over the chain.
    sum: [f64; 2],
    /// A constant times a ciphertext, in a sum.
    constant: f64,
    /// One that is kept evaluated over chain and special primes, as those of bootstraps are.
    evaluated_diagonal: f64,
    log_n: u32,
    /// What runs showed of maps: a factor of all but matrices of bootstraps.
    runs: f64,
    decompose: f64,
    finish: f64,
    /// A rotation on its own, after the map.
    pub rotate: f64,
    /// The mask of one result of a regular map.
    pub mask: f64,
    /// Encoding that mask, once for all results.
    pub mask_encoding: f64,
}

impl LinearPrices {
    /// Prices at `limbs` chain primes.
    pub fn at(costs: &CostTable, ring: RingShape, limbs: usize) -> Self {
        let runs = costs.of_runs("linear_map");
        let rotate = costs.of_runs("rotate") * costs.key_switch(ring, limbs);
        let division = costs.seconds(ring, OpKind::ModDown, limbs, 2);
        let decompose = costs.seconds(ring, OpKind::Decompose, limbs, 2);
        let baby = costs.hoisted_rotation(ring, limbs);
        let smallest = *LOG_N_RANGE.start();
        let diagonal = (0..=ring.log_n.saturating_sub(smallest))
            .map(|log_gap| [limbs + ring.special, limbs].map(|primes| costs.diagonal(ring, primes, log_gap)));
        LinearPrices {
            baby,
            divided_baby: baby + division,
            // One half is divided before it is decomposed.
            giant: decompose + baby + division / 2.0,
            chain_giant: decompose + baby,
            diagonal: diagonal.collect(),
            tile: [limbs + ring.special, limbs].map(|primes| costs.seconds(ring, OpKind::Tile, primes, 2)),
            sum: [limbs + ring.special, limbs].map(|primes| costs.seconds(ring, OpKind::Sum, primes, 2)),
            constant: costs.constant_product(ring, limbs),
            evaluated_diagonal: costs.seconds(ring, OpKind::MulPlain, limbs + ring.special, 2),
            log_n: ring.log_n,
            runs,
            decompose,
            finish: division,
            rotate,
            mask: costs.seconds(ring, OpKind::MulPlain, limbs + ring.special, 2),
            mask_encoding: costs.encode(ring, limbs + ring.special, 1),
        }
    }

    /// Seconds of a map with these counts whose diagonals have period `period`, at the cheaper of
    /// both hoistings.
    pub fn seconds(&self, counts: &LinearCounts, period: usize) -> f64 {
        let log_gap = self.log_n.saturating_sub(period.max(1).ilog2() + 1) as usize;
        let [extended, chain] = self.diagonal[log_gap.min(self.diagonal.len() - 1)];
        let diagonals = counts.diagonals as f64;
        if period == 1 {
            return self.constants(counts);
        }
        // What is laid out and summed up, over all primes and over those of the chain.
        let copies = |of: usize| {
            self.tile[of] * counts.tiles as f64 + self.sum[of] * (counts.sums + counts.additions) as f64
        };
        let double = self.baby * counts.babies as f64
            + self.giant * counts.giants as f64
            + extended * diagonals
            + copies(0);
        let single = self.divided_baby * counts.babies as f64
            + self.chain_giant * counts.giants as f64
            + chain * diagonals
            + copies(1);
        let shared = self.decompose * counts.decompositions as f64 + self.finish * counts.outputs as f64;
        self.runs * (double.min(single) + shared)
    }
}

impl LinearPrices {
    /// Seconds of a map of constants with these counts: products of residues, and nothing else.
    fn constants(&self, counts: &LinearCounts) -> f64 {
        self.runs * self.constant * counts.diagonals as f64
    }

    /// Seconds of `map` with these counts, the mask of a regular one included.
    pub fn of_map(&self, map: &LinearMap, consts: &ConstPool, counts: &LinearCounts) -> f64 {
        if map.is_of_constants(consts) {
            return self.constants(counts);
        }
        let masks = if map.is_masked(consts) { self.masks(counts.outputs) } else { 0.0 };
        self.seconds(counts, map.diagonal_period(consts)) + masks
    }

    /// Seconds of one mask for `outputs` results.
    pub fn masks(&self, outputs: usize) -> f64 {
        self.runs * (self.mask_encoding + self.mask * outputs as f64)
    }

    /// Seconds of a matrix of a bootstrap: double hoisting, with diagonals that are kept evaluated.
    pub fn evaluated(&self, counts: &LinearCounts) -> f64 {
        self.baby * counts.babies as f64
            + self.giant * counts.giants as f64
            + self.evaluated_diagonal * counts.diagonals as f64
            + self.decompose * counts.decompositions as f64
            + self.finish * counts.outputs as f64
    }
}

/// Counts for `baby_step`.
pub fn counts(rotations: &Rotations, period: usize, baby_step: usize) -> LinearCounts {
    let mut babies: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    let mut giants: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    // Every operand with the sums that it is a part of; the first one makes all sums.
    let first = rotations.keys().map(|&(_, input)| input).min();
    let mut additions = 0;
    for (&(output, input), list) in rotations {
        if Some(input) != first {
            additions += list.chunk_by(|a, b| a / baby_step == b / baby_step).count();
        }
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
        tiles: babies.values().flatten().filter(|&&flag| flag).count(),
        giants: giants.values().map(set).sum(),
        diagonals: rotations.values().map(Vec::len).sum(),
        decompositions: babies.values().filter(|flags| set(flags) > 0).count(),
        outputs: giants.len(),
        sums: giants.values().flatten().filter(|&&flag| flag).count(),
        additions,
    }
}

/// The cheapest power of two as baby step, with its counts; the smaller one on a tie. Rotations are
/// below `period`, diagonals repeat after `diagonal_period` slots.
pub fn cheapest_baby_step(
    rotations: &Rotations,
    period: usize,
    diagonal_period: usize,
    prices: &LinearPrices,
) -> (usize, LinearCounts) {
    let steps = (0..=period.trailing_zeros()).map(|log| 1 << log);
    let all: Vec<(usize, LinearCounts)> = steps.map(|step| (step, counts(rotations, period, step))).collect();
    cheapest_of(&all, diagonal_period, prices)
}

/// [`cheapest_baby_step`] of known counts by baby step.
///
/// # Panics
/// If there are none.
pub fn cheapest_of(
    counts: &[(usize, LinearCounts)],
    diagonal_period: usize,
    prices: &LinearPrices,
) -> (usize, LinearCounts) {
    let seconds = |counts: &LinearCounts| prices.seconds(counts, diagonal_period);
    let mut best = counts[0];
    for candidate in &counts[1..] {
        if seconds(&candidate.1) < seconds(&best.1) {
            best = *candidate;
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

/// The cheapest fold up to `max_fold` (a power of two) with its seconds, the rotations that sum the
/// copies included. Operand and result repeat after `period` and `output_period` slots.
pub fn cheapest_fold(
    rotations: &Rotations,
    (period, output_period): (usize, usize),
    diagonal_period: usize,
    max_fold: usize,
    prices: &LinearPrices,
) -> (usize, f64) {
    let seconds = |fold: usize| {
        let folded = folded(rotations, output_period, fold);
        let (_, counts) = cheapest_baby_step(&folded, period, diagonal_period, prices);
        prices.seconds(&counts, diagonal_period)
            + f64::from(fold.trailing_zeros()) * counts.outputs as f64 * prices.rotate
    };
    let folds = (0..=max_fold.max(1).trailing_zeros()).map(|log| (1 << log, seconds(1 << log)));
    folds.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((1, 0.0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use fhec_ir::circuit_shape::LinearShape;
    use fhec_ir::layout::Layout;
    use fhec_ir::linear_map::LinearKind;
    use fhec_ir::tensor::Tensor;

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
        // Of several vectors: eight channels, each of which is read for the two of its group.
        let weight = consts.add(Tensor::from_fn([8, 2, 3, 3], |i| i as f32 + 1.0));
        let kind = LinearKind::Conv2d { weight, strides: [1; 2], pads: [1; 4], dilations: [1; 2], groups: 4 };
        let plane = Layout::dense([8, 32, 32], 1024);
        let grouped = LinearMap::new(kind, plane.clone(), plane).rotations(&consts);
        for baby_step in [1, 32, 1024] {
            let shape = LinearShape::new(&grouped, baby_step);
            let found = counts(&grouped, 1024, baby_step);
            assert_eq!(found.tiles, shape.babies.values().map(|babies| babies.len()).sum::<usize>());
            let sums = || shape.giants.values().flat_map(|giants| giants.values());
            let parts = |terms: &Vec<(usize, usize)>| {
                let inputs: BTreeSet<usize> = terms.iter().map(|&(input, _)| input).collect();
                inputs.iter().filter(|&&input| input != 0).count()
            };
            assert_eq!((found.sums, found.additions), (sums().count(), sums().map(parts).sum()));
        }
        for fold in [2, 8, 64] {
            let direct = LinearMap { fold, ..map.clone() }.rotations(&consts);
            assert_eq!(folded(&rotations, map.output.period, fold), direct);
        }
        let prices = LinearPrices::at(
            &CostTable::default(),
            RingShape { log_n: 15, special: 2, digit_limbs: 2, key_bits: 48, more_digits: 0 },
            8,
        );
        let (fold, _) = cheapest_fold(&rotations, (map.input.period, 16), map.input.period, 64, &prices);
        assert!(fold > 1, "ten outputs of 600 inputs are worth folding");
    }
}
