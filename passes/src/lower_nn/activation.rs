//! Polynomials, and what to say about functions that are none.

use fhec_ir::entity::Value;
use fhec_ir::func::StageOp;
use fhec_ir::nn::Op;
use fhec_ir::polynomial::Polynomial;
use fhec_ir::tensor::Tensor;

use crate::nn::expand_max_pools::MOST_TAPS;

use super::Lowering;
use super::error::lowerable;
use super::program::{Step, TensorId};

impl Lowering<'_> {
    /// The domain is mapped to `[-1, 1]` first, unless it is that already: `normalize_ranges` saves
    /// this level by folding the map into the layer before.
    pub(super) fn poly(
        &mut self,
        x: Value,
        polynomial: &Polynomial,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let mut x = self.tensor(x)?;
        let [low, high] = polynomial.domain();
        let (factor, offset) = (2.0 / (high - low), -(low + high) / (high - low));
        if factor != 1.0 {
            x = self.program.push_same(Step::MulScalar { x, factor }, None);
        }
        if offset != 0.0 {
            x = self.add_to_elements(x, offset as f32, None);
        }
        if polynomial.degree() == 0 {
            let zero = self.program.push_same(Step::MulScalar { x, factor: 0.0 }, None);
            let value = polynomial.coefficients().first().copied().unwrap_or(0.0);
            return Ok(self.add_to_elements(zero, value as f32, name));
        }
        let polynomial = polynomial.over([-1.0, 1.0]).map_err(|e| e.to_string())?;
        Ok(self.program.push_same(Step::Polynomial { x, polynomial }, name))
    }

    /// Adds to the tensor's elements only: slots outside stay zero, where a polynomial is tame.
    pub(super) fn add_to_elements(&mut self, x: TensorId, offset: f32, name: Option<&str>) -> TensorId {
        let [channels, ..] = self.shape(x);
        let values = self.program.consts.add(Tensor::from_fn([channels], |_| offset));
        self.program.push_same(Step::AddPlain { x, values }, name)
    }
}

/// Why an op that is no polynomial stays out.
pub(super) fn not_a_polynomial(op: &Op) -> String {
    match op {
        Op::Softmax { .. } | Op::LogSoftmax { .. } => format!(
            "a softmax is left to the client where nothing comes after it but reshapes and transposes that keep its lists whole; \
             under encryption it is evaluated of a list of classes [1, F], which this one is not, and its logarithm not at \
             all; end the network before it; {}",
            lowerable()
        ),
        Op::ArgMax { .. } => format!(
            "the largest class is left to the client where nothing comes after it but reshapes; end the network before \
             it; {}",
            lowerable()
        ),
        Op::MaxPool { .. } => format!(
            "a maximum is evaluated by ReLUs of differences; this one has windows of more than {MOST_TAPS} taps \
             that are apart, and pads; leave the pads out or put a ReLU before it; {}",
            lowerable()
        ),
        _ => format!(
            "`{}` is not a polynomial, and only polynomials can be evaluated under encryption; run `approximate` first, \
             which puts a polynomial in its place",
            op.mnemonic()
        ),
    }
}
