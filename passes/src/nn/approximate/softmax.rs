//! A softmax in polynomials, products and dense layers: [`crate::nn::softmax`] says which.

use fhec_ir::entity::{Const, Value};
use fhec_ir::nn::Op;
use fhec_ir::tensor::Tensor;

use super::{Pass, over};
use crate::error::PassError;
use crate::nn::softmax::{MAX_OPERAND_BOUND, SQUARINGS, Scheme, SoftmaxNames, exponential};

impl Pass<'_> {
    /// The softmax of `x`, a list of classes that is stored with the factor `domain`, by `scheme`;
    /// `target` is the factor of its result.
    pub(super) fn softmax(
        &mut self,
        x: Value,
        domain: f64,
        target: f64,
        scheme: Scheme,
        result: Value,
    ) -> Result<Value, PassError> {
        let failed = self.failed(result);
        let name = self.old.value_name(result).map_or_else(|| result.to_string(), str::to_string);
        if domain > MAX_OPERAND_BOUND {
            let reason = format!(
                "its operand may reach {domain:.1}, a softmax under encryption takes {MAX_OPERAND_BOUND} at most; \
                 calibrate the network, or leave the softmax to the client"
            );
            return Err(PassError::Range { value: name, reason });
        }
        let classes = self.old.ty(result).shape.iter().product::<usize>();
        let Scheme { shift, largest_exponential, sum_scale, rounds, inverse_bound } = scheme;
        // Stored exponentials end at 1 where the largest is.
        let root = 1.0 / f64::from(1 << SQUARINGS);
        let mut factor = largest_exponential.powf(root);
        let shifted = (-shift * root).exp();
        let coefficients = exponential(domain).map_err(&failed)?;
        let coefficients = coefficients.coefficients().iter().map(|c| c * shifted).collect();
        let polynomial = over(coefficients, domain).map_err(&failed)?;
        let mut exponentials = self.push(Op::Poly { x, polynomial }, factor)?;
        for _ in 0..SQUARINGS {
            factor *= factor;
            exponentials = self.push(Op::Mul { x: exponentials, y: exponentials }, factor)?;
        }
        let sum = (exponentials, classes, sum_scale);
        let mut b = self.constant_minus_sum(sum, 1.0, 1.0)?;
        let mut a = self.constant_minus_sum(sum, 2.0, inverse_bound)?;
        for _ in 0..rounds {
            b = self.push(Op::Mul { x: b, y: b }, 1.0)?;
            // Not a (1 + b): as a sum, whoever refreshes b refreshes it for the product and for the
            // next square.
            let y = self.push(Op::Mul { x: a, y: b }, inverse_bound)?;
            a = self.push(Op::Add { x: a, y }, inverse_bound)?;
        }
        let weight = self.filled(&[classes, 1], sum_scale);
        let inverse = self.push(Op::Dense { x: a, weight, bias: None }, target / factor)?;
        let probabilities = self.push(Op::Mul { x: exponentials, y: inverse }, target)?;
        self.name_softmax((x, domain), exponentials, name);
        self.report.note(format!(
            "softmax is evaluated under encryption: exponentials on [-{domain:.1}, {domain:.1}], sums up to {:.3}, {rounds} rounds for \
             their inverse",
            2.0 / sum_scale * shift.exp()
        ));
        Ok(probabilities)
    }

    /// `constant` less the scaled sum of all classes, one number.
    fn constant_minus_sum(
        &mut self,
        (x, classes, sum_scale): (Value, usize, f64),
        constant: f64,
        factor: f64,
    ) -> Result<Value, PassError> {
        let weight = self.filled(&[1, classes], -sum_scale);
        let bias = Some(self.filled(&[1], constant));
        self.push(Op::Dense { x, weight, bias }, factor)
    }

    fn filled(&mut self, shape: &[usize], value: f64) -> Const {
        self.rewriter.func.add_const(Tensor::from_fn(shape, |_| value as f32))
    }

    fn name_softmax(
        &mut self,
        (x, operand_factor): (Value, f64),
        exponentials: Value,
        probabilities: String,
    ) {
        let func = &mut self.rewriter.func;
        let own = func.value_name(x).map(str::to_string);
        let names = SoftmaxNames {
            logits: own.unwrap_or_else(|| format!("{probabilities}/operand")),
            exponentials: format!("{probabilities}/exponentials"),
            probabilities,
            operand_factor,
        };
        func.set_value_name(x, Some(names.logits.clone()));
        func.set_value_name(exponentials, Some(names.exponentials.clone()));
        self.softmax = Some(names);
    }
}
