//! The values of a network that are alive between two of its ops, on one image.

use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    interp,
    nn::Nn,
    polynomial::Polynomial,
    tensor::Tensor,
};

/// Values by index. A clone shares their numbers.
#[derive(Clone, Debug)]
pub(super) struct LiveValues(Vec<Option<Tensor>>);

impl LiveValues {
    /// The inputs of `func`.
    pub fn new(func: &Func<Nn>, image: &[Tensor]) -> Self {
        let mut values = vec![None; func.value_count()];
        for (tensor, &input) in image.iter().zip(func.inputs()) {
            values[input.index()] = Some(tensor.clone());
        }
        LiveValues(values)
    }

    /// One of them; another is a fault of the caller.
    pub fn of(&self, value: Value) -> &Tensor {
        self.0[value.index()].as_ref().expect("operands precede their uses and are kept until then")
    }

    /// Puts a tensor in the place of one of them.
    pub fn set(&mut self, value: Value, tensor: Tensor) {
        self.0[value.index()] = Some(tensor);
    }

    /// Does op `index`, or a polynomial of its first operand in its place, and forgets the values
    /// in `ended`. `scratch` is reused from call to call.
    pub fn step(
        &mut self,
        func: &Func<Nn>,
        index: usize,
        polynomial: Option<&Polynomial>,
        ended: &[Value],
        scratch: &mut Vec<f32>,
    ) {
        let data = &func.ops()[index];
        let operands: Vec<&Tensor> = data.op.operands().iter().map(|value| self.of(*value)).collect();
        let result = match polynomial {
            Some(polynomial) => interp::nn::eval_polynomial(operands[0], polynomial),
            None => interp::nn::eval_op(func, data, &operands, scratch),
        };
        self.set(data.result, result);
        ended.iter().for_each(|value| self.0[value.index()] = None);
    }
}
