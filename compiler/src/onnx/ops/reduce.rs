//! Reductions over dimensions, and ArgMax. A sum is a mean times the number of elements, a maximum
//! a max-pool.

use fhec_ir::nn::{Activation, Op};

use super::super::error::ImportError;
use super::super::literal::{Elements, Literal, Operand};
use super::super::node::{Node, constant, scalar};
use super::activation::absolute;
use super::arithmetic::power;

type Outputs = Result<Vec<Operand>, ImportError>;

/// What is reduced, over which dimensions, and whether they stay.
struct Reduction {
    x: Operand,
    axes: Vec<usize>,
    keep_dims: bool,
}

impl Reduction {
    /// Of a node whose axes are an attribute before opset `since`, and an input from then on; `Err`
    /// holds the operand where nothing is to be reduced.
    fn read(node: &mut Node<'_>, since: i64) -> Result<Result<Self, Operand>, ImportError> {
        let x = node.input(0)?;
        let rank = node.shape_of(&x).len();
        let (axes, of_nothing) = match node.opset() < since {
            true => (node.int_list("axes")?, false),
            false => (node.optional_ints(1, "axes")?, node.flag("noop_with_empty_axes", false)?),
        };
        let keep_dims = node.flag("keepdims", true)?;
        let axes = match axes.filter(|axes| !axes.is_empty()) {
            Some(axes) => node.axes(&axes, rank)?,
            None if of_nothing => return Ok(Err(x)),
            None => (0..rank).collect(),
        };
        Ok(Ok(Reduction { x, axes, keep_dims }))
    }

    fn over(&self, x: Operand) -> Self {
        Reduction { x, axes: self.axes.clone(), keep_dims: self.keep_dims }
    }

    fn mean(&self, node: &mut Node<'_>) -> Result<Operand, ImportError> {
        let (axes, keep_dims) = (self.axes.clone(), self.keep_dims);
        node.emit(&[&self.x], |_, v| Op::ReduceMean { x: v[0], axes, keep_dims })
    }

    fn sum(&self, node: &mut Node<'_>) -> Result<Operand, ImportError> {
        let shape = node.shape_of(&self.x);
        let count: usize = self.axes.iter().map(|&axis| shape[axis]).product();
        if let Operand::Constant(literal) = &self.x
            && literal.as_ints().is_some()
        {
            return self.integers(node, literal, |a, b| a.checked_add(b));
        }
        let mean = self.mean(node)?;
        node.scaled(&mean, count as f64)
    }

    /// The largest element, by a pool over all of the dimensions, or with `sign` -1 the smallest.
    fn extreme(&self, node: &mut Node<'_>, sign: f64) -> Result<Operand, ImportError> {
        if let Operand::Constant(literal) = &self.x
            && literal.as_ints().is_some()
        {
            let f: fn(i64, i64) -> Option<i64> =
                if sign > 0.0 { |a, b| Some(a.max(b)) } else { |a, b| Some(a.min(b)) };
            return self.integers(node, literal, f);
        }
        let shape = node.shape_of(&self.x);
        let (outer, [height, width], turned) = self.last(node)?;
        let signed = node.scaled(&turned, sign)?;
        let image = node.reshape(&signed, vec![1, outer, height, width])?;
        let kernel = [height, width];
        if kernel.contains(&0) {
            return Err(node.invalid("there is no largest of no elements"));
        }
        let pooled = node.emit(&[&image], |_, v| Op::MaxPool {
            x: v[0],
            kernel,
            strides: [1, 1],
            pads: [0; 4],
            dilations: [1, 1],
        })?;
        let result = node.scaled(&pooled, sign)?;
        node.reshape(&result, self.shape(&shape))
    }

    fn shape(&self, shape: &[usize]) -> Vec<usize> {
        let kept = shape.iter().enumerate().filter_map(|(axis, &d)| match self.axes.contains(&axis) {
            true => self.keep_dims.then_some(1),
            false => Some(d),
        });
        kept.collect()
    }

    /// The operand with the reduced dimensions last, how many elements the others have, and these:
    /// the first of them, and all others.
    fn last(&self, node: &mut Node<'_>) -> Result<(usize, [usize; 2], Operand), ImportError> {
        let shape = node.shape_of(&self.x);
        let (kept, reduced): (Vec<usize>, Vec<usize>) =
            (0..shape.len()).partition(|axis| !self.axes.contains(axis));
        let count = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
        let (first, others) = reduced.split_at(reduced.len().min(1));
        let sizes = [count(first), count(others)];
        let turned = node.transpose(&self.x, [&kept[..], &reduced[..]].concat())?;
        Ok((count(&kept), sizes, turned))
    }

