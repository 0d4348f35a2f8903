//! Seconds and working memory of one ckks op.

use std::collections::BTreeMap;

use fhec_ir::bootstrap::{BootstrapParams, DftMatrix, Order};
use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::diagonal::{self, Hoisting, MapCounts, WORKING_BYTES};
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::linear_map::{CONSTANT_ROWS, LinearMap};
use fhec_ir::packed::{self, Packed};
use fhec_ir::packing::residue_bits;
use fhec_ir::params::Params;
use fhec_ir::polynomial_shape::{OpCounts, PolynomialShape};
use fhec_ir::prime_set::{Exchange, PrimeSet};
use fhec_ir::scale::Level;
use fhec_ir::slot_mask::SlotMask;

use super::circuit_shapes::CircuitShapes;
use super::cost::{CostTable, OpKind, RingShape};
use super::linear_cost::{LinearCounts, LinearPrices};

/// Prices ops of functions under given parameters.
pub struct OpCosts<'a> {
    params: &'a Params,
    costs: &'a CostTable,
    ring: RingShape,
    /// Numbers of chain primes that ciphertexts lack.
    exchange: Exchange,
    /// Seconds of bootstraps, by number of slots and level of the result.
    bootstraps: Vec<(usize, Vec<BootstrapSeconds>)>,
}

/// Seconds of bootstraps to one level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BootstrapSeconds {
    /// Of one ciphertext.
    pub single: f64,
    /// Of two together; twice as long where pairs are not taken.
    pub pair: f64,
}

impl BootstrapSeconds {
    /// Of a bundle of `vectors` ciphertexts.
    pub fn of(&self, vectors: usize) -> f64 {
        (vectors / 2) as f64 * self.pair + (vectors % 2) as f64 * self.single
    }
}

/// See [`OpCosts::map_bytes`].
struct MapBytes {
    rotations: u64,
    sum: u64,
}

impl<'a> OpCosts<'a> {
    /// Prices under `params`.
    pub fn new(params: &'a Params, costs: &'a CostTable) -> Self {
        OpCosts {
            params,
            costs,
            ring: RingShape::of(params),
            exchange: Exchange::default(),
            bootstraps: Vec::new(),
        }
    }

