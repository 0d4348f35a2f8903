//! Layouts: where the elements of a tensor sit in vectors of slots.
//!
//! A tensor `[C, H, W]` is first laid out along one line of positions, plane after plane:
//!
//! ```text
//! position(c, y, x) = (c / m) * PH * PW + (y * gh + (c mod m) / gw) * PW
//!                                       + x * gw + (c mod m) mod gw
//! ```
//!
//! with gap `gh x gw`, plane `PH x PW` and `m` channels multiplexed on each plane (`m = 1`, or up
//! to `gh * gw`). The line is cut into pieces of `period` positions; piece `v` is vector `v`, and
//! inside a vector of `slots` slots the piece repeats every `period` slots. Positions that no
//! element takes hold zero. One formula covers the field's packings:
//!
//! | packing | values |
//! |---|---|
//! | dense, channel after channel | `gh = gw = 1, m = 1, plane = H x W` |
//! | multiplexed after strides (Lee et al., ICML 2022) | `gh = gw = 2^k, m = gh * gw, plane = first plane` |
//! | channels innermost, a few per vector | `gh = 1, gw = m`, plane rounded up, `period = PH * PW` |
//! | one channel per ciphertext | `m = 1, period = PH * PW` |
//! | one pixel per ciphertext | `plane = H x W, period = 1` |

use thiserror::Error;

use crate::attr::{AsAttr, Attr, AttrError, Fields};

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// `[channels, height, width]`; a vector of `F` features is `[F, 1, 1]`.
    pub shape: [usize; 3],
    /// Distance between neighbouring pixels of a channel, along height and width.
    pub gap: [usize; 2],
    /// Channels multiplexed on one plane: 1 to the product of both gaps.
    pub multiplex: usize,
    /// Height and width allocated per plane.
    pub plane: [usize; 2],
    /// Positions per vector before its content repeats; a power of two.
    pub period: usize,
    /// Slots per vector; a power of two, at least `period`.
    pub slots: usize,
}

impl AsAttr for Layout {
    fn to_attr(&self) -> Option<Attr> {
        // One number where both gaps agree, as nearly everywhere.
        let gap = if self.gap[0] == self.gap[1] { self.gap[0].to_attr() } else { self.gap.to_attr() };
        let fields = [
            ("shape", self.shape.to_attr()),
            ("gap", gap),
            ("multiplex", self.multiplex.to_attr()),
            ("plane", self.plane.to_attr()),
            ("period", self.period.to_attr()),
            ("slots", self.slots.to_attr()),
        ];
        Some(Attr::Record(
            fields.into_iter().filter_map(|(name, attr)| Some((name.to_string(), attr?))).collect(),
        ))
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        let mut fields = Fields::of(attr)?;
        let shape = fields.take("shape")?;
        let Gap(gap) = fields.take("gap")?;
        let layout = Layout {
            shape,
            gap,
            multiplex: fields.take("multiplex")?,
            plane: fields.take("plane")?,
            period: fields.take("period")?,
            slots: fields.take("slots")?,
        };
        fields.finish()?;
        Ok(layout)
    }
}

/// One number for both directions, or one for each.
struct Gap([usize; 2]);

impl AsAttr for Gap {
    fn to_attr(&self) -> Option<Attr> {
        self.0.to_attr()
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match attr {
            Some(Attr::List(_)) => AsAttr::from_attr(attr).map(Gap),
            _ => usize::from_attr(attr).map(|gap| Gap([gap; 2])),
        }
    }
}

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
        Layout { shape, gap: [1; 2], multiplex: 1, plane: [shape[1], shape[2]], period, slots }
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
        let [gap_h, gap_w] = self.gap;
        if !small(&self.gap) || !(1..=gap_h * gap_w).contains(&self.multiplex) {
            return error("gaps must be at least 1 and multiplex at most their product");
        }
        let offset = self.multiplex.min(c) - 1;
        let bottom = (h - 1).saturating_mul(gap_h).saturating_add(offset / gap_w);
        let right = (w - 1).saturating_mul(gap_w).saturating_add(offset.min(gap_w - 1));
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
        let row = y * self.gap[0] + within / self.gap[1];
        let column = x * self.gap[1] + within % self.gap[1];
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
        Layout { shape: [32, 16, 16], gap: [2; 2], multiplex: 4, plane: [32, 32], period: 8192, slots: 16384 }
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
            Layout { shape: [5, 7, 9], gap: [3; 2], multiplex: 7, plane: [21, 28], period: 256, slots: 1024 };
        let innermost =
            Layout { shape: [6, 5, 3], gap: [1, 4], multiplex: 4, plane: [8, 16], period: 128, slots: 128 };
        for layout in
            [multiplexed(), odd, innermost, Layout::dense([8, 28, 28], 2048), Layout::dense([10, 1, 1], 64)]
        {
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
