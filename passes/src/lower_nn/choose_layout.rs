//! A layout for every tensor, by predicted cost.
//!
//! | | |
//! |---|---|
//! | Requires | a [`TensorProgram`] |
//! | Ensures  | operands of element-wise steps share a layout; every linear step has a fold |
//! | Fails    | if a tensor cannot be laid out in the slots at all |
//! | Method   | tensors tied by element-wise steps form classes; a first layout follows the network (the gap grows with strides on the planes of the input, allocated as they are, rounded up to powers of two, or with borders of zeros); then class after class takes the candidate that makes the linear maps around it cheapest, until nothing improves; the cheapest of the three starts wins; where the one with borders has regular maps, it is the only one |
//! | Tests    | `tests/filetests/lower_nn/choose_layout/`, `tests.rs` beside this file |
//!
//! Cost of a map: its rotations and diagonals at the best baby step and fold
//! ([`crate::analysis::linear_cost`]), at a nominal number of limbs, since levels are not known
//! yet. Candidates differ in gap, multiplexing, allocated plane and period: the smallest power of
//! two that holds the tensor (its copies fill the slots), or longer ones.

use std::collections::{BTreeSet, HashMap};

use fhec_ir::layout::Layout;
use fhec_ir::linear_map::{Beside, LinearKind, LinearMap};
use serde::{Deserialize, Serialize};

use super::LowerError;
use super::program::{Step, TensorId, TensorProgram};
use rayon::prelude::*;

use crate::analysis::cost::{CostTable, OpKind, RingShape};
use crate::analysis::linear_cost::{LinearCounts, LinearPrices, cheapest_baby_step, cheapest_fold};

/// Which layouts may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Packing {
    /// Whatever is cheapest.
    #[default]
    Auto,
    /// Channels interleaved in the gaps that strides leave; as few vectors as possible.
    Multiplexed,
    /// One channel per ciphertext.
    Channel,
    /// One pixel of one channel per ciphertext, and an image of a batch in each slot: nothing is
    /// rotated.
    Pixel,
}

/// Knobs of [`choose_layout`].
#[derive(Clone, Debug)]
pub struct LayoutOptions {
    /// Slots per vector: half the ring degree.
    pub slots: usize,
    /// Images of one run: with [`Packing::Pixel`] up to as many as there are slots.
    pub images: usize,
    /// Which layouts may be used.
    pub packing: Packing,
    /// Prices.
    pub costs: CostTable,
    /// Ring to price for.
    pub ring: RingShape,
    /// Limbs to price for.
    pub limbs: usize,
    /// What regular maps leave beside pictures, if there may be any; sums are multiplied by ones
    /// and zeros next.
    pub beside: Option<Beside>,
}

impl LayoutOptions {
    /// Defaults for vectors of `slots` slots: the middle of a chain of twenty primes.
    pub fn for_slots(slots: usize) -> Self {
        let ring = RingShape {
            log_n: slots.max(1).ilog2() + 1,
            special: 3,
            digit_limbs: 3,
            key_bits: 48,
            more_digits: 0,
        };
        LayoutOptions {
            slots,
            images: 1,
            packing: Packing::Auto,
            costs: CostTable::default(),
            ring,
            limbs: 12,
            beside: Some(Beside::Sums),
        }
    }
}

/// What [`choose_layout`] decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Layouts {
    /// Per tensor.
    pub layouts: Vec<Layout>,
    /// Per step; 1 where the step is not linear.
    pub folds: Vec<usize>,
    /// Per step: whether it is a regular map ([`LinearMap::regular`]).
    pub regular: Vec<Option<Beside>>,
    /// Per tensor: whether a regular map reads it or leaves sums in it, or in a tensor that shares
    /// its layout, so that slots that no element takes have to hold zero, masked or not.
    pub bordered: Vec<bool>,
    /// Predicted seconds of the linear maps.
    pub seconds: f64,
}

