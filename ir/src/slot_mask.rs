//! Masks of pictures on planes: which slots are kept, all others become zero.
//!
//! A plane fills a period of slots, row by row, and the picture its upper left corner. Strides
//! widen gaps and leave planes as they are, so the layers of a network share a mask or a few.

use crate::layout::Layout;
use crate::linear_map::PlainTensor;
use crate::record_attr;
use crate::tensor::{ConstPool, Tensor};

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotMask {
    /// Height and width of what is kept, in slots, from the upper left corner on.
    pub area: [usize; 2],
    /// Height and width of the plane, powers of two. Planes repeat over all slots.
    pub plane: [usize; 2],
}

record_attr!(SlotMask { area, plane });

/// Most masks that the bootstraps of one program have: each has matrices of its own.
pub const MOST_MASKS: usize = 8;

impl SlotMask {
    /// What keeps the pictures of `layout`, and zeros nothing but what lies beside them: where
    /// every vector is one plane, in powers of two.
    pub fn of_layout(layout: &Layout) -> Option<Self> {
        let Layout { shape: [_, height, width], gap, plane, period, .. } = *layout;
        let numbers = [gap, plane];
        let mask = SlotMask { area: [height * gap[0], width * gap[1]], plane };
        let fits = (0..2).all(|axis| mask.area[axis] <= plane[axis]);
        let powers = numbers.iter().flatten().all(|number| number.is_power_of_two());
        (powers && fits && plane[0] * plane[1] == period).then_some(mask)
    }

    /// The mask as a plaintext: ones at all channels that the vectors of `layout` have room for.
    /// `None` where [`SlotMask::of_layout`] is none.
    pub fn ones(layout: &Layout, consts: &mut ConstPool) -> Option<PlainTensor> {
        Self::of_layout(layout)?;
        let [_, height, width] = layout.shape;
        let multiplex = layout.gap[0] * layout.gap[1];
        let channels = layout.vectors() * multiplex;
        let layout = Layout { shape: [channels, height, width], multiplex, ..layout.clone() };
        let values = consts.add(Tensor::from_fn([channels], |_| 1.0));
        Some(PlainTensor { values, layout })
    }

    /// The mask that a product with `plain` is, if it is one: [`SlotMask::ones`].
    pub fn of_plain(plain: &PlainTensor, consts: &ConstPool) -> Option<Self> {
        let full = plain.layout.gap[0] * plain.layout.gap[1];
        let filled = plain.layout.multiplex == full && plain.layout.shape[0].is_multiple_of(full);
        let ones = filled && consts.get(plain.values)?.data().iter().all(|&value| value == 1.0);
        Self::of_layout(&plain.layout).filter(|_| ones)
    }

    /// Checks that this is a mask of vectors of `slots` slots.
    pub fn validate(&self, slots: usize) -> Result<(), String> {
        let sizes = self.plane.iter().zip(self.area);
        let fit = sizes.clone().all(|(plane, area)| plane.is_power_of_two() && (1..=*plane).contains(&area));
        let period = self.plane[0].checked_mul(self.plane[1]);
        if fit && period.is_some_and(|period| period <= slots) {
            return Ok(());
        }
        let ([area, plane], [rows, columns]) = ([self.area, self.plane], self.plane);
        Err(format!(
            "a mask keeps {area:?} of {plane:?}: planes are powers of two, {rows} by {columns} have to fit into {slots} slots, and areas into planes"
        ))
    }

    /// Slots after which the mask repeats; 1 if it keeps all.
    pub fn period(&self) -> usize {
        match (self.area[0] < self.plane[0], self.area[1] < self.plane[1]) {
            (true, _) => self.plane[0] * self.plane[1],
            (false, true) => self.plane[1],
            (false, false) => 1,
        }
    }

    /// Slots that are kept or not together: the mask is the same throughout every block of so many,
    /// a power of two.
    pub fn block(&self) -> usize {
        // Where an area ends, in slots of a row or of the plane.
        let ends = [self.area[0] * self.plane[1], self.area[1]];
        let cut = (0..2).filter(|&axis| self.area[axis] < self.plane[axis]);
        let blocks = cut.map(|axis| 1 << ends[axis].trailing_zeros());
        blocks.min().unwrap_or(self.plane[0] * self.plane[1])
    }

