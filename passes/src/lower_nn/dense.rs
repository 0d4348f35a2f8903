//! Dense layers, matrices along dimensions, and other orders of dimensions.

use fhec_ir::entity::{Const, Value};
use fhec_ir::linear_map::LinearKind;
use fhec_ir::tensor::Tensor;

use super::error::lowerable;
use super::program::{Step, TensorId};
use super::shape::image_axis;
use super::{Lowering, Operand};

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
        let rows = self.func.ty(x).shape[0];
        let x = self.tensor(x)?;
        let weight = self.func.consts[weight].clone();
        if rows == 1 {
            let result = self.matrix(x, weight, if bias.is_none() { name } else { None });
            return self.add_bias(result, bias, name);
        }
        let result = self.rows(x, weight, if bias.is_none() { name } else { None });
        let Some(bias) = bias else { return Ok(result) };
        // The same for every row.
        let (shape, bias) = (self.shape(result), self.func.consts[bias].clone());
        let whole = Tensor::from_fn(shape, |i| bias.data()[i % bias.data().len()]);
        let values = self.program.consts.add(whole);
        Ok(self.program.push_same(Step::AddPlain { x: result, values }, name))
    }

    /// `weight [M, K]` times each row of K elements of `x`.
    fn rows(&mut self, x: TensorId, weight: Tensor, name: Option<&str>) -> TensorId {
        let inner = weight.shape()[1];
        let count: usize = self.shape(x).iter().product();
        let x = self.view(x, [count / inner, 1, inner]);
        let weight = self.program.consts.add(weight);
        self.matrices_along(x, vec![2], vec![weight], name)
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
                self.image_shape(result)?;
                let transposed = Tensor::from_fn([m, k], |i| matrix.data()[i % k * m + i / k]);
                match self.shape(x).iter().product::<usize>() == k {
                    true => Ok(self.matrix(x, transposed, name)),
                    false => Ok(self.rows(x, transposed, name)),
                }
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
        let shape = self.image_shape(&result)?;
        let kind = LinearKind::Transpose { shape: from, permutation: permutation.to_vec() };
        Ok(self.program.push(Step::Linear { x: operand, kind }, shape, name))
    }

    /// A matrix along each of `axes`: at once where they are dimensions of an image, one after the
    /// other on views of three dimensions elsewhere.
    pub(super) fn axis_matrices(
        &mut self,
        x: Value,
        axes: &[usize],
        weights: &[Const],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let mut shape = self.func.ty(x).shape.clone();
        let operand = self.tensor(x)?;
        let weights: Vec<Const> =
            weights.iter().map(|id| self.program.consts.add(self.func.consts[*id].clone())).collect();
        let places: Result<Vec<usize>, String> =
            axes.iter().map(|&axis| image_axis(shape.len(), axis)).collect();
        if let (Ok(axes), Ok(image)) = (places, self.one_image(&shape)) {
            let x = self.view(operand, image);
            return Ok(self.matrices_along(x, axes, weights, name));
        }
        let mut result = operand;
        for (&axis, weight) in axes.iter().zip(weights) {
            let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
            let x = self.view(result, [outer, shape[axis], inner]);
            result = self.matrices_along(x, vec![1], vec![weight], None);
            shape[axis] = self.shape(result)[1];
        }
        self.program.tensors[result].name = name.map(str::to_string);
        Ok(result)
    }

    fn matrices_along(
        &mut self,
        x: TensorId,
        axes: Vec<usize>,
        weights: Vec<Const>,
        name: Option<&str>,
    ) -> TensorId {
        let mut shape = self.shape(x);
        for (&axis, weight) in axes.iter().zip(&weights) {
            shape[axis] = self.program.consts[*weight].shape()[0];
        }
        let kind = LinearKind::AxisMatrices { axes, weights };
        self.program.push(Step::Linear { x, kind }, shape, name)
    }
}
