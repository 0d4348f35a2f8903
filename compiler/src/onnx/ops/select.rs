//! Operators that select elements along dimensions: Slice, Split and Gather.

use fhec_ir::nn::Op;
use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::{Elements, Literal, Operand};
use super::super::node::{Node, constant};

type Outputs = Result<Vec<Operand>, ImportError>;

/// A variable may be cut into this many pieces to reorder it.
const MAX_PIECES: usize = 1024;

/// A matrix that reorders a variable may have this many elements.
pub(super) const MAX_MATRIX: usize = 1 << 22;

/// The elements of `x` at `places` along `axis`, which are in range.
pub(super) fn take(
    node: &mut Node<'_>,
    x: &Operand,
    axis: usize,
    places: &[usize],
) -> Result<Operand, ImportError> {
    let shape = node.shape_of(x);
    if places.iter().copied().eq(0..shape[axis]) {
        return Ok(x.clone());
    }
    if let Operand::Constant(literal) = x {
        return Ok(constant(pick(node, literal, axis, places)?));
    }
    let runs = runs(places);
    if runs.len() > 1 && places.len() * shape[axis] <= MAX_MATRIX {
        return node.axis_matrices(x, vec![(axis, picking(places, shape[axis]))]);
    }
    if runs.len() > MAX_PIECES {
        return Err(node.unsupported(
            format!("reordering the network's values in {} pieces", runs.len()),
            "permute the weights instead",
        ));
    }
    let mut pieces = Vec::new();
    for run in runs {
        let (mut starts, mut ends, mut steps) = (vec![0; shape.len()], shape.clone(), vec![1; shape.len()]);
        (starts[axis], steps[axis]) = (run.start, run.step);
        ends[axis] = run.start + run.count.saturating_sub(1) * run.step + run.count.min(1);
        pieces.push(node.emit(&[x], |_, v| Op::Slice { x: v[0], starts, ends, steps })?);
    }
    match <[Operand; 1]>::try_from(pieces) {
        Ok([piece]) => Ok(piece),
        Err(pieces) => {
            let pieces: Vec<&Operand> = pieces.iter().collect();
            node.emit(&pieces, |_, v| Op::Concat { xs: v.to_vec(), axis })
        }
    }
}

/// The matrix that picks the elements at `places` of `length`.
pub(super) fn picking(places: &[usize], length: usize) -> Tensor {
    let mut data = vec![0.0; places.len() * length];
    places.iter().enumerate().for_each(|(row, place)| data[row * length + place] = 1.0);
    Tensor::new([places.len(), length], data).expect("a row per place")
}

/// `start, start + step, ...`, `count` of them.
struct Run {
    start: usize,
    step: usize,
    count: usize,
}

/// `places` as a sequence of increasing runs, greedily; one empty run if there are none.
fn runs(places: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &place in places {
        match runs.last_mut() {
            Some(run) if run.count == 1 && place > run.start => {
                (run.step, run.count) = (place - run.start, 2);
            }
            Some(run) if run.count > 1 && place == run.start + run.count * run.step => run.count += 1,
            _ => runs.push(Run { start: place, step: 1, count: 1 }),
        }
    }
    if runs.is_empty() {
        runs.push(Run { start: 0, step: 1, count: 0 });
    }
    runs
}

/// The elements of `literal` at `places` along `axis`.
fn pick(
    node: &mut Node<'_>,
    literal: &Literal,
    axis: usize,
    places: &[usize],
) -> Result<Literal, ImportError> {
    let mut shape = literal.shape.clone();
    let length = std::mem::replace(&mut shape[axis], places.len());
    let outer: usize = shape[..axis].iter().product();
    let inner: usize = shape[axis + 1..].iter().product();
    let count = outer.checked_mul(places.len()).and_then(|count| count.checked_mul(inner));
    node.reserve(count.ok_or_else(|| node.invalid("the result has too many elements"))?)?;
    let indices = (0..outer).flat_map(|block| {
        places.iter().flat_map(move |&place| {
            let start = (block * length + place) * inner;
            start..start + inner
        })
    });
    Ok(literal.select(shape, indices))
}

/// A range along one dimension: `count` elements from `start` in steps of `step`.
struct Range {
    start: usize,
    step: i64,
    count: usize,
}

impl Range {
    /// The elements `start, start + step, ...` before `end`, of `length`. Positions count from the
    /// end if negative and are then brought into range; walking backwards, `end` may be before the
    /// first element.
    fn new(start: i64, end: i64, step: i64, length: usize) -> Self {
        let length = length as i64;
        let counted = |position: i64| if position < 0 { position.saturating_add(length) } else { position };
        if length == 0 {
            return Range { start: 0, step, count: 0 };
        }
        let (start, span) = if step > 0 {
            let start = counted(start).clamp(0, length);
            (start, counted(end).clamp(0, length) - start)
        } else {
            let start = counted(start).clamp(0, length - 1);
            (start, start - counted(end).clamp(-1, length - 1))
        };
        let count = span.max(0).unsigned_abs().div_ceil(step.unsigned_abs()) as usize;
        Range { start: start as usize, step, count }
    }