    /// Masks of rows and of columns alone whose product this is; those that keep all are left out.
    pub fn factors(&self) -> impl Iterator<Item = SlotMask> + use<> {
        let SlotMask { area, plane } = *self;
        let of_axis = move |axis: usize| {
            let mut all = plane;
            all[axis] = area[axis];
            SlotMask { area: all, plane }
        };
        (0..2).map(of_axis).filter(|factor| factor.period() > 1)
    }

    /// Whether a slot is kept.
    pub fn keeps(&self, slot: usize) -> bool {
        let [rows, columns] = self.plane;
        slot / columns % rows < self.area[0] && slot % columns < self.area[1]
    }

    /// Zeros the slots of a vector that are not kept.
    pub fn apply(&self, vector: &mut [f64]) {
        vector.iter_mut().enumerate().filter(|(slot, _)| !self.keeps(*slot)).for_each(|(_, x)| *x = 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(channels: usize, multiplex: usize) -> Layout {
        let shape = [channels, 3, 3];
        Layout { shape, gap: [2, 2], multiplex, plane: [8, 8], period: 64, slots: 128 }
    }

    /// Where all channels of a vector are taken the mask keeps what elements take, and a plaintext
    /// of ones is known as the mask.
    #[test]
    fn ones_are_masks() {
        let mut consts = ConstPool::default();
        let mask = SlotMask::of_layout(&layout(8, 4)).unwrap();
        assert_eq!(mask, SlotMask { area: [6, 6], plane: [8, 8] });
        for (channels, vectors) in [(8, 2), (6, 2), (3, 1)] {
            let plain = SlotMask::ones(&layout(channels, 4), &mut consts).unwrap();
            assert_eq!(SlotMask::of_plain(&plain, &consts), Some(mask));
            let packed = plain.pack(&consts);
            assert_eq!(packed.len(), vectors);
            for vector in packed {
                let mut kept = vec![1.0; 128];
                mask.apply(&mut kept);
                assert_eq!(vector, kept);
            }
        }
        // Not all channels, not all ones, not one plane.
        let plain = |value: f32, layout: Layout, consts: &mut ConstPool| {
            let values = consts.add(Tensor::from_fn([layout.shape[0]], |_| value));
            PlainTensor { values, layout }
        };
        for (value, layout) in [
            (1.0, layout(6, 4)),
            (1.0, layout(4, 1)),
            (0.5, layout(8, 4)),
            (1.0, Layout { period: 128, ..layout(8, 4) }),
            (1.0, Layout { plane: [6, 6], ..layout(8, 4) }),
        ] {
            let plain = plain(value, layout, &mut consts);
            assert_eq!(SlotMask::of_plain(&plain, &consts), None, "{plain:?}");
        }
    }

    #[test]
    fn masks_are_products_of_rows_and_columns() {
        for (area, blocks) in [([6, 6], vec![16, 2]), ([8, 5], vec![1]), ([4, 8], vec![32]), ([8, 8], vec![])]
        {
            let mask = SlotMask { area, plane: [8, 8] };
            mask.validate(64).unwrap();
            let factors: Vec<SlotMask> = mask.factors().collect();
            assert_eq!(factors.iter().map(SlotMask::block).collect::<Vec<_>>(), blocks);
            for slot in 0..256 {
                assert_eq!(mask.keeps(slot), factors.iter().all(|factor| factor.keeps(slot)));
                assert_eq!(mask.keeps(slot), mask.keeps(slot % mask.period()));
                assert_eq!(mask.keeps(slot), mask.keeps(slot / mask.block() * mask.block()));
            }
        }
        for (area, plane) in [([0, 4], [4, 4]), ([5, 4], [4, 4]), ([3, 3], [6, 4]), ([8, 8], [8, 16])] {
            assert!(SlotMask { area, plane }.validate(64).is_err());
        }
        assert!(SlotMask { area: [1, 1], plane: [usize::MAX / 2 + 1; 2] }.validate(64).is_err());
    }
}
