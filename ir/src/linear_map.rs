//! Linear maps between packed tensors, described and not stored: weights plus input and output
//! layout.
//!
//! A map is a sparse matrix from input slots to output slots. Under encryption it is evaluated by
//! generalised diagonals (Halevi and Shoup, CRYPTO 2014): rotate the input by `d`, multiply by
//! diagonal `d`, add up.

mod apply;
mod plain_tensor;
mod regular;
mod rotations;
mod text_form;

use std::collections::BTreeMap;

pub use self::plain_tensor::PlainTensor;
pub use self::regular::CONSTANT_ROWS;
use crate::entity::Const;
use crate::layout::{Layout, Place};
use crate::nn::infer;
use crate::tensor::{ConstPool, element_count};

/// What a map computes on tensors.
#[derive(Clone, Debug, PartialEq)]
pub enum LinearKind {
    /// Cross-correlation, as `nn::Op::Conv2d` without bias.
    Conv2d {
        /// `[M, C / groups, KH, KW]`.
        weight: Const,
        /// `[h, w]`.
        strides: [usize; 2],
        /// `[top, left, bottom, right]`.
        pads: [usize; 4],
        /// `[h, w]`.
        dilations: [usize; 2],
        /// Channel groups.
        groups: usize,
    },
    /// `y = weight * flatten(x)` with `flatten` row-major over `(c, y, x)`.
    Dense {
        /// `[M, C H W]`.
        weight: Const,
    },
    /// `y(c + channel_offset, y, x) = x(c, y, x)`: another layout, or a part of a concatenation.
    Place {
        /// Channels of the output before the first copied one.
        channel_offset: usize,
    },
    /// The transpose of a convolution, as `nn::Op::ConvTranspose2d` without bias.
    ConvTranspose2d {
        /// `[C, M / groups, KH, KW]`.
        weight: Const,
        /// `[h, w]`.
        strides: [usize; 2],
        /// `[top, left, bottom, right]`.
        pads: [usize; 4],
        /// `[h, w]`.
        dilations: [usize; 2],
        /// Channel groups.
        groups: usize,
        /// `[h, w]`.
        output_padding: [usize; 2],
    },
    /// A matrix `[M, K]` along each of some of channels (0), height (1) and width (2).
    AxisMatrices {
        /// Each once.
        axes: Vec<usize>,
        /// Per axis.
        weights: Vec<Const>,
    },
    /// The row-major elements of a tensor of `shape` in another order of dimensions: dimension `i`
    /// of the result is dimension `permutation[i]`. Both layouts hold as many elements.
    Transpose {
        /// Of the operand.
        shape: Vec<usize>,
        /// A permutation of the dimensions.
        permutation: Vec<usize>,
    },
}

impl LinearKind {
    /// The constants that it is made from.
    pub fn weights(&self) -> Vec<Const> {
        match self {
            LinearKind::Conv2d { weight, .. }
            | LinearKind::Dense { weight }
            | LinearKind::ConvTranspose2d { weight, .. } => vec![*weight],
            LinearKind::AxisMatrices { weights, .. } => weights.clone(),
            LinearKind::Place { .. } | LinearKind::Transpose { .. } => Vec::new(),
        }
    }

    /// [`LinearKind::weights`], to be replaced.
    pub fn weights_mut(&mut self) -> Vec<&mut Const> {
        match self {
            LinearKind::Conv2d { weight, .. }
            | LinearKind::Dense { weight }
            | LinearKind::ConvTranspose2d { weight, .. } => vec![weight],
            LinearKind::AxisMatrices { weights, .. } => weights.iter_mut().collect(),
            LinearKind::Place { .. } | LinearKind::Transpose { .. } => Vec::new(),
        }
    }
}

/// A described linear map.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMap {
    /// What it computes.
    pub kind: LinearKind,
    /// Layout of its operand.
    pub input: Layout,
    /// Layout of its result.
    pub output: Layout,
    /// Partial sums: 1, or a power of two up to `input.period / output.period`. See
    /// [`LinearMap::fold_rotations`].
    pub fold: usize,
    /// Whether diagonals treat all pixels alike and read zeros beside the picture, instead of being
    /// zero there, and what becomes of the slots beside the picture of the result: a convolution
    /// between layouts with borders ([`LinearMap::irregularity`]).
    pub regular: Option<Beside>,
}

