//! Which rotations a map takes: what the shape of its circuit is made from, found without making
//! its diagonals.

use std::collections::{BTreeMap, HashMap};

use super::{LinearKind, LinearMap};
use crate::layout::{Layout, Place};
use crate::tensor::ConstPool;

impl LinearMap {
    /// Rotations with an entry, by `(output vector, input vector)`: what the circuit's shape is
    /// made from. Far cheaper than [`LinearMap::diagonals`]; entries that cancel to zero still
    /// count.
    pub fn rotations(&self, consts: &ConstPool) -> BTreeMap<(usize, usize), Vec<usize>> {
        if self.regular.is_some() {
            return self.regular_rotations(consts);
        }
        let mut seen = Seen::new(self.input.period);
        match &self.kind {
            _ if self.input.vectors() == 1 && self.output.vectors() == 1 => {
                let flags = self.single_vector_rotations(consts);
                if flags.contains(&true) {
                    seen.flags.push(((0, 0), flags));
                }
            }
            LinearKind::Conv2d { .. } => seen = self.conv_rotations(consts),
            _ => self
                .for_each_slot_entry(consts, |out, _, vector, rotation, _| seen.mark(out, vector, rotation)),
        }
        let indices =
            |flags: Vec<bool>| flags.iter().enumerate().filter_map(|(i, &f)| f.then_some(i)).collect();
        seen.flags.into_iter().map(|(pair, flags)| (pair, indices(flags))).collect()
    }

    /// With one vector on either side a rotation is a difference of positions, whichever pixel it
    /// belongs to.
    fn single_vector_rotations(&self, consts: &ConstPool) -> Vec<bool> {
        let period = self.input.period;
        let mut differences = vec![false; period];
        match &self.kind {
            LinearKind::Conv2d { .. } => self.mark_conv_differences(consts, &mut differences),
            _ => {
                let [_, in_h, in_w] = self.input.shape;
                let inputs: Vec<Place> = self.input.places().collect();
                self.for_each_entry(consts, |[oc, oy, ox], [ic, iy, ix], _| {
                    let input = inputs[(ic * in_h + iy) * in_w + ix].slot;
                    let output = self.output.place(oc, oy, ox).slot;
                    differences[(input + self.length() - output) % period] = true;
                });
            }
        }
        self.of_all_copies(&differences)
    }

    /// The rotations of all copies of the result, from the differences `input position - output
    /// position` of one.
    fn of_all_copies(&self, differences: &[bool]) -> Vec<bool> {
        let period = self.input.period;
        let mut rotations = vec![false; period];
        for difference in (0..period).filter(|&d| differences[d]) {
            for copy in self.copies_of(difference) {
                let shift = copy * self.output.period % period;
                rotations[(difference + period - shift) % period] = true;
            }
        }
        rotations
    }

    /// Rotations of a convolution between vectors.
    fn conv_rotations(&self, consts: &ConstPool) -> Seen {
        let mut seen = Seen::new(self.input.period);
        self.mark_conv_entries(consts, &mut |out, vector, difference| seen.mark(out, vector, difference));
        for (_, flags) in &mut seen.flags {
            *flags = self.of_all_copies(flags);
        }
        seen
    }

