//! Twiddle factors in the layout of the vector transforms.
//!
//! A transform of degree `N` runs `log2 N - 6` levels in *strided passes* of two to four levels
//! each, then six levels in one *block pass* over groups of 64 consecutive elements, eight vectors
//! of eight. A group's first three levels act across its vectors; then it is transposed as an 8 by
//! 8 matrix and the other three act across vectors again, now with one multiplier per lane. It is
//! stored transposed, hence the order of [`super::evaluation_exponent`].
//!
//! Two savings keep the tables of many primes in cache:
//!
//! * *The per-lane multipliers are the same for all groups.* Group `g` holds polynomials modulo
//!   `X^8 - c` whose roots are those of group-independent moduli times `rho_g = psi^(2 bitrev(g) -
//!   (N/64 - 1))`. Substituting `X = rho_g Y` (element `j` of each eight times `rho_g^j`) leaves
//!   one set of multipliers, which stays in the first cache.
//! * *The inverse reads the forward table.* The reciprocal of the multiplier of block `i` among `m`
//!   is the negative of that of block `m - 1 - i`, and `1 / rho_g = rho_(N/64 - 1 - g)`. The
//!   inverse walks the records backwards and takes its differences the other way round.
//!
//! That is `32 N / 64` words per prime instead of `4 N` for plain tables of both directions with
//! their companions.

use super::ntt::{NttRoots, bit_reverse};
use super::{Buffer, Modulus};

/// A multiplier as a kernel wants it: two words, such as Shoup's pair or two doubles.
pub(super) type Pair = [u64; 2];

/// Words per group of 64 in [`VectorTables::groups`].
pub(super) const GROUP_WORDS: usize = 32;

/// Offset of the powers of `rho` in a group record.
pub(super) const GROUP_POWERS: usize = 16;

/// Words of the per-lane multipliers: for each of seven, eight lanes of the first word, then eight
/// of the second.
pub(super) const LANE_WORDS: usize = 7 * 16;

/// Tables of one prime and degree for both directions.
#[derive(Debug)]
pub(super) struct VectorTables {
    /// log2 of the radix of each strided pass, in forward order.
    pub(super) radices: &'static [u32],
    /// Per strided pass, per block: [`record_words`] words, the pairs of `2^r - 1` multipliers,
    /// level by level.
    pub(super) passes: Vec<Buffer>,
    /// Per group: the pairs of the seven multipliers of its first three levels, then those of
    /// `rho^1 .. rho^7`.
    pub(super) groups: Buffer,
    /// Per-lane multipliers of the last three levels, forward.
    pub(super) forward_lanes: Buffer,
    /// Negatives of the reciprocals of those, blocks in reverse like all that the inverse reads.
    pub(super) inverse_lanes: Buffer,
    /// `1/N`, for the sums of the inverse's last level.
    pub(super) inverse_degree: Pair,
    /// The first level's multiplier over `N`, for the differences of the inverse's last level.
    pub(super) last_difference: Pair,
}

/// Words of one block's record in a strided pass of `r` levels.
pub(super) const fn record_words(r: u32) -> usize {
    2 << r
}

/// Repeats a block for `$i = 0 .. $m`, `$m` a constant of at most 16, as written-out code: the
/// vectors of a butterfly network stay in registers only if every index is a constant, and loops of
/// this size are not always unrolled.
macro_rules! unroll {
    (for $i:ident in 0..$m:ident $body:block) => {
        unroll!(@ $i $m $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $i:ident $m:ident $body:block $($k:literal)*) => {
        $(if $k < $m {
            let $i = $k;
            $body
        })*
    };
}
pub(super) use unroll;

impl VectorTables {
    /// Makes the tables for strided passes of `radices`; `encode` turns a residue into the words of
    /// its multiplier.
    pub(super) fn new(
        m: &Modulus,
        roots: &NttRoots,
        radices: &'static [u32],
        encode: impl Fn(u64) -> Pair,
    ) -> Self {
        let log_n = roots.log_n();
        assert_eq!(radices.iter().sum::<u32>() + 6, log_n, "the passes make up the transform");

        // The multiplier of block `i` at level `l` (of `2^l` blocks).
        let twiddle = |level: u32, i: usize| encode(roots.twiddle((1 << level) + i));
        let write_levels = |record: &mut [u64], first_level: u32, block: usize, levels: u32| {
            let indices = (0..levels).flat_map(|l| (0..1 << l).map(move |j| (l, j)));
            for ((l, j), pair) in indices.zip(record.as_chunks_mut::<2>().0) {
                *pair = twiddle(first_level + l, (block << l) + j);
            }
        };

        let mut level = 0;
        let mut passes = Vec::new();
        for &r in radices {
            let mut pass = Buffer::zeroed(record_words(r) << level);
            for (block, record) in pass.chunks_exact_mut(record_words(r)).enumerate() {
                write_levels(record, level, block, r);
            }
            passes.push(pass);
            level += r;
        }

        let group_count = roots.degree() / 64;
        let mut groups = Buffer::zeroed(group_count * GROUP_WORDS);
        for (g, record) in groups.chunks_exact_mut(GROUP_WORDS).enumerate() {
            write_levels(record, level, g, 3);
            let exponent = 2 * bit_reverse(g, log_n - 6) as i64 - (group_count as i64 - 1);
            for (j, pair) in (1..8).zip(record[GROUP_POWERS..].as_chunks_mut::<2>().0) {
                *pair = encode(roots.power(exponent * j));
            }
        }

        // At level l of the last three, block j of 2^l in lane i: psi^(2^(2-l) * N/64 * (1 + 2
        // bitrev(i) + 16 bitrev(j))).
        let lanes = |inverse: bool| {
            let mut words = Buffer::zeroed(LANE_WORDS);
            for l in 0..3u32 {
                for j in 0..1usize << l {
                    for i in 0..8usize {
                        let lane = if inverse { 7 - i } else { i };
                        let odd = 1 + 2 * bit_reverse(lane, 3) + 16 * bit_reverse(j, l);
                        let pair = encode(roots.power(((group_count * odd) << (2 - l)) as i64));
                        let at = 16 * ((1 << l) - 1 + j) + i;
                        (words[at], words[at + 8]) = (pair[0], pair[1]);
                    }
                }
            }
            words
        };

        let inverse_degree = m.inv(roots.degree() as u64);
        VectorTables {
            radices,
            passes,
            groups,
            forward_lanes: lanes(false),
            inverse_lanes: lanes(true),
            inverse_degree: encode(inverse_degree),
            last_difference: encode(m.mul(roots.twiddle(1), inverse_degree)),
        }
    }
}
