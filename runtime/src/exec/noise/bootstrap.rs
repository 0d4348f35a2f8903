//! A bootstrap on slots: [`BootstrapNoise`], drawn.
//!
//! Every slot draws an integer with the probability it has where the modulus is raised, goes
//! through the polynomials beside it, and gets one normal error of the variance that belongs to the
//! integer. The formula and its sources are those of [`fhec_ir::noise::bootstrap`]. With slots to
//! coefficients last, coefficients do so in their place.

use fhec_ir::noise::bootstrap::BootstrapNoise;

use super::NormalStream;
use crate::ckks::special_fft::SpecialFft;

/// A bootstrap between two levels, prepared for all runs.
#[derive(Debug)]
pub(in crate::exec) struct RefreshModel {
    noise: BootstrapNoise,
    draw: Alias,
    /// Between slots and coefficients, if those are reduced.
    fft: Option<SpecialFft>,
}

impl RefreshModel {
    /// Of bootstraps of `slots` slots.
    pub(in crate::exec) fn new(noise: BootstrapNoise, slots: usize) -> Self {
        let draw = Alias::new(noise.integers.iter().map(|i| i.probability).collect());
        let fft = noise.reduces_coefficients().then(|| SpecialFft::new(slots));
        RefreshModel { noise, draw, fft }
    }

    /// Refreshes the slots of one vector.
    pub(in crate::exec) fn refresh(&self, slots: &mut [f64], stream: &mut NormalStream) {
        let integers = &self.noise.integers;
        let power = slots.iter().map(|m| m * m).sum::<f64>() / slots.len() as f64;
        let variances: Vec<f64> = integers.iter().map(|i| self.noise.variance(i, power)).collect();
        let Some(fft) = &self.fft else { return self.reduce(slots, &variances, stream) };
        let coefficients = |slots: &mut [f64]| {
            let sines: Vec<f64> = integers.iter().map(|i| i.variance).collect();
            self.reduce(slots, &sines, stream);
        };
        through_coefficients(fft, slots, coefficients);
        let deviation = variances.first().map_or(0.0, |variance| variance.sqrt());
        stream.add_to(slots, deviation);
    }

    /// Every value through the reduction beside an integer that is drawn, with an error of the
    /// integer's variance.
    fn reduce(&self, values: &mut [f64], variances: &[f64], stream: &mut NormalStream) {
        let deviations: Vec<f64> = variances.iter().map(|variance| variance.sqrt()).collect();
        let drawn: Vec<u16> = values.iter().map(|_| self.draw.index(stream.word())).collect();
        let integer = |index: usize| f64::from(self.noise.integers[usize::from(drawn[index])].integer);
        self.noise.reduction().apply_all(values, integer);
        for (x, &drawn) in values.iter_mut().zip(&drawn) {
            *x += deviations[usize::from(drawn)] * stream.sample();
        }
    }
}

/// Changes the `n` lower coefficients of the real message with these slots; the others follow,
/// `a_(2n-j) = -a_j`.
fn through_coefficients(fft: &SpecialFft, slots: &mut [f64], change: impl FnOnce(&mut [f64])) {
    let mut imaginary = vec![0.0; slots.len()];
    fft.inverse_unscaled(slots, &mut imaginary);
    let unscaled = slots.len() as f64;
    slots.iter_mut().for_each(|a| *a /= unscaled);
    change(slots);
    imaginary.fill(0.0);
    slots[0] /= 2.0;
    fft.forward(slots, &mut imaginary);
    slots.iter_mut().for_each(|x| *x *= 2.0);
}

/// Drawing an index with given probabilities in constant time (Walker, Electronics Letters 10,
/// 1974; the construction is Vose's, IEEE Trans. Software Eng. 17, 1991): a random cell, and a coin
/// for its own index or another.
#[derive(Debug)]
struct Alias {
    /// Per cell: it is its own index below this, of `2^COIN_BITS`, and the other index otherwise.
    /// Their number is a power of two.
    cells: Vec<(u64, u16)>,
}

const COIN_BITS: u32 = 48;

impl Alias {
    fn new(probabilities: Vec<f64>) -> Self {
        let size = probabilities.len().next_power_of_two();
        assert!(size <= 1 << 16, "cell and coin are two parts of one word");
        let mut mass: Vec<f64> = probabilities.iter().map(|p| p * size as f64).collect();
        mass.resize(size, 0.0);
        let mut cells = vec![(1 << COIN_BITS, 0); size];
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..size).partition(|&cell| mass[cell] < 1.0);
        while let (Some(cell), Some(&other)) = (small.pop(), large.last()) {
            cells[cell] = ((mass[cell] * (1u64 << COIN_BITS) as f64) as u64, other as u16);
            mass[other] -= 1.0 - mass[cell];
            if mass[other] < 1.0 {
                small.extend(large.pop());
            }
        }
        Alias { cells }
    }

    #[inline]
    fn index(&self, word: u64) -> u16 {
        let cell = (word >> COIN_BITS) as usize & (self.cells.len() - 1);
        let (own, other) = self.cells[cell];
        if word & ((1 << COIN_BITS) - 1) < own { cell as u16 } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half the coefficients are all of a real message, and changing one changes the message by its
    /// cosine.
    #[test]
    fn real_messages_are_their_lower_coefficients() {
        let n = 64;
        let message: Vec<f64> = (0..n).map(|i| ((i * 37 + 11) % 64) as f64 / 64.0 - 0.5).collect();
        let fft = SpecialFft::new(n);
        let mut slots = message.clone();
        through_coefficients(&fft, &mut slots, |_| ());
        assert!(slots.iter().zip(&message).all(|(x, m)| (x - m).abs() < 1e-13));
        for changed in [0, 1, 33] {
            let mut slots = message.clone();
            through_coefficients(&fft, &mut slots, |a| a[changed] += 1.0);
            let mut root = 1;
            for (x, m) in slots.iter().zip(&message) {
                let angle = std::f64::consts::TAU * (root * changed % (4 * n)) as f64 / (4 * n) as f64;
                let expected = if changed == 0 { 1.0 } else { 2.0 * angle.cos() };
                assert!((x - m - expected).abs() < 1e-12, "{changed}");
                root = root * 5 % (4 * n);
            }
        }
    }

    /// Frequencies of a million draws are within five standard errors of the probabilities.
    #[test]
    fn indices_occur_with_their_probabilities() {
        let probabilities = vec![0.05, 0.0, 0.6, 0.25, 0.1];
        let alias = Alias::new(probabilities.clone());
        let mut stream = NormalStream::new(&[3]);
        let mut counts = [0u32; 8];
        let draws = 1 << 20;
        (0..draws).for_each(|_| counts[usize::from(alias.index(stream.word()))] += 1);
        for (index, &count) in counts.iter().enumerate() {
            let p = probabilities.get(index).copied().unwrap_or(0.0);
            let expected = p * f64::from(draws);
            assert!((f64::from(count) - expected).abs() <= 5.0 * (expected * (1.0 - p)).sqrt(), "{counts:?}");
        }
    }
}
