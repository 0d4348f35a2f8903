//! Functions that are not defined everywhere: logarithms, roots, quotients.

use fhec_ir::entity::Value;
use fhec_ir::nn::Op;
use fhec_ir::nn::activation::Activation;

use super::Pass;
use crate::error::PassError;
use crate::nn::calibrate::Range;

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
        let [low, high] = if min > 0.0 { [min / margin, max * margin] } else { [min * margin, max / margin] };
        let Some(around) = function.around([low, high]) else { return Ok(None) };
        let defined = (min > 0.0 || max < 0.0) && [min, max].iter().all(|&x| function.value(x).is_finite());
        if !defined {
            let name = self.old.value_name(result).map_or(result.to_string(), str::to_string);
            let reason = format!(
                "it is `{}` of values in [{min:e}, {max:e}], which reach where it is not defined; calibrate with \
                 images that keep them away from zero, or add a positive constant before it",
                function.function().name
            );
            return Err(PassError::Range { value: name, reason });
        }
        let half = (high - low) / 2.0;
        if half == 0.0 {
            // One value everywhere; written as a product so that it stays a tensor of this shape.
            let (zero, level) = (self.scalar(0.0)?, self.scalar(function.value(min))?);
            let nothing = self.push(Op::Mul { x, y: zero }, target)?;
            return self.push(Op::Add { x: nothing, y: level }, target).map(Some);
        }
        let middle = self.scalar((low + high) / 2.0)?;
        let distance = self.push(Op::Sub { x, y: middle }, half)?;
        self.smooth(distance, half, target, &around, result).map(Some)
    }
}
