//! Constant tensors and the pool that owns them.

use std::sync::Arc;

use thiserror::Error;

use crate::entity::Const;

/// A shape and data that do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a tensor of shape {shape:?} does not hold {found} elements")]
pub struct ShapeMismatch {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Number of elements given.
    pub found: usize,
}

/// A dense row-major `f32` tensor; cloning shares the data.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Arc<[f32]>,
}

impl Tensor {
    /// A tensor of `shape` (outermost first; empty for a scalar) over row-major `data`.
    pub fn new(shape: impl Into<Vec<usize>>, data: impl Into<Arc<[f32]>>) -> Result<Self, ShapeMismatch> {
        let (shape, data) = (shape.into(), data.into());
        match element_count(&shape) {
            Some(count) if count == data.len() => Ok(Tensor { shape, data }),
            _ => Err(ShapeMismatch { shape, found: data.len() }),
        }
    }

    /// A scalar: shape `[]`.
    pub fn scalar(value: f32) -> Self {
        Tensor { shape: Vec::new(), data: Arc::new([value]) }
    }

    /// A tensor of `shape` whose element at flat index `i` is `f(i)`.
    ///
    /// # Panics
    /// If the element count overflows.
    pub fn from_fn(shape: impl Into<Vec<usize>>, f: impl FnMut(usize) -> f32) -> Self {
        let shape = shape.into();
        let count = element_count(&shape).expect("element count overflows");
        Tensor { shape, data: (0..count).map(f).collect() }
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Row-major elements.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The same data under another shape of the same size.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Self, ShapeMismatch> {
        let shape = shape.into();
        match element_count(&shape) {
            Some(count) if count == self.data.len() => Ok(Tensor { shape, data: self.data.clone() }),
            _ => Err(ShapeMismatch { shape, found: self.data.len() }),
        }
    }

    /// Digest of shape and exact bits, the name of a large tensor in printed programs.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.shape.len() as u64).to_le_bytes());
        for &dimension in &self.shape {
            hasher.update(&(dimension as u64).to_le_bytes());
        }
        for value in self.data.iter() {
            hasher.update(&value.to_bits().to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

/// Product of the dimensions, `None` on overflow.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &dimension| count.checked_mul(dimension))
}

/// The constant tensors of a function, in order of creation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConstPool {
    tensors: Vec<Tensor>,
}

impl ConstPool {
    /// Adds `tensor`, or returns the id of an equal one.
    pub fn add(&mut self, tensor: Tensor) -> Const {
        // Bit equality, so that -0.0 and 0.0 stay apart and NaN equals itself.
        let same = |other: &Tensor| {
            other.shape == tensor.shape
                && (Arc::ptr_eq(&other.data, &tensor.data)
                    || other.data.iter().map(|v| v.to_bits()).eq(tensor.data.iter().map(|v| v.to_bits())))
        };
        match self.tensors.iter().position(same) {
            Some(index) => Const::new(index),
            None => {
                self.tensors.push(tensor);
                Const::new(self.tensors.len() - 1)
            }
        }
    }

    /// The tensor of `id`, if there is one.
    pub fn get(&self, id: Const) -> Option<&Tensor> {
        self.tensors.get(id.index())
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether the pool is empty.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// All tensors with their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Const, &Tensor)> {
        self.tensors.iter().enumerate().map(|(index, tensor)| (Const::new(index), tensor))
    }
}

impl std::ops::Index<Const> for ConstPool {
    type Output = Tensor;

    /// # Panics
    /// If `id` is not of this pool; the verifier has checked every id of a verified function.
    fn index(&self, id: Const) -> &Tensor {
        &self.tensors[id.index()]
    }
}
