//! What becomes of every number of an output alike, such as the code that a quantised network has
//! for it.

use crate::record_attr;

/// `scale x + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// What a number is multiplied with.
    pub scale: f64,
    /// What is added then.
    pub offset: f64,
}

record_attr!(Affine { scale, offset });

impl Affine {
    /// Leaves numbers as they are.
    pub const IDENTITY: Affine = Affine { scale: 1.0, offset: 0.0 };

    /// Of one number.
    pub fn apply(self, x: f64) -> f64 {
        self.scale * x + self.offset
    }

    /// What `first` and then this one do.
    pub fn after(self, first: Affine) -> Affine {
        Affine { scale: self.scale * first.scale, offset: self.apply(first.offset) }
    }

    /// Whether the larger of two numbers stays the larger one. Zeros, infinities and NaN do not
    /// keep that.
    pub fn keeps_order(self) -> bool {
        self.scale.is_normal() && self.scale > 0.0 && self.offset.is_finite()
    }
}

impl Default for Affine {
    fn default() -> Self {
        Affine::IDENTITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::AsAttr;

    #[test]
    fn one_map_after_another_is_a_map() {
        let [codes, half] = [Affine { scale: 256.0, offset: -128.0 }, Affine { scale: 0.5, offset: 3.0 }];
        for x in [-1.0, 0.0, 0.25, 7.0] {
            assert_eq!(codes.after(half).apply(x), codes.apply(half.apply(x)), "{x}");
            assert_eq!(codes.after(Affine::IDENTITY).apply(x), codes.apply(x), "{x}");
        }
        assert_eq!(Affine::from_attr(codes.to_attr().as_ref()), Ok(codes));
    }

    #[test]
    fn maps_that_rise_keep_the_order() {
        let of = |scale, offset| Affine { scale, offset }.keeps_order();
        assert!(Affine::default().keeps_order() && of(256.0, -128.0));
        for (scale, offset) in [(-1.0, 0.0), (0.0, 1.0), (f64::NAN, 0.0), (f64::INFINITY, 0.0)] {
            assert!(!of(scale, offset), "{scale}");
        }
        assert!(!of(1.0, f64::NAN) && !of(1.0, f64::INFINITY));
    }
}
