//! Constant tensors and the pool that owns them.

use std::collections::BTreeMap;
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

/// Whether a tensor of `shape` is a list of classes: all elements along one dimension, and more
/// than one.
pub fn is_class_list(shape: &[usize]) -> bool {
    !shape.contains(&0) && shape.iter().filter(|&&length| length > 1).count() == 1
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

/// A hash of shape and exact bits: equal tensors have equal ones, different ones hardly ever.
fn hash(tensor: &Tensor) -> u64 {
    // Multiplication by an odd number mixes upwards, the rotation brings high bits down again.
    let mix = |hash: u64, word: u64| (hash.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let shape = tensor.shape.iter().fold(0, |hash, &dimension| mix(hash, dimension as u64));
    tensor.data.iter().fold(mix(shape, u64::MAX), |hash, value| mix(hash, u64::from(value.to_bits())))
}

/// Whether shapes and bits are equal, so that -0.0 and 0.0 stay apart and NaN equals itself.
fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    let bits = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
    a.shape == b.shape && (Arc::ptr_eq(&a.data, &b.data) || a.data.iter().zip(b.data.iter()).all(bits))
}

/// Product of the dimensions, `None` on overflow.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &dimension| count.checked_mul(dimension))
}

/// The constant tensors of a function, in order of creation.
#[derive(Clone, Debug, Default)]
pub struct ConstPool {
    tensors: Vec<Tensor>,
    /// Places of the tensors by their hash, in order.
    by_hash: BTreeMap<u64, Vec<usize>>,
}

impl PartialEq for ConstPool {
    fn eq(&self, other: &Self) -> bool {
        self.tensors == other.tensors
    }
}

impl ConstPool {
    /// Adds `tensor`, or returns the id of one with the same shape and bits.
    pub fn add(&mut self, tensor: Tensor) -> Const {
        let alike = self.by_hash.entry(hash(&tensor)).or_default();
        if let Some(&index) = alike.iter().find(|&&index| same_bits(&self.tensors[index], &tensor)) {
            return Const::new(index);
        }
        let index = self.tensors.len();
        alike.push(index);
        self.tensors.push(tensor);
        Const::new(index)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tensors_are_kept_once() {
        let mut pool = ConstPool::default();
        let tensor = |shape: &[usize], value: f32| Tensor::from_fn(shape, |_| value);
        let different = [
            tensor(&[2, 3], 1.0),
            tensor(&[3, 2], 1.0),
            tensor(&[6], 1.0),
            tensor(&[6], 0.0),
            tensor(&[6], -0.0),
            tensor(&[6], f32::NAN),
            tensor(&[0], 0.0),
            tensor(&[0, 0], 0.0),
        ];
        for _ in 0..2 {
            for (index, tensor) in different.iter().enumerate() {
                // Another copy of the data.
                let copy = Tensor::from_fn(tensor.shape(), |i| tensor.data()[i]);
                assert_eq!(pool.add(copy), Const::new(index));
                assert_eq!(pool.add(tensor.clone()), Const::new(index));
            }
        }
        assert_eq!(pool.len(), different.len());
    }

    #[test]
    fn tensors_of_one_hash_stay_apart() {
        let mut pool = ConstPool::default();
        let (a, b) = (Tensor::scalar(1.0), Tensor::scalar(2.0));
        pool.add(a.clone());
        // As if both had the hash of the second.
        pool.by_hash = BTreeMap::from([(hash(&b), vec![0])]);
        assert_eq!(pool.add(b.clone()), Const::new(1));
        assert_eq!((&pool[Const::new(0)], &pool[Const::new(1)]), (&a, &b));
    }
}