/// What a regular map leaves in slots that no element takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beside {
    /// Zeros, by a mask that shares the level with the diagonals: for levels of many bits
    /// ([`crate::diagonal::log2_mask`]).
    Zeros,
    /// Whatever taps read from elements nearby. Nothing may read it before it is multiplied away.
    Sums,
}

/// Diagonals of one pair of vectors, keyed by rotation. Diagonal `d` multiplies the operand rotated
/// left by `d`; slot `s` of the result takes `diagonal[s mod diagonal.len()]`.
pub type Diagonals = BTreeMap<usize, Vec<f64>>;

impl LinearMap {
    /// The map that fills every copy of its output by itself: `fold` is 1.
    pub fn new(kind: LinearKind, input: Layout, output: Layout) -> Self {
        LinearMap { kind, input, output, fold: 1, regular: None }
    }

    /// What completes a map with `fold` above 1: `for r in fold_rotations { y += rotate(y, r) }`,
    /// none for 1.
    ///
    /// A result that repeats every `output.period` slots below a longer `input.period` has many
    /// copies, and filling each of them by diagonals costs up to `input.period` of them. With
    /// `fold` F the op leaves each product in only one of F neighbouring copies, the one that its
    /// smallest rotation reaches, so at most `input.period / F` diagonals are left (`output.period`
    /// at full fold; the hybrid method of Juvekar et al., USENIX Security 2018). Its result repeats
    /// every `F * output.period` slots, and the copies add up to the map's value.
    pub fn fold_rotations(&self) -> impl Iterator<Item = usize> + use<> {
        let period = self.output.period;
        (0..self.fold.trailing_zeros()).map(move |i| period << i)
    }

    /// Checks layouts, weight shapes and that the shapes of both layouts are those of the map.
    pub fn validate(&self, consts: &ConstPool) -> Result<(), String> {
        self.input.validate().map_err(|e| format!("input: {e}"))?;
        self.output.validate().map_err(|e| format!("output: {e}"))?;
        if self.input.slots != self.output.slots {
            return Err("input and output layouts have different slot counts".into());
        }
        let fits = self.fold.checked_mul(self.output.period).is_some_and(|p| p <= self.input.period);
        if self.fold != 1 && !(self.fold.is_power_of_two() && fits) {
            return Err(format!(
                "fold {} is no power of two up to {}, the ratio of input and output period",
                self.fold,
                self.input.period / self.output.period
            ));
        }
        let weight_of = |id: Const| consts.get(id).ok_or_else(|| format!("constant {id} is not defined"));
        let [c, h, w] = self.input.shape;
        let expected = match &self.kind {
            LinearKind::Conv2d { weight, strides, pads, dilations, groups } => {
                let shape = weight_of(*weight)?.shape();
                let [m, c_per_group, kh, kw] = *shape else {
                    return Err(format!("conv2d weight {shape:?} needs 4 dimensions"));
                };
                if *groups == 0 || c_per_group.checked_mul(*groups) != Some(c) || m % groups != 0 {
                    return Err(format!("weight {shape:?} with {groups} groups does not fit {c} channels"));
                }
                let window = infer::window;
                let height = window(h, kh, strides[0], pads[0].saturating_add(pads[2]), dilations[0])?;
                [m, height, window(w, kw, strides[1], pads[1].saturating_add(pads[3]), dilations[1])?]
            }
            LinearKind::Dense { weight } => {
                let shape = weight_of(*weight)?.shape();
                match *shape {
                    [m, k] if k == c * h * w => [m, 1, 1],
                    _ => return Err(format!("weight {shape:?} does not fit {} inputs", c * h * w)),
                }
            }
            LinearKind::Place { channel_offset } => {
                let [channels, ..] = self.output.shape;
                if channel_offset.checked_add(c).is_none_or(|end| end > channels) {
                    return Err(format!(
                        "{c} channels at {channel_offset} leave the {channels} of the output"
                    ));
                }
                [channels, h, w]
            }
            LinearKind::ConvTranspose2d { weight, strides, pads, dilations, groups, output_padding } => {
                let weight = weight_of(*weight)?.shape();
                infer::conv_transpose(
                    self.input.shape,
                    weight,
                    *strides,
                    *pads,
                    *dilations,
                    *groups,
                    *output_padding,
                )?
            }
            LinearKind::AxisMatrices { axes, weights } => {
                let weights: Result<Vec<&[usize]>, String> =
                    weights.iter().map(|id| Ok(weight_of(*id)?.shape())).collect();
                let shape = infer::axis_matrices(&self.input.shape, axes, &weights?)?;
                <[usize; 3]>::try_from(shape).expect("matrices along dimensions leave as many")
            }
            LinearKind::Transpose { shape, permutation } => {
                let mut sorted = permutation.clone();
                sorted.sort_unstable();
                if !sorted.iter().copied().eq(0..shape.len()) {
                    return Err(format!("{permutation:?} is no permutation of {} dimensions", shape.len()));
                }
                let counts = [element_count(shape), element_count(&self.output.shape)];
                if counts != [element_count(&self.input.shape); 2] {
                    return Err(format!(
                        "{:?} and {:?} do not both have the elements of {shape:?}",
                        self.input.shape, self.output.shape
                    ));
                }
                self.output.shape
            }
        };
        if expected != self.output.shape {
            return Err(format!(
                "the map yields {expected:?}, the output layout says {:?}",
                self.output.shape
            ));
        }
        match self.regular.and_then(|_| self.irregularity(consts)) {
            Some(reason) => Err(format!("the map is not regular: {reason}")),
            None => Ok(()),
        }
    }

