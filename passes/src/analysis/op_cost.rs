//! Seconds and working memory of one ckks op.

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::diagonal;
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::params::Params;
use fhec_ir::scale::Level;

use super::circuit_shapes::CircuitShapes;
use super::cost::{CostTable, OpKind, RingShape};
use super::linear_cost::{LinearPrices, counts};

/// Prices ops of functions under given parameters.
pub struct OpCosts<'a> {
    params: &'a Params,
    costs: &'a CostTable,
    ring: RingShape,
}

impl<'a> OpCosts<'a> {
    /// Prices under `params`.
    pub fn new(params: &'a Params, costs: &'a CostTable) -> Self {
        OpCosts { params, costs, ring: RingShape::of(params) }
    }

    /// Prices of linear maps at `level`.
    pub fn linear(&self, level: Level) -> LinearPrices {
        LinearPrices::at(self.costs, self.ring, self.params.limbs(level))
    }

    /// Seconds of a key switch at `level`.
    pub fn key_switch(&self, level: Level) -> f64 {
        self.costs.key_switch(self.ring, self.params.limbs(level))
    }

    /// Seconds of a rescale of `size` polynomials from `level`.
    pub fn rescale(&self, level: Level, size: u8) -> f64 {
        self.costs.seconds(self.ring, OpKind::Rescale, self.params.limbs(level), usize::from(size))
    }

    /// Seconds of an op. Bootstraps are not priced.
    pub fn seconds(&self, func: &Func<Ckks>, data: &OpData<Ckks>, shapes: &mut CircuitShapes) -> f64 {
        let Some(&operand) = data.op.operands().first() else { return 0.0 };
        let x = func.ty(operand);
        let result = func.ty(data.result);
        let at = |kind, level: Level, size: u8| {
            self.costs.seconds(self.ring, kind, self.params.limbs(level), usize::from(size))
        };
        let each = match &data.op {
            Op::LinearMap { map, baby_step, .. } => {
                let rotations = shapes.rotations(map, &func.consts);
                let counts = counts(&rotations, map.input.period, *baby_step);
                return self.linear(x.level).seconds(&counts, map.diagonal_period());
            }
            Op::Polynomial { polynomial, .. } => {
                let by_depth = shapes.polynomial(polynomial).counts_by_depth();
                let level_seconds = |(depth, count): (usize, fhec_ir::polynomial_shape::OpCounts)| {
                    let level = x.level - depth as Level;
                    count.products as f64 * (at(OpKind::Mul, level, 2) + at(OpKind::Add, level, 3))
                        + count.relinearizations as f64 * self.key_switch(level)
                        + count.rescales as f64 * at(OpKind::Rescale, level, 2)
                };
                by_depth.into_iter().enumerate().map(level_seconds).sum()
            }
            Op::Add { .. } | Op::Sub { .. } => at(OpKind::Add, x.level, result.size),
            Op::AddPlain { .. } | Op::AddScalar { .. } => at(OpKind::Add, x.level, 1),
            Op::Mul { .. } => at(OpKind::Mul, x.level, 2),
            Op::MulPlain { .. } | Op::MulScalar { .. } => at(OpKind::MulPlain, x.level, x.size),
            Op::Rotate { .. } | Op::Conjugate { .. } | Op::Relinearize { .. } => self.key_switch(x.level),
            Op::Rescale { .. } => at(OpKind::Rescale, x.level, x.size),
            // A product with a constant at the level above the target, and a rescale from there.
            Op::LevelDrop { level, .. } => {
                at(OpKind::MulPlain, level + 1, 2) + at(OpKind::Rescale, level + 1, 2)
            }
            Op::Bootstrap { .. } => 0.0,
        };
        each * x.vectors as f64
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
            Op::LinearMap { map, baby_step, .. } => {
                let counts = counts(&shapes.rotations(map, &func.consts), map.input.period, *baby_step);
                // Rotations, and a sum for every giant step, an output's own included.
                digits + (counts.babies + counts.giants + 2 * counts.outputs) as u64 * extended
            }
            Op::Polynomial { polynomial, .. } => {
                let elements = shapes.polynomial(polynomial).basis.len() + 4;
                digits + elements as u64 * self.ring.ciphertext_bytes(2, limbs)
            }
            Op::Rotate { .. } | Op::Conjugate { .. } | Op::Relinearize { .. } => digits + extended,
            _ => 0,
        }
    }

    /// Bytes of the encoded diagonals and plaintexts of an op.
    pub fn plaintext_bytes(&self, func: &Func<Ckks>, data: &OpData<Ckks>, shapes: &mut CircuitShapes) -> u64 {
        let Some(&operand) = data.op.operands().first() else { return 0 };
        let x = func.ty(operand);
        let polynomial = self.ring.ciphertext_bytes(1, self.params.limbs(x.level));
        match &data.op {
            Op::LinearMap { map, baby_step, .. } => {
                let counts = counts(&shapes.rotations(map, &func.consts), map.input.period, *baby_step);
                let bytes = diagonal::bytes(self.params, x.level, map.diagonal_period());
                counts.diagonals as u64 * bytes as u64
            }
            Op::AddPlain { .. } | Op::MulPlain { .. } => x.vectors as u64 * polynomial,
            _ => 0,
        }
    }
}
