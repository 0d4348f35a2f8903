//! The model of errors ([`NoiseModel`], shared with the compiler's prediction), and normal numbers
//! to draw them from.

pub(super) mod bootstrap;

pub use fhec_ir::noise::NoiseModel;

/// A stream of nearly normal numbers, cheap enough for thousands of simulated images: the number of
/// ones among 64 random bits, smeared out by a uniform number of the width of its steps, and
/// normalised. Its fourth moment is 1 % below that of the normal distribution, its tails reach 8
/// deviations. For simulation only.
#[derive(Clone, Debug)]
pub(super) struct NormalStream {
    state: u64,
}

impl NormalStream {
    /// The stream of these labels.
    pub(super) fn new(labels: &[u64]) -> Self {
        let state = labels.iter().fold(0x6a09_e667_f3bc_c908, |state, &label| mix(state ^ label));
        NormalStream { state }
    }

    /// The next number: mean 0, variance 1.
    #[inline(always)]
    pub(super) fn sample(&mut self) -> f64 {
        // 64 bits have deviation 4; the uniform part adds 1/12.
        const NORM: f64 = 0.249_351_490_477_014_83;
        let ones = f64::from(self.word().count_ones()) - 32.0;
        let uniform = (self.word() >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
        (ones + uniform) * NORM
    }

    /// Adds the next numbers to `values`, one to each, times `deviation`.
    pub(super) fn add_to(&mut self, values: &mut [f64], deviation: f64) {
        // The loop alone, compiled for each instruction set: what counts bits and multiplies words
        // is a sequence of many instructions on the oldest.
        pulp::Arch::new().dispatch(AddNormals { stream: self, values, deviation });
    }

    /// 64 random bits: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
    #[inline(always)]
    pub(super) fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }
}

struct AddNormals<'a> {
    stream: &'a mut NormalStream,
    values: &'a mut [f64],
    deviation: f64,
}

impl pulp::WithSimd for AddNormals<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let AddNormals { stream, values, deviation } = self;
        for x in values {
            *x += deviation * stream.sample();
        }
    }
}

#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_has_normal_moments() {
        let mut stream = NormalStream::new(&[1, 2]);
        let samples: Vec<f64> = (0..1 << 20).map(|_| stream.sample()).collect();
        let moment = |power: i32| samples.iter().map(|x| x.powi(power)).sum::<f64>() / samples.len() as f64;
        // Standard errors are 2^-10 times 1, 1.4, 4 and 10; five of them, and 1/32 of kurtosis.
        assert!(moment(1).abs() < 0.005);
        assert!((moment(2) - 1.0).abs() < 0.007);
        assert!((moment(4) - 3.0).abs() < 0.06);
        assert!(moment(3).abs() < 0.02);
        let mut added = vec![1.0; samples.len()];
        NormalStream::new(&[1, 2]).add_to(&mut added, 2.0);
        assert!(added.iter().zip(&samples).all(|(sum, sample)| *sum == 1.0 + 2.0 * sample));
        let again = NormalStream::new(&[1, 2]).sample();
        assert_eq!(again, samples[0]);
        assert_ne!(NormalStream::new(&[2, 1]).sample(), again);
    }
}
