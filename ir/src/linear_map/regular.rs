//! Convolutions that treat every slot of a vector alike.
//!
//! A convolution on a plane without borders must not read the next row where a tap leaves the
//! picture: its diagonals have zeros there, at other slots for every tap, so each is as long as the
//! vector. On a plane with borders of zeros the same taps read zeros. No diagonal needs to know
//! which pixel a slot belongs to, only which channel: it repeats with the channels that lie between
//! two pixels, is encoded in a small ring, and kept in kilobytes. Results that belong to no element
//! are set to zero at the end, by one product with a mask, so that the next convolution finds
//! zeros again.

use std::collections::BTreeMap;

use super::{Beside, Diagonals, LinearKind, LinearMap};
use crate::layout::Layout;
use crate::tensor::ConstPool;

/// Results of a map of constants that are summed up together: operands come from memory once for
/// all of them.
pub const CONSTANT_ROWS: usize = 8;

impl LinearMap {
    /// Why this map cannot be [`LinearMap::regular`]: the layouts do not repeat alike, or their
    /// planes have no borders as wide as the taps reach.
    ///
    /// Each vector has to hold one plane with the channels multiplexed on it, in operand and
    /// result; sizes are powers of two; and strides have to turn the gaps of the operand into those
    /// of the result.
    pub fn irregularity(&self, consts: &ConstPool) -> Option<&'static str> {
        let LinearKind::Conv2d { weight, strides, pads, dilations, .. } = &self.kind else {
            return Some("only convolutions are regular");
        };
        let Some(&[_, _, kh, kw]) = consts.get(*weight).map(|weight| weight.shape()) else {
            return Some("the weight needs 4 dimensions");
        };
        let (input, output) = (&self.input, &self.output);
        let plane = |layout: &Layout| layout.plane[0] * layout.plane[1] == layout.period;
        if input.plane != output.plane || !plane(input) || !plane(output) || self.fold != 1 {
            return Some("every vector of operand and result has to be one plane of the same size");
        }
        let numbers = [input.plane, input.gap, output.gap];
        if !numbers.iter().flatten().all(|number| number.is_power_of_two()) {
            return Some("planes and gaps have to be powers of two");
        }
        if (0..2).any(|axis| input.gap[axis].checked_mul(strides[axis]) != Some(output.gap[axis])) {
            return Some("strides have to turn the gap of the operand into that of the result");
        }
        for (axis, kernel) in [kh, kw].into_iter().enumerate() {
            let (inputs, outputs) = (input.shape[axis + 1], output.shape[axis + 1]);
            // Numbers of a file may be of any size.
            let end = ((outputs - 1).saturating_mul(strides[axis]))
                .saturating_add((kernel.saturating_sub(1)).saturating_mul(dilations[axis]))
                .saturating_add(1);
            let beyond = end.saturating_sub(pads[axis].saturating_add(inputs)).max(pads[axis]);
            if inputs.saturating_add(beyond).saturating_mul(input.gap[axis]) > input.plane[axis] {
                return Some("the border has to be as wide as the taps reach");
            }
        }
        None
    }

    /// Slots after which the diagonals of a regular map repeat: the channels between two pixels of
    /// the result.
    pub(super) fn regular_period(&self) -> usize {
        match self.output.gap {
            // One element would be taken for the constant of a map without rotations.
            [1, columns] => columns.max(2),
            [rows, _] => rows * self.output.plane[1],
        }
    }

    /// Whether all diagonals are constants and nothing is rotated: of maps of every slot by itself,
    /// and of regular maps of one channel per vector whose tap does not leave its pixel.
    pub fn is_of_constants(&self, consts: &ConstPool) -> bool {
        let channels = [&self.input, &self.output].map(|layout| layout.gap);
        self.is_slotwise() || self.regular.is_some() && channels == [[1; 2]; 2] && !self.leaves_sums(consts)
    }

    /// What the result of a regular map with [`Beside::Zeros`] is multiplied by, slot by slot of a
    /// period: 1 where a pixel is, 0 elsewhere.
    pub fn mask(&self, consts: &ConstPool) -> Option<Vec<f64>> {
        if !self.is_masked(consts) {
            return None;
        }
        let Layout { shape: [_, height, width], gap, plane, period, .. } = self.output;
        let inside = |slot: usize| slot / plane[1] / gap[0] < height && slot % plane[1] / gap[1] < width;
        Some((0..period).map(|slot| f64::from(u8::from(inside(slot)))).collect())
    }

    /// Whether [`LinearMap::mask`] is there.
    pub fn is_masked(&self, consts: &ConstPool) -> bool {
        self.regular == Some(Beside::Zeros) && self.leaves_sums(consts)
    }

    /// Whether a regular map leaves sums beside the picture where nothing is done about it: where a
    /// tap leaves its pixel. Elsewhere what was zero stays zero.
    pub fn leaves_sums(&self, consts: &ConstPool) -> bool {
        let LinearKind::Conv2d { weight, pads, .. } = &self.kind else { return false };
        !(matches!(consts[*weight].shape(), [_, _, 1, 1]) && *pads == [0; 4])
    }

    /// Calls `visit(output vector, slot below the period, input vector, rotation, weight)` for
    /// every weight of a regular map that is not zero.
    fn for_each_regular_entry(
        &self,
        consts: &ConstPool,
        mut visit: impl FnMut(usize, usize, usize, usize, f64),
    ) {
        let LinearKind::Conv2d { weight, pads, dilations, groups, .. } = &self.kind else { return };
        let weight = &consts[*weight];
        let &[m, c_per_group, kh, kw] = weight.shape() else { return };
        let period = self.input.period;
        // Place of a channel's first pixel.
        let places = |layout: &Layout| (0..layout.shape[0]).map(|c| layout.place(c, 0, 0)).collect();
        let (inputs, outputs): (Vec<_>, Vec<_>) = (places(&self.input), places(&self.output));
        let shift = |axis: usize, tap: usize, stride: usize| {
            let pixels = (tap * dilations[axis]) as i64 - pads[axis] as i64;
            pixels * (self.input.gap[axis] * stride) as i64
        };
        let shifts: Vec<usize> = (0..kh * kw)
            .map(|tap| shift(0, tap / kw, self.input.plane[1]) + shift(1, tap % kw, 1))
            .map(|shift| shift.rem_euclid(period as i64) as usize)
            .collect();
        let rows = weight.data().chunks_exact(c_per_group * kh * kw);
        for (output, (row, o)) in outputs.iter().zip(rows.zip(0..m)) {
            let first = o / (m / groups) * c_per_group;
            for (input, taps) in inputs[first..].iter().zip(row.chunks_exact(kh * kw)) {
                for (&value, shift) in taps.iter().zip(&shifts).filter(|(value, _)| **value != 0.0) {
                    let rotation = (input.slot + shift + period - output.slot) % period;
                    visit(output.vector, output.slot, input.vector, rotation, f64::from(value));
                }
            }
        }
    }

    /// [`LinearMap::rotations`] of a regular map.
    pub(super) fn regular_rotations(&self, consts: &ConstPool) -> BTreeMap<(usize, usize), Vec<usize>> {
        // As many as the weight has numbers, millions in a large layer.
        let mut entries = Vec::new();
        self.for_each_regular_entry(consts, |output, _, input, rotation, _| {
            entries.push((output, input, rotation));
        });
        entries.sort_unstable();
        entries.dedup();
        let mut rotations: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for of_pair in entries.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (output, input, _) = of_pair[0];
            rotations.insert((output, input), of_pair.iter().map(|entry| entry.2).collect());
        }
        rotations
    }

    /// [`LinearMap::diagonals`] of a regular map, before the mask.
    pub(super) fn regular_diagonals(&self, consts: &ConstPool) -> BTreeMap<(usize, usize), Diagonals> {
        let period = self.regular_period();
        let mut all: BTreeMap<(usize, usize), Diagonals> = BTreeMap::new();
        self.for_each_regular_entry(consts, |output, slot, input, rotation, weight| {
            let diagonals = all.entry((output, input)).or_default();
            let diagonal = diagonals.entry(rotation).or_insert_with(|| vec![0.0; period]);
            // The same channel of every pixel along the width.
            let end = (slot - slot % self.output.plane[1] + self.output.plane[1]).min(period);
            (slot..end).step_by(self.output.gap[1]).for_each(|slot| diagonal[slot] += weight);
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn conv(
        consts: &mut ConstPool,
        shape: [usize; 4],
        stride: usize,
        pads: [usize; 4],
        groups: usize,
    ) -> LinearKind {
        let weight = Tensor::from_fn(shape, |i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0);
        let weight = consts.add(weight);
        LinearKind::Conv2d { weight, strides: [stride; 2], pads, dilations: [1; 2], groups }
    }

    fn layout(shape: [usize; 3], gap: [usize; 2]) -> Layout {
        let multiplex = gap[0] * gap[1];
        Layout { shape, gap, multiplex, plane: [16, 64], period: 1024, slots: 2048 }
    }

    /// Rotations, products with repeating diagonals and the mask give what the map is, and zeros
    /// beside it.
    #[test]
    fn regular_maps_are_the_same_maps() {
        let mut consts = ConstPool::default();
        for (weight, stride, pads, groups, input, output, period) in [
            ([8, 4, 3, 3], 1, [1; 4], 1, layout([4, 14, 15], [1, 4]), layout([8, 14, 15], [1, 4]), 4),
            ([10, 6, 3, 3], 2, [1; 4], 1, layout([6, 14, 14], [1, 4]), layout([10, 7, 7], [2, 8]), 128),
            ([18, 18, 3, 3], 1, [1; 4], 1, layout([18, 7, 7], [2, 8]), layout([18, 7, 7], [2, 8]), 128),
            ([18, 1, 3, 3], 1, [1; 4], 18, layout([18, 7, 7], [2, 8]), layout([18, 7, 7], [2, 8]), 128),
            ([6, 4, 1, 1], 2, [0; 4], 1, layout([4, 14, 14], [1, 4]), layout([6, 7, 7], [2, 8]), 128),
            ([5, 4, 2, 3], 1, [0, 1, 1, 1], 1, layout([4, 14, 14], [1, 4]), layout([5, 14, 14], [1, 4]), 4),
            ([5, 4, 3, 3], 1, [0; 4], 1, layout([4, 14, 14], [1, 4]), layout([5, 12, 12], [1, 4]), 4),
        ] {
            let kind = conv(&mut consts, weight, stride, pads, groups);
            let mut map = LinearMap::new(kind, input, output);
            assert_eq!(map.irregularity(&consts), None);
            map.regular = Some(Beside::Zeros);
            map.validate(&consts).unwrap();
            assert_eq!(map.diagonal_period(&consts), period);
            let elements: Vec<f64> = (0..map.input.elements()).map(|i| ((i * 31) % 97) as f64).collect();
            let x = map.input.pack(&elements);
            let mut y = vec![vec![0.0; 2048]; map.output.vectors()];
            let diagonals = map.diagonals(&consts);
            for ((output, input), diagonals) in &diagonals {
                for (rotation, diagonal) in diagonals {
                    for (slot, y) in y[*output].iter_mut().enumerate() {
                        *y += diagonal[slot % diagonal.len()] * x[*input][(slot + rotation) % 2048];
                    }
                }
            }
            if let Some(mask) = map.mask(&consts) {
                y.iter_mut()
                    .flat_map(|y| y.iter_mut().enumerate())
                    .for_each(|(slot, y)| *y *= mask[slot % 1024]);
            }
            assert_eq!(map.mask(&consts).is_some(), map.is_masked(&consts));
            let expected = map.apply(&consts, &x);
            for (at, (found, expected)) in y.iter().flatten().zip(expected.iter().flatten()).enumerate() {
                assert!((found - expected).abs() < 1e-9, "{weight:?}: {at}: {found} is not {expected}");
            }
            let lists = |(pair, diagonals): (_, Diagonals)| (pair, diagonals.into_keys().collect());
            let listed: BTreeMap<_, Vec<usize>> = diagonals.into_iter().map(lists).collect();
            assert_eq!(map.rotations(&consts), listed);
        }
    }

    #[test]
    fn planes_without_borders_are_refused() {
        let mut consts = ConstPool::default();
        let kind = conv(&mut consts, [8, 4, 3, 3], 1, [1; 4], 1);
        let mut map = LinearMap::new(kind, layout([4, 14, 16], [1, 4]), layout([8, 14, 16], [1, 4]));
        assert!(map.irregularity(&consts).unwrap().contains("border"));
        map.regular = Some(Beside::Zeros);
        assert!(map.validate(&consts).unwrap_err().contains("border"));
        let kind = conv(&mut consts, [8, 4, 3, 3], 2, [1; 4], 1);
        let map = LinearMap::new(kind, layout([4, 14, 15], [1, 4]), layout([8, 7, 8], [1, 4]));
        assert!(map.irregularity(&consts).unwrap().contains("gap"));
    }
}