    /// Calls `visit(output element, input element, weight)` for every entry of the matrix, elements
    /// as `[c, y, x]`. Entries may repeat an element pair; they add up.
    pub fn for_each_entry(&self, consts: &ConstPool, mut visit: impl FnMut([usize; 3], [usize; 3], f64)) {
        let [channels, height, width] = self.input.shape;
        match &self.kind {
            LinearKind::Conv2d { weight, strides, pads, dilations, groups } => {
                let weight = &consts[*weight];
                let [m, c_per_group, kh, kw] = *weight.shape() else { return };
                let m_per_group = m / groups;
                let [_, out_h, out_w] = self.output.shape;
                for (index, &value) in weight.data().iter().enumerate() {
                    if value == 0.0 {
                        continue;
                    }
                    let (kx, ky) = (index % kw, index / kw % kh);
                    let (c, o) = (index / (kw * kh) % c_per_group, index / (kw * kh * c_per_group));
                    let c = o / m_per_group * c_per_group + c;
                    for y in 0..out_h {
                        let Some(in_y) = (y * strides[0] + ky * dilations[0]).checked_sub(pads[0]) else {
                            continue;
                        };
                        if in_y >= height {
                            continue;
                        }
                        for x in 0..out_w {
                            match (x * strides[1] + kx * dilations[1]).checked_sub(pads[1]) {
                                Some(in_x) if in_x < width => {
                                    visit([o, y, x], [c, in_y, in_x], f64::from(value))
                                }
                                _ => {}
                            }
                        }
                    }
                }
            }
            LinearKind::Dense { weight } => {
                let inputs = channels * height * width;
                for (index, &value) in consts[*weight].data().iter().enumerate() {
                    let (o, i) = (index / inputs, index % inputs);
                    visit([o, 0, 0], [i / (height * width), i / width % height, i % width], f64::from(value));
                }
            }
            LinearKind::Place { channel_offset } => {
                for index in 0..channels * height * width {
                    let [c, y, x] = [index / (height * width), index / width % height, index % width];
                    visit([c + channel_offset, y, x], [c, y, x], 1.0);
                }
            }
            LinearKind::ConvTranspose2d { weight, strides, pads, dilations, groups, .. } => {
                let weight = &consts[*weight];
                let [_, m_per_group, kh, kw] = *weight.shape() else { return };
                let [_, out_h, out_w] = self.output.shape;
                let place = |axis: usize, position: usize, tap: usize, length: usize| {
                    let place = (position * strides[axis] + tap * dilations[axis]).checked_sub(pads[axis]);
                    place.filter(|&place| place < length)
                };
                for (index, &value) in weight.data().iter().enumerate().filter(|(_, v)| **v != 0.0) {
                    let (kx, ky) = (index % kw, index / kw % kh);
                    let (o, c) = (index / (kw * kh) % m_per_group, index / (kw * kh * m_per_group));
                    let o = c / (channels / groups) * m_per_group + o;
                    for y in 0..height {
                        let Some(out_y) = place(0, y, ky, out_h) else { continue };
                        for x in 0..width {
                            if let Some(out_x) = place(1, x, kx, out_w) {
                                visit([o, out_y, out_x], [c, y, x], f64::from(value));
                            }
                        }
                    }
                }
            }
            LinearKind::AxisMatrices { axes, weights } => {
                // Entries `(row, column, weight)` of the matrix along each axis.
                let entries = |axis: usize| match axes.iter().position(|&other| other == axis) {
                    None => (0..self.input.shape[axis]).map(|i| (i, i, 1.0)).collect(),
                    Some(index) => {
                        let matrix = &consts[weights[index]];
                        let columns = self.input.shape[axis];
                        let entries = matrix.data().iter().enumerate().filter(|(_, w)| **w != 0.0);
                        entries.map(|(i, &w)| (i / columns, i % columns, f64::from(w))).collect()
                    }
                };
                let [along_channels, along_height, along_width]: [Vec<(usize, usize, f64)>; 3] =
                    [0, 1, 2].map(entries);
                for &(o, c, by_channel) in &along_channels {
                    for &(out_y, y, by_row) in &along_height {
                        for &(out_x, x, by_column) in &along_width {
                            visit([o, out_y, out_x], [c, y, x], by_channel * by_row * by_column);
                        }
                    }
                }
            }
            LinearKind::Transpose { shape, permutation } => {
                let strides = |axis: usize| shape[axis + 1..].iter().product::<usize>();
                let from: Vec<(usize, usize)> =
                    permutation.iter().map(|&axis| (shape[axis], strides(axis))).collect();
                let [_, out_h, out_w] = self.output.shape;
                for index in 0..self.output.elements() {
                    let (mut rest, mut source) = (index, 0);
                    for &(length, stride) in from.iter().rev() {
                        source += rest % length * stride;
                        rest /= length;
                    }
                    let output = [index / (out_h * out_w), index / out_w % out_h, index % out_w];
                    visit(output, [source / (height * width), source / width % height, source % width], 1.0);
                }
            }
        }
    }

