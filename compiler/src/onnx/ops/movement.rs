//! Operators that move or repeat all elements: Transpose, DepthToSpace, SpaceToDepth, Concat, Tile,
//! Expand, Pad.

use fhec_ir::nn::{Op, infer};

use super::super::error::ImportError;
use super::super::literal::{Literal, Operand, integer_count};
use super::super::node::{Node, constant};
use super::select::{MAX_MATRIX, picking, take};

type Outputs = Result<Vec<Operand>, ImportError>;

pub(super) fn transpose(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let rank = node.shape_of(&x).len();
    let permutation = match node.int_list("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => {
            if node.axes(&perm, rank)?.len() != rank {
                return Err(node.invalid(format!("perm {perm:?} does not fit {rank} dimensions")));
            }
            let axes: Result<Vec<usize>, _> = perm.iter().map(|&axis| node.axis(axis, rank, false)).collect();
            axes?
        }
    };
    Ok(vec![node.transpose(&x, permutation)?])
}

/// `[N, C, H, W]` of the operand, and the block size.
fn blocks(node: &mut Node<'_>, x: &Operand) -> Result<([usize; 4], usize), ImportError> {
    let shape = node.shape_of(x);
    let shape = <[usize; 4]>::try_from(shape)
        .map_err(|shape| node.invalid(format!("it needs an image [N, C, H, W], found {shape:?}")))?;
    let size = node.int_or("blocksize", 0)?;
    match node.sizes(&[size], "blocksize")? {
        [0] => Err(node.invalid("the block size must be at least 1")),
        [size] => Ok((shape, size)),
    }
}