    fn positions(&self) -> Vec<usize> {
        let at = |index: usize| (self.start as i64 + index as i64 * self.step) as usize;
        (0..self.count).map(at).collect()
    }
}

pub(super) fn slice(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let (starts, ends, axes, steps) = match node.opset() < 10 {
        true => (node.int_list("starts")?, node.int_list("ends")?, node.int_list("axes")?, None),
        false => (
            node.optional_ints(1, "starts")?,
            node.optional_ints(2, "ends")?,
            node.optional_ints(3, "axes")?,
            node.optional_ints(4, "steps")?,
        ),
    };
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Err(node.invalid("starts or ends are missing"));
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.contains(&0) {
        return Err(node.invalid("starts, ends, axes and steps do not belong together"));
    }
    node.axes(&axes, shape.len())?;
    let mut result = x;
    for (index, &axis) in axes.iter().enumerate() {
        let axis = node.axis(axis, shape.len(), false)?;
        let range = Range::new(starts[index], ends[index], steps[index], shape[axis]);
        result = take(node, &result, axis, &range.positions())?;
    }
    Ok(vec![result])
}

/// Parts one after another: of given sizes, or as equal as can be.
pub(super) fn split(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let axis = node.axis_or(0, shape.len(), false)?;
    let length = shape[axis];
    let sizes = if node.opset() < 13 { node.int_list("split")? } else { node.optional_ints(1, "sizes")? };
    let parts = node.int("num_outputs")?.map_or(node.outputs(), |parts| usize::try_from(parts).unwrap_or(0));
    let sizes: Vec<usize> = match sizes {
        Some(sizes) => sizes.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect(),
        None if parts == 0 => return Err(node.invalid("there must be at least one part")),
        None => {
            let size = length.div_ceil(parts);
            (0..parts).map(|part| size.min(length.saturating_sub(part * size))).collect()
        }
    };
    if sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) != Some(length) {
        return Err(node.invalid(format!("the sizes {sizes:?} do not add up to {length}")));
    }
    let mut start = 0;
    let mut part = |size: usize| {
        start += size;
        let places: Vec<usize> = (start - size..start).collect();
        take(node, &x, axis, &places)
    };
    sizes.into_iter().map(&mut part).collect()
}

/// `data` at constant `indices` along `axis`.
pub(super) fn gather(node: &mut Node<'_>) -> Outputs {
    let data = node.input(0)?;
    let shape = node.shape_of(&data);
    let axis = node.int_or("axis", 0)?;
    let axis = node.axis(axis, shape.len(), false)?;
    let indices = node.literal(1, "index")?;
    let Elements::Int(values) = &indices.elements else {
        return Err(node.invalid("indices must be integers"));
    };
    let places: Result<Vec<usize>, _> =
        values.iter().map(|&index| node.axis(index, shape[axis], false)).collect();
    let places =
        places.map_err(|_| node.invalid(format!("an index is outside of {} elements", shape[axis])))?;
    let mut result = shape.clone();
    result.splice(axis..=axis, indices.shape.iter().copied());
    let picked = take(node, &data, axis, &places)?;
    Ok(vec![node.reshape(&picked, result)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reorderings_are_cut_into_increasing_runs() {
        let cut =
            |places: &[usize]| runs(places).iter().map(|r| (r.start, r.step, r.count)).collect::<Vec<_>>();
        assert_eq!(cut(&[0, 2, 4, 5]), [(0, 2, 3), (5, 1, 1)]);
        assert_eq!(cut(&[3, 2, 1]), [(3, 1, 1), (2, 1, 1), (1, 1, 1)]);
        assert_eq!(cut(&[1, 1, 2]), [(1, 1, 1), (1, 1, 2)]);
        assert_eq!(cut(&[]), [(0, 1, 0)]);
    }

    #[test]
    fn ranges_are_brought_into_bounds() {
        let positions = |start, end, step| Range::new(start, end, step, 5).positions();
        assert_eq!(positions(1, 4, 1), [1, 2, 3]);
        assert_eq!(positions(-3, i64::MAX, 1), [2, 3, 4]);
        assert_eq!(positions(i64::MIN, -1, 2), [0, 2]);
        assert_eq!(positions(4, 0, -2), [4, 2]);
        assert_eq!(positions(-1, i64::MIN, -1), [4, 3, 2, 1, 0]);
        assert_eq!(positions(3, 3, 1), [0usize; 0]);
        assert_eq!(positions(7, 9, 1), [0usize; 0]);
        assert_eq!(positions(0, 5, i64::MAX), [0]);
        assert_eq!(positions(4, -6, i64::MIN), [4]);
        // Walking backwards begins inside, other than in numpy.
        assert_eq!(positions(-9, i64::MIN, -1), [0]);
        assert_eq!(positions(9, 1, -1), [4, 3, 2]);
        assert_eq!(Range::new(0, -1, -1, 0).positions(), [0usize; 0]);
    }
}
