//! The primes of a modulus chain, and which of them each level has.

use fhec_ir::params::ParamsError;
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;

/// Primes for one ring, each given out once. An error is the width that there are too few primes
/// of.
pub(super) struct Primes {
    /// `log2` of the ring degree.
    pub(super) log_n: u32,
    /// Those given out.
    pub(super) taken: Vec<u64>,
}

type Found<T> = Result<T, Result<ParamsError, u32>>;

impl Primes {
    /// The largest `count` primes of `bits` bits: they stay within the kernels' size classes.
    pub(super) fn below(&mut self, bits: u32, count: usize) -> Found<Vec<u64>> {
        let all = ntt_primes_near((1 << bits) - 1, self.log_n).filter(|&p| p < 1 << bits);
        let found: Vec<u64> = all.filter(|p| !self.taken.contains(p)).take(count).collect();
        self.taken.extend(&found);
        if found.len() == count { Ok(found) } else { Err(Err(bits)) }
    }

    /// A segment of products, bottom to top: the scale is `2^bits` at its top; each prime is the
    /// unused one nearest to what brings the scale back to `2^bits`.
    pub(super) fn segment(&mut self, bits: u32, count: usize) -> Found<Vec<u64>> {
        let (target, mut scale, mut primes) = (f64::from(bits).exp2(), f64::from(bits).exp2(), Vec::new());
        for _ in 0..count {
            let prime = self.near(scale * scale / target, bits)?;
            primes.push(prime);
            scale = scale * scale / prime as f64;
        }
        primes.reverse();
        Ok(primes)
    }

    /// A segment of products of `levels` levels, three in two primes. The two narrow primes are the
    /// ones nearest to the scale `2^bits` at its top. Two wide ones are dropped for the two narrow
    /// ones where three levels are full; the upper one is near one and a half times the width, the
    /// lower one makes the scale after the step the prime that it is divided by next, so that it
    /// stays there.
    pub(super) fn three_in_two(&mut self, bits: u32, levels: usize) -> Found<PackedLevels> {
        let mut scale = f64::from(bits).exp2();
        let narrow = [self.near(scale, bits)?, self.near(scale, bits)?];
        let [low, high] = narrow.map(|prime| prime as f64);
        let mut wide = Vec::new();
        for level in (1..=levels).rev() {
            scale = match level % 3 {
                1 => scale * scale / low,
                2 => scale * scale / high,
                _ => {
                    let product = scale * scale * low;
                    let first = self.near(product.sqrt(), bits)?;
                    let second = self.near(product / first as f64, bits)?;
                    wide.extend([first, second]);
                    scale * scale * low * high / (first as f64 * second as f64)
                }
            };
        }
        wide.reverse();
        Ok(PackedLevels { levels, narrow, wide })
    }

    /// The unused prime nearest to `wanted`, for a segment of width `bits`.
    fn near(&mut self, wanted: f64, bits: u32) -> Found<u64> {
        // Fast kernels end at 2^50: beyond, the nearest is the next below, and looking from there
        // finds it at once.
        let largest = if bits > 50 { f64::INFINITY } else { (1u64 << 50) as f64 - 1.0 };
        let prime = ntt_primes_near(wanted.min(largest) as u64, self.log_n)
            .take_while(|&q| (q as f64 / wanted - 1.0).abs() < 0.2)
            .find(|q| !self.taken.contains(q) && (bits > 50 || *q < 1 << 50))
            .ok_or(Err(bits))?;
        self.taken.push(prime);
        Ok(prime)
    }
}

/// Levels of which every three take two wide primes.
pub(super) struct PackedLevels {
    /// How many.
    pub(super) levels: usize,
    /// What a level, and two levels, beyond a multiple of three take.
    narrow: [u64; 2],
    /// Bottom to top.
    wide: Vec<u64>,
}

impl PackedLevels {
    /// Those of the narrow primes that the highest level does not have, and levels above may use.
    pub(super) fn narrow_above(&self) -> Vec<u64> {
        self.narrow[self.levels % 3..].to_vec()
    }
}

/// A chain, built from the bottom up.
pub(super) struct Chain {
    /// The primes, in the order of the levels that need them first.
    pub(super) q: Vec<u64>,
    /// The primes of each level.
    pub(super) levels: Vec<PrimeSet>,
}

