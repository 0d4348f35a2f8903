//! Layouts: where the elements of a tensor sit in vectors of slots.
//!
//! A tensor `[C, H, W]` is first laid out along one line of positions, plane after plane:
//!
//! ```text
//! position(c, y, x) = (c / m) * PH * PW  +  (y * g + (c mod m) / g) * PW  +  x * g + (c mod m) mod g
//! ```
//!
//! with gap `g`, plane `PH x PW` and `m` channels multiplexed on each plane (`m = 1`, or up to
//! `g^2`). The line is cut into pieces of `period` positions; piece `v` is vector `v`, and inside a
//! vector of `slots` slots the piece repeats every `period` slots. Positions that no element takes
//! hold zero. One formula covers the field's packings:
//!
//! | packing | values |
//! |---|---|
//! | dense, channel after channel | `g = 1, m = 1, plane = H x W` |
//! | multiplexed after strides (Lee et al., ICML 2022) | `g = 2^k, m = g^2, plane = first plane` |
//! | one channel per ciphertext | `m = 1, period = PH * PW` |
//! | one pixel per ciphertext | `plane = H x W, period = 1` |

use thiserror::Error;

use crate::record_attr;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// `[channels, height, width]`; a vector of `F` features is `[F, 1, 1]`.
    pub shape: [usize; 3],
    /// Distance between neighbouring pixels of a channel, in both directions.
    pub gap: usize,
    /// Channels multiplexed on one plane: 1 to `gap^2`.
    pub multiplex: usize,
    /// Height and width allocated per plane.
    pub plane: [usize; 2],
    /// Positions per vector before its content repeats; a power of two.
    pub period: usize,
    /// Slots per vector; a power of two, at least `period`.
    pub slots: usize,
}

record_attr!(Layout { shape, gap, multiplex, plane, period, slots });

/// Numbers that describe no layout.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no valid layout, {reason}: {layout:?}")]
pub struct LayoutError {
    /// The rule that is broken.
    pub reason: &'static str,
    /// The numbers.
    pub layout: Layout,
}

/// Place of an element: vector and slot of its first copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the vector.
    pub vector: usize,
    /// Slot below the layout's period.
    pub slot: usize,
}

/// Largest tensor a layout describes, so that sizes from files cannot ask for the moon.
const MAX_ELEMENTS: usize = 1 << 28;

impl Layout {
    /// Channel after channel, row-major, in as few vectors as hold it: one whose content repeats
    /// with the smallest power of two that fits, or several full ones.
    pub fn dense(shape: [usize; 3], slots: usize) -> Self {
        let elements = shape.iter().product::<usize>().max(1);
        let period = elements.next_power_of_two().min(slots);
        Layout { shape, gap: 1, multiplex: 1, plane: [shape[1], shape[2]], period, slots }
    }

    /// Checks the rules that all other functions rely on.
    pub fn validate(&self) -> Result<(), LayoutError> {
        let error = |reason| Err(LayoutError { reason, layout: self.clone() });
        let [c, h, w] = self.shape;
        let [plane_h, plane_w] = self.plane;
        let small = |values: &[usize]| {
            values
                .iter()
                .try_fold(1usize, |p, &v| p.checked_mul(v))
                .is_some_and(|p| (1..=MAX_ELEMENTS).contains(&p))
        };
        if !small(&[c, h, w]) || !small(&[c, plane_h, plane_w]) || !small(&[self.slots]) {
            return error("sizes must be at least 1 and below 2^28");
        }
        if self.gap == 0
            || self.gap > MAX_ELEMENTS
            || self.multiplex == 0
            || self.multiplex > self.gap * self.gap
        {
            return error("gap must be at least 1 and multiplex at most gap^2");
        }
        let offset = self.multiplex.min(c) - 1;
        let bottom = (h - 1) * self.gap + offset / self.gap;
        let right = (w - 1) * self.gap + offset.min(self.gap - 1);
        if bottom >= plane_h || right >= plane_w {
            return error("the plane is too small for its pixels");
        }
        if !self.period.is_power_of_two() || !self.slots.is_power_of_two() || self.period > self.slots {
            return error("period and slots must be powers of two, period at most slots");
        }
        Ok(())
    }

