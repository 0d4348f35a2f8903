//! Strides, pads and dilations of convolutions and pools over one or two dimensions.

use fhec_ir::nn::infer;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;

/// A two-dimensional window; over one dimension it has height 1.
pub(super) struct Window {
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    /// `[top, left, bottom, right]`.
    pub pads: [usize; 4],
    pub dilations: [usize; 2],
    /// Height and width of what it slides over.
    input: [usize; 2],
    /// Whether the pads follow from the size of the output, which rounding up then does not change.
    same: bool,
}

impl Window {
    /// Reads the attributes of a window of `kernel` over the dimensions of `shape` from the third
    /// on.
    pub fn read(node: &mut Node<'_>, shape: &[usize], kernel: &[usize]) -> Result<Self, ImportError> {
        let mut window = Window::read_growing(node, shape, kernel)?;
        match node.text_or("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" => (),
            "VALID" => window.pads = [0; 4],
            "SAME_UPPER" => window.pad_to_same(node, false)?,
            "SAME_LOWER" => window.pad_to_same(node, true)?,
            other => return Err(node.invalid(format!("auto_pad is `{other}`"))),
        }
        Ok(window)
    }

    /// [`Window::read`] without `auto_pad`, which means something else where images grow.
    pub fn read_growing(node: &mut Node<'_>, shape: &[usize], kernel: &[usize]) -> Result<Self, ImportError> {
        let spatial = shape.get(2..).unwrap_or_default();
        if !matches!(spatial.len(), 1 | 2) {
            let dimensions = spatial.len();
            return Err(node.unsupported(
                format!("a window over {dimensions} dimensions"),
                "supported are images [N, C, H, W] and sequences [N, C, L]; put slices of a volume into the channels, or run the \
                 network slice by slice",
            ));
        }
        let sizes = |node: &Node<'_>, values: Option<Vec<i64>>, what: &str| match (values, spatial.len()) {
            (None, _) => Ok([1, 1]),
            (Some(values), 1) => node.sizes::<1>(&values, what).map(|[w]| [1, w]),
            (Some(values), _) => node.sizes::<2>(&values, what),
        };
        let (strides, dilations) = (node.int_list("strides")?, node.int_list("dilations")?);
        let strides = sizes(node, strides, "strides")?;
        let dilations = sizes(node, dilations, "dilations")?;
        let kernel: [usize; 2] = match *kernel {
            [w] if spatial.len() == 1 => [1, w],
            [h, w] if spatial.len() == 2 => [h, w],
            _ => return Err(node.invalid(format!("a kernel of shape {kernel:?} does not fit {shape:?}"))),
        };
        let input = if let [h, w] = *spatial { [h, w] } else { [1, spatial[0]] };
        let pads = match (node.int_list("pads")?, spatial.len()) {
            (None, _) => [0; 4],
            (Some(pads), 1) => node.sizes::<2>(&pads, "pads").map(|[left, right]| [0, left, 0, right])?,
            (Some(pads), _) => node.sizes::<4>(&pads, "pads")?,
        };
        let window = Window { kernel, strides, pads, dilations, input, same: false };
        if window.strides.contains(&0) || window.dilations.contains(&0) || window.kernel.contains(&0) {
            return Err(node.invalid("kernel, strides and dilations must be at least 1"));
        }
        Ok(window)
    }

    /// Elements between the first and the last tap, both included.
    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1).saturating_mul(self.dilations[axis]).saturating_add(1)
    }

    /// Pads so that the output has `ceil(input / stride)` positions, an odd pad more before or
    /// behind.
    fn pad_to_same(&mut self, node: &Node<'_>, more_before: bool) -> Result<(), ImportError> {
        self.same = true;
        for axis in 0..2 {
            let (length, stride) = (self.input[axis], self.strides[axis]);
            let last = length.div_ceil(stride).saturating_sub(1) * stride;
            let end = last.saturating_add(self.reach(axis));
            if end + 1 < length {
                // By the letter of the standard such pads are negative; runtimes cut, or begin at
                // the first element.
                return Err(node.unsupported(
                    "auto_pad with a stride that jumps over two or more elements",
                    "give the pads in numbers",
                ));
            }
            let total = end.saturating_sub(length);
            let before = if more_before { total.div_ceil(2) } else { total / 2 };
            (self.pads[axis], self.pads[axis + 2]) = (before, total - before);
        }
        Ok(())
    }

    /// Pads to add behind so that rounding down counts as many positions as rounding up does:
    /// `[bottom, right]`. A position that would begin in the pads behind does not count.
    pub fn ceil_pads(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let (before, stride, reach) = (self.pads[axis], self.strides[axis], self.reach(axis));
            let padded = self.input[axis].saturating_add(before).saturating_add(self.pads[axis + 2]);
            if self.same || reach >= padded.saturating_add(stride) {
                return 0;
            }
            let mut last = padded.saturating_sub(reach).div_ceil(stride) * stride;
            if last >= self.input[axis] + before {
                last -= stride.min(last);
            }
            (last + reach).saturating_sub(padded)
        })
    }

    /// Fails if some position of the window sees pads only: neither a maximum nor a mean is defined
    /// there.
    pub fn check_no_empty_position(&self, node: &Node<'_>, pads: [usize; 4]) -> Result<(), ImportError> {
        for axis in 0..2 {
            let (length, stride, dilation) = (self.input[axis], self.strides[axis], self.dilations[axis]);
            let (before, all) = (pads[axis], pads[axis].saturating_add(pads[axis + 2]));
            let positions = infer::window(length, self.kernel[axis], stride, all, dilation);
            let positions = positions.map_err(|reason| node.invalid(reason))?;
            let sees_input = |position: usize| {
                let start = position * stride;
                let tap = before.saturating_sub(start).div_ceil(dilation);
                tap < self.kernel[axis] && start + tap * dilation < before + length
            };
            // Positions in the middle see what those at the ends see, or more, unless the taps jump
            // over the input.
            let jumps = dilation > length;
            let ends = [0, positions - 1];
            let empty =
                if jumps { !(0..positions).all(sees_input) } else { !ends.into_iter().all(sees_input) };
            if empty {
                return Err(node.invalid(format!("with pads {pads:?} some windows hold pads only")));
            }
        }
        Ok(())
    }
}

/// `x` as `[N, C, H, W]`: a sequence `[N, C, L]` gets height 1.
pub(super) fn as_image(node: &mut Node<'_>, x: &Operand) -> Result<Operand, ImportError> {
    match *node.shape_of(x) {
        [n, c, l] => node.reshape(x, vec![n, c, 1, l]),
        _ => Ok(x.clone()),
    }
}

/// Undoes [`as_image`] on a result, if the operand had `rank` 3.
pub(super) fn from_image(node: &mut Node<'_>, y: Operand, rank: usize) -> Result<Operand, ImportError> {
    match *node.shape_of(&y) {
        [n, c, 1, l] if rank == 3 => node.reshape(&y, vec![n, c, l]),
        _ => Ok(y),
    }
}
