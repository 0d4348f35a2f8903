//! The discrete Fourier transform between slots and coefficients, cut into a few sparse matrices
//! (Chen, Chillotti, Song, ePrint 2018/1043; Han, Hhan, Cheon, ePrint 2018/1073).
//!
//! With `n` slots the transform is `log2 n` levels of butterflies; level `l` combines slots `2^l`
//! apart within blocks of `2^(l+1)`. A matrix that covers levels `low..high` has diagonals at the
//! multiples of `2^low` below `2^high` in size, or, when it reaches the top level, at all
//! `2^(high-low)` multiples modulo `n`.

use crate::record_attr;
use crate::slot_mask::SlotMask;

/// One matrix of a transform: how many levels of butterflies it covers and how it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DftStep {
    /// Levels of butterflies.
    pub butterflies: u32,
    /// Diagonals that share a giant step, a power of two. Fewer mean fewer keys, more mean fewer
    /// key switches.
    pub baby_steps: u32,
}

record_attr!(DftStep { butterflies, baby_steps });

/// A matrix of a transform of `2^log_slots` slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DftMatrix {
    /// `log2` of the number of slots.
    pub log_slots: u32,
    /// Lowest level of butterflies.
    pub low: u32,
    /// One above the highest level of butterflies.
    pub high: u32,
    /// Slots to coefficients if false, coefficients to slots if true.
    pub inverse: bool,
    /// Diagonals that share a giant step.
    pub baby_steps: u32,
    /// Whether slot 0 of the operand counts half. For a matrix that starts at level 0.
    pub halves_first: bool,
    /// Slots of the operand that count; the others are taken for zero.
    pub mask: Option<SlotMask>,
}

impl DftMatrix {
    /// Distance between diagonals.
    pub fn stride(&self) -> usize {
        1 << self.low
    }

    /// Index of the first diagonal, in strides: 0 or below.
    fn first(&self) -> i64 {
        if self.high == self.log_slots { 0 } else { 1 - (1 << (self.high - self.low)) }
    }

    /// Number of diagonals.
    pub fn diagonals(&self) -> usize {
        let reach = 1 << (self.high - self.low);
        if self.high == self.log_slots { reach } else { 2 * reach - 1 }
    }

    /// Rotation to the left, in `0..slots`, of diagonal `index`.
    pub fn rotation(&self, index: usize) -> usize {
        self.wrap((self.first() + index as i64) * self.stride() as i64)
    }

    /// Period of diagonal `index`: that of the largest block or of the mask, but of all slots where
    /// one entry is halved.
    pub fn period(&self, index: usize) -> usize {
        // Slot 0 is on the main diagonal and on those that turn to the right.
        let halved = self.halves_first && self.first() + index as i64 <= 0;
        let period = 1 << if halved { self.log_slots } else { self.high };
        self.mask.map_or(period, |mask| period.max(mask.period()))
    }

    /// Periods of all diagonals, in their order.
    pub fn periods(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.diagonals()).map(|index| self.period(index))
    }

    /// Rotations of the operand.
    pub fn baby_rotations(&self) -> Vec<usize> {
        let babies = (self.baby_steps as usize).min(self.diagonals());
        (0..babies).map(|baby| self.rotation(baby)).collect()
    }

    /// The one rotation of partial sums: they are folded from the last giant step to the first by
    /// Horner's rule, so that all giant steps share a key.
    pub fn giant_rotation(&self) -> usize {
        self.baby_steps as usize * self.stride() % (1 << self.log_slots)
    }

    /// Number of partial sums; all but one are rotated.
    pub fn giant_steps(&self) -> usize {
        self.diagonals().div_ceil(self.baby_steps as usize)
    }

    /// All rotations that need a key.
    pub fn rotations(&self) -> Vec<usize> {
        let giant = (self.giant_steps() > 1).then(|| self.giant_rotation());
        self.baby_rotations().into_iter().chain(giant).filter(|&rotation| rotation != 0).collect()
    }

    fn wrap(&self, rotation: i64) -> usize {
        rotation.rem_euclid(1 << self.log_slots) as usize
    }
}
