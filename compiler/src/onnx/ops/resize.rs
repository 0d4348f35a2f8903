//! Resize and Upsample: a matrix along each dimension that changes.

use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;
use super::select::MAX_MATRIX;

type Outputs = Result<Vec<Operand>, ImportError>;

/// How new elements are made from old ones.
enum Mode {
    Nearest(Nearest),
    Linear,
    /// With the coefficient of the standard, and whether taps outside are left out.
    Cubic(f32, bool),
}

/// Which element is the nearest to a position between two.
#[derive(Clone, Copy)]
enum Nearest {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
    /// Before opset 11: up where the image shrinks, down elsewhere.
    Simple,
}

/// Where the positions of the result lie in the operand.
#[derive(Clone, Copy, PartialEq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    HalfPixelForNearest,
    /// Of a part of the operand.
    Crop,
}

/// One dimension. Positions are computed as onnxruntime does, in single precision: what rounds to a
/// tie there must do so here.
struct Axis {
    length: usize,
    result: usize,
    scale: f32,
    /// First and last position of a crop, as shares of the dimension.
    part: [f32; 2],
}

impl Axis {
    fn position(&self, coordinates: Coordinates, index: usize) -> f32 {
        let (x, length, result) = (index as f32, self.length as f32, self.result as f32);
        let half_pixel = (x + 0.5) / self.scale - 0.5;
        match coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = result / (self.scale * length);
                length / 2.0 * (1.0 - adjustment) + half_pixel
            }
            Coordinates::PytorchHalfPixel if self.result > 1 => half_pixel,
            Coordinates::AlignCorners if self.result > 1 => x * (length - 1.0) / (result - 1.0),
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners => 0.0,
            Coordinates::Asymmetric => x / self.scale,
            Coordinates::HalfPixelForNearest => (x + 0.5) / self.scale,
            Coordinates::Crop => {
                let [start, end] = self.part;
                match self.result > 1 {
                    true => start * (length - 1.0) + x * (end - start) * (length - 1.0) / (result - 1.0),
                    false => 0.5 * (start + end) * (length - 1.0),
                }
            }
        }
    }

    /// The matrix `[result, length]`.
    fn matrix(&self, mode: &Mode, coordinates: Coordinates) -> Tensor {
        let mut data = vec![0.0f32; self.result * self.length];
        let last = self.length - 1;
        for (index, row) in data.chunks_mut(self.length).enumerate() {
            let position = self.position(coordinates, index);
            if coordinates == Coordinates::Crop && !(0.0..=last as f32).contains(&position) {
                continue;
            }
            let inside = |place: f32| (place.max(0.0) as usize).min(last);
            match mode {
                Mode::Nearest(nearest) => {
                    let place = match nearest {
                        Nearest::PreferFloor if position == position.floor() + 0.5 => position.floor(),
                        Nearest::PreferFloor | Nearest::PreferCeil => position.round(),
                        Nearest::Floor => position.floor(),
                        Nearest::Ceil => position.ceil(),
                        Nearest::Simple if self.scale < 1.0 => position.ceil(),
                        Nearest::Simple => position.trunc(),
                    };
                    row[inside(place)] = 1.0;
                }
                Mode::Linear => {
                    let position = position.clamp(0.0, last as f32);
                    let (place, share) = (position.floor(), position.fract());
                    row[inside(place)] += 1.0 - share;
                    row[inside(place + 1.0)] += share;
                }
                Mode::Cubic(a, exclude_outside) => {
                    let (place, share) = (position.floor(), position - position.floor());
                    let outside = |offset: f32| {
                        let place = place + offset;
                        *exclude_outside && !(0.0..=last as f32).contains(&place)
                    };
                    let taps = cubic(*a, share)
                        .map(|(offset, weight)| (offset, if outside(offset) { 0.0 } else { weight }));
                    let sum: f32 = taps.iter().map(|(_, weight)| weight).sum();
                    for (offset, weight) in taps {
                        row[inside(place + offset)] += weight / sum;
                    }
                }
            }
        }
        Tensor::new([self.result, self.length], data).expect("a row per element of the result")
    }
}