/// Channels become blocks of pixels.
pub(super) fn depth_to_space(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let ([n, c, h, w], size) = blocks(node, &x)?;
    if c % (size * size) != 0 {
        return Err(node.invalid(format!("{c} channels are no blocks of {size} x {size} pixels")));
    }
    let channels = c / (size * size);
    let (apart, permutation) = match node.text_or("mode", "DCR")?.as_str() {
        "DCR" => (vec![n, size, size, channels, h, w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => (vec![n, channels, size, size, h, w], vec![0, 1, 4, 2, 5, 3]),
        other => return Err(node.invalid(format!("there is no mode `{other}`"))),
    };
    let apart = node.reshape(&x, apart)?;
    let turned = node.transpose(&apart, permutation)?;
    Ok(vec![node.reshape(&turned, vec![n, channels, h * size, w * size])?])
}

/// Blocks of pixels become channels.
pub(super) fn space_to_depth(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let ([n, c, h, w], size) = blocks(node, &x)?;
    if h % size != 0 || w % size != 0 {
        return Err(node.invalid(format!("{h} x {w} pixels are no blocks of {size} x {size}")));
    }
    let (h, w) = (h / size, w / size);
    let apart = node.reshape(&x, vec![n, c, h, size, w, size])?;
    let permutation = match node.text_or("mode", "DCR")?.as_str() {
        "DCR" => vec![0, 3, 5, 1, 2, 4],
        "CRD" => vec![0, 1, 3, 5, 2, 4],
        other => return Err(node.invalid(format!("there is no mode `{other}`"))),
    };
    let turned = node.transpose(&apart, permutation)?;
    Ok(vec![node.reshape(&turned, vec![n, c * size * size, h, w])?])
}

/// The operand so many times along each dimension.
pub(super) fn tile(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let repeats = node.ints(1, "number of repeats")?;
    let shape = node.shape_of(&x);
    if repeats.len() != shape.len() || repeats.iter().any(|repeat| !(0..1 << 31).contains(repeat)) {
        return Err(node.invalid(format!("the repeats {repeats:?} do not fit {shape:?}")));
    }
    let lengths: Vec<usize> =
        shape.iter().zip(&repeats).map(|(&d, &r)| d.saturating_mul(r as usize)).collect();
    Ok(vec![repeated(node, x, &lengths)?])
}

/// The operand with dimensions of length 1 repeated.
pub(super) fn expand(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let target = node.ints(1, "shape")?;
    let target: Result<Vec<usize>, _> = target.iter().map(|&d| usize::try_from(d)).collect();
    let target = target.map_err(|_| node.invalid("the shape has a negative dimension"))?;
    let mut shape = node.shape_of(&x);
    let whole = infer::broadcast(&shape, &target).map_err(|reason| node.invalid(reason))?;
    shape.splice(0..0, vec![1; whole.len() - shape.len()]);
    let x = node.reshape(&x, shape)?;
    Ok(vec![repeated(node, x, &whole)?])
}

/// The operand over and over again along each dimension up to `lengths`.
fn repeated(node: &mut Node<'_>, x: Operand, lengths: &[usize]) -> Result<Operand, ImportError> {
    let shape = node.shape_of(&x);
    let longer = (0..shape.len()).filter(|&axis| lengths[axis] != shape[axis]);
    let places = longer.map(|axis| (axis, lengths[axis]));
    let count = integer_count(&[lengths.iter().copied().max().unwrap_or(1)]);
    count.map_err(|reason| node.invalid(reason))?;
    let places = places.map(|(axis, length)| (axis, (0..length).map(|i| i % shape[axis]).collect()));
    let places: Vec<(usize, Vec<usize>)> = places.collect();
    picked(node, &x, &places)
}

/// The elements at the given places along several dimensions.
fn picked(node: &mut Node<'_>, x: &Operand, places: &[(usize, Vec<usize>)]) -> Result<Operand, ImportError> {
    let shape = node.shape_of(x);
    let small = |(axis, places): &(usize, Vec<usize>)| places.len() * shape[*axis] <= MAX_MATRIX;
    if matches!(x, Operand::Variable(_)) && places.len() > 1 && places.iter().all(small) {
        let matrix = |(axis, places): &(usize, Vec<usize>)| (*axis, picking(places, shape[*axis]));
        return node.axis_matrices(x, places.iter().map(matrix).collect());
    }
    places.iter().try_fold(x.clone(), |x, (axis, places)| take(node, &x, *axis, places))
}

pub(super) fn concat(node: &mut Node<'_>) -> Outputs {
    let operands = node.all_inputs()?;
    let first = operands.first().ok_or_else(|| node.invalid("Concat needs an operand"))?;
    let axis = node.int("axis")?.ok_or_else(|| node.invalid("the axis is missing"))?;
    let axis = node.axis(axis, node.shape_of(first).len(), false)?;
    if let Some(lists) = integer_lists(&operands) {
        let values = lists.concat();
        integer_count(&[values.len()]).map_err(|reason| node.invalid(reason))?;
        return Ok(vec![constant(Literal::ints(values))]);
    }
    let operands: Vec<&Operand> = operands.iter().collect();
    Ok(vec![node.emit(&operands, |_, v| Op::Concat { xs: v.to_vec(), axis })?])
}

/// The operands if all are vectors of integers, as in shape arithmetic.
fn integer_lists(operands: &[Operand]) -> Option<Vec<&[i64]>> {
    fn list(operand: &Operand) -> Option<&[i64]> {
        match operand {
            Operand::Constant(literal) if literal.shape.len() == 1 => literal.as_ints(),
            _ => None,
        }
    }
    operands.iter().map(list).collect()
}

/// What stands in the pads.
enum Fill {
    Value(f64),
    /// The elements behind the border, mirrored at its last element.
    Reflect,
    /// The last element.
    Edge,
    /// The elements at the other end.
    Wrap,
}

impl Fill {
    /// Which of `length` elements stands at `position`, which may be outside.
    fn source(&self, position: i64, length: i64) -> i64 {
        match self {
            Fill::Value(_) | Fill::Edge => position.clamp(0, length - 1),
            Fill::Wrap => position.rem_euclid(length),
            Fill::Reflect if length == 1 => 0,
            Fill::Reflect => {
                let place = position.rem_euclid(2 * (length - 1));
                place.min(2 * (length - 1) - place)
            }
        }
    }
}

/// Padding; negative pads cut.
pub(super) fn pad(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let mode = node.text_or("mode", "constant")?;
    let (pads, value, axes) = match node.opset() < 11 {
        true => (node.int_list("pads")?, node.float_or("value", 0.0)?, None),
        false => {
            let value = node.optional_number(2, "padding value")?.unwrap_or(0.0);
            (node.optional_ints(1, "pads")?, value, node.optional_ints(3, "axes")?)
        }
    };
    let fill = match mode.as_str() {
        "constant" if value.is_finite() => Fill::Value(value),
        "constant" => {
            return Err(node.unsupported(format!("padding with {value}"), "pad with a finite value"));
        }
        "reflect" => Fill::Reflect,
        "edge" => Fill::Edge,
        "wrap" => Fill::Wrap,
        other => return Err(node.invalid(format!("there is no padding mode `{other}`"))),
    };
    let axes = match axes {
        None => (0..shape.len()).collect(),
        Some(axes) => {
            node.axes(&axes, shape.len())?;
            let places: Result<Vec<usize>, _> =
                axes.iter().map(|&axis| node.axis(axis, shape.len(), false)).collect();
            places?
        }
    };
    let pads = pads.ok_or_else(|| node.invalid("the pads are missing"))?;
    const LARGEST: i64 = 1 << 20;
    if pads.len() != 2 * axes.len() || pads.iter().any(|pad| !(-LARGEST..LARGEST).contains(pad)) {
        return Err(node.invalid(format!("pads {pads:?} do not fit {} dimensions", axes.len())));
    }
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    let mut places: Vec<(usize, Vec<usize>)> = Vec::new();
    for (index, &axis) in axes.iter().enumerate() {
        let (low, high) = (pads[index], pads[index + axes.len()]);
        let length = shape[axis] as i64;
        if length + low.min(0) + high.min(0) < 0 {
            return Err(node.invalid(format!("pads {pads:?} cut away more than there is of {shape:?}")));
        }
        let (from, to) = match fill {
            // Constant pads come in one op after everything is cut.
            Fill::Value(_) => {
                (before[axis], after[axis]) = (low.max(0) as usize, high.max(0) as usize);
                (-low.min(0), length + high.min(0))
            }
            _ => (-low, length + high),
        };
        if (from < 0 || to > length) && length == 0 {
            return Err(node.invalid("there is nothing to pad with"));
        }
        if (from, to) != (0, length) {
            places.push((axis, (from..to).map(|place| fill.source(place, length) as usize).collect()));
        }
    }
    let result = match fill {
        // What is cut off is a slice.
        Fill::Value(_) => places.iter().try_fold(x, |x, (axis, places)| take(node, &x, *axis, places))?,
        _ => picked(node, &x, &places)?,
    };
    let Fill::Value(value) = fill else { return Ok(vec![result]) };
    if before.iter().chain(&after).all(|&pad| pad == 0) {
        return Ok(vec![result]);
    }
    Ok(vec![node.emit(&[&result], |_, v| Op::Pad { x: v[0], before, after, value })?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_repeat_the_operand_as_numpy_does() {
        let around =
            |fill: Fill, length: i64| (-4..length + 4).map(|p| fill.source(p, length)).collect::<Vec<_>>();
        assert_eq!(around(Fill::Reflect, 3), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!(around(Fill::Edge, 3), [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]);
        assert_eq!(around(Fill::Wrap, 3), [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(around(Fill::Reflect, 1), [0; 9]);
    }
}
