//! Functions that are not defined everywhere: logarithms, roots, quotients.

use fhec_ir::entity::Value;
use fhec_ir::nn::Op;
use fhec_ir::nn::activation::Activation;

use super::Pass;
use crate::error::PassError;
use crate::nn::calibrate::Range;

/// Where ranges reach down to 0 and a function is defined there, it is a root, which is steep
/// there: this share of the upper end is added to its operand, so that noise does not lead below 0.
/// The square root of it is the error at 0.
const AT_ZERO: f64 = 1.0 / 16384.0;

impl Pass<'_> {
    /// `function` of the new value `x`, the old value `old`: as a function of the distance from the
    /// middle of where its operands are, so that the polynomial's domain is symmetric and holds no
    /// point where the function is not defined. The margin is a factor at both ends, so it never
    /// reaches zero.
    pub(super) fn around_middle(
        &mut self,
        function: &Activation,
        x: Value,
        old: Value,
        target: f64,
        result: Value,
    ) -> Result<Option<Value>, PassError> {
        let Range { min, max } = self.ranges.range(old);
        let margin = self.ranges.margin(old);
        // What is added to operands.
        let offset = if min == 0.0 { max * margin * AT_ZERO } else { 0.0 };
        let [low, high] = if min > 0.0 {
            [min / margin, max * margin]
        } else if min == 0.0 {
            [offset / 2.0, max * margin + offset]
        } else {
            [min * margin, max / margin]
        };
        let Some(around) = function.around([low, high]) else { return Ok(None) };
        let defined = min >= 0.0 || max < 0.0;
        if !defined || [min, max].iter().any(|&x| !function.value(x).is_finite()) {
            return Err(self.undefined(function, [min, max], result));
        }
        let half = (high - low) / 2.0;
        if half == 0.0 {
            // One value everywhere; written as a product so that it stays a tensor of this shape.
            let (zero, level) = (self.scalar(0.0)?, self.scalar(function.value(min))?);
            let nothing = self.push(Op::Mul { x, y: zero }, target)?;
            return self.push(Op::Add { x: nothing, y: level }, target).map(Some);
        }
        let middle = self.scalar((low + high) / 2.0 - offset)?;
        let distance = self.push(Op::Sub { x, y: middle }, half)?;
        self.smooth(distance, half, target, &around, result).map(Some)
    }

    /// That samples reach where `function` has no value, which no polynomial makes good.
    fn undefined(&self, function: &Activation, [min, max]: [f64; 2], result: Value) -> PassError {
        let name = self.old.value_name(result).map_or(result.to_string(), str::to_string);
        let (operator, reaches) = match function.function().name {
            "log" => ("Log".to_string(), "the logarithm is defined above 0 alone"),
            _ => match function.parameters().first() {
                Some(&exponent) if exponent < 0.0 => {
                    (format!("Reciprocal or power {exponent}"), "a quotient by 0 is not defined")
                }
                Some(&exponent) => (format!("Sqrt or power {exponent}"), "roots are defined from 0 on"),
                None => (function.function().onnx.to_string(), "it is not defined everywhere"),
            },
        };
        PassError::Undefined { value: name, operator, min, max, reaches }
    }
}