/// Offsets and weights of the four elements around (Keys, IEEE TASSP 29(6), 1981).
fn cubic(a: f32, share: f32) -> [(f32, f32); 4] {
    let near = |x: f32| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    [(-1.0, far(share + 1.0)), (0.0, near(share)), (1.0, near(1.0 - share)), (2.0, far(2.0 - share))]
}

/// Resize of opset 10 and later.
pub(super) fn resize(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    if node.opset() < 11 {
        let scales = node.weight(1, "scale")?;
        return upsampled(node, &x, scales.data().to_vec());
    }
    let shape = node.shape_of(&x);
    let axes: Vec<usize> = match node.int_list("axes")? {
        None => (0..shape.len()).collect(),
        Some(axes) => {
            node.axes(&axes, shape.len())?;
            axes.iter().map(|&axis| node.axis(axis, shape.len(), false)).collect::<Result<_, _>>()?
        }
    };
    let coordinates = match node.text_or("coordinate_transformation_mode", "half_pixel")?.as_str() {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::HalfPixelForNearest,
        "tf_crop_and_resize" => Coordinates::Crop,
        other => return Err(node.invalid(format!("there is no coordinate mode `{other}`"))),
    };
    let nearest = match node.text_or("nearest_mode", "round_prefer_floor")?.as_str() {
        "round_prefer_floor" => Nearest::PreferFloor,
        "round_prefer_ceil" => Nearest::PreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return Err(node.invalid(format!("there is no nearest mode `{other}`"))),
    };
    let (a, exclude) = (node.float_or("cubic_coeff_a", -0.75)?, node.flag("exclude_outside", false)?);
    let mode = match node.text_or("mode", "nearest")?.as_str() {
        "nearest" => Mode::Nearest(nearest),
        "linear" => Mode::Linear,
        "cubic" => Mode::Cubic(a as f32, exclude),
        other => return Err(node.invalid(format!("there is no mode `{other}`"))),
    };
    let part = match coordinates {
        Coordinates::Crop => node.weight(1, "crop")?.data().to_vec(),
        _ => [vec![0.0; axes.len()], vec![1.0; axes.len()]].concat(),
    };
    let outside = node.float_or("extrapolation_value", 0.0)?;
    if part.len() != 2 * axes.len() {
        return Err(node.invalid(format!("a crop of {} numbers for {} dimensions", part.len(), axes.len())));
    }
    let lengths: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
    let sizes = results(node, &lengths)?;
    let mut changed = Vec::new();
    for (index, &axis) in axes.iter().enumerate() {
        let (result, scale) = sizes[index];
        let part = [part[index], part[index + axes.len()]];
        changed.push((axis, Axis { length: shape[axis], result, scale, part }));
    }
    if node.flag("antialias", false)? && changed.iter().any(|(_, axis)| axis.scale < 1.0) {
        return Err(node.unsupported("shrinking with antialias=1", "use AveragePool, or antialias=0"));
    }
    if coordinates == Coordinates::Crop && outside != 0.0 {
        return Err(node.unsupported("an extrapolation value other than 0", "crop inside of the image"));
    }
    along(node, &x, changed, &mode, coordinates)
}

/// Length of the result and scale of each dimension.
fn results(node: &mut Node<'_>, lengths: &[usize]) -> Result<Vec<(usize, f32)>, ImportError> {
    let policy = node.text_or("keep_aspect_ratio_policy", "stretch")?;
    let given = |node: &Node<'_>, index: usize| match node.optional(index) {
        Some(Operand::Constant(literal)) if literal.len() == 0 => false,
        operand => operand.is_some(),
    };
    if given(node, 3) {
        let sizes = node.ints(3, "size")?;
        let sizes: Vec<usize> = sizes.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        if sizes.len() != lengths.len() || sizes.contains(&0) {
            return Err(node.invalid(format!("the sizes {sizes:?} do not fit {} dimensions", lengths.len())));
        }
        let scales = sizes.iter().zip(lengths).map(|(&size, &length)| size as f32 / length as f32);
        let one = match policy.as_str() {
            "stretch" => return Ok(sizes.iter().copied().zip(scales).collect()),
            "not_larger" => scales.fold(f32::INFINITY, f32::min),
            "not_smaller" => scales.fold(0.0, f32::max),
            other => return Err(node.invalid(format!("there is no policy `{other}`"))),
        };
        return Ok(lengths.iter().map(|&length| ((one * length as f32).round() as usize, one)).collect());
    }
    if !given(node, 2) {
        return Err(node.invalid("neither scales nor sizes are given"));
    }
    let scales = node.weight(2, "scale")?;
    scaled(node, lengths, scales.data())
}

