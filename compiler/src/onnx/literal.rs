//! Constants during import: weights (floats) and shape arithmetic (integers).

use std::rc::Rc;
use std::sync::Arc;

use fhec_ir::entity::Value;
use fhec_ir::nn::infer;
use fhec_ir::tensor::{Tensor, element_count};

/// What a name of the graph stands for.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A value that depends on the input.
    Variable(Value),
    /// A value known now.
    Constant(Rc<Literal>),
}

/// A constant tensor with the name it has in the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Literal {
    pub name: String,
    pub shape: Vec<usize>,
    pub elements: Elements,
}

/// Row-major data. Every floating-point type becomes `f32`, every integer type and bool `i64`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elements {
    Float(Arc<[f32]>),
    Int(Vec<i64>),
}

/// Results of shape arithmetic with more elements than this are refused.
const MAX_INTEGERS: usize = 1 << 20;

impl Literal {
    pub fn float(tensor: &Tensor) -> Self {
        let elements = Elements::Float(tensor.data().into());
        Literal { name: String::new(), shape: tensor.shape().to_vec(), elements }
    }

    /// A vector of integers.
    pub fn ints(values: Vec<i64>) -> Self {
        Literal { name: String::new(), shape: vec![values.len()], elements: Elements::Int(values) }
    }

    pub fn len(&self) -> usize {
        match &self.elements {
            Elements::Float(data) => data.len(),
            Elements::Int(data) => data.len(),
        }
    }

    /// The integers, if it holds integers.
    pub fn as_ints(&self) -> Option<&[i64]> {
        match &self.elements {
            Elements::Int(values) => Some(values),
            Elements::Float(_) => None,
        }
    }

    /// As a float tensor, if it holds floats.
    pub fn as_tensor(&self) -> Option<Tensor> {
        match &self.elements {
            Elements::Float(data) => {
                Some(Tensor::new(self.shape.clone(), data.clone()).expect("a literal holds its shape"))
            }
            Elements::Int(_) => None,
        }
    }

    /// The same numbers as floats.
    pub fn to_floats(&self) -> Literal {
        let elements = match &self.elements {
            Elements::Float(data) => Elements::Float(data.clone()),
            Elements::Int(data) => Elements::Float(data.iter().map(|&v| v as f32).collect()),
        };
        Literal { name: self.name.clone(), shape: self.shape.clone(), elements }
    }

    /// Position and value of the first element that is not finite.
    pub fn first_not_finite(&self) -> Option<(usize, f32)> {
        let Elements::Float(data) = &self.elements else { return None };
        data.iter().copied().enumerate().find(|(_, value)| !value.is_finite())
    }

    /// The elements at the flat `indices`, as a tensor of `shape`.
    ///
    /// # Panics
    /// If an index is out of range or `shape` does not have as many elements.
    pub fn select(&self, shape: Vec<usize>, indices: impl Iterator<Item = usize>) -> Literal {
        let elements = match &self.elements {
            Elements::Float(data) => Elements::Float(indices.map(|i| data[i]).collect()),
            Elements::Int(data) => Elements::Int(indices.map(|i| data[i]).collect()),
        };
        let literal = Literal { name: String::new(), shape, elements };
        assert_eq!(element_count(&literal.shape), Some(literal.len()));
        literal
    }

    /// The same elements under another shape, `None` if their number differs.
    pub fn reshaped(&self, shape: Vec<usize>) -> Option<Literal> {
        (element_count(&shape) == Some(self.len())).then(|| Literal {
            name: String::new(),
            shape,
            elements: self.elements.clone(),
        })
    }

    /// Dimension `i` of the result is dimension `permutation[i]`.
    ///
    /// # Panics
    /// If `permutation` is none of the dimensions.
    pub fn transposed(&self, permutation: &[usize]) -> Literal {
        let shape: Vec<usize> = permutation.iter().map(|&from| self.shape[from]).collect();
        let stride = |axis: usize| self.shape[axis + 1..].iter().product::<usize>();
        let strides: Vec<usize> = permutation.iter().map(|&from| stride(from)).collect();
        self.select(shape.clone(), strided(shape, strides))
    }

