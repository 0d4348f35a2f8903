//! A bootstrap on slots: [`BootstrapNoise`], drawn.
//!
//! Every slot draws an integer with the probability it has where the modulus is raised, goes through the polynomials beside it,
//! and gets one normal error of the variance that belongs to the integer. The formula and its sources are those of
//! [`fhec_ir::noise::bootstrap`].

use fhec_ir::noise::bootstrap::BootstrapNoise;

use super::NormalStream;

/// A bootstrap between two levels, prepared for all runs.
#[derive(Debug)]
pub(in crate::exec) struct RefreshModel {
    noise: BootstrapNoise,
    draw: Alias,
}

impl RefreshModel {
    pub(in crate::exec) fn new(noise: BootstrapNoise) -> Self {
        let draw = Alias::new(noise.integers.iter().map(|i| i.probability).collect());
        RefreshModel { noise, draw }
    }

    /// Refreshes the slots of one vector.
    pub(in crate::exec) fn refresh(&self, slots: &mut [f64], stream: &mut NormalStream) {
        let integers = &self.noise.integers;
        let power = slots.iter().map(|m| m * m).sum::<f64>() / slots.len() as f64;
        let deviations: Vec<f64> = integers.iter().map(|i| self.noise.variance(i, power).sqrt()).collect();
        let drawn: Vec<u16> = slots.iter().map(|_| self.draw.index(stream.word())).collect();
        let integer = |slot: usize| f64::from(integers[usize::from(drawn[slot])].integer);
        self.noise.reduction().apply_all(slots, integer);
        for (x, &drawn) in slots.iter_mut().zip(&drawn) {
            *x += deviations[usize::from(drawn)] * stream.sample();
        }
    }
}

/// Drawing an index with given probabilities in constant time (Walker, Electronics Letters 10, 1974; the construction is Vose's,
/// IEEE Trans. Software Eng. 17, 1991): a random cell, and a coin for its own index or another.
#[derive(Debug)]
struct Alias {
    /// Per cell: it is its own index below this, of `2^COIN_BITS`, and the other index otherwise. Their number is a power of two.
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
