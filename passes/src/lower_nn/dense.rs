//! Dense layers, and permutations as dense layers of zeros and ones.

use fhec_ir::entity::{Const, Value};
use fhec_ir::linear_map::LinearKind;
use fhec_ir::tensor::Tensor;

use super::error::lowerable;
use super::program::{Step, TensorId};
use super::{Lowering, Operand};

/// Largest tensor that a permutation matrix is written out for (64 MB of weights).
const MAX_PERMUTED: usize = 4096;

impl Lowering<'_> {
    pub(super) fn dense(
        &mut self,
        x: Value,
        weight: Const,
        bias: Option<Const>,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        // The elements in row-major order are what a dense layer reads, whatever shape they are
        // laid out in.
        let x = self.tensor(x)?;
        let weight = self.func.consts[weight].clone();
        let result = self.matrix(x, weight, if bias.is_none() { name } else { None });
        self.add_bias(result, bias, name)
    }

    /// `weight [M, K]` times the elements of `x`.
    fn matrix(&mut self, x: TensorId, weight: Tensor, name: Option<&str>) -> TensorId {
        let rows = weight.shape()[0];
        let weight = self.program.consts.add(weight);
        let step = Step::Linear { x, kind: LinearKind::Dense { weight } };
        self.program.push(step, [rows, 1, 1], name)
    }

    pub(super) fn matmul(
        &mut self,
        x: Value,
        y: Value,
        result: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let (left, right) = (self.operand(x)?, self.operand(y)?);
        match (left, right) {
            (Operand::Tensor(x), Operand::Constant(matrix)) => {
                let [k, m] = *matrix.shape() else {
                    return Err(format!("the constant has shape {:?}, expected a matrix", matrix.shape()));
                };
                if self.shape(x).iter().product::<usize>() != k {
                    return Err("only one row of variables can be multiplied by a matrix".into());
                }
                self.image_shape(result)?;
                let transposed = Tensor::from_fn([m, k], |i| matrix.data()[i % k * m + i / k]);
                Ok(self.matrix(x, transposed, name))
            }
            _ => Err(format!(
                "a product of two encrypted matrices is not supported; the right side must be a constant; {}",
                lowerable()
            )),
        }
    }

    pub(super) fn transpose(
        &mut self,
        x: Value,
        permutation: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let from = self.func.ty(x).shape.clone();
        let operand = self.tensor(x)?;
        let result: Vec<usize> = permutation.iter().map(|&axis| from[axis]).collect();
        // Moving dimensions of length 1 about leaves the order of the elements alone.
        let moved: Vec<usize> = permutation.iter().copied().filter(|&axis| from[axis] != 1).collect();
        if moved.is_sorted() {
            return Ok(operand);
        }
        let count: usize = from.iter().product();
        if count > MAX_PERMUTED {
            return Err(format!(
                "transposing {from:?} by {permutation:?} would take a matrix of {count} rows; \
                 export the network with channels first, so that nothing is transposed"
            ));
        }
        let mut strides = vec![1; from.len()];
        for axis in (0..from.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * from[axis + 1];
        }
        let source = |mut index: usize| {
            let mut position = 0;
            for axis in (0..result.len()).rev() {
                position += index % result[axis] * strides[permutation[axis]];
                index /= result[axis];
            }
            position
        };
        let mut data = vec![0.0; count * count];
        (0..count).for_each(|row| data[row * count + source(row)] = 1.0);
        let matrix = Tensor::new([count, count], data).map_err(|e| e.to_string())?;
        Ok(self.matrix(operand, matrix, name))
    }
}