/// See the [module](self).
pub fn choose_layout(program: &TensorProgram, options: &LayoutOptions) -> Result<Layouts, LowerError> {
    let mut search = Search::new(program, options);
    let mut best: Option<(f64, Vec<Layout>)> = None;
    for start in [Start::Bordered, Start::Tight, Start::Rounded] {
        let mut layouts = search.first_layouts(start)?;
        if best.as_ref().is_some_and(|(_, layouts)| search.is_regular(layouts)) {
            // Other starts take minutes to price then, and are no match.
            break;
        }
        let seconds = search.improve(&mut layouts);
        if best.as_ref().is_none_or(|(least, _)| seconds < *least) {
            best = Some((seconds, layouts));
        }
    }
    let Some((seconds, by_class)) = best else { unreachable!("two starts were tried") };
    let layouts: Vec<Layout> =
        (0..program.tensors.len()).map(|tensor| by_class[search.class[tensor]].clone()).collect();
    let mut folds = vec![1; program.steps.len()];
    let mut regular = vec![None; program.steps.len()];
    let mut borders = vec![false; search.members.len()];
    for (index, (step, result)) in program.steps.iter().enumerate() {
        if let Step::Linear { x, kind } = step {
            let price = search.price(kind, &layouts[*x], &layouts[*result]);
            (folds[index], regular[index]) = (price.fold, price.regular);
            borders[search.class[*x]] |= price.regular.is_some();
            borders[search.class[*result]] |= price.regular == Some(Beside::Sums);
        }
    }
    let bordered = search.class.iter().map(|&class| borders[class]).collect();
    Ok(Layouts { layouts, folds, regular, bordered, seconds })
}

/// How planes are allocated at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// As they are.
    Tight,
    /// Rounded up to powers of two.
    Rounded,
    /// With borders of zeros, where tensors take several vectors.
    Bordered,
}

/// Up to so many vectors are always worth a look.
const MANY_VECTORS: usize = 64;

/// A linear step between two classes.
struct Edge<'a> {
    kind: &'a LinearKind,
    from: usize,
    to: usize,
}

/// What the price of a map depends on: shapes, and the weights themselves only where some are zero.
#[derive(PartialEq, Eq, Hash)]
struct PriceKey {
    numbers: Vec<usize>,
    input: Layout,
    output: Layout,
}

struct Search<'a> {
    program: &'a TensorProgram,
    options: &'a LayoutOptions,
    prices: LinearPrices,
    /// Class of each tensor.
    class: Vec<usize>,
    /// One tensor of each class.
    members: Vec<TensorId>,
    /// Whether a class must be dense, because a view reads it under another shape.
    dense_only: Vec<bool>,
    edges: Vec<Edge<'a>>,
    /// Seconds of the element-wise steps of each class, per vector.
    elementwise: Vec<f64>,
    has_zeros: Vec<bool>,
    /// By constant, and by tap where it is the weight of a convolution: how many of its numbers are
    /// not zero.
    used: Vec<Vec<usize>>,
    memo: HashMap<PriceKey, Price>,
}

/// The cheapest way to do a map.
#[derive(Clone, Copy, Debug)]
struct Price {
    fold: usize,
    regular: Option<Beside>,
    seconds: f64,
}

impl<'a> Search<'a> {
    fn new(program: &'a TensorProgram, options: &'a LayoutOptions) -> Self {
        let (class, members) = classes(program);
        let prices = LinearPrices::at(&options.costs, options.ring, options.limbs);
        let seconds = |kind| options.costs.seconds(options.ring, kind, options.limbs, 2);
        let encode = options.costs.encode(options.ring, options.limbs, 1);
        let product = options.costs.key_switch(options.ring, options.limbs) + seconds(OpKind::Rescale);
        let mut dense_only = vec![false; members.len()];
        let mut elementwise = vec![0.0; members.len()];
        let mut edges = Vec::new();
        for (step, result) in &program.steps {
            let to = class[*result];
            match step {
                Step::Linear { x, kind } => edges.push(Edge { kind, from: class[*x], to }),
                Step::View { x } => {
                    dense_only[class[*x]] = true;
                    dense_only[to] = true;
                }
                Step::Polynomial { polynomial, .. } => {
                    let runs = options.costs.of_runs("polynomial");
                    elementwise[to] += runs * product * (polynomial.degree() as f64).sqrt() * 2.0;
                }
                Step::Mul { .. } => elementwise[to] += product,
                Step::Add { .. } | Step::Sub { .. } => elementwise[to] += seconds(OpKind::Add),
                Step::AddPlain { .. } => elementwise[to] += seconds(OpKind::Add) + encode,
                Step::MulPlain { .. } => elementwise[to] += seconds(OpKind::Rescale) + encode,
                Step::MulScalar { .. } => elementwise[to] += seconds(OpKind::Rescale),
            }
        }
        let has_zeros = program.consts.iter().map(|(_, tensor)| tensor.data().contains(&0.0)).collect();
        let used = program.consts.iter().map(|(_, tensor)| {
            let taps = if let [_, _, h, w] = tensor.shape() { h * w } else { 1 };
            let mut used = vec![0; taps];
            tensor.data().iter().enumerate().for_each(|(i, &x)| used[i % taps] += usize::from(x != 0.0));
            used
        });
        let (used, memo) = (used.collect(), HashMap::new());
        Search {
            program,
            options,
            prices,
            class,
            members,
            dense_only,
            edges,
            elementwise,
            has_zeros,
            used,
            memo,
        }
    }

