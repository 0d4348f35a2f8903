//! The order in which the elements of a value are stored, and what it is along its dimensions.
//!
//! An order is a [`Permutation`] of the row-major elements. It has no shape of its own, so that a
//! reshape keeps it. Ops that know dimensions see it as [`Parts`] of the dimensions of a shape.

use fhec_ir::permutation::Permutation;

/// A part of a dimension. A dimension of length 1 has a part, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    /// Dimension.
    dim: usize,
    /// Which of the parts of the dimension, outermost first.
    index: usize,
    /// Its length.
    size: usize,
}

/// An order as parts of the dimensions of a shape, outermost first as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    parts: Vec<Part>,
    rank: usize,
}

impl Parts {
    /// The parts of the dimensions of `shape` that `order` moves; `None` if it moves what is no
    /// part of a dimension.
    pub fn of(order: &Permutation, shape: &[usize]) -> Option<Self> {
        let rank = shape.len();
        if let Some(parts) = factors_by_dim(&order.shape, shape) {
            let parts = order.axes.iter().map(|&axis| parts[axis]).collect();
            return Some(Parts { parts, rank }.merged());
        }
        // Pieces that are both of one dimension and of one factor of the order, innermost first.
        let normal = order.normal();
        let mut pieces: Vec<(Part, usize)> = Vec::new();
        let (mut dim, mut in_dim) = (rank, 1);
        let (mut factor, mut in_factor) = (normal.shape.len(), 1);
        loop {
            while in_dim == 1 && dim > 0 {
                dim -= 1;
                in_dim = shape[dim];
            }
            while in_factor == 1 && factor > 0 {
                factor -= 1;
                in_factor = normal.shape[factor];
            }
            let size = in_dim.min(in_factor);
            if size <= 1 {
                // Both are at their ends, or the numbers of elements differ.
                if in_dim != in_factor {
                    return None;
                }
                break;
            }
            if in_dim % size != 0 || in_factor % size != 0 {
                return None;
            }
            pieces.push((Part { dim, index: 0, size }, factor));
            (in_dim, in_factor) = (in_dim / size, in_factor / size);
        }
        pieces.reverse();
        for i in 1..pieces.len() {
            if pieces[i].0.dim == pieces[i - 1].0.dim {
                pieces[i].0.index = pieces[i - 1].0.index + 1;
            }
        }
        let of_factor = |&axis: &usize| pieces.iter().filter(move |(_, factor)| *factor == axis);
        let mut parts: Vec<Part> = normal.axes.iter().flat_map(of_factor).map(|(part, _)| *part).collect();
        for dim in (0..rank).filter(|&dim| shape[dim] == 1) {
            let after = parts.iter().rposition(|part| part.dim + 1 == dim).map_or(0, |at| at + 1);
            parts.insert(after, Part { dim, index: 0, size: 1 });
        }
        Some(Parts { parts, rank }.merged())
    }