    /// Integers known now, combined two by two.
    fn integers(
        &self,
        node: &mut Node<'_>,
        literal: &Literal,
        f: impl Fn(i64, i64) -> Option<i64>,
    ) -> Result<Operand, ImportError> {
        let (outer, [height, width], turned) = self.last(node)?;
        let Operand::Constant(turned) = turned else { unreachable!("a constant stays one") };
        let values = turned.as_ints().unwrap_or_default();
        let line = height * width;
        let one = |at: usize| {
            let mut line = values[at * line..(at + 1) * line].iter().copied();
            let first = line.next()?;
            line.try_fold(first, &f)
        };
        let combined: Option<Vec<i64>> = (0..outer).map(one).collect();
        let combined = combined.ok_or_else(|| node.invalid("integer overflow, or no elements"))?;
        let shape = self.shape(&literal.shape);
        Ok(constant(Literal { name: String::new(), shape, elements: Elements::Int(combined) }))
    }
}

/// `x` summed over `axes`, which go.
pub(super) fn sum_over(node: &mut Node<'_>, x: &Operand, axes: Vec<usize>) -> Result<Operand, ImportError> {
    match axes.is_empty() {
        true => Ok(x.clone()),
        false => Reduction { x: x.clone(), axes, keep_dims: false }.sum(node),
    }
}

/// A reduction whose axes are an input since opset 18.
fn reduced(
    node: &mut Node<'_>,
    f: impl FnOnce(&mut Node<'_>, Reduction) -> Result<Operand, ImportError>,
    of_nothing: impl FnOnce(&mut Node<'_>, Operand) -> Result<Operand, ImportError>,
) -> Outputs {
    Ok(vec![match Reduction::read(node, 18)? {
        Ok(reduction) => f(node, reduction)?,
        Err(x) => of_nothing(node, x)?,
    }])
}

fn same(_: &mut Node<'_>, x: Operand) -> Result<Operand, ImportError> {
    Ok(x)
}

pub(super) fn reduce_mean(node: &mut Node<'_>) -> Outputs {
    reduced(node, |node, reduction| reduction.mean(node), same)
}

pub(super) fn reduce_sum(node: &mut Node<'_>) -> Outputs {
    Ok(vec![match Reduction::read(node, 13)? {
        Ok(reduction) => reduction.sum(node)?,
        Err(x) => x,
    }])
}

pub(super) fn reduce_max(node: &mut Node<'_>) -> Outputs {
    reduced(node, |node, reduction| reduction.extreme(node, 1.0), same)
}

pub(super) fn reduce_min(node: &mut Node<'_>) -> Outputs {
    reduced(node, |node, reduction| reduction.extreme(node, -1.0), same)
}

pub(super) fn reduce_l1(node: &mut Node<'_>) -> Outputs {
    let sum = |node: &mut Node<'_>, reduction: Reduction| {
        let absolute = absolute(node, &reduction.x)?;
        reduction.over(absolute).sum(node)
    };
    reduced(node, sum, |node, x| absolute(node, &x))
}

pub(super) fn reduce_l2(node: &mut Node<'_>) -> Outputs {
    let norm = |node: &mut Node<'_>, reduction: Reduction| {
        let sum = squares(node, &reduction)?;
        node.activation(&sum, Activation::power(0.5))
    };
    reduced(node, norm, |node, x| absolute(node, &x))
}

fn squares(node: &mut Node<'_>, reduction: &Reduction) -> Result<Operand, ImportError> {
    let square = power(node, &reduction.x, 2.0)?;
    reduction.over(square).sum(node)
}

pub(super) fn reduce_sum_square(node: &mut Node<'_>) -> Outputs {
    reduced(node, |node, reduction| squares(node, &reduction), |node, x| power(node, &x, 2.0))
}

pub(super) fn reduce_log_sum(node: &mut Node<'_>) -> Outputs {
    let logarithm = |node: &mut Node<'_>, reduction: Reduction| {
        let sum = reduction.sum(node)?;
        node.activation(&sum, Activation::LOG)
    };
    reduced(node, logarithm, |node, x| node.activation(&x, Activation::LOG))
}

pub(super) fn reduce_log_sum_exp(node: &mut Node<'_>) -> Outputs {
    let logarithm = |node: &mut Node<'_>, reduction: Reduction| {
        let exponentials = node.activation(&reduction.x, Activation::EXP)?;
        let sum = reduction.over(exponentials).sum(node)?;
        node.activation(&sum, Activation::LOG)
    };
    reduced(node, logarithm, same)
}

/// The place of the largest element, the first if there are several.
pub(super) fn arg_max(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    position(node, &x)
}

/// The place of the smallest element.
pub(super) fn arg_min(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let x = node.sub(&scalar(0.0), &x)?;
    position(node, &x)
}

fn position(node: &mut Node<'_>, x: &Operand) -> Outputs {
    let rank = node.shape_of(x).len();
    let axis = node.axis_or(0, rank, false)?;
    let keep_dims = node.flag("keepdims", true)?;
    if node.flag("select_last_index", false)? {
        return Err(node.unsupported("select_last_index=1", "take the first of equal elements"));
    }
    Ok(vec![node.emit(&[x], |_, v| Op::ArgMax { x: v[0], axis, keep_dims })?])
}