    fn shape(&self, class: usize) -> [usize; 3] {
        self.program.tensors[self.members[class]].shape
    }

    fn error(&self, class: usize, reason: String) -> LowerError {
        // Of the tensors that share the layout, the first that has a name.
        let tensors = self.program.tensors.iter().zip(&self.class);
        let name = tensors.filter(|(_, of)| **of == class).find_map(|(tensor, _)| tensor.name.clone());
        let value = name.unwrap_or_else(|| format!("tensor {}", self.members[class]));
        LowerError { op: "layout".into(), value, node: None, reason }
    }

    /// A layout per class that follows the network from its inputs.
    fn first_layouts(&self, start: Start) -> Result<Vec<Layout>, LowerError> {
        let mut layouts: Vec<Option<Layout>> = vec![None; self.members.len()];
        for &input in &self.program.inputs {
            let class = self.class[input];
            layouts[class].get_or_insert(self.fresh(class, start)?);
        }
        for (step, result) in &self.program.steps {
            let class = self.class[*result];
            if layouts[class].is_some() {
                continue;
            }
            let operand = layouts[self.class[step.operands()[0]]].clone();
            let following = match (step, &operand) {
                (Step::Linear { kind, .. }, Some(operand)) => self.following(class, kind, operand),
                _ => None,
            };
            let allowed = following.filter(|_| !self.dense_only[class]);
            layouts[class] = Some(match allowed {
                Some(layout) => layout,
                None => self.fresh(class, start)?,
            });
        }
        layouts
            .into_iter()
            .enumerate()
            .map(|(class, layout)| match layout {
                Some(layout) => Ok(layout),
                None => self.fresh(class, start),
            })
            .collect()
    }

    /// A layout that looks at nothing else.
    fn fresh(&self, class: usize, start: Start) -> Result<Layout, LowerError> {
        let shape = self.shape(class);
        if self.options.packing == Packing::Pixel {
            return self.pixelwise(class);
        }
        if self.options.packing == Packing::Channel
            && !self.dense_only[class]
            && let Some(layout) = self.channelwise(shape, [1; 2], [shape[1], shape[2]])
        {
            return Ok(layout);
        }
        if start == Start::Bordered
            && !self.dense_only[class]
            && let Some(layout) = self.bordered(shape, self.border(class))
        {
            return Ok(layout);
        }
        let plane = if start == Start::Rounded && !self.dense_only[class] {
            [shape[1].next_power_of_two(), shape[2].next_power_of_two()]
        } else {
            [shape[1], shape[2]]
        };
        let layout = self
            .packed(shape, [1; 2], 1, plane)
            .or_else(|| self.packed(shape, [1; 2], 1, [shape[1], shape[2]]));
        layout.ok_or_else(|| self.error(class, format!("a tensor of shape {shape:?} cannot be laid out")))
    }

