//! Instruction sets, as values that only detection can make.

use std::fmt;

/// An instruction set this processor has.
///
/// Holding an `Isa` is the proof that its instructions may be executed: apart from [`Isa::SCALAR`],
/// a value comes only out of [`Isa::detect`] or [`Isa::available`]. All sets give bit-identical
/// results, so the choice is one of speed alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(pub(super) Kind);

/// From slowest to fastest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Portable code with 128-bit products; the definition of every kernel.
    pub const SCALAR: Isa = Isa(Kind::Scalar);

    /// The fastest set of this processor.
    pub fn detect() -> Isa {
        *Self::available().last().expect("the scalar set is always available")
    }

    /// Every set of this processor, from the slowest (always [`Isa::SCALAR`]) to the fastest.
    ///
    /// AVX2 stands for `avx2` with `fma`; AVX-512 for `avx512f`, `avx512bw`, `avx512dq`,
    /// `avx512ifma` and `avx512vbmi`, which came together.
    pub fn available() -> Vec<Isa> {
        let mut sets = vec![Self::SCALAR];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Isa(Kind::Avx2));
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512ifma")
                && is_x86_feature_detected!("avx512vbmi")
            {
                sets.push(Isa(Kind::Avx512));
            }
        }
        sets
    }

    /// `"scalar"`, `"avx2"` or `"avx512"`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_is_ordered_and_starts_with_scalar() {
        let sets = Isa::available();
        assert_eq!(sets[0], Isa::SCALAR);
        assert!(sets.is_sorted());
        assert_eq!(Isa::detect(), *sets.last().unwrap());
    }
}
