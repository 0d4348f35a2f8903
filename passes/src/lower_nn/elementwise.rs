//! Sums and products of tensors and constants, with numpy's broadcasting.

use std::ops::Range;

use fhec_ir::entity::{Const, Value};
use fhec_ir::tensor::Tensor;

use super::error::lowerable;
use super::program::{Step, TensorId};
use super::shape::image_axes;
use super::{Lowering, Operand};

impl Lowering<'_> {
    pub(super) fn add(
        &mut self,
        x: Value,
        y: Value,
        result: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        match (self.operand(x)?, self.operand(y)?) {
            (Operand::Constant(c), _) => self.add_constant(y, &c, 1.0, result, name),
            (_, Operand::Constant(c)) => self.add_constant(x, &c, 1.0, result, name),
            _ => {
                let (x, y) = self.both(x, y, result)?;
                Ok(self.program.push_same(Step::Add { x, y }, name))
            }
        }
    }

    pub(super) fn sub(
        &mut self,
        x: Value,
        y: Value,
        result: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        match (self.operand(x)?, self.operand(y)?) {
            (_, Operand::Constant(c)) => self.add_constant(x, &c, -1.0, result, name),
            (Operand::Constant(c), Operand::Tensor(_)) => {
                // (y - y) - y negates without a product, which would cost a level.
                let y = self.operand_as(y, result)?;
                let zero = self.program.push_same(Step::Sub { x: y, y }, None);
                let negated = self.program.push_same(Step::Sub { x: zero, y }, None);
                let values = self.constant_values(&c, result, |v| v)?;
                Ok(self.program.push_same(Step::AddPlain { x: negated, values }, name))
            }
            _ => {
                let (x, y) = self.both(x, y, result)?;
                Ok(self.program.push_same(Step::Sub { x, y }, name))
            }
        }
    }

    pub(super) fn mul(
        &mut self,
        x: Value,
        y: Value,
        result: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        match (self.operand(x)?, self.operand(y)?) {
            (Operand::Constant(c), _) => self.mul_constant(y, &c, result, |v| v, name),
            (_, Operand::Constant(c)) => self.mul_constant(x, &c, result, |v| v, name),
            _ => {
                let (x, y) = self.both(x, y, result)?;
                Ok(self.program.push_same(Step::Mul { x, y }, name))
            }
        }
    }

    pub(super) fn div(
        &mut self,
        x: Value,
        y: Value,
        result: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        match self.operand(y)? {
            Operand::Constant(c) if c.data().contains(&0.0) => Err("a divisor is zero".into()),
            Operand::Constant(c) => self.mul_constant(x, &c, result, |v| 1.0 / v, name),
            Operand::Tensor(_) => Err(format!(
                "the divisor is encrypted; only division by constants is supported; {}",
                lowerable()
            )),
        }
    }

    pub(super) fn batch_norm(
        &mut self,
        x: Value,
        [scale, bias, mean, variance]: [Const; 4],
        epsilon: f64,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let x = self.image(x)?;
        let consts = &self.func.consts;
        let [scale, bias, mean, variance] = [scale, bias, mean, variance].map(|id| consts[id].data());
        let factor = |c: usize| f64::from(scale[c]) / (f64::from(variance[c]) + epsilon).sqrt();
        let channels = scale.len();
        let factors = Tensor::from_fn([channels], |c| factor(c) as f32);
        let offsets =
            Tensor::from_fn([channels], |c| (f64::from(bias[c]) - f64::from(mean[c]) * factor(c)) as f32);
        let values = self.program.consts.add(factors);
        let scaled = self.program.push_same(Step::MulPlain { x, values }, None);
        let values = self.program.consts.add(offsets);
        Ok(self.program.push_same(Step::AddPlain { x: scaled, values }, name))
    }

    fn add_constant(
        &mut self,
        x: Value,
        constant: &Tensor,
        sign: f32,
        result: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let x = self.operand_as(x, result)?;
        let values = self.constant_values(constant, result, |v| sign * v)?;
        Ok(self.program.push_same(Step::AddPlain { x, values }, name))
    }

    fn mul_constant(
        &mut self,
        x: Value,
        constant: &Tensor,
        result: &[usize],
        of: impl Fn(f32) -> f32,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let x = self.operand_as(x, result)?;
        let first = constant.data().first().copied().unwrap_or(0.0);
        if constant.data().iter().all(|&v| v == first) {
            let factor = f64::from(of(first));
            return Ok(self.program.push_same(Step::MulScalar { x, factor }, name));
        }
        let values = self.constant_values(constant, result, of)?;
        Ok(self.program.push_same(Step::MulPlain { x, values }, name))
    }

    /// Both operands in the shape of the result.
    fn both(&mut self, x: Value, y: Value, result: &[usize]) -> Result<(TensorId, TensorId), String> {
        // Two tensors of the result's size need not be viewed if they agree with each other.
        let (a, b) = (self.tensor(x)?, self.tensor(y)?);
        let count: usize = result.iter().product();
        if self.shape(a) == self.shape(b) && self.shape(a).iter().product::<usize>() == count {
            self.image_shape(result)?;
            return Ok((a, b));
        }
        Ok((self.operand_as(x, result)?, self.operand_as(y, result)?))
    }

    /// The operand, repeated up to the shape of the result.
    fn operand_as(&mut self, value: Value, result: &[usize]) -> Result<TensorId, String> {
        let whole = self.image_shape(result)?;
        let own = self.func.ty(value).shape.clone();
        // Numpy aligns trailing dimensions; leading ones are 1.
        let mut aligned = vec![1; result.len().saturating_sub(own.len())];
        aligned.extend(&own);
        // The image is that of the result: which dimension is its channels does not depend on how
        // long those of the operand are.
        let axes = image_axes(result);
        let repeats = |axes: &Range<usize>| {
            let (own, result) = (&aligned[axes.clone()], &result[axes.clone()]);
            own == result || own.iter().all(|&length| length == 1)
        };
        if aligned.len() != result.len() || !axes.iter().all(repeats) {
            return Err(format!(
                "a tensor of shape {own:?} is repeated up to {result:?} along some of the dimensions that \
                 are packed as one; {}",
                lowerable()
            ));
        }
        let shape = axes.map(|axes| aligned[axes].iter().product());
        let tensor = self.tensor(value)?;
        let tensor = self.view(tensor, shape);
        self.broadcast(tensor, whole)
    }

    /// A constant spread over the result: one value per channel where that says it all.
    fn constant_values(
        &mut self,
        constant: &Tensor,
        result: &[usize],
        of: impl Fn(f32) -> f32,
    ) -> Result<Const, String> {
        let shape @ [channels, height, width] = self.image_shape(result)?;
        let mut own = vec![1; result.len().saturating_sub(constant.shape().len())];
        own.extend(constant.shape());
        let element = |mut index: usize| {
            let (mut position, mut stride) = (0, 1);
            for axis in (0..result.len()).rev() {
                if own[axis] != 1 {
                    position += index % result[axis] * stride;
                }
                stride *= own[axis];
                index /= result[axis];
            }
            constant.data()[position]
        };
        let whole: Vec<f32> = (0..channels * height * width).map(|i| of(element(i))).collect();
        let plane = height * width;
        let per_channel = whole.chunks(plane).all(|plane| plane.iter().all(|&v| v == plane[0]));
        let tensor = match per_channel {
            true => Tensor::new([channels], whole.into_iter().step_by(plane).collect::<Vec<f32>>()),
            false => Tensor::new(shape, whole),
        };
        Ok(self.program.consts.add(tensor.map_err(|e| e.to_string())?))
    }
}
