//! Permutations of the elements of a tensor: a shape, and an order of its dimensions.
//!
//! The elements are row-major. Seen under [`Permutation::shape`], which need not be the shape that
//! the tensor has elsewhere, dimension `i` of the permuted tensor is dimension `axes[i]`. So one
//! form says what a transpose does, and what a transpose between two reshapes does (a channel
//! shuffle, a pixel shuffle).

use thiserror::Error;

use crate::record_attr;
use crate::tensor::element_count;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permutation {
    /// Dimensions before, outermost first.
    pub shape: Vec<usize>,
    /// Which of them each dimension of the result is.
    pub axes: Vec<usize>,
}

record_attr!(Permutation { shape, axes });

/// Numbers that describe no permutation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PermutationError {
    /// The axes are not those of the shape, each once.
    #[error("{axes:?} is no order of the {rank} dimensions of {shape:?}", rank = shape.len())]
    Axes {
        /// The shape.
        shape: Vec<usize>,
        /// The axes.
        axes: Vec<usize>,
    },
    /// The shape is one of other tensors.
    #[error("a permutation of shape {shape:?} is not one of {elements} elements")]
    Elements {
        /// The shape.
        shape: Vec<usize>,
        /// Elements of the tensor.
        elements: usize,
    },
}

impl Permutation {
    /// The one that leaves a tensor of `shape` as it is.
    pub fn identity(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        Permutation { axes: (0..shape.len()).collect(), shape }
    }

    /// Errs unless this is a permutation of `elements` elements. All other functions rely on it.
    pub fn check(&self, elements: usize) -> Result<(), PermutationError> {
        let Permutation { shape, axes } = self;
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..shape.len()) {
            return Err(PermutationError::Axes { shape: shape.clone(), axes: axes.clone() });
        }
        if element_count(shape) != Some(elements) {
            return Err(PermutationError::Elements { shape: shape.clone(), elements });
        }
        Ok(())
    }

    /// The dimensions afterwards.
    pub fn permuted_shape(&self) -> Vec<usize> {
        self.axes.iter().map(|&axis| self.shape[axis]).collect()
    }

    /// The one that undoes it.
    pub fn inverse(&self) -> Self {
        let mut axes = vec![0; self.axes.len()];
        self.axes.iter().enumerate().for_each(|(to, &from)| axes[from] = to);
        Permutation { shape: self.permuted_shape(), axes }
    }

    /// The same permutation in the fewest dimensions: none of length 1, and no two that stay
    /// together. Permutations are equal as functions where their normal forms are.
    pub fn normal(&self) -> Self {
        // Runs of dimensions that stay neighbours in order, in the order of the result.
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        let long = |axis: &usize| self.shape[*axis] != 1;
        // What dimension follows another one, those of length 1 not counted.
        let kept: Vec<usize> = (0..self.shape.len()).filter(long).collect();
        let rank_of = |axis: usize| kept.binary_search(&axis).unwrap_or(0);
        for &axis in self.axes.iter().filter(|axis| long(axis)) {
            let rank = rank_of(axis);
            match runs.last_mut() {
                Some((_, last, size)) if *last + 1 == rank => {
                    (*last, *size) = (rank, *size * self.shape[axis])
                }
                _ => runs.push((rank, rank, self.shape[axis])),
            }
        }
        let mut order: Vec<usize> = (0..runs.len()).collect();
        order.sort_unstable_by_key(|&run| runs[run].0);
        let mut axes = vec![0; runs.len()];
        order.iter().enumerate().for_each(|(axis, &run)| axes[run] = axis);
        Permutation { shape: order.iter().map(|&run| runs[run].2).collect(), axes }
    }

    /// Whether all elements stay where they are.
    pub fn is_identity(&self) -> bool {
        self.axes.iter().filter(|&&axis| self.shape[axis] != 1).is_sorted()
    }

    /// For each element of the result where it was, both row-major.
    pub fn sources(&self) -> impl Iterator<Item = usize> + use<> {
        let mut strides = vec![1; self.shape.len()];
        for axis in (0..self.shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * self.shape[axis + 1];
        }
        let strides: Vec<usize> = self.axes.iter().map(|&axis| strides[axis]).collect();
        let shape = self.permuted_shape();
        let count: usize = shape.iter().product();
        let (mut index, mut source) = (vec![0; shape.len()], 0);
        (0..count).map(move |_| {
            let current = source;
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                source += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                source -= strides[axis] * shape[axis];
                index[axis] = 0;
            }
            current
        })
    }

    /// The elements in the new order.
    ///
    /// # Panics
    /// If there are fewer than the shape says.
    pub fn apply<T: Copy>(&self, elements: &[T]) -> Vec<T> {
        self.sources().map(|source| elements[source]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permutation(shape: &[usize], axes: &[usize]) -> Permutation {
        Permutation { shape: shape.to_vec(), axes: axes.to_vec() }
    }

    #[test]
    fn elements_go_where_numpy_puts_them() {
        let permutation = permutation(&[2, 3, 4], &[2, 0, 1]);
        let found: Vec<usize> = permutation.sources().collect();
        let mut expected = Vec::new();
        for i in 0..4 {
            for j in 0..2 {
                for k in 0..3 {
                    expected.push((j * 3 + k) * 4 + i);
                }
            }
        }
        assert_eq!(found, expected);
        assert_eq!(permutation.permuted_shape(), [4, 2, 3]);
        let elements: Vec<u32> = (0..24).collect();
        assert_eq!(permutation.inverse().apply(&permutation.apply(&elements)), elements);
        assert_eq!(Permutation::identity([]).apply(&[7]), [7]);
    }

    #[test]
    fn normal_forms_tell_permutations_apart() {
        let normal = |shape: &[usize], axes: &[usize]| {
            let permutation = permutation(shape, axes);
            let normal = permutation.normal();
            assert!(normal.sources().eq(permutation.sources()));
            assert_eq!(normal.normal(), normal);
            assert_eq!(permutation.is_identity(), normal.axes.len() <= 1);
            normal
        };
        let channels_last = permutation(&[3, 20], &[1, 0]);
        assert_eq!(normal(&[1, 3, 4, 5], &[0, 2, 3, 1]), channels_last);
        assert_eq!(normal(&[3, 1, 20], &[1, 2, 0]), channels_last);
        assert_eq!(normal(&[1, 6, 1], &[2, 1, 0]), permutation(&[6], &[0]));
        assert_eq!(normal(&[1, 1], &[1, 0]), permutation(&[], &[]));
        assert_eq!(normal(&[2, 3, 4], &[2, 1, 0]), permutation(&[2, 3, 4], &[2, 1, 0]));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        assert_eq!(permutation(&[2, 3], &[1, 0]).check(6), Ok(()));
        for (shape, axes) in
            [(&[2, 3][..], &[1][..]), (&[2, 3], &[1, 1]), (&[2, 3], &[2, 0]), (&[2], &[0, 1]), (&[], &[0])]
        {
            assert!(matches!(permutation(shape, axes).check(6), Err(PermutationError::Axes { .. })));
        }
        for shape in [&[2, 2][..], &[usize::MAX, 6], &[0, 6]] {
            assert!(matches!(permutation(shape, &[1, 0]).check(6), Err(PermutationError::Elements { .. })));
        }
    }
}
