//! Operators that change or ask the shape.

use super::super::error::ImportError;
use super::super::literal::{Literal, Operand};
use super::super::node::{Node, constant};

type Outputs = Result<Vec<Operand>, ImportError>;

pub(super) fn reshape(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let from = node.shape_of(&x);
    let target = node.ints(1, "shape")?;
    let literal_zero = node.flag("allowzero", false)?;
    let shape = resolve(&from, &target, literal_zero);
    // Exporters write the batch they were run with into targets, too.
    let shape = shape.or_else(|misfit| match (&target[..], node.emitter.batch) {
        ([first, rest @ ..], Some([declared, given])) if *first == declared as i64 => {
            let target = [&[given as i64], rest].concat();
            resolve(&from, &target, literal_zero).map_err(|_| misfit)
        }
        _ => Err(misfit),
    });
    Ok(vec![node.reshape(&x, shape.map_err(|reason| node.invalid(reason))?)?])
}

/// What `target` means for an operand of shape `from`: 0 copies a dimension, -1 is whatever
/// remains.
fn resolve(from: &[usize], target: &[i64], literal_zero: bool) -> Result<Vec<usize>, String> {
    let misfit = || format!("shape {from:?} cannot become {target:?}");
    let mut shape = Vec::new();
    let mut open = None;
    for (axis, &size) in target.iter().enumerate() {
        shape.push(match size {
            0 if !literal_zero => *from.get(axis).ok_or_else(misfit)?,
            -1 if open.is_none() => {
                open = Some(axis);
                1
            }
            size => usize::try_from(size).map_err(|_| misfit())?,
        });
    }
    let product = |shape: &[usize]| shape.iter().try_fold(1usize, |count, &d| count.checked_mul(d));
    let (have, fixed) = (product(from).ok_or_else(misfit)?, product(&shape).ok_or_else(misfit)?);
    if let Some(axis) = open {
        if fixed == 0 || have % fixed != 0 {
            return Err(misfit());
        }
        shape[axis] = have / fixed;
    } else if have != fixed {
        return Err(misfit());
    }
    Ok(shape)
}

pub(super) fn flatten(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let axis = node.int_or("axis", 1)?;
    let axis = node.axis(axis, shape.len(), true)?;
    let flat = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
    Ok(vec![node.reshape(&x, flat)?])
}

/// Axes of Squeeze and Unsqueeze: an attribute before opset 13, an input since.
fn axes(node: &mut Node<'_>) -> Result<Option<Vec<i64>>, ImportError> {
    if node.opset() < 13 { node.int_list("axes") } else { node.optional_ints(1, "axes") }
}

pub(super) fn squeeze(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let dropped = match axes(node)? {
        Some(axes) => node.axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis] == 1).collect(),
    };
    if let Some(&axis) = dropped.iter().find(|&&axis| shape[axis] != 1) {
        return Err(node.invalid(format!("dimension {axis} of {shape:?} is not 1")));
    }
    let kept = (0..shape.len()).filter(|axis| !dropped.contains(axis)).map(|axis| shape[axis]).collect();
    Ok(vec![node.reshape(&x, kept)?])
}

pub(super) fn unsqueeze(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let axes = axes(node)?.ok_or_else(|| node.invalid("the axes are missing"))?;
    let rank = shape.len() + axes.len();
    let new = node.axes(&axes, rank)?;
    let mut old = shape.into_iter();
    let grown = (0..rank).map(|axis| if new.contains(&axis) { Some(1) } else { old.next() });
    let grown: Option<Vec<usize>> = grown.collect();
    Ok(vec![node.reshape(&x, grown.expect("rank minus new axes is the old rank"))?])
}

pub(super) fn shape(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let rank = shape.len() as i64;
    let (start, end) = (node.int_or("start", 0)?, node.int_or("end", rank)?);
    let place = |position: i64| {
        let counted = if position < 0 { position.saturating_add(rank) } else { position };
        counted.clamp(0, rank) as usize
    };
    let part = shape.get(place(start)..place(end)).unwrap_or_default();
    Ok(vec![constant(Literal::ints(part.iter().map(|&d| d as i64).collect()))])
}

pub(super) fn size(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let count: usize = node.shape_of(&x).iter().product();
    Ok(vec![constant(Literal { shape: Vec::new(), ..Literal::ints(vec![count as i64]) })])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_copy_and_one_dimension_may_stay_open() {
        assert_eq!(resolve(&[2, 3, 4], &[0, -1], false), Ok(vec![2, 12]));
        assert_eq!(resolve(&[2, 3, 4], &[4, 0, -1], false), Ok(vec![4, 3, 2]));
        assert_eq!(resolve(&[0, 3], &[3, 0], true), Ok(vec![3, 0]));
        assert_eq!(resolve(&[1], &[], false), Ok(vec![]));
        for bad in [&[-1, -1][..], &[5, -1], &[24, 2], &[-2, 12], &[2, 3, 4, 0], &[i64::MAX, i64::MAX]] {
            assert!(resolve(&[2, 3, 4], bad, false).is_err(), "{bad:?}");
        }
        assert!(resolve(&[0, 3], &[0, -1], true).is_err());
    }
}
