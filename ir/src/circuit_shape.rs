//! Shapes of the big circuits as plain numbers: what a circuit will use, asked for by passes
//! (costs, keys, levels) and followed by the runtime that executes it.

use std::collections::{BTreeMap, BTreeSet};

use crate::linear_map::LinearMap;
use crate::tensor::ConstPool;

/// Baby-step giant-step shape of a linear map. Rotation `d` is done as baby step `d mod baby_step`
/// of the operand, then giant step `d - d mod baby_step` of a partial sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// A power of two.
    pub baby_step: usize,
    /// Baby rotations of every input vector (0, the vector itself, included where it is used).
    pub babies: BTreeMap<usize, BTreeSet<usize>>,
    /// Giant rotations of every output vector, each with its terms `(input vector, baby rotation)`.
    pub giants: BTreeMap<usize, BTreeMap<usize, Vec<(usize, usize)>>>,
}

impl LinearShape {
    /// The shape for a given baby step, from the map's rotations.
    pub fn new(rotations: &BTreeMap<(usize, usize), Vec<usize>>, baby_step: usize) -> Self {
        let mut shape = LinearShape { baby_step, babies: BTreeMap::new(), giants: BTreeMap::new() };
        for (&(output, input), list) in rotations {
            for &rotation in list {
                let baby = rotation % baby_step;
                shape.babies.entry(input).or_default().insert(baby);
                shape
                    .giants
                    .entry(output)
                    .or_default()
                    .entry(rotation - baby)
                    .or_default()
                    .push((input, baby));
            }
        }
        shape
    }

    /// The shape with the power of two as baby step that needs the least `baby_cost * babies +
    /// giant_cost * giants` rotations (the smaller step on a tie). Babies share one decomposition,
    /// so they are the cheaper ones.
    pub fn cheapest(
        rotations: &BTreeMap<(usize, usize), Vec<usize>>,
        period: usize,
        baby_cost: f64,
        giant_cost: f64,
    ) -> Self {
        let shapes = (0..=period.trailing_zeros()).map(|log| LinearShape::new(rotations, 1 << log));
        let cost = |shape: &LinearShape| {
            baby_cost * shape.baby_rotations() as f64 + giant_cost * shape.giant_rotations() as f64
        };
        let best = shapes.min_by(|a, b| cost(a).total_cmp(&cost(b)));
        best.unwrap_or_else(|| LinearShape::new(rotations, 1))
    }

    /// Shape of `map` at `baby_step`.
    pub fn of(map: &LinearMap, consts: &ConstPool, baby_step: usize) -> Self {
        LinearShape::new(&map.rotations(consts), baby_step)
    }

    /// Rotations of the operand: key switches that share a decomposition per input vector.
    pub fn baby_rotations(&self) -> usize {
        self.babies.values().flatten().filter(|&&rotation| rotation != 0).count()
    }

    /// Rotations of partial sums: one full key switch each.
    pub fn giant_rotations(&self) -> usize {
        self.giants.values().flat_map(BTreeMap::keys).filter(|&&rotation| rotation != 0).count()
    }

    /// Plaintext products.
    pub fn diagonals(&self) -> usize {
        self.giants.values().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// All rotations that need a key.
    pub fn rotation_set(&self) -> BTreeSet<usize> {
        let babies = self.babies.values().flatten().copied();
        let giants = self.giants.values().flat_map(BTreeMap::keys).copied();
        babies.chain(giants).filter(|&rotation| rotation != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::linear_map::LinearKind;
    use crate::tensor::Tensor;

    /// Counts for ResNet-20's layers, by exact enumeration of non-zero diagonals.
    #[test]
    fn rotations_of_resnet20_layers() {
        let count =
            |channels: [usize; 2], size: usize, kernel: usize, stride: usize, period: usize, gap: usize| {
                let mut consts = ConstPool::default();
                let weight = consts.add(Tensor::from_fn([channels[1], channels[0], kernel, kernel], |_| 1.0));
                let pad = kernel / 2;
                let kind = LinearKind::Conv2d {
                    weight,
                    strides: [stride; 2],
                    pads: [pad; 4],
                    dilations: [1; 2],
                    groups: 1,
                };
                let layout = |channels, gap: usize, period| Layout {
                    shape: [channels, 32 / gap, 32 / gap],
                    gap: [gap; 2],
                    multiplex: gap * gap,
                    plane: [32, 32],
                    period,
                    slots: 1 << 14,
                };
                assert_eq!(size, 32 / gap);
                let map = LinearMap {
                    kind,
                    input: layout(channels[0], gap, period),
                    output: layout(channels[1], gap * stride, period),
                    fold: 1,
                    regular: None,
                };
                map.validate(&consts).unwrap();
                let rotations = map.rotations(&consts);
                let shape = LinearShape::cheapest(&rotations, period, 1.0, 1.0);
                (shape.diagonals(), shape.baby_rotations() + shape.giant_rotations())
            };
        assert_eq!(count([16, 16], 32, 3, 1, 1 << 14, 1), (144, 23));
        assert_eq!(count([32, 32], 16, 3, 1, 1 << 13, 2), (392, 42));
        assert_eq!(count([64, 64], 8, 3, 1, 1 << 12, 4), (900, 60));
    }
}
