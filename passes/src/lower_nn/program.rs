//! What a network computes, before anything is said about slots: tensors `[C, H, W]` and the few
//! kinds of steps that the packed stage has ops for.

use fhec_ir::entity::Const;
use fhec_ir::linear_map::LinearKind;
use fhec_ir::permutation::Permutation;
use fhec_ir::polynomial::Polynomial;
use fhec_ir::tensor::ConstPool;

/// Index of a tensor.
pub type TensorId = usize;

/// A tensor of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
    /// Name of the network's value it stands for, if any.
    pub name: Option<String>,
}

/// What computes a tensor. Operands of one step have equal shapes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // operands and attributes are named as in the formulas
pub enum Step {
    /// A linear map.
    Linear { x: TensorId, kind: LinearKind },
    /// A polynomial over `[-1, 1]` of every element.
    Polynomial { x: TensorId, polynomial: Polynomial },
    /// `x + y`.
    Add { x: TensorId, y: TensorId },
    /// `x - y`.
    Sub { x: TensorId, y: TensorId },
    /// `x * y`, element by element.
    Mul { x: TensorId, y: TensorId },
    /// `x + values`, `[C]` or `[C, H, W]`.
    AddPlain { x: TensorId, values: Const },
    /// `x * values`, `[C]` or `[C, H, W]`.
    MulPlain { x: TensorId, values: Const },
    /// `factor * x`.
    MulScalar { x: TensorId, factor: f64 },
    /// The same elements, row-major, under another shape.
    View { x: TensorId },
}

impl Step {
    /// Operands.
    pub fn operands(&self) -> Vec<TensorId> {
        match *self {
            Step::Linear { x, .. }
            | Step::Polynomial { x, .. }
            | Step::AddPlain { x, .. }
            | Step::MulPlain { x, .. }
            | Step::MulScalar { x, .. }
            | Step::View { x } => vec![x],
            Step::Add { x, y } | Step::Sub { x, y } | Step::Mul { x, y } => vec![x, y],
        }
    }
}

/// A network in steps.
#[derive(Clone, Debug, Default)]
pub struct TensorProgram {
    /// Constants that steps name.
    pub consts: ConstPool,
    /// All tensors.
    pub tensors: Vec<TensorInfo>,
    /// Steps in order, each with its result.
    pub steps: Vec<(Step, TensorId)>,
    /// Inputs in order.
    pub inputs: Vec<TensorId>,
    /// Outputs in order.
    pub outputs: Vec<TensorId>,
    /// By input: the order in which the tensor has the elements of the network's input.
    pub input_orders: Vec<Permutation>,
    /// Likewise by output.
    pub output_orders: Vec<Permutation>,
}

impl TensorProgram {
    /// A new tensor.
    pub fn tensor(&mut self, shape: [usize; 3], name: Option<&str>) -> TensorId {
        self.tensors.push(TensorInfo { shape, name: name.map(str::to_string) });
        self.tensors.len() - 1
    }

    /// Appends a step whose result has `shape`.
    pub fn push(&mut self, step: Step, shape: [usize; 3], name: Option<&str>) -> TensorId {
        let result = self.tensor(shape, name);
        self.steps.push((step, result));
        result
    }

    /// Appends a step whose result has the shape of its first operand.
    pub fn push_same(&mut self, step: Step, name: Option<&str>) -> TensorId {
        let shape = self.tensors[step.operands()[0]].shape;
        self.push(step, shape, name)
    }
}