    /// Length of a diagonal before it repeats: the larger of the two periods, or the share of it
    /// that an image of a batch takes.
    pub fn diagonal_period(&self, consts: &ConstPool) -> usize {
        if self.regular.is_some() {
            return self.regular_period();
        }
        self.length() / self.images_per_vector(consts)
    }

    /// Whether every slot is mapped by itself: no element meets another that is in the same vector.
    pub fn is_slotwise(&self) -> bool {
        self.length() == 1
    }

    /// The larger of the two periods.
    fn length(&self) -> usize {
        self.input.period.max(self.output.period)
    }

    /// How many images of a batch share a vector and have the same diagonals: groups of channels
    /// with the same weights that follow each other at the same distance in operand and result, and
    /// fill it.
    fn images_per_vector(&self, consts: &ConstPool) -> usize {
        match self.images(consts) {
            Some((_, line)) if line < self.input.period => self.input.period / line,
            _ => 1,
        }
    }

    /// How many times the same map is done, each time from the next vectors to the next ones: by
    /// images of a batch, as many as share a vector together.
    pub fn blocks(&self, consts: &ConstPool) -> usize {
        match self.images(consts) {
            Some((images, line)) if line < self.input.period => images * line / self.input.period,
            Some((images, _)) => images,
            None => 1,
        }
    }

    /// The groups of channels with the same weights, and the length of the line that one takes, in
    /// operand and result, if they fill whole vectors.
    fn images(&self, consts: &ConstPool) -> Option<(usize, usize)> {
        let LinearKind::Conv2d { weight, groups, .. } = &self.kind else { return None };
        if *groups == 1 || self.regular.is_some() || self.input.period != self.output.period || self.fold != 1
        {
            return None;
        }
        let (period, data) = (self.input.period, consts[*weight].data());
        let tiled = |images: usize| {
            let (first, rest) = data.split_at(data.len() / images);
            rest.chunks_exact(first.len().max(1)).all(|other| other == first)
        };
        // The line of one image, if that many are cut apart between planes.
        let line = |layout: &Layout, images: usize| {
            let whole = layout.shape[0].is_multiple_of(images * layout.multiplex);
            whole.then(|| layout.line_length() / images)
        };
        let found = |images: usize| {
            let (input, output) = (line(&self.input, images)?, line(&self.output, images)?);
            let fills = input * images == self.input.vectors() * period;
            let fits = input == output && (period.is_multiple_of(input) || input.is_multiple_of(period));
            (fills && fits && tiled(images)).then_some((images, input))
        };
        let divisors = (2..=*groups).rev().filter(|images| groups.is_multiple_of(*images));
        divisors.filter_map(found).next()
    }