    /// The layout that a map from `operand` yields without moving pixels: strides widen the gap.
    fn following(&self, class: usize, kind: &LinearKind, operand: &Layout) -> Option<Layout> {
        if self.options.packing == Packing::Pixel {
            return None;
        }
        let shape @ [channels, height, width] = self.shape(class);
        if (height, width) == (1, 1) {
            return None;
        }
        let gap = match kind {
            LinearKind::Conv2d { strides, .. } => wider(operand.gap, *strides)?,
            LinearKind::Place { .. } => operand.gap,
            LinearKind::ConvTranspose2d { strides, .. } => narrower(operand.gap, *strides)?,
            LinearKind::AxisMatrices { .. } => match operand.shape {
                [_, from, across] if [from, across] == [height, width] => operand.gap,
                [_, from, across] if height % from == 0 && height / from * across == width => {
                    narrower(operand.gap, [height / from; 2])?
                }
                _ => return None,
            },
            _ => return None,
        };
        match self.options.packing {
            Packing::Channel => self.channelwise(shape, gap, operand.plane),
            _ => self.packed(shape, gap, gap[0].checked_mul(gap[1])?.min(channels), operand.plane),
        }
    }

    /// The layout with the smallest period that holds the line, if it is valid.
    fn packed(
        &self,
        shape: [usize; 3],
        gap: [usize; 2],
        multiplex: usize,
        plane: [usize; 2],
    ) -> Option<Layout> {
        let slots = self.options.slots;
        let mut layout = Layout { shape, gap, multiplex, plane, period: 1, slots };
        layout.validate().ok()?;
        layout.period = layout.line_length().checked_next_power_of_two()?.min(slots);
        Some(layout)
    }

    /// One plane per vector with a border of `border` pixels, channels innermost: as many as there
    /// is room for. None where a vector holds whole tensors, or where borders take more than a
    /// third of the vectors.
    fn bordered(&self, shape: [usize; 3], border: usize) -> Option<Layout> {
        let slots = self.options.slots;
        let [height, width] = [shape[1], shape[2]].map(|length| (length + border).next_power_of_two());
        let channels = slots / height.checked_mul(width)?;
        if !self.has_borders() || channels == 0 || shape[0] < channels {
            return None;
        }
        let plane = [height, width * channels];
        let layout = Layout { shape, gap: [1, channels], multiplex: channels, plane, period: slots, slots };
        // Bootstraps, which nobody prices here, are as many as vectors.
        let tight = shape.iter().product::<usize>().div_ceil(slots);
        let few = layout.validate().is_ok() && 3 * layout.vectors() <= 4 * tight;
        few.then_some(layout)
    }

    /// Whether there may be planes with borders: packings that are asked for are those of others.
    fn has_borders(&self) -> bool {
        self.options.packing == Packing::Auto && self.options.beside.is_some()
    }