    /// Marks `input position - output position` modulo the input period for all entries of a
    /// convolution: sums of a part that depends on the channels and one that depends on the pixel,
    /// which is the same for all pixels when stride and gaps agree.
    fn mark_conv_differences(&self, consts: &ConstPool, differences: &mut [bool]) {
        let LinearKind::Conv2d { weight, strides, pads, dilations, groups } = &self.kind else { return };
        let weight = &consts[*weight];
        let [m, c_per_group, kh, kw] = *weight.shape() else { return };
        let period = self.input.period as i64;
        let ([_, in_h, in_w], [_, out_h, out_w]) = (self.input.shape, self.output.shape);
        let unique = |mut list: Vec<i64>| {
            list.sort_unstable();
            list.dedup();
            list
        };
        // Differences along one axis, over all output pixels whose tap `k` meets a pixel of the
        // operand.
        let along = |k: usize, axis: usize, length: usize, outputs: usize, strides_of: [usize; 2]| {
            let input = |o: usize| (o * strides[axis] + k * dilations[axis]).checked_sub(pads[axis]);
            let met = (0..outputs).filter_map(|o| Some((o, input(o).filter(|&i| i < length)?)));
            unique(met.map(|(o, i)| (i * strides_of[0]) as i64 - (o * strides_of[1]) as i64).collect())
        };
        let channels_of = |layout: &Layout, count: usize| -> Vec<i64> {
            (0..count).map(|c| layout.line_position(c, 0, 0) as i64).collect()
        };
        let in_channels = channels_of(&self.input, self.input.shape[0]);
        let out_channels = channels_of(&self.output, m);
        let channels = |tap: Option<usize>| {
            let used = |o: usize, c: usize| {
                tap.is_none_or(|tap| weight.data()[(o * c_per_group + c) * kh * kw + tap] != 0.0)
            };
            let pairs = (0..m).flat_map(|o| (0..c_per_group).map(move |c| (o, c)));
            let used = pairs.filter(|&(o, c)| used(o, c));
            unique(
                used.map(|(o, c)| in_channels[o / (m / groups) * c_per_group + c] - out_channels[o])
                    .collect(),
            )
        };
        let all_channels = (!weight.data().contains(&0.0)).then(|| channels(None));
        let columns = [self.input.gap[1], self.output.gap[1]];
        let rows = [&self.input, &self.output].map(|layout| layout.gap[0] * layout.plane[1]);
        for ky in 0..kh {
            let rows = along(ky, 0, in_h, out_h, rows);
            for kx in 0..kw {
                let columns = along(kx, 1, in_w, out_w, columns);
                let sums = rows.iter().flat_map(|row| columns.iter().map(move |column| row + column));
                let pixels = unique(sums.collect());
                let own = all_channels.is_none().then(|| channels(Some(ky * kw + kx)));
                for channel in all_channels.as_ref().or(own.as_ref()).into_iter().flatten() {
                    for pixel in &pixels {
                        differences[(channel + pixel).rem_euclid(period) as usize] = true;
                    }
                }
            }
        }
    }

    /// Tells `mark` of `(output vector, input vector, difference of slots)` of all entries of a
    /// convolution, a run of pixels at a time: along a row the operand and the result advance by
    /// the same step where stride and gaps agree, so the difference is the same until one of them
    /// enters its next vector.
    fn mark_conv_entries(&self, consts: &ConstPool, mark: &mut impl FnMut(usize, usize, usize)) {
        let LinearKind::Conv2d { weight, strides, pads, dilations, groups } = &self.kind else { return };
        let weight = &consts[*weight];
        let [m, c_per_group, kh, kw] = *weight.shape() else { return };
        let ([_, in_h, in_w], [_, out_h, out_w]) = (self.input.shape, self.output.shape);
        let (length, period) = (self.length(), self.input.period);
        let steps = [self.input.gap[1] * strides[1], self.output.gap[1]];
        let rows = [&self.input, &self.output].map(|layout| layout.gap[0] * layout.plane[1]);
        let together = steps[0] == steps[1] && rows[0] * strides[0] == rows[1];
        // How many steps stay within a vector.
        let stays = |place: Place, step: usize, period: usize| (period - 1 - place.slot) / step + 1;
        for (index, _) in weight.data().iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let (kx, ky) = (index % kw, index / kw % kh);
            let (c, o) = (index / (kw * kh) % c_per_group, index / (kw * kh * c_per_group));
            let c = o / (m / groups) * c_per_group + c;
            let reach = [ky * dilations[0], kx * dilations[1]];
            // The columns whose tap falls on a pixel.
            let first = pads[1].saturating_sub(reach[1]).div_ceil(strides[1]).min(out_w);
            let end = (in_w + pads[1]).saturating_sub(reach[1]).div_ceil(strides[1]).clamp(first, out_w);
            let top = pads[0].saturating_sub(reach[0]).div_ceil(strides[0]).min(out_h);
            let bottom = (in_h + pads[0]).saturating_sub(reach[0]).div_ceil(strides[0]).clamp(top, out_h);
            if together && top < bottom && first < end {
                // Where all pixels stay in one vector on either side, one tells for all.
                let read = |y: usize, x: usize| {
                    self.input.place(
                        c,
                        y * strides[0] + reach[0] - pads[0],
                        x * strides[1] + reach[1] - pads[1],
                    )
                };
                let (input, output) = (read(top, first), self.output.place(o, top, first));
                let last = (read(bottom - 1, end - 1), self.output.place(o, bottom - 1, end - 1));
                if (input.vector, output.vector) == (last.0.vector, last.1.vector) {
                    mark(output.vector, input.vector, (input.slot + length - output.slot) % period);
                    continue;
                }
            }
            for y in 0..out_h {
                let row = (y * strides[0] + reach[0]).checked_sub(pads[0]).filter(|&row| row < in_h);
                let Some(row) = row else { continue };
                let mut x = first;
                while x < end {
                    let input = self.input.place(c, row, x * strides[1] + reach[1] - pads[1]);
                    let output = self.output.place(o, y, x);
                    mark(output.vector, input.vector, (input.slot + length - output.slot) % period);
                    x += match steps[0] == steps[1] {
                        true => {
                            stays(input, steps[0], period).min(stays(output, steps[1], self.output.period))
                        }
                        false => 1,
                    };
                }
            }
        }
    }
}