    /// `f` of two integer tensors with numpy broadcasting; `None` of `f` is an overflow or a
    /// division by zero.
    pub fn combine(&self, other: &Literal, f: fn(i64, i64) -> Option<i64>) -> Result<Literal, String> {
        let (Some(a), Some(b)) = (self.as_ints(), other.as_ints()) else {
            return Err("integers and floats are mixed".into());
        };
        let shape = infer::broadcast(&self.shape, &other.shape)?;
        integer_count(&shape)?;
        let indices = broadcast_indices(&self.shape, &shape).zip(broadcast_indices(&other.shape, &shape));
        let values: Option<Vec<i64>> = indices.map(|(i, j)| f(a[i], b[j])).collect();
        let elements = Elements::Int(values.ok_or("integer overflow or division by zero")?);
        Ok(Literal { name: String::new(), shape, elements })
    }
}

/// Number of elements of a result of shape arithmetic.
pub(super) fn integer_count(shape: &[usize]) -> Result<usize, String> {
    let count = element_count(shape).filter(|&count| count <= MAX_INTEGERS);
    count.ok_or_else(|| format!("shape arithmetic on a tensor of shape {shape:?} is too large"))
}

/// For every index of `target` in row-major order the flat index of the element of `shape` that
/// broadcasts to it.
pub(super) fn broadcast_indices(shape: &[usize], target: &[usize]) -> impl Iterator<Item = usize> {
    let mut strides = vec![0; target.len()];
    let mut stride = 1;
    for (to, &length) in strides.iter_mut().rev().zip(shape.iter().rev()) {
        *to = if length == 1 { 0 } else { stride };
        stride *= length;
    }
    strided(target.to_vec(), strides)
}

/// `sum_i index_i strides_i` for all indices of `shape` in row-major order.
fn strided(shape: Vec<usize>, strides: Vec<usize>) -> impl Iterator<Item = usize> {
    (0..shape.iter().product()).map(move |mut flat| {
        let mut at = 0;
        for (&length, &stride) in shape.iter().zip(&strides).rev() {
            at += flat % length * stride;
            flat /= length;
        }
        at
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(shape: &[usize], values: &[i64]) -> Literal {
        Literal { name: String::new(), shape: shape.to_vec(), elements: Elements::Int(values.to_vec()) }
    }

    #[test]
    fn integers_combine_with_broadcasting() {
        let sum = ints(&[2, 1], &[10, 20]).combine(&ints(&[3], &[1, 2, 3]), i64::checked_add).unwrap();
        assert_eq!(sum, ints(&[2, 3], &[11, 12, 13, 21, 22, 23]));
        assert!(ints(&[], &[1]).combine(&ints(&[], &[0]), i64::checked_div).is_err());
        assert!(ints(&[], &[i64::MAX]).combine(&ints(&[], &[1]), i64::checked_add).is_err());
        assert!(ints(&[2], &[1, 2]).combine(&ints(&[3], &[1, 2, 3]), i64::checked_add).is_err());
    }

    #[test]
    fn transposition_moves_dimensions() {
        let x = ints(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(x.transposed(&[2, 0, 1]), ints(&[3, 2, 1], &[1, 4, 2, 5, 3, 6]));
        assert_eq!(ints(&[2, 0], &[]).transposed(&[1, 0]), ints(&[0, 2], &[]));
    }

    #[test]
    fn integer_results_are_bounded() {
        let (a, b) = (ints(&[2000, 1], &[0; 2000]), ints(&[2000], &[0; 2000]));
        assert!(a.combine(&b, i64::checked_add).unwrap_err().contains("too large"));
    }
}