    /// Elements of the tensor.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Positions taken along the line, gaps included.
    pub fn line_length(&self) -> usize {
        self.shape[0].div_ceil(self.multiplex) * self.plane[0] * self.plane[1]
    }

    /// Vectors needed.
    pub fn vectors(&self) -> usize {
        self.line_length().div_ceil(self.period)
    }

    /// Position of element `(c, y, x)` along the line.
    pub fn line_position(&self, c: usize, y: usize, x: usize) -> usize {
        let within = c % self.multiplex;
        let row = y * self.gap + within / self.gap;
        let column = x * self.gap + within % self.gap;
        (c / self.multiplex * self.plane[0] + row) * self.plane[1] + column
    }

    /// Where element `(c, y, x)` sits.
    pub fn place(&self, c: usize, y: usize, x: usize) -> Place {
        let position = self.line_position(c, y, x);
        Place { vector: position / self.period, slot: position % self.period }
    }

    /// Places of all elements in row-major order `(c, y, x)`.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let [c, h, w] = self.shape;
        (0..c).flat_map(move |c| (0..h).flat_map(move |y| (0..w).map(move |x| self.place(c, y, x))))
    }

    /// Puts row-major `elements` into vectors, every copy filled.
    ///
    /// # Panics
    /// If there are not [`Layout::elements`] of them.
    pub fn pack(&self, elements: &[f64]) -> Vec<Vec<f64>> {
        assert_eq!(elements.len(), self.elements(), "element count");
        let mut vectors = vec![vec![0.0; self.slots]; self.vectors()];
        for (place, &element) in self.places().zip(elements) {
            vectors[place.vector][place.slot] = element;
        }
        for vector in &mut vectors {
            for copy in 1..self.slots / self.period {
                vector.copy_within(..self.period, copy * self.period);
            }
        }
        vectors
    }

    /// Reads row-major elements from the first copy in each vector.
    ///
    /// # Panics
    /// If vectors are missing or too short.
    pub fn unpack(&self, vectors: &[Vec<f64>]) -> Vec<f64> {
        self.places().map(|place| vectors[place.vector][place.slot]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multiplexed() -> Layout {
        Layout { shape: [32, 16, 16], gap: 2, multiplex: 4, plane: [32, 32], period: 8192, slots: 16384 }
    }

    #[test]
    fn the_icml_2022_formula() {
        let layout = multiplexed();
        layout.validate().unwrap();
        // slot(c, h, w) = floor(c/g^2) Hg Wg + (h g + floor((c mod g^2)/g)) Wg + w g + (c mod g)
        for (c, y, x) in [(0, 0, 0), (1, 0, 0), (2, 3, 4), (7, 15, 15), (31, 15, 15)] {
            let expected = (c / 4) * 1024 + (y * 2 + (c % 4) / 2) * 32 + x * 2 + c % 2;
            assert_eq!(layout.place(c, y, x), Place { vector: 0, slot: expected });
        }
    }

    #[test]
    fn no_two_elements_share_a_slot_and_packing_round_trips() {
        let odd =
            Layout { shape: [5, 7, 9], gap: 3, multiplex: 7, plane: [21, 28], period: 256, slots: 1024 };
        for layout in [multiplexed(), odd, Layout::dense([8, 28, 28], 2048), Layout::dense([10, 1, 1], 64)] {
            layout.validate().unwrap();
            let mut places: Vec<Place> = layout.places().collect();
            places.sort();
            places.dedup();
            assert_eq!(places.len(), layout.elements());
            let elements: Vec<f64> = (0..layout.elements()).map(|i| i as f64 + 1.0).collect();
            let vectors = layout.pack(&elements);
            assert_eq!(vectors.len(), layout.vectors());
            assert_eq!(layout.unpack(&vectors), elements);
            let period = layout.period;
            assert!(vectors.iter().all(|v| (period..v.len()).all(|i| v[i] == v[i - period])));
        }
    }

    #[test]
    fn broken_rules_are_named() {
        let mut layout = multiplexed();
        layout.plane = [31, 32];
        assert_eq!(layout.validate().unwrap_err().reason, "the plane is too small for its pixels");
        let mut layout = multiplexed();
        layout.multiplex = 5;
        assert!(layout.validate().is_err());
        let mut layout = multiplexed();
        layout.shape = [usize::MAX, 2, 2];
        assert!(layout.validate().is_err());
    }
}