/// What of each pair of vectors has been seen. Entries that follow one another mostly belong to the
/// same pair.
struct Seen {
    period: usize,
    /// By pair, in the order of their first entries.
    flags: Vec<((usize, usize), Vec<bool>)>,
    places: HashMap<(usize, usize), usize>,
    last: usize,
}

impl Seen {
    fn new(period: usize) -> Self {
        Seen { period, flags: Vec::new(), places: HashMap::new(), last: 0 }
    }

    fn mark(&mut self, out: usize, vector: usize, rotation: usize) {
        let pair = (out, vector);
        if self.flags.get(self.last).is_none_or(|(last, _)| *last != pair) {
            self.last = *self.places.entry(pair).or_insert_with(|| {
                self.flags.push((pair, vec![false; self.period]));
                self.flags.len() - 1
            });
        }
        self.flags[self.last].1[rotation] = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    /// Runs of pixels give what all entries give, whatever the layouts are.
    #[test]
    fn runs_of_pixels_are_all_entries() {
        let dense = |shape, slots, period| Layout { period, ..Layout::dense(shape, slots) };
        let gapped = |shape: [usize; 3], gap, multiplex, plane, period| Layout {
            shape,
            gap: [gap; 2],
            multiplex,
            plane: [plane; 2],
            period,
            slots: 256,
        };
        for (weight, strides, pads, dilations, groups, input, output) in [
            ([4, 3, 3, 3], [1, 1], [1; 4], [1, 1], 1, dense([3, 12, 12], 64, 64), dense([4, 12, 12], 64, 64)),
            (
                [4, 3, 3, 2],
                [2, 1],
                [0, 1, 2, 0],
                [1, 2],
                1,
                dense([3, 11, 9], 64, 64),
                dense([4, 6, 8], 64, 32),
            ),
            (
                [4, 1, 3, 3],
                [2, 2],
                [1; 4],
                [1, 1],
                4,
                dense([4, 16, 16], 256, 256),
                gapped([4, 8, 8], 2, 1, 16, 256),
            ),
            (
                [4, 4, 1, 1],
                [2, 2],
                [0; 4],
                [1, 1],
                1,
                gapped([4, 8, 8], 2, 4, 16, 128),
                gapped([4, 4, 4], 4, 4, 16, 64),
            ),
            ([2, 3, 5, 5], [3, 2], [2; 4], [2, 1], 1, dense([3, 13, 10], 32, 32), dense([2, 3, 5], 32, 16)),
        ] {
            let mut consts = ConstPool::default();
            // Some taps are not there.
            let value = |i: usize| if i % 5 == 3 { 0.0 } else { i as f32 - 7.5 };
            let weight = consts.add(Tensor::from_fn(weight, value));
            let kind = LinearKind::Conv2d { weight, strides, pads, dilations, groups };
            let map = LinearMap::new(kind, input, output);
            map.validate(&consts).unwrap();
            let mut expected: BTreeMap<(usize, usize), Vec<bool>> = BTreeMap::new();
            map.for_each_slot_entry(&consts, |out, _, vector, rotation, _| {
                expected.entry((out, vector)).or_insert_with(|| vec![false; map.input.period])[rotation] =
                    true;
            });
            let found: BTreeMap<_, _> = map.conv_rotations(&consts).flags.into_iter().collect();
            assert_eq!(found, expected, "{map:?}");
            assert!(expected.len() > 1);
        }
    }
}