    /// How far the taps of convolutions that read or make a class reach beyond the picture, in
    /// pixels.
    fn border(&self, class: usize) -> usize {
        let reach = |edge: &Edge<'_>| match edge.kind {
            LinearKind::Conv2d { pads, .. } => pads.iter().copied().max().unwrap_or(0),
            _ => 0,
        };
        let around = self.edges.iter().filter(|edge| edge.from == class || edge.to == class);
        around.map(reach).max().unwrap_or(0)
    }

    /// One channel per vector: its plane, rounded up to a power of two, is the period.
    fn channelwise(&self, shape: [usize; 3], gap: [usize; 2], plane: [usize; 2]) -> Option<Layout> {
        let plane = plane.map(usize::next_power_of_two);
        let period = plane[0] * plane[1];
        let slots = self.options.slots;
        let layout = Layout { shape, gap, multiplex: 1, plane, period: period.min(slots), slots };
        (period <= slots && layout.validate().is_ok()).then_some(layout)
    }

    /// One element per vector; its copies are the images of the batch.
    fn pixelwise(&self, class: usize) -> Result<Layout, LowerError> {
        let shape @ [_, height, width] = self.shape(class);
        let slots = self.options.slots;
        if self.options.images > slots {
            let reason = format!("{} images do not fit {slots} slots", self.options.images);
            return Err(self.error(class, reason));
        }
        Ok(Layout { shape, gap: [1; 2], multiplex: 1, plane: [height, width], period: 1, slots })
    }

    /// Layouts worth trying for a class, given the current ones.
    fn candidates(&self, class: usize, layouts: &[Layout]) -> Vec<Layout> {
        let shape @ [channels, height, width] = self.shape(class);
        let current = layouts[class].clone();
        if self.dense_only[class] || matches!(self.options.packing, Packing::Channel | Packing::Pixel) {
            return vec![current];
        }
        let tight = [height, width];
        let rounded = tight.map(usize::next_power_of_two);
        let mut candidates = vec![current.clone()];
        let mut offer = |layout: Option<Layout>| candidates.extend(layout);
        offer(self.packed(shape, [1; 2], 1, tight));
        offer(self.packed(shape, [1; 2], 1, rounded));
        offer(self.bordered(shape, self.border(class)));
        let followed = self.edges.iter().filter(|edge| edge.to == class);
        for layout in followed.filter_map(|edge| self.following(class, edge.kind, &layouts[edge.from])) {
            let (gap, plane) = (layout.gap, layout.plane);
            offer(Some(layout));
            if gap != [1, 1] && self.options.packing == Packing::Auto && channels > 1 {
                offer(self.packed(shape, gap, 1, plane));
            }
        }
        // Longer periods: fewer copies, which a map fills more cheaply and the next one reads less
        // cheaply.
        let mut longer = Vec::new();
        for edge in self.edges.iter().filter(|edge| edge.to == class) {
            for layout in &candidates {
                let period = layouts[edge.from].period;
                if period > layout.period && layout.vectors() == 1 {
                    longer.push(Layout { period, ..layout.clone() });
                }
            }
        }
        candidates.extend(longer);
        // Far more vectors are never made up for, and take long to price.
        let most = (4 * current.vectors()).max(MANY_VECTORS);
        candidates.retain(|candidate| candidate.vectors() <= most);
        let mut seen = BTreeSet::new();
        candidates.retain(|layout| seen.insert(format!("{layout:?}")));
        candidates
    }

    /// Improves class after class; returns the cost reached.
    fn improve(&mut self, layouts: &mut [Layout]) -> f64 {
        const MAX_SWEEPS: usize = 4;
        for _ in 0..MAX_SWEEPS {
            let mut changed = false;
            for class in 0..self.members.len() {
                let mut best = (self.around(class, layouts), layouts[class].clone());
                let mut candidates = self.candidates(class, layouts);
                candidates.retain(|candidate| self.least_around(class, candidate, layouts) < best.0);
                self.price_all(class, &candidates, layouts);
                for candidate in candidates {
                    layouts[class] = candidate;
                    let cost = self.around(class, layouts);
                    // A hair's breadth is no reason to move: sums in another order must not matter.
                    if cost < best.0 * (1.0 - 1e-9) {
                        best = (cost, layouts[class].clone());
                        changed = true;
                    }
                }
                layouts[class] = best.1;
            }
            if !changed {
                break;
            }
        }
        let kinds: Vec<_> = self.edges.iter().map(|edge| (edge.kind, edge.from, edge.to)).collect();
        let linear: f64 = kinds
            .into_iter()
            .map(|(kind, from, to)| self.price(kind, &layouts[from], &layouts[to]).seconds)
            .sum();
        let elementwise = self.elementwise.iter().zip(layouts.iter());
        linear + elementwise.map(|(seconds, layout)| seconds * layout.vectors() as f64).sum::<f64>()
    }

    /// Cost of everything that a class's layout changes.
    fn around(&mut self, class: usize, layouts: &[Layout]) -> f64 {
        let touching = |edge: &&Edge| edge.from == class || edge.to == class;
        let edges: Vec<_> =
            self.edges.iter().filter(touching).map(|edge| (edge.kind, edge.from, edge.to)).collect();
        let linear: f64 = edges
            .into_iter()
            .map(|(kind, from, to)| self.price(kind, &layouts[from], &layouts[to]).seconds)
            .sum();
        linear + self.elementwise[class] * layouts[class].vectors() as f64
    }

    /// What [`Self::around`] would be at least with another layout of the class.
    fn least_around(&self, class: usize, candidate: &Layout, layouts: &[Layout]) -> f64 {
        let layout = |of: usize| if of == class { candidate } else { &layouts[of] };
        let edges = self.edges.iter().filter(|edge| edge.from == class || edge.to == class);
        let linear: f64 = edges.map(|edge| self.least(edge.kind, layout(edge.from), layout(edge.to))).sum();
        linear + self.elementwise[class] * candidate.vectors() as f64
    }

    /// Whether a map between these layouts is regular.
    fn is_regular(&self, layouts: &[Layout]) -> bool {
        self.has_borders()
            && self.edges.iter().any(|edge| {
                let (input, output) = (layouts[edge.from].clone(), layouts[edge.to].clone());
                LinearMap::new(edge.kind.clone(), input, output).irregularity(&self.program.consts).is_none()
            })
    }

    /// What a map costs at least, told without its rotations, which are slow to find where tensors
    /// take many vectors: a product for every weight at every pixel, as many at a time as there are
    /// slots before vectors repeat.
    fn least(&self, kind: &LinearKind, input: &Layout, output: &Layout) -> f64 {
        if let Some(price) = self.memo.get(&self.key(kind, input, output)) {
            return price.seconds;
        }
        let consts = &self.program.consts;
        let entries: usize = match kind {
            LinearKind::Conv2d { weight, strides, pads, dilations, .. } => {
                let map = LinearMap::new(kind.clone(), input.clone(), output.clone());
                let &[.., kernel_h, kernel_w] = consts[*weight].shape() else { return 0.0 };
                if map.irregularity(consts).is_none() {
                    return 0.0;
                }
                // Pixels of the result whose tap falls on one of the operand.
                let met = |axis: usize, tap: usize| {
                    let [length, results] = [input.shape[axis + 1], output.shape[axis + 1]];
                    let place = |pixel: usize| pixel * strides[axis] + tap * dilations[axis];
                    let falls = |pixel: &usize| (pads[axis]..pads[axis] + length).contains(&place(*pixel));
                    (0..results).filter(falls).count()
                };
                let (rows, columns): (Vec<_>, Vec<_>) = (
                    (0..kernel_h).map(|tap| met(0, tap)).collect(),
                    (0..kernel_w).map(|tap| met(1, tap)).collect(),
                );
                let pixels =
                    (0..kernel_h * kernel_w).map(|tap| rows[tap / kernel_w] * columns[tap % kernel_w]);
                self.used[weight.index()].iter().zip(pixels).map(|(used, pixels)| used * pixels).sum()
            }
            LinearKind::Dense { weight } => self.used[weight.index()].iter().sum::<usize>(),
            _ => return 0.0,
        };
        let length = input.period.max(output.period);
        let counts = LinearCounts { diagonals: entries / length, ..LinearCounts::default() };
        // Images of a batch may share diagonals, which are shorter then.
        let groups = if let LinearKind::Conv2d { groups, .. } = kind { *groups } else { 1 };
        self.prices.seconds(&counts, (length / groups).max(2))
    }

    /// Prices all maps that the candidates for a class touch, on all threads.
    fn price_all(&mut self, class: usize, candidates: &[Layout], layouts: &[Layout]) {
        let mut unknown: HashMap<PriceKey, &LinearKind> = HashMap::new();
        for candidate in candidates {
            let layout = |of: usize| if of == class { candidate } else { &layouts[of] };
            for edge in self.edges.iter().filter(|edge| edge.from == class || edge.to == class) {
                let key = self.key(edge.kind, layout(edge.from), layout(edge.to));
                if !self.memo.contains_key(&key) {
                    unknown.insert(key, edge.kind);
                }
            }
        }
        let unknown: Vec<(PriceKey, &LinearKind)> = unknown.into_iter().collect();
        let priced = unknown.into_par_iter().map(|(key, kind)| {
            let price = self.computed(kind, &key.input, &key.output);
            (key, price)
        });
        let priced: Vec<(PriceKey, Price)> = priced.collect();
        self.memo.extend(priced);
    }

    /// The price of one map.
    fn price(&mut self, kind: &LinearKind, input: &Layout, output: &Layout) -> Price {
        let key = self.key(kind, input, output);
        if let Some(&known) = self.memo.get(&key) {
            return known;
        }
        let price = self.computed(kind, input, output);
        self.memo.insert(key, price);
        price
    }

    fn key(&self, kind: &LinearKind, input: &Layout, output: &Layout) -> PriceKey {
        PriceKey { numbers: self.kind_numbers(kind), input: input.clone(), output: output.clone() }
    }

    /// [`Self::price`], computed anew.
    fn computed(&self, kind: &LinearKind, input: &Layout, output: &Layout) -> Price {
        let consts = &self.program.consts;
        let mut map = LinearMap::new(kind.clone(), input.clone(), output.clone());
        if self.has_borders() && map.irregularity(consts).is_none() {
            // Of as many products as any other, and each of a fraction of the numbers.
            map.regular = self.options.beside;
            let (_, counts) = cheapest_baby_step(
                &map.rotations(consts),
                input.period,
                map.diagonal_period(consts),
                &self.prices,
            );
            // A mask of its own follows where the map has none: a plaintext for every result.
            let masks = if map.leaves_sums(consts) && !map.is_masked(consts) { counts.outputs } else { 0 };
            let &LayoutOptions { ref costs, ring, limbs, .. } = self.options;
            let encoding = costs.encode(ring, limbs, masks);
            let seconds =
                self.prices.of_map(&map, consts, &counts) + masks as f64 * self.prices.mask + encoding;
            return Price { fold: 1, regular: map.regular, seconds };
        }
        let rotations = map.rotations(consts);
        let max_fold = (input.period / output.period).max(1);
        let diagonal = map.diagonal_period(consts);
        let (fold, seconds) =
            cheapest_fold(&rotations, (input.period, output.period), diagonal, max_fold, &self.prices);
        Price { fold, regular: None, seconds }
    }

    fn kind_numbers(&self, kind: &LinearKind) -> Vec<usize> {
        let mut numbers = match kind {
            LinearKind::Conv2d { strides, pads, dilations, groups, .. } => {
                [&[0][..], strides, pads, dilations, &[*groups]].concat()
            }
            LinearKind::Dense { .. } => vec![1],
            LinearKind::Place { channel_offset } => vec![2, *channel_offset],
            LinearKind::ConvTranspose2d { strides, pads, dilations, groups, output_padding, .. } => {
                [&[3][..], strides, pads, dilations, &[*groups], output_padding].concat()
            }
            LinearKind::AxisMatrices { axes, .. } => [&[4, axes.len()][..], axes].concat(),
            LinearKind::Transpose { shape, permutation } => {
                [&[5, shape.len()][..], shape, permutation].concat()
            }
        };
        for weight in kind.weights() {
            numbers.extend(self.program.consts[weight].shape());
            if self.has_zeros[weight.index()] {
                numbers.push(weight.index());
            }
        }
        numbers
    }
}