fn scaled(node: &Node<'_>, lengths: &[usize], scales: &[f32]) -> Result<Vec<(usize, f32)>, ImportError> {
    if scales.len() != lengths.len() || scales.iter().any(|&scale| !(scale > 0.0 && scale.is_finite())) {
        return Err(node.invalid(format!("the scales {scales:?} do not fit {} dimensions", lengths.len())));
    }
    let one = |(&length, &scale): (&usize, &f32)| ((length as f32 * scale).floor() as usize, scale);
    Ok(lengths.iter().zip(scales).map(one).collect())
}

/// Upsample, which Resize took the place of.
pub(super) fn upsample(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let scales = match node.opset() < 9 {
        true => node.float_list("scales")?.ok_or_else(|| node.invalid("the scales are missing"))?,
        false => node.weight(1, "scale")?.data().to_vec(),
    };
    upsampled(node, &x, scales)
}

fn upsampled(node: &mut Node<'_>, x: &Operand, scales: Vec<f32>) -> Outputs {
    let mode = match node.text_or("mode", "nearest")?.as_str() {
        "nearest" => Mode::Nearest(Nearest::Simple),
        "linear" | "bilinear" => Mode::Linear,
        other => return Err(node.invalid(format!("there is no mode `{other}`"))),
    };
    let shape = node.shape_of(x);
    let sizes = scaled(node, &shape, &scales)?.into_iter().zip(&shape).enumerate();
    let axes = sizes
        .map(|(axis, ((result, scale), &length))| (axis, Axis { length, result, scale, part: [0.0, 1.0] }));
    along(node, x, axes.collect(), &mode, Coordinates::Asymmetric)
}

fn along(
    node: &mut Node<'_>,
    x: &Operand,
    axes: Vec<(usize, Axis)>,
    mode: &Mode,
    coordinates: Coordinates,
) -> Outputs {
    let mut matrices = Vec::new();
    for (dimension, axis) in axes {
        let whole = axis.part == [0.0, 1.0];
        if axis.length == axis.result && axis.scale == 1.0 && whole {
            continue;
        }
        if axis.length == 0 || axis.result == 0 || axis.length.saturating_mul(axis.result) > MAX_MATRIX {
            return Err(node.unsupported(
                format!("growing {} elements to {}", axis.length, axis.result),
                "use sizes of some hundred pixels",
            ));
        }
        matrices.push((dimension, axis.matrix(mode, coordinates)));
    }
    Ok(vec![node.axis_matrices(x, matrices)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(length: usize, result: usize, mode: &Mode, coordinates: Coordinates) -> Vec<Vec<f32>> {
        let axis = Axis { length, result, scale: result as f32 / length as f32, part: [0.0, 1.0] };
        let matrix = axis.matrix(mode, coordinates);
        matrix.data().chunks(length).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn ties_go_where_the_mode_says() {
        // Two elements from four: positions 0.5 and 2.5.
        let picked = |nearest| {
            let rows = rows(4, 2, &Mode::Nearest(nearest), Coordinates::HalfPixel);
            rows.iter().map(|row| row.iter().position(|&w| w == 1.0).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(picked(Nearest::PreferFloor), [0, 2]);
        assert_eq!(picked(Nearest::PreferCeil), [1, 3]);
        assert_eq!(picked(Nearest::Floor), [0, 2]);
        assert_eq!(picked(Nearest::Ceil), [1, 3]);
    }

    #[test]
    fn weights_of_a_row_add_up_to_one() {
        for mode in [Mode::Linear, Mode::Cubic(-0.75, false), Mode::Cubic(-0.5, true)] {
            for coordinates in [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric] {
                for row in rows(5, 8, &mode, coordinates) {
                    assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
                }
            }
        }
        assert_eq!(rows(2, 4, &Mode::Linear, Coordinates::HalfPixel)[1], [0.75, 0.25]);
        assert_eq!(rows(2, 3, &Mode::Linear, Coordinates::AlignCorners)[1], [0.5, 0.5]);
    }
}