    /// All non-zero diagonals, by `(output vector, input vector)`, each of
    /// [`LinearMap::diagonal_period`] elements. Every copy of the output is filled. What a regular
    /// map leaves beside the picture has to be masked ([`LinearMap::mask`]).
    pub fn diagonals(&self, consts: &ConstPool) -> BTreeMap<(usize, usize), Diagonals> {
        if self.regular.is_some() {
            return self.regular_diagonals(consts);
        }
        // By pair of vectors and rotation: entries are many, and come in no order.
        let inputs = self.input.vectors();
        let mut all: Vec<Vec<Option<Vec<f64>>>> = vec![Vec::new(); self.output.vectors() * inputs];
        let (length, period) = (self.length(), self.diagonal_period(consts));
        self.for_each_slot_entry(consts, |out, slot, vector, rotation, weight| {
            let diagonals = &mut all[out * inputs + vector];
            if diagonals.is_empty() {
                diagonals.resize(self.input.period, None);
            }
            diagonals[rotation].get_or_insert_with(|| vec![0.0; length])[slot] += weight;
        });
        let shortened = |mut diagonal: Vec<f64>| {
            debug_assert!(diagonal.chunks_exact(period).all(|part| part == &diagonal[..period]));
            diagonal.truncate(period);
            diagonal.shrink_to_fit();
            diagonal
        };
        let non_zero = |list: Vec<Option<Vec<f64>>>| {
            let numbered = list.into_iter().enumerate();
            let present = numbered.filter_map(|(rotation, diagonal)| Some((rotation, shortened(diagonal?))));
            present.filter(|(_, diagonal)| diagonal.iter().any(|&x| x != 0.0)).collect()
        };
        let pairs = all.into_iter().enumerate().filter(|(_, list)| !list.is_empty());
        pairs.map(|(index, list)| ((index / inputs, index % inputs), non_zero(list))).collect()
    }

    /// Copies of the output that take an entry whose positions differ by `difference` modulo the
    /// input period.
    fn copies_of(&self, difference: usize) -> impl Iterator<Item = usize> + use<> {
        let first = difference % (self.output.period * self.fold) / self.output.period;
        let copies = self.length() / self.output.period;
        // Without fold every copy takes it, whatever the first one is.
        (first % self.fold..copies).step_by(self.fold)
    }

    /// Visits `(output vector, output slot below the diagonal period, input vector, rotation,
    /// weight)`.
    fn for_each_slot_entry(
        &self,
        consts: &ConstPool,
        mut visit: impl FnMut(usize, usize, usize, usize, f64),
    ) {
        let [_, in_h, in_w] = self.input.shape;
        let [_, out_h, out_w] = self.output.shape;
        let length = self.length();
        // Places are looked up once per element, not once per entry.
        let inputs: Vec<Place> = self.input.places().collect();
        let outputs: Vec<Place> = self.output.places().collect();
        self.for_each_entry(consts, |[oc, oy, ox], [ic, iy, ix], weight| {
            let output = outputs[(oc * out_h + oy) * out_w + ox];
            let input = inputs[(ic * in_h + iy) * in_w + ix];
            for copy in self.copies_of((input.slot + length - output.slot) % self.input.period) {
                let slot = output.slot + copy * self.output.period;
                let rotation = (input.slot + length - slot) % self.input.period;
                visit(output.vector, slot, input.vector, rotation, weight);
            }
        });
    }