    /// With parts that stay neighbours in one dimension as one part.
    fn merged(self) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        // The index of the last of those that became one.
        let mut last = 0;
        for part in self.parts {
            match parts.last_mut() {
                Some(before) if before.dim == part.dim && last + 1 == part.index => {
                    before.size *= part.size;
                }
                _ => parts.push(part),
            }
            last = part.index;
        }
        Parts { parts, rank: self.rank }
    }

    /// The order.
    pub fn order(&self) -> Permutation {
        let mut sorted = self.parts.clone();
        sorted.sort_unstable();
        let axis = |part: &Part| sorted.binary_search(part).expect("it is one of them");
        Permutation {
            axes: self.parts.iter().map(axis).collect(),
            shape: sorted.iter().map(|part| part.size).collect(),
        }
    }

    /// The same order with every dimension `dim` called `new(dim)`.
    pub fn renamed(mut self, new: impl Fn(usize) -> usize) -> Self {
        self.parts.iter_mut().for_each(|part| part.dim = new(part.dim));
        self
    }

    /// Dimensions in stored order, where each is stored in one piece.
    pub fn dims(&self) -> Option<Vec<usize>> {
        let mut dims: Vec<usize> = self.parts.iter().map(|part| part.dim).collect();
        dims.dedup();
        (dims.len() == self.rank).then_some(dims)
    }

    /// Whether dimension `dim` is in order within itself.
    pub fn is_whole(&self, dim: usize) -> bool {
        self.parts.iter().filter(|part| part.dim == dim).count() <= 1
    }

    /// Whether dimension `dim` comes first of those longer than 1.
    pub fn starts_with(&self, dim: usize) -> bool {
        self.parts.iter().find(|part| part.size > 1).is_some_and(|part| part.dim == dim)
    }

    /// Whether dimension `dim` comes last of those longer than 1.
    pub fn ends_with(&self, dim: usize) -> bool {
        self.parts.iter().rfind(|part| part.size > 1).is_some_and(|part| part.dim == dim)
    }

    /// What happens within dimension `dim`.
    pub fn within(&self, dim: usize) -> Permutation {
        let parts = self.parts.iter().filter(|part| part.dim == dim);
        Parts { parts: parts.copied().collect(), rank: self.rank }.order()
    }

    /// The shape of what is stored: dimensions in stored order, or their parts where a dimension is
    /// not stored in one piece.
    pub fn stored_shape(&self, shape: &[usize]) -> Vec<usize> {
        match self.dims() {
            Some(dims) => dims.iter().map(|&dim| shape[dim]).collect(),
            None => self.parts.iter().map(|part| part.size).collect(),
        }
    }

    /// The order of a tensor of shape `to` that is stored as one of shape `from` is in this order.
    /// Dimensions may become 1, and dimensions in one part may get another length.
    pub fn resized(mut self, from: &[usize], to: &[usize]) -> Option<Self> {
        if from.len() != to.len() {
            return None;
        }
        for dim in (0..from.len()).filter(|&dim| from[dim] != to[dim]) {
            if to[dim] != 1 && !self.is_whole(dim) {
                return None;
            }
            let first = self.parts.iter().position(|part| part.dim == dim)?;
            self.parts[first] = Part { dim, index: 0, size: to[dim] };
            let mut at = 0..;
            self.parts.retain(|part| at.next() == Some(first) || part.dim != dim);
        }
        Some(self)
    }
}

/// The factors of an order as parts of the dimensions of `shape`, if each is one, also those of
/// length 1.
fn factors_by_dim(factors: &[usize], shape: &[usize]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = factors.iter().copied();
    for (dim, &length) in shape.iter().enumerate() {
        let (mut product, mut index) = (1, 0);
        loop {
            let size = rest.next().filter(|&size| size != 1 || length == 1)?;
            parts.push(Part { dim, index, size });
            (product, index) = (product * size, index + 1);
            if product >= length {
                break;
            }
        }
        if product != length {
            return None;
        }
    }
    rest.next().is_none().then_some(parts)
}

/// Whether two orders are the same.
pub fn same(a: &Permutation, b: &Permutation) -> bool {
    a == b || a.normal() == b.normal()
}

/// The shape of a tensor of `shape` as it is stored in `order`.
pub fn stored_shape(order: &Permutation, shape: &[usize]) -> Vec<usize> {
    match Parts::of(order, shape) {
        Some(parts) => parts.stored_shape(shape),
        None => order.normal().permuted_shape(),
    }
}

/// [`Parts::resized`], from order to order.
pub fn resized(order: &Permutation, from: &[usize], to: &[usize]) -> Option<Permutation> {
    Some(Parts::of(order, from)?.resized(from, to)?.order())
}

/// Whether `order` leaves all dimensions of `shape` in order but reorders dimension 1 within
/// itself. If so, those parts.
pub fn channels_only(order: &Permutation, shape: &[usize]) -> Option<Parts> {
    let parts = Parts::of(&order.normal(), shape)?;
    let in_order = parts.dims().is_some_and(|dims| dims.is_sorted());
    (in_order && (0..shape.len()).all(|dim| dim == 1 || parts.is_whole(dim))).then_some(parts)
}

/// The transpose that takes what is stored in order `from` to order `to`: the shape it reads, and
/// its axes. `None` where no shape has the parts that both orders move.
pub fn between(from: &Permutation, to: &Permutation) -> Option<Permutation> {
    // The target's parts, seen along the dimensions of the source's order, and the other way round.
    let (from, to) =
        if from.shape == to.shape { (from.clone(), to.clone()) } else { (from.normal(), to.normal()) };
    let moved = Parts::of(&to, &from.shape)?.order();
    let source = Parts::of(&from, &moved.shape)?;
    let source = source.order();
    if source.shape != moved.shape {
        return None;
    }
    let mut place = vec![0; source.axes.len()];
    source.axes.iter().enumerate().for_each(|(at, &axis)| place[axis] = at);
    Some(Permutation {
        shape: source.permuted_shape(),
        axes: moved.axes.iter().map(|&axis| place[axis]).collect(),
    })
}