    /// The parameters.
    pub fn params(&self) -> &'a Params {
        self.params
    }

    /// The same for programs that use `bootstraps`.
    pub fn with_bootstraps(mut self, bootstraps: &[BootstrapParams], shapes: &mut CircuitShapes) -> Self {
        self.bootstraps = bootstraps.iter().map(|b| (b.slots(), self.bootstraps(b, shapes))).collect();
        self
    }

    /// Threads that share the work.
    pub fn threads(&self) -> usize {
        self.costs.threads
    }

    /// Chain primes of a ciphertext at `level`.
    fn limbs(&self, level: Level) -> usize {
        self.primes(level).len()
    }

    fn primes(&self, level: Level) -> PrimeSet {
        self.exchange.of(self.params.primes(level))
    }

    /// The ring, with the digits that such a ciphertext has.
    fn ring(&self, level: Level) -> RingShape {
        let primes = self.primes(level);
        let digits = self.params.digits(level).into_iter();
        let digits = digits.filter(|digit| !primes.within(PrimeSet::range(digit.clone())).is_empty()).count();
        let needed = self.limbs(level).div_ceil(self.ring.digit_limbs);
        RingShape { more_digits: digits.saturating_sub(needed), ..self.ring }
    }

    /// Prices of linear maps at `level`.
    pub fn linear(&self, level: Level) -> LinearPrices {
        LinearPrices::at(self.costs, self.ring(level), self.limbs(level))
    }

    /// Seconds of a key switch at `level`.
    pub fn key_switch(&self, level: Level) -> f64 {
        self.costs.key_switch(self.ring(level), self.limbs(level))
    }

    /// Seconds of a rescale of `size` polynomials from `level`.
    pub fn rescale(&self, level: Level, size: u8) -> f64 {
        let Some(below) = level.checked_sub(1) else { return 0.0 };
        let (before, after) = (self.primes(level), self.primes(below));
        // Transforms: one per prime that is dropped, one per prime that is left.
        let limbs = before.without(after).len() + after.len();
        self.costs.seconds(self.ring(level), OpKind::Rescale, limbs, usize::from(size))
    }

    /// Seconds of a level drop to `level`, as runs showed it.
    pub fn level_drop(&self, level: Level) -> f64 {
        self.costs.of_runs("level_drop") * self.dropped(level)
    }

    /// A product with a constant at the level above, and a rescale from there.
    fn dropped(&self, level: Level) -> f64 {
        self.at(OpKind::MulPlain, level + 1, 2) + self.rescale(level + 1, 2)
    }

    fn at(&self, kind: OpKind, level: Level, size: u8) -> f64 {
        self.costs.seconds(self.ring(level), kind, self.limbs(level), usize::from(size))
    }

    /// Seconds of a sum with plaintexts that are encoded on the way; the other half is copied.
    fn add_plain(&self, level: Level, vectors: usize) -> f64 {
        self.encode(level, vectors) + self.at(OpKind::Add, level, 2) * vectors as f64
    }

    /// Seconds of a product with plaintexts that are encoded on the way.
    fn mul_plain(&self, level: Level, size: u8, vectors: usize) -> f64 {
        self.encode(level, vectors) + self.at(OpKind::MulPlain, level, size) * vectors as f64
    }

    fn encode(&self, level: Level, vectors: usize) -> f64 {
        self.costs.encode(self.ring, self.limbs(level), vectors)
    }

    /// Seconds of a polynomial of one ciphertext at `level`, without what runs showed.
    fn polynomial(&self, shape: &PolynomialShape, level: Level) -> f64 {
        let level_seconds = |(depth, count): (usize, OpCounts)| {
            let level = level - depth as Level;
            count.products as f64 * (self.at(OpKind::Mul, level, 2) + self.at(OpKind::Add, level, 3))
                + count.relinearizations as f64 * self.key_switch(level)
                + count.rescales as f64 * self.rescale(level, 2)
                + count.terms as f64 * self.costs.constant_product(self.ring(level), self.limbs(level))
        };
        let copies = shape.copies(self.params, level).into_iter();
        let copies: f64 = copies.map(|(_, to)| self.rescale(to + 1, 2)).sum();
        shape.counts_by_depth().into_iter().enumerate().map(level_seconds).sum::<f64>() + copies
    }

    /// Seconds of an op of a packed program whose operands are at `level`, with the rescale and
    /// relinearisation it will have.
    pub fn packed_seconds(
        &self,
        func: &Func<Packed>,
        op: &packed::Op,
        level: Level,
        shapes: &mut CircuitShapes,
    ) -> f64 {
        let Some(&operand) = op.operands().first() else { return 0.0 };
        let vectors = func.ty(operand).vectors;
        let each = |seconds: f64| seconds * vectors as f64;
        let rescale = |size: u8| self.costs.of_runs("rescale") * self.rescale(level, size);
        let seconds = match op {
            packed::Op::LinearMap { map, .. } => {
                let (counts, prices) = (shapes.counts(map, &func.consts), self.linear(level));
                let rescale = |counts: &LinearCounts| counts.outputs as f64 * rescale(2);
                let of_map = |counts| prices.of_map(map, &func.consts, counts);
                let seconds = counts.iter().map(|(_, counts)| of_map(counts) + rescale(counts));
                return seconds.fold(f64::INFINITY, f64::min);
            }
            packed::Op::Polynomial { polynomial, .. } => {
                each(self.polynomial(&shapes.polynomial(polynomial), level))
            }
            packed::Op::Add { .. } | packed::Op::Sub { .. } => each(self.at(OpKind::Add, level, 2)),
            packed::Op::AddPlain { .. } => self.add_plain(level, vectors),
            packed::Op::AddScalar { .. } => each(self.at(OpKind::Add, level, 1)),
            packed::Op::Mul { .. } => each(self.at(OpKind::Mul, level, 2)),
            packed::Op::MulPlain { .. } => self.mul_plain(level, 2, vectors),
            packed::Op::MulScalar { .. } => each(self.at(OpKind::MulPlain, level, 2)),
            packed::Op::Rotate { .. } | packed::Op::Conjugate { .. } => each(self.key_switch(level)),
        };
        let then = match op {
            packed::Op::Mul { .. } => {
                each(self.costs.of_runs("relinearize") * self.key_switch(level) + rescale(2))
            }
            packed::Op::MulPlain { .. } | packed::Op::MulScalar { .. } => each(rescale(2)),
            _ => 0.0,
        };
        self.costs.of_runs(op.mnemonic()) * seconds + then
    }

    /// Seconds of a bootstrap of one ciphertext to level `to`, from its lowest operand.
    pub fn bootstrap(&self, bootstrap: &BootstrapParams, to: Level, shapes: &mut CircuitShapes) -> f64 {
        self.bootstrap_phases(bootstrap, to, shapes).iter().map(|(_, seconds)| seconds).sum()
    }

    /// Bootstraps from their lowest operand to every level from 0 on.
    pub fn bootstraps(
        &self,
        bootstrap: &BootstrapParams,
        shapes: &mut CircuitShapes,
    ) -> Vec<BootstrapSeconds> {
        let pairs = bootstrap.takes_pairs(self.params);
        let seconds = |to: Level| {
            let phases = self.bootstrap_phases(bootstrap, to, shapes);
            let single: f64 = phases.iter().map(|(_, seconds)| seconds).sum();
            // Each has its own sine, and a conjugation at the start.
            let own = phases.iter().filter(|(name, _)| ["sine", "level_drop"].contains(name));
            let own: f64 = own.map(|(_, seconds)| seconds).sum();
            let conjugations =
                2.0 * self.costs.of_runs("bootstrap") * self.key_switch(bootstrap.input_level());
            BootstrapSeconds { single, pair: if pairs { single + own + conjugations } else { 2.0 * single } }
        };
        (0..=bootstrap.output_level).map(seconds).collect()
    }

    /// Bytes of its encoded matrices, each diagonal at the size of its period, for every one of
    /// `masks` and for pairs where they are taken ([`BootstrapParams::masks_in`]).
    pub fn bootstrap_bytes(
        &self,
        bootstrap: &BootstrapParams,
        masks: &BTreeMap<Option<SlotMask>, bool>,
    ) -> u64 {
        let bytes = |(matrix, level): (DftMatrix, Level)| {
            let evaluations: usize =
                matrix.periods().map(|period| diagonal::evaluations(self.params, period)).sum();
            (evaluations * residue_bits(self.params, self.params.key_limbs(level)) / 8) as u64
        };
        let of_mask = |(mask, pairs): (&Option<SlotMask>, &bool)| {
            let once: u64 = bootstrap.masking_matrices(*mask).into_iter().map(bytes).sum();
            once * (1 + u64::from(*pairs))
        };
        let to_slots: u64 = bootstrap.coeffs_to_slots_matrices().into_iter().map(bytes).sum();
        to_slots + masks.iter().map(of_mask).sum::<u64>()
    }

    /// Seconds of a bootstrap of one ciphertext to level `to` by phase, under the names that
    /// measurements have.
    pub fn bootstrap_phases(
        &self,
        bootstrap: &BootstrapParams,
        to: Level,
        shapes: &mut CircuitShapes,
    ) -> [(&'static str, f64); 6] {
        let params = self.params;
        let reached = bootstrap.reached_level(params, to);
        let dropped = if to < reached { self.dropped(to) } else { 0.0 };
        let exchange = bootstrap.exchange(params, to);
        let lacking =
            OpCosts { params, costs: self.costs, ring: self.ring, exchange, bootstraps: Vec::new() };
        let [a, b, c, d, e] = lacking.phases(bootstrap, shapes);
        let runs = self.costs.of_runs("bootstrap");
        [a, b, c, d, e, ("level_drop", dropped)].map(|(phase, seconds)| (phase, runs * seconds))
    }

    fn phases(&self, bootstrap: &BootstrapParams, shapes: &mut CircuitShapes) -> [(&'static str, f64); 5] {
        let transform = |matrices: &[(DftMatrix, Level)]| {
            let matrix = |&(matrix, level): &(DftMatrix, Level)| {
                let giants = matrix.giant_steps().saturating_sub(1);
                let babies = matrix.baby_rotations().iter().filter(|&&rotation| rotation != 0).count();
                let diagonals = matrix.diagonals();
                let counts = LinearCounts {
                    babies,
                    giants,
                    diagonals,
                    decompositions: 1,
                    outputs: 1,
                    ..LinearCounts::default()
                };
                self.linear(level).evaluated(&counts) + self.rescale(level, 2)
            };
            matrices.iter().map(matrix).sum::<f64>()
        };
        let (to_slots, to_coeffs) =
            (bootstrap.coeffs_to_slots_matrices(), bootstrap.slots_to_coeffs_matrices());
        let to_slots = match to_slots.split_first() {
            Some((first, rest)) if bootstrap.raises_into_slots(self.params) => {
                self.raising_matrix(bootstrap, first) + transform(rest)
            }
            _ => transform(&to_slots),
        };
        let (raised, sine) = (bootstrap.raised_level(), bootstrap.sine_input_level());
        let trace = bootstrap.trace_rotations(self.params).len() as f64 * self.key_switch(raised);
        // A pair of polynomials over all primes, transformed; about as much as a division of one.
        let raise = self.at(OpKind::ModDown, raised, 2);
        let doubling = |step: u32| {
            let level = sine - (bootstrap.cosine.depth() + step) as Level;
            self.at(OpKind::Mul, level, 2) + self.key_switch(level) + self.rescale(level, 2)
        };
        let mut reduce = self.polynomial(&shapes.polynomial(&bootstrap.cosine), sine);
        reduce += (0..bootstrap.double_angles).map(doubling).sum::<f64>();
        if let Some(arcsine) = &bootstrap.arcsine {
            let level = bootstrap.sine_output_level() + arcsine.depth() as Level;
            reduce += self.polynomial(&shapes.polynomial(arcsine), level);
        }
        let conjugations = match bootstrap.order {
            Order::SlotsToCoeffsFirst => 0.0,
            Order::SlotsToCoeffsLast => self.key_switch(0) + self.key_switch(bootstrap.output_level),
        };
        [
            ("slots_to_coeffs", transform(&to_coeffs)),
            ("raise_modulus", raise),
            ("coeffs_to_slots", trace + to_slots),
            ("real_part", conjugations + self.key_switch(sine)),
            ("sine", reduce),
        ]
    }

    /// Seconds of a matrix that is applied on the way back from the ephemeral secret: per rotation
    /// a product with a key without digits and one with the diagonal, and a division.
    fn raising_matrix(&self, bootstrap: &BootstrapParams, (matrix, level): &(DftMatrix, Level)) -> f64 {
        let limbs = self.limbs(*level);
        let special = bootstrap.raising_key_primes(self.params);
        let ring = RingShape { special, digit_limbs: limbs, more_digits: 0, ..self.ring };
        let seconds = |kind, limbs| self.costs.seconds(ring, kind, limbs, 2);
        let rotation = seconds(OpKind::KeyProduct, limbs) + seconds(OpKind::MulPlain, limbs + special);
        let rescale = if bootstrap.conserves_level { 0.0 } else { self.rescale(*level, 2) };
        rotation * matrix.diagonals() as f64 + seconds(OpKind::ModDown, limbs) + rescale
    }

    /// Seconds of an op: what the table predicts, times what runs showed of such ops.
    pub fn seconds(&self, func: &Func<Ckks>, data: &OpData<Ckks>, shapes: &mut CircuitShapes) -> f64 {
        let Some(&operand) = data.op.operands().first() else { return 0.0 };
        let x = func.ty(operand);
        let result = func.ty(data.result);
        let each = |seconds: f64| seconds * x.vectors as f64;
        let seconds = match &data.op {
            Op::LinearMap { map, baby_step, .. } => {
                let (counts, prices) =
                    (shapes.counts_at(map, &func.consts, *baby_step), self.linear(x.level));
                return prices.of_map(map, &func.consts, &counts);
            }
            Op::Bootstrap { .. } => {
                let found = self.bootstraps.iter().find(|(slots, _)| *slots == x.slots);
                let seconds = found.and_then(|(_, seconds)| seconds.get(usize::from(result.level)));
                return seconds.map_or(0.0, |seconds| seconds.of(x.vectors));
            }
            Op::Polynomial { polynomial, .. } => {
                each(self.polynomial(&shapes.polynomial(polynomial), x.level))
            }
            Op::Add { .. } | Op::Sub { .. } => each(self.at(OpKind::Add, x.level, result.size)),
            Op::AddPlain { .. } => self.add_plain(x.level, x.vectors),
            Op::AddScalar { .. } => each(self.at(OpKind::Add, x.level, 1)),
            Op::Mul { .. } => each(self.at(OpKind::Mul, x.level, 2)),
            Op::MulPlain { .. } => self.mul_plain(x.level, x.size, x.vectors),
            Op::MulScalar { .. } => each(self.at(OpKind::MulPlain, x.level, x.size)),
            Op::Rotate { .. } | Op::Conjugate { .. } | Op::Relinearize { .. } => {
                each(self.key_switch(x.level))
            }
            Op::Rescale { .. } => each(self.rescale(x.level, x.size)),
            Op::LevelDrop { level, .. } => each(self.dropped(*level)),
        };
        self.costs.of_runs(data.op.mnemonic()) * seconds
    }

    /// Seconds of making and encoding the diagonals of an op, where they are not kept.
    pub fn encoding(&self, func: &Func<Ckks>, data: &OpData<Ckks>, shapes: &mut CircuitShapes) -> f64 {
        let Op::LinearMap { map, baby_step, .. } = &data.op else { return 0.0 };
        if map.is_of_constants(&func.consts) {
            return 0.0;
        }
        let diagonals = shapes.counts_at(map, &func.consts, *baby_step).diagonals;
        let period = map.diagonal_period(&func.consts);
        // All are made by one thread, those of one block are encoded.
        let made = (diagonals * period) as f64 * self.costs.packing_ns * 1e-9;
        let encoded = self.costs.embedding(period.ilog2(), diagonals / map.blocks(&func.consts));
        self.costs.of_runs("linear_map") * (made + encoded)
    }

    /// Bytes of a value.
    pub fn value_bytes(&self, func: &Func<Ckks>, value: Value) -> u64 {
        let ty = func.ty(value);
        let limbs = self.params.limbs(ty.level);
        ty.vectors as u64 * self.ring.ciphertext_bytes(usize::from(ty.size), limbs)
    }

    /// Bytes an op holds while it runs, besides operands and result.
    pub fn working_bytes(&self, func: &Func<Ckks>, data: &OpData<Ckks>, shapes: &mut CircuitShapes) -> u64 {
        let Some(&operand) = data.op.operands().first() else { return 0 };
        let x = func.ty(operand);
        let limbs = self.params.limbs(x.level);
        let extended = self.ring.ciphertext_bytes(2, limbs + self.ring.special);
        // Digits of one polynomial over all primes.
        let digits = self.params.digits(x.level).len() as u64 * extended / 2;
        match &data.op {
            // A few sums, replaced by their rescaled results.
            Op::LinearMap { map, .. } if map.is_of_constants(&func.consts) => {
                let rows = map.output.vectors().min(CONSTANT_ROWS) as u64;
                rows * self.ring.ciphertext_bytes(2, limbs)
            }
            Op::LinearMap { map, baby_step, .. } => {
                let counts = shapes.counts_at(map, &func.consts, *baby_step);
                let MapBytes { rotations, sum } =
                    self.map_bytes(x.level, map, &counts, map.diagonal_period(&func.consts));
                // A sum for every giant step, an output's own included, in turns if they are many.
                let blocks = map.blocks(&func.consts);
                let sums = ((counts.giants + counts.outputs) / blocks) as u64 * sum;
                digits
                    + rotations
                    + sums.min(sum.max(WORKING_BYTES as u64))
                    + counts.outputs as u64 * extended
            }
            Op::Polynomial { polynomial, .. } => {
                let elements = shapes.polynomial(polynomial).basis.len() + 4;
                digits + elements as u64 * self.ring.ciphertext_bytes(2, limbs)
            }
            Op::Rotate { .. } | Op::Conjugate { .. } | Op::Relinearize { .. } => digits + extended,
            // The plaintext of one ciphertext.
            Op::AddPlain { .. } | Op::MulPlain { .. } => self.ring.ciphertext_bytes(1, limbs),
            _ => 0,
        }
    }

    /// What a linear map whose diagonals have `period` elements holds of one operand and of one
    /// sum.
    fn map_bytes(&self, level: Level, map: &LinearMap, counts: &LinearCounts, period: usize) -> MapBytes {
        let limbs = self.params.limbs(level);
        let &LinearCounts { babies, giants, diagonals, .. } = counts;
        let numbers = MapCounts { babies, giants, diagonals, period };
        // Operands come one after the other: a decomposed polynomial, and one limb of all rotations
        // in tiles.
        let steps = babies.div_ceil(map.input.vectors().max(1));
        let tiles = self.ring.ciphertext_bytes(1, limbs) + steps as u64 * self.ring.ciphertext_bytes(2, 1);
        match Hoisting::cheaper(self.params, level, numbers) {
            Hoisting::Single => {
                let each = self.ring.ciphertext_bytes(2, limbs);
                MapBytes { rotations: tiles + steps as u64 * each, sum: each }
            }
            Hoisting::Double => MapBytes {
                rotations: 2 * tiles,
                sum: self.ring.ciphertext_bytes(2, limbs + self.ring.special),
            },
        }
    }

    /// Bytes of the encoded diagonals of an op. Other plaintexts are encoded when they are used.
    pub fn plaintext_bytes(&self, func: &Func<Ckks>, data: &OpData<Ckks>, shapes: &mut CircuitShapes) -> u64 {
        let Some(&operand) = data.op.operands().first() else { return 0 };
        let x = func.ty(operand);
        match &data.op {
            // They are kept as numbers.
            Op::LinearMap { map, .. } if map.is_of_constants(&func.consts) => 0,
            Op::LinearMap { map, baby_step, .. } => {
                let counts = shapes.counts_at(map, &func.consts, *baby_step);
                let (period, masked) = (map.diagonal_period(&func.consts), map.is_masked(&func.consts));
                let bytes = diagonal::bytes(self.params, x.level, period, masked);
                (counts.diagonals / map.blocks(&func.consts)) as u64 * bytes as u64
            }
            _ => 0,
        }
    }
}