    /// The map on packed vectors with a fold above 1: its partial sums, slot by slot.
    fn apply_folded(&self, consts: &ConstPool, input: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut result = vec![vec![0.0; self.output.slots]; self.output.vectors()];
        self.for_each_slot_entry(consts, |out, slot, vector, rotation, weight| {
            result[out][slot] += weight * input[vector][(slot + rotation) % self.input.slots];
        });
        let period = self.length();
        for vector in &mut result {
            for copy in 1..self.output.slots / period {
                vector.copy_within(..period, copy * period);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn wave(shape: &[usize], seed: usize) -> Tensor {
        Tensor::from_fn(shape, |i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
    }

    /// Rotations and products must give what the direct evaluation gives, copies included.
    fn check(map: &LinearMap, consts: &ConstPool) {
        map.validate(consts).unwrap();
        let elements: Vec<f64> =
            wave(&[map.input.elements()], 3).data().iter().map(|&x| f64::from(x)).collect();
        let input = map.input.pack(&elements);
        let expected = map.apply(consts, &input);
        let slots = map.output.slots;
        let mut result = vec![vec![0.0; slots]; map.output.vectors()];
        for ((out, vector), diagonals) in map.diagonals(consts) {
            for (rotation, diagonal) in diagonals {
                for slot in 0..slots {
                    let rotated = input[vector][(slot + rotation) % slots];
                    result[out][slot] += rotated * diagonal[slot % diagonal.len()];
                }
            }
        }
        for (found, expected) in result.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-9);
        }
        for vector in &mut result {
            for rotation in map.fold_rotations() {
                let by = |slot: usize| (slot + rotation) % slots;
                *vector = (0..slots).map(|slot| vector[slot] + vector[by(slot)]).collect();
            }
        }
        let whole = LinearMap { fold: 1, ..map.clone() }.apply(consts, &input);
        // The definition, entry by entry; sums are in the same order.
        let [[_, in_h, in_w], [_, out_h, out_w]] = [map.input.shape, map.output.shape];
        let mut entrywise = vec![0.0; map.output.elements()];
        map.for_each_entry(consts, |[oc, oy, ox], [ic, iy, ix], weight| {
            entrywise[(oc * out_h + oy) * out_w + ox] += weight * elements[(ic * in_h + iy) * in_w + ix];
        });
        assert_eq!(map.output.pack(&entrywise), whole);
        for (found, expected) in result.iter().flatten().zip(whole.iter().flatten()) {
            assert!((found - expected).abs() < 1e-9);
        }
        // No weight of these tests is zero, so the predicted rotations are exactly those of the
        // diagonals.
        let found: BTreeMap<_, Vec<usize>> =
            map.diagonals(consts).into_iter().map(|(pair, d)| (pair, d.into_keys().collect())).collect();
        assert_eq!(map.rotations(consts), found);
    }

    #[test]
    fn diagonals_reproduce_the_map() {
        let mut consts = ConstPool::default();
        let weight = consts.add(wave(&[8, 4, 3, 3], 1));
        let kind = LinearKind::Conv2d { weight, strides: [2, 2], pads: [1; 4], dilations: [1; 2], groups: 1 };
        let input = Layout::dense([4, 16, 16], 2048);
        let multiplexed =
            Layout { shape: [8, 8, 8], gap: [2; 2], multiplex: 4, plane: [16, 16], period: 512, slots: 2048 };
        check(&LinearMap::new(kind.clone(), input.clone(), multiplexed), &consts);
        // Several vectors in and out, another dense layout.
        let narrow = Layout { period: 256, ..input };
        let output = Layout { period: 256, ..Layout::dense([8, 8, 8], 2048) };
        check(&LinearMap::new(kind, narrow, output), &consts);

        let grouped = consts.add(wave(&[6, 2, 2, 3], 5));
        let kind = LinearKind::Conv2d {
            weight: grouped,
            strides: [1, 2],
            pads: [0, 1, 1, 0],
            dilations: [2, 1],
            groups: 3,
        };
        let map = LinearMap::new(
            kind,
            Layout::dense([6, 9, 7], 1024),
            Layout { period: 1024, ..Layout::dense([6, 8, 3], 1024) },
        );
        check(&map, &consts);

        let dense = consts.add(wave(&[10, 48], 2));
        let map = LinearMap::new(
            LinearKind::Dense { weight: dense },
            Layout { shape: [12, 2, 2], gap: [2; 2], multiplex: 4, plane: [4, 4], period: 64, slots: 256 },
            Layout::dense([10, 1, 1], 256),
        );
        check(&map, &consts);

        let map = LinearMap::new(
            LinearKind::Place { channel_offset: 4 },
            Layout { shape: [12, 2, 2], gap: [2; 2], multiplex: 4, plane: [4, 4], period: 64, slots: 256 },
            Layout::dense([20, 2, 2], 256),
        );
        check(&map, &consts);
    }

    #[test]
    fn maps_that_grow_images_and_turn_tensors_are_reproduced() {
        let mut consts = ConstPool::default();
        let gaps =
            Layout { shape: [4, 5, 6], gap: [2; 2], multiplex: 4, plane: [10, 12], period: 128, slots: 2048 };
        for (groups, strides, dilations) in [(1, [2, 2], [1, 1]), (2, [1, 3], [2, 1])] {
            let weight = consts.add(wave(&[4, 3, 3, 2], groups));
            let kind = LinearKind::ConvTranspose2d {
                weight,
                strides,
                pads: [1, 0, 2, 1],
                dilations,
                groups,
                output_padding: [1, 0],
            };
            let grown = infer::conv_transpose(
                [4, 5, 6],
                &[4, 3, 3, 2],
                strides,
                [1, 0, 2, 1],
                dilations,
                groups,
                [1, 0],
            );
            for input in [gaps.clone(), Layout { period: 128, ..Layout::dense([4, 5, 6], 2048) }] {
                check(
                    &LinearMap::new(kind.clone(), input, Layout::dense(grown.clone().unwrap(), 2048)),
                    &consts,
                );
            }
        }
        let weights = vec![consts.add(wave(&[3, 6], 1)), consts.add(wave(&[7, 4], 2))];
        let kind = LinearKind::AxisMatrices { axes: vec![2, 0], weights };
        check(&LinearMap::new(kind, gaps.clone(), Layout::dense([7, 5, 3], 2048)), &consts);
        let kind = LinearKind::Transpose { shape: vec![2, 2, 5, 6], permutation: vec![2, 0, 3, 1] };
        check(&LinearMap::new(kind.clone(), gaps, Layout::dense([5, 12, 2], 2048)), &consts);
        let narrow = Layout { period: 32, ..Layout::dense([4, 5, 6], 2048) };
        check(&LinearMap::new(kind, narrow, Layout::dense([120, 1, 1], 2048)), &consts);
    }

    #[test]
    fn folded_maps_need_fewer_diagonals_and_sum_to_the_same() {
        let mut consts = ConstPool::default();
        let weight = consts.add(wave(&[10, 192], 2));
        let input =
            Layout { shape: [12, 4, 4], gap: [2; 2], multiplex: 4, plane: [8, 8], period: 256, slots: 512 };
        let kind = LinearKind::Dense { weight };
        for (fold, diagonals) in [(1, 256), (2, 128), (16, 16)] {
            let map = LinearMap {
                kind: kind.clone(),
                input: input.clone(),
                output: Layout::dense([10, 1, 1], 512),
                fold,
                regular: None,
            };
            check(&map, &consts);
            assert_eq!(map.rotations(&consts)[&(0, 0)].len(), diagonals);
        }
        let weight = consts.add(wave(&[8, 12, 3, 3], 1));
        let kind = LinearKind::Conv2d { weight, strides: [2; 2], pads: [1; 4], dilations: [1; 2], groups: 1 };
        let output =
            Layout { shape: [8, 2, 2], gap: [4; 2], multiplex: 16, plane: [8, 8], period: 64, slots: 512 };
        for fold in [1, 2, 4] {
            check(
                &LinearMap {
                    kind: kind.clone(),
                    input: input.clone(),
                    output: output.clone(),
                    fold,
                    regular: None,
                },
                &consts,
            );
        }
        let map = LinearMap { kind, input, output, fold: 8, regular: None };
        assert!(map.validate(&consts).unwrap_err().contains("fold 8"));
    }

    #[test]
    fn misfits_are_errors() {
        let mut consts = ConstPool::default();
        let weight = consts.add(wave(&[8, 4, 3, 3], 1));
        let kind = LinearKind::Conv2d { weight, strides: [2, 2], pads: [1; 4], dilations: [1; 2], groups: 1 };
        let map = LinearMap::new(kind, Layout::dense([4, 16, 16], 2048), Layout::dense([8, 9, 8], 2048));
        assert!(map.validate(&consts).unwrap_err().contains("yields [8, 8, 8]"));
    }
}