/// The permutation that does first `first` and then `second`; `None` as for [`between`].
pub fn then(first: &Permutation, second: &Permutation) -> Option<Permutation> {
    between(&first.inverse(), second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permutation(shape: &[usize], axes: &[usize]) -> Permutation {
        Permutation { shape: shape.to_vec(), axes: axes.to_vec() }
    }

    #[test]
    fn orders_are_seen_along_any_shape_they_fit() {
        let last = permutation(&[1, 3, 4, 5], &[0, 2, 3, 1]);
        let parts = Parts::of(&last, &[1, 3, 4, 5]).unwrap();
        assert_eq!(parts.dims(), Some(vec![0, 2, 3, 1]));
        assert_eq!(parts.stored_shape(&[1, 3, 4, 5]), [1, 4, 5, 3]);
        // Flattened, the channels are a part of the only dimension.
        let flat = Parts::of(&last, &[1, 60]).unwrap();
        assert_eq!(flat.dims(), Some(vec![0, 1]));
        assert!(!flat.is_whole(1));
        assert_eq!(flat.within(1).normal(), last.normal());
        assert_eq!(flat.stored_shape(&[1, 60]), [1, 60]);
        assert!(same(&flat.order(), &last));
        assert_eq!(Parts::of(&last, &[1, 5, 12]), None);
        assert_eq!(Parts::of(&last, &[1, 30]), None);
        // Two dimensions, taken apart and mixed.
        let mixed = permutation(&[2, 3, 2, 5], &[0, 2, 1, 3]);
        let parts = Parts::of(&mixed, &[1, 6, 10]).unwrap();
        assert_eq!(parts.dims(), None);
        assert_eq!(parts.stored_shape(&[1, 6, 10]), [1, 2, 2, 3, 5]);
        assert!(same(&parts.order(), &mixed));
    }

    #[test]
    fn channels_are_told_from_planes() {
        let shape = [1, 6, 2, 2];
        let shuffle = permutation(&[1, 2, 3, 2, 2], &[0, 2, 1, 3, 4]);
        let parts = channels_only(&shuffle, &shape).unwrap();
        assert_eq!(parts.within(1).normal(), permutation(&[2, 3], &[1, 0]));
        assert!(channels_only(&Permutation::identity(shape), &shape).is_some());
        assert!(channels_only(&permutation(&[1, 6, 4], &[0, 2, 1]), &shape).is_none());
        assert!(channels_only(&permutation(&[1, 6, 2, 2], &[0, 1, 3, 2]), &shape).is_none());
        assert!(channels_only(&permutation(&[1, 6, 1, 1], &[0, 2, 3, 1]), &[1, 6, 1, 1]).is_some());
    }

    #[test]
    fn one_transpose_goes_from_order_to_order() {
        let elements: Vec<usize> = (0..120).collect();
        let orders = [
            permutation(&[2, 3, 4, 5], &[0, 1, 2, 3]),
            permutation(&[2, 3, 4, 5], &[0, 2, 3, 1]),
            permutation(&[6, 20], &[1, 0]),
            permutation(&[1, 2, 3, 20], &[0, 2, 1, 3]),
            permutation(&[2, 3, 2, 2, 5], &[3, 1, 4, 0, 2]),
        ];
        for (from, to) in orders.iter().flat_map(|from| orders.iter().map(move |to| (from, to))) {
            let transpose = between(from, to).unwrap();
            assert_eq!(transpose.check(120), Ok(()));
            assert_eq!(transpose.apply(&from.apply(&elements)), to.apply(&elements), "{from:?} {to:?}");
            let both = then(from, &transpose).unwrap();
            assert_eq!(both.apply(&elements), to.apply(&elements));
        }
        assert_eq!(between(&permutation(&[10, 12], &[1, 0]), &permutation(&[8, 15], &[1, 0])), None);
    }

    #[test]
    fn orders_follow_dimensions_that_change() {
        let last = permutation(&[1, 3, 4, 5], &[0, 2, 3, 1]);
        assert_eq!(
            resized(&last, &[1, 3, 4, 5], &[1, 7, 4, 1]).unwrap(),
            permutation(&[1, 7, 4, 1], &[0, 2, 3, 1])
        );
        let shuffle = permutation(&[1, 2, 3, 5], &[0, 2, 1, 3]);
        assert_eq!(resized(&shuffle, &[1, 6, 5], &[1, 7, 5]), None);
        assert_eq!(resized(&shuffle, &[1, 6, 5], &[1, 1, 5]).unwrap(), Permutation::identity([1, 1, 5]));
        assert!(same(
            &resized(&shuffle, &[1, 6, 5], &[1, 6, 2]).unwrap(),
            &permutation(&[2, 3, 2], &[1, 0, 2])
        ));
    }
}