impl Chain {
    /// Level 0 alone.
    pub(super) fn new(q0: u64) -> Self {
        Chain { q: vec![q0], levels: vec![PrimeSet::first(1)] }
    }

    fn top(&self) -> PrimeSet {
        self.levels.last().copied().unwrap_or_default()
    }

    fn set(&self, primes: &[u64]) -> PrimeSet {
        let sets = self.q.iter().enumerate().filter(|(_, q)| primes.contains(q));
        sets.fold(PrimeSet::EMPTY, |set, (index, _)| set.with(PrimeSet::range(index..index + 1)))
    }

    /// A level for each of `primes`, on top of each other; they may be primes of levels below, but
    /// not of the highest.
    pub(super) fn extend(&mut self, primes: &[u64]) {
        for &prime in primes {
            self.add(&[prime]);
            self.levels.push(self.top().with(self.set(&[prime])));
        }
    }

    /// Those of `primes` that are not there yet.
    fn add(&mut self, primes: &[u64]) {
        let new: Vec<u64> = primes.iter().copied().filter(|prime| !self.q.contains(prime)).collect();
        self.q.extend(new);
    }

    /// Levels three in two. Their narrow primes come before the wide ones, so that keys for any
    /// level are over the first primes.
    pub(super) fn pack(&mut self, packed: &PackedLevels) {
        let below = self.top();
        for level in 1..=packed.levels {
            let (wide, narrow) = (&packed.wide[..level / 3 * 2], &packed.narrow[..level % 3]);
            self.add(narrow);
            self.add(wide);
            self.levels.push(below.with(self.set(wide)).with(self.set(narrow)));
        }
    }
}

#[cfg(test)]
mod tests {
    use fhec_ir::params::{Params, ParamsLiteral, Secret};

    use super::*;

    /// Wider than fast kernels go: the next below, or an error, at once.
    #[test]
    fn primes_too_wide_for_their_segment_are_not_looked_for_in_vain() {
        let mut primes = Primes { log_n: 15, taken: Vec::new() };
        let wide = |ratio: f64| ratio * f64::from(50).exp2();
        let next = ntt_primes_near(1 << 50, 15).find(|&q| q < 1 << 50).unwrap();
        assert_eq!(primes.near(wide(1.2), 45), Ok(next));
        assert_eq!(primes.near(wide(1.3), 45), Err(Err(45)));
        assert!(primes.near(wide(1.3), 51).unwrap() > 1 << 50);
    }

    /// Chains of every number of packed levels: levels are sets of primes that keys can be made
    /// for, scales stay, and there are two thirds of the primes.
    #[test]
    fn packed_levels_keep_their_scale() {
        for (log_n, bits) in [(15, 30), (15, 33), (16, 31)] {
            for levels in 1..=24 {
                let mut primes = Primes { log_n, taken: Vec::new() };
                let (p, q0) = (primes.below(50, 2).unwrap(), primes.below(40, 1).unwrap());
                let packed = primes.three_in_two(bits, levels).unwrap();
                let mut chain = Chain::new(q0[0]);
                chain.pack(&packed);
                let above = packed.narrow_above();
                assert_eq!(above.len(), 2 - levels % 3);
                let top = chain.top();
                assert_eq!(top.len(), 1 + levels / 3 * 2 + levels % 3);
                chain.extend(&above);
                let literal = ParamsLiteral {
                    name: "packed".into(),
                    log_n,
                    levels: chain.levels[..=levels].to_vec(),
                    q: chain.q[..chain.q.len().min(1 + levels.div_ceil(3) * 2 + 2)].to_vec(),
                    p,
                    digit_limbs: 2,
                    log_scale: bits,
                    secret: Secret::UniformTernary,
                };
                // One level alone has no use for the second narrow prime.
                let literal = if levels == 1 {
                    ParamsLiteral { q: literal.q[..2].to_vec(), ..literal }
                } else {
                    literal
                };
                let params = Params::new(literal).unwrap();
                for level in 0..=params.top_level() {
                    let log_scale = params.canonical_scale(level).log2();
                    assert!(
                        (log_scale - f64::from(bits)).abs() < 0.05,
                        "{levels} levels, {level}: {log_scale}"
                    );
                }
                // What comes back above the packed levels is new there.
                assert!(chain.levels.windows(2).skip(levels).all(|pair| pair[1].len() == pair[0].len() + 1));
                assert!(packed.wide.iter().all(|&q| q < 1 << 50));
            }
        }
    }
}