/// The gap of a result that takes every `strides`-th pixel.
fn wider([rows, columns]: [usize; 2], strides: [usize; 2]) -> Option<[usize; 2]> {
    Some([rows.checked_mul(strides[0])?, columns.checked_mul(strides[1])?])
}

/// The gap of a result that has `times` as many pixels along each side.
fn narrower(gap: [usize; 2], times: [usize; 2]) -> Option<[usize; 2]> {
    let fits = (0..2).all(|axis| times[axis] > 0 && gap[axis].is_multiple_of(times[axis]));
    fits.then(|| [gap[0] / times[0], gap[1] / times[1]])
}

/// Classes of tensors that must share a layout: class per tensor, and one tensor per class.
fn classes(program: &TensorProgram) -> (Vec<usize>, Vec<TensorId>) {
    let mut root: Vec<usize> = (0..program.tensors.len()).collect();
    fn find(root: &mut [usize], mut tensor: usize) -> usize {
        while root[tensor] != tensor {
            root[tensor] = root[root[tensor]];
            tensor = root[tensor];
        }
        tensor
    }
    for (step, result) in &program.steps {
        if !matches!(step, Step::Linear { .. } | Step::View { .. }) {
            for operand in step.operands() {
                let (a, b) = (find(&mut root, operand), find(&mut root, *result));
                root[a.max(b)] = a.min(b);
            }
        }
    }
    let (mut class, mut members) = (vec![0; root.len()], Vec::new());
    for tensor in 0..root.len() {
        let leader = find(&mut root, tensor);
        if leader == tensor {
            class[tensor] = members.len();
            members.push(tensor);
        } else {
            class[tensor] = class[leader];
        }
    }
    (class, members)
}
