//! The forward transform with 52-bit products, or 64-bit ones for primes beyond `2^50`.
//!
//! *Butterfly.* `(x, y) → (x + t, x - t)` with `t = y w mod q`, centred: Shoup's product starts
//! from `-q` and so lies in `[-q, q)`. Five vector operations, as long as `x` keeps enough
//! multiples of `q` below it and room above.
//!
//! *Ranges.* With headroom `S` words hold values in `[0, 2^S q)`. A reset (Barrett, two operations)
//! puts `x` into `[kq, (k + 2)q)` with `k = 2^(S - 1) - 1`; every level widens that by `q` on both
//! sides, so `k` levels fit before the next reset. The reset needs only the `x` half: the
//! multiplier takes any word. Resets fall on every level for 50-bit primes, every third for 49,
//! every seventh for 48 and 47, and none for less; with 64-bit words every third for 61 bits and
//! every seventh for less.

use std::arch::x86_64::{_mm512_add_epi64, _mm512_sub_epi64};

use super::ntt::{Broadcast, Multipliers, PerLane, headroom};
use super::vector::{Field, V, load, splat, store, transpose};
use crate::kernels::Modulus;
use crate::kernels::tiles::log_rows;
use crate::kernels::vector_tables::{GROUP_POWERS, GROUP_WORDS, VectorTables, record_words, unroll};

/// The `x` operands at the first level of a pass are canonical: `k q` is added.
const FROM_CANONICAL: u8 = 0;
/// They may be anything: a reset.
const FROM_ANY: u8 = 1;
/// They have room for the levels of this pass.
const FROM_WITHIN: u8 = 2;

/// Levels between resets.
const fn levels_per_reset(s: u32) -> usize {
    (1 << (s - 1)) - 1
}

/// What a level does to its `x` operands, in the terms above.
const fn preparation(s: u32, start: u8, level: usize) -> u8 {
    if level == 0 {
        start
    } else if level.is_multiple_of(levels_per_reset(s)) {
        FROM_ANY
    } else {
        FROM_WITHIN
    }
}

/// How pass number `pass` starts, the block pass being the last.
///
/// With headroom 4 seven levels fit: the first two passes have at most `3 + 4`, the next two at
/// most `4 + 3`, be the second of them the first half of the block pass or not. With 6 there is
/// room for 31, all of them.
const fn start(s: u32, pass: usize) -> u8 {
    match (s, pass) {
        (_, 0) => FROM_CANONICAL,
        (..=3, _) | (4, 2 | 4) => FROM_ANY,
        _ => FROM_WITHIN,
    }
}

/// Constants of the forward passes.
#[derive(Clone, Copy)]
struct Constants<const W: bool> {
    field: Field<W>,
    /// `k q` and `-k`, see the head of the file.
    offset: V,
    minus_k: V,
}

/// `$call` with the [`Transform`] of a prime's word and headroom as `$t`.
macro_rules! transform {
    ($tables:expr, $m:expr, |$t:ident| $call:expr) => {
        match ($m.ifma(), headroom($m)) {
            (true, 2) => transform!(@ false, 2, $tables, $m, $t, $call),
            (true, 3) => transform!(@ false, 3, $tables, $m, $t, $call),
            (true, 4) => transform!(@ false, 4, $tables, $m, $t, $call),
            (true, _) => transform!(@ false, 6, $tables, $m, $t, $call),
            (false, 3) => transform!(@ true, 3, $tables, $m, $t, $call),
            (false, _) => transform!(@ true, 4, $tables, $m, $t, $call),
        }
    };
    (@ $w:literal, $s:literal, $tables:expr, $m:expr, $t:ident, $call:expr) => {{
        let $t = Transform::<$w, $s>::new($tables, $m);
        $call
    }};
}

/// `a ← NTT(a)`, canonical residues in and out.
///
/// # Safety
///
/// The processor must have AVX-512 F, DQ and IFMA. `a.len()` must be the degree and `m` the prime
/// of `tables`, as [`Field`] takes.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn forward(tables: &VectorTables, a: &mut [u64], m: &Modulus) {
    // SAFETY: the caller's promise.
    unsafe {
        first_pass(tables, a, m);
        other_passes(tables, a, m);
    }
}

/// The first pass of [`forward`].
///
/// # Safety
///
/// As for [`forward`].
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn first_pass(tables: &VectorTables, a: &mut [u64], m: &Modulus) {
    let stride = a.len() >> tables.radices[0];
    let streams = Streams { first: a.as_mut_ptr(), stride };
    // SAFETY: the caller's promise.
    unsafe { begin::<FROM_CANONICAL>(tables, streams, streams, stride, m) }
}

/// [`first_pass`] on some columns: those of `tile`, `[stream][column]`, become those of `a` from
/// `column` on. They need not be canonical, words below `2^52` do, or `2^64` for primes beyond
/// `2^50`.
///
/// # Safety
///
/// As for [`forward`]; the tile must have whole pairs of vectors for every stream of the first
/// pass, and the streams of `a` as many columns.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn first_pass_on_tile(
    tables: &VectorTables,
    a: &mut [u64],
    tile: &[u64],
    column: usize,
    m: &Modulus,
) {
    assert_eq!(tables.radices[0], log_rows(a.len().ilog2()), "tiles are laid out for the first pass");
    let (stride, columns) = (a.len() >> tables.radices[0], tile.len() >> tables.radices[0]);
    // SAFETY: the caller's promise; the tile is only read.
    unsafe {
        let from = Streams { first: tile.as_ptr().cast_mut(), stride: columns };
        let to = Streams { first: a.as_mut_ptr().add(column), stride };
        begin::<FROM_ANY>(tables, from, to, columns, m);
    }
}

/// The first pass from `from` to `to`, `columns` words of each stream.
///
/// # Safety
///
/// As for [`Transform::first`], and the processor must have AVX-512 F, DQ and IFMA; `m` the prime
/// of `tables`, as [`Field`] takes.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn begin<const START: u8>(
    tables: &VectorTables,
    from: Streams,
    to: Streams,
    columns: usize,
    m: &Modulus,
) {
    // SAFETY: the caller's promise.
    unsafe { transform!(tables, m, |t| t.first::<START>(from, to, columns)) }
}

/// What [`forward`] does after the first pass.
///
/// # Safety
///
/// As for [`forward`], with what [`first_pass`] left in all columns of `a`.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn other_passes(tables: &VectorTables, a: &mut [u64], m: &Modulus) {
    let (len, a) = (a.len(), a.as_mut_ptr());
    // SAFETY: the caller's promise.
    unsafe { transform!(tables, m, |t| t.parts(0, 0, a, len)) }
}

/// Streams of one pass: a word of the first one, and how far the same word of the next one is.
#[derive(Clone, Copy)]
struct Streams {
    first: *mut u64,
    stride: usize,
}

struct Transform<'a, const W: bool, const S: u32> {
    tables: &'a VectorTables,
    constants: Constants<W>,
}

impl<'a, const W: bool, const S: u32> Transform<'a, W, S> {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn new(tables: &'a VectorTables, m: &Modulus) -> Self {
        let k = const { levels_per_reset(S) as u64 };
        let constants = Constants {
            field: Field::new(m),
            offset: splat(k * m.value()),
            minus_k: splat(k.wrapping_neg()),
        };
        Transform { tables, constants }
    }

    /// Transforms `len` elements at `a`, block number `block` of those that pass `pass > 0` works
    /// on, depth first: a block is finished while it is in cache.
    ///
    /// # Safety
    ///
    /// `a` must be valid for `len` words, and `pass`, `block` and `len` those of the recursion from
    /// `(0, 0, N)`.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn block(&self, pass: usize, block: usize, a: *mut u64, len: usize) {
        let t = self.tables;
        let r = t.radices[pass];
        let streams = Streams { first: a, stride: len >> r };
        // SAFETY: 2^r streams of `stride` words partition the block; the table has a record for
        // each block.
        unsafe {
            let record = t.passes[pass][block * record_words(r)..][..record_words(r)].as_ptr();
            self.strided(r, start(S, pass), streams, record);
            self.parts(pass, block, a, len);
        }
    }

    /// The first pass from `from` to `to`, `columns` words of each stream.
    ///
    /// # Safety
    ///
    /// Both must be valid for as many words in every stream of the first pass, and `columns` a
    /// multiple of 16.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn first<const START: u8>(&self, from: Streams, to: Streams, columns: usize) {
        let (c, record) = (&self.constants, self.tables.passes[0].as_ptr());
        // SAFETY: the caller's promise; the first pass has one record.
        unsafe {
            match self.tables.radices[0] {
                3 => strided_pass::<W, S, START, 8, 2>(from, to, columns, record, c),
                4 => strided_pass::<W, S, START, 16, 1>(from, to, columns, record, c),
                _ => unreachable!("the first pass has three or four levels"),
            }
        }
    }

    /// What comes after pass `pass` on a block.
    ///
    /// # Safety
    ///
    /// As for [`Self::block`].
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn parts(&self, pass: usize, block: usize, a: *mut u64, len: usize) {
        let t = self.tables;
        let r = t.radices[pass];
        let sub = len >> r;
        // SAFETY: 2^r streams of `sub` words partition the block; the table has a record for each
        // group.
        unsafe {
            if pass + 1 < t.radices.len() {
                for i in 0..1 << r {
                    self.block(pass + 1, (block << r) + i, a.add(i * sub), sub);
                }
            } else {
                let groups = len / 64;
                let records = t.groups[block * groups * GROUP_WORDS..][..groups * GROUP_WORDS].as_ptr();
                let lanes = t.forward_lanes.as_ptr();
                if start(S, t.radices.len()) == FROM_ANY {
                    block_pass::<W, S, FROM_ANY>(a, groups, records, lanes, &self.constants);
                } else {
                    block_pass::<W, S, FROM_WITHIN>(a, groups, records, lanes, &self.constants);
                }
            }
        }
    }

    /// One strided pass of `r` levels over `2^r` streams of `a.stride` words.
    ///
    /// # Safety
    ///
    /// `a` must be valid for `a.stride << r` words, `record` for `record_words(r)`; the stride a
    /// multiple of 16.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn strided(&self, r: u32, start: u8, a: Streams, record: *const u64) {
        let (c, stride) = (&self.constants, a.stride);
        // SAFETY: the caller's promise.
        unsafe {
            match (r, start) {
                (2, FROM_WITHIN) => strided_pass::<W, S, FROM_WITHIN, 4, 2>(a, a, stride, record, c),
                (2, _) => strided_pass::<W, S, FROM_ANY, 4, 2>(a, a, stride, record, c),
                (3, FROM_WITHIN) => strided_pass::<W, S, FROM_WITHIN, 8, 2>(a, a, stride, record, c),
                (3, _) => strided_pass::<W, S, FROM_ANY, 8, 2>(a, a, stride, record, c),
                (4, FROM_WITHIN) => strided_pass::<W, S, FROM_WITHIN, 16, 1>(a, a, stride, record, c),
                (4, _) => strided_pass::<W, S, FROM_ANY, 16, 1>(a, a, stride, record, c),
                _ => unreachable!("strided passes have two to four levels"),
            }
        }
    }
}

/// `log2 M` levels over `columns` words of `M` streams, `G` independent columns of vectors at a
/// time to hide the multiplier's latency.
///
/// # Safety
///
/// `from` and `to`, the same or apart, must be valid for so many words in every stream, `record`
/// for those of `log2 M` levels; `columns` must be a multiple of `8 G`.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn strided_pass<const W: bool, const S: u32, const START: u8, const M: usize, const G: usize>(
    from: Streams,
    to: Streams,
    columns: usize,
    record: *const u64,
    c: &Constants<W>,
) {
    let c = *c;
    // SAFETY: the caller's promise; `i * stride + 8 g` stays inside stream `i`.
    unsafe {
        let mut column = 0;
        while column < columns {
            let (p, out) = (from.first.add(column), to.first.add(column));
            let mut x = [[c.field.zero; M]; G];
            unroll!(for i in 0..M {
                for g in 0..G {
                    x[g][i] = load(p.add(i * from.stride + 8 * g));
                }
            });
            let multipliers = [Broadcast(record); G];
            if M == 16 {
                level::<W, S, START, M, G, 8, _>(&mut x, multipliers, &c);
            }
            if M >= 8 {
                level::<W, S, START, M, G, 4, _>(&mut x, multipliers, &c);
            }
            level::<W, S, START, M, G, 2, _>(&mut x, multipliers, &c);
            level::<W, S, START, M, G, 1, _>(&mut x, multipliers, &c);
            unroll!(for i in 0..M {
                for g in 0..G {
                    store(out.add(i * to.stride + 8 * g), x[g][i]);
                }
            });
            column += 8 * G;
        }
    }
}

/// The last six levels on `groups` groups of 64 consecutive elements, two groups at a time;
/// canonical output.
///
/// # Safety
///
/// `a` must be valid for `64 * groups` words, `records` for a group record each, `lanes` for the
/// per-lane multipliers; `groups` must be even.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn block_pass<const W: bool, const S: u32, const START: u8>(
    a: *mut u64,
    groups: usize,
    records: *const u64,
    lanes: *const u64,
    c: &Constants<W>,
) {
    let c = *c;
    // SAFETY: the caller's promise.
    unsafe {
        let mut group = 0;
        while group < groups {
            let p = a.add(64 * group);
            let record = [records.add(GROUP_WORDS * group), records.add(GROUP_WORDS * (group + 1))];
            let mut x = [[c.field.zero; 8]; 2];
            for i in 0..8 {
                for g in 0..2 {
                    x[g][i] = load(p.add(64 * g + 8 * i));
                }
            }
            let multipliers = [Broadcast(record[0]), Broadcast(record[1])];
            level::<W, S, START, 8, 2, 4, _>(&mut x, multipliers, &c);
            level::<W, S, START, 8, 2, 2, _>(&mut x, multipliers, &c);
            level::<W, S, START, 8, 2, 1, _>(&mut x, multipliers, &c);
            for g in 0..2 {
                transpose(&mut x[g]);
            }
            // The powers of rho, which also put everything into [kq, (k + 2)q).
            for g in 0..2 {
                x[g][0] = c.field.reduce_lazy(c.minus_k, x[g][0]);
            }
            for j in 1..8 {
                for g in 0..2 {
                    let power = Broadcast(record[g].add(GROUP_POWERS)).get(j - 1);
                    x[g][j] = c.field.mul_shoup(c.offset, x[g][j], power);
                }
            }
            let multipliers = [PerLane(lanes); 2];
            level::<W, S, FROM_WITHIN, 8, 2, 4, _>(&mut x, multipliers, &c);
            level::<W, S, FROM_WITHIN, 8, 2, 2, _>(&mut x, multipliers, &c);
            level::<W, S, FROM_WITHIN, 8, 2, 1, _>(&mut x, multipliers, &c);
            for i in 0..8 {
                for g in 0..2 {
                    store(p.add(64 * g + 8 * i), c.field.reduce(x[g][i]));
                }
            }
            group += 2;
        }
    }
}

/// One level with distance `H` among `M` vectors, in `G` networks in lock step.
///
/// # Safety
///
/// The processor must have AVX-512 F, DQ and IFMA, and the records `M - 1` multipliers.
#[inline(always)]
unsafe fn level<
    const W: bool,
    const S: u32,
    const START: u8,
    const M: usize,
    const G: usize,
    const H: usize,
    T: Multipliers,
>(
    x: &mut [[V; M]; G],
    multipliers: [T; G],
    c: &Constants<W>,
) {
    let preparation = const { preparation(S, START, (M / (2 * H)).trailing_zeros() as usize) };
    // SAFETY: the caller's promise.
    unsafe {
        unroll!(for i in 0..M {
            if i & H == 0 {
                for g in 0..G {
                    let multiplier = multipliers[g].get(M / (2 * H) - 1 + i / (2 * H));
                    let u = match preparation {
                        FROM_CANONICAL => _mm512_add_epi64(x[g][i], c.offset),
                        FROM_ANY => c.field.reduce_lazy(c.minus_k, x[g][i]),
                        _ => x[g][i],
                    };
                    let t = c.field.mul_shoup(c.field.minus_q, x[g][i + H], multiplier);
                    x[g][i] = _mm512_add_epi64(u, t);
                    x[g][i + H] = _mm512_sub_epi64(u, t);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::avx512::ntt::radices;

    /// Follows the range of the `x` operands through every schedule: never below zero, never above
    /// the word.
    #[test]
    fn ranges_fit_the_word_in_every_schedule() {
        for s in [2, 3, 4, 6] {
            let k = levels_per_reset(s) as i64;
            for (log_n, canonical) in (10..=17).flat_map(|log_n| [(log_n, true), (log_n, false)]) {
                let passes = radices(log_n).iter().map(|&r| r as usize).chain([3]);
                let mut range = (0, 1);
                let check = |start: u8, levels: usize, range: &mut (i64, i64)| {
                    for level in 0..levels {
                        *range = match preparation(s, start, level) {
                            FROM_CANONICAL => (k, k + 1),
                            FROM_ANY => (k, k + 2),
                            _ => *range,
                        };
                        *range = (range.0 - 1, range.1 + 1);
                        assert!(range.0 >= 0 && range.1 <= 1 << s, "headroom {s}, N = 2^{log_n}: {range:?}");
                    }
                };
                for (pass, levels) in passes.enumerate() {
                    let start = if pass == 0 && !canonical { FROM_ANY } else { start(s, pass) };
                    check(start, levels, &mut range);
                }
                // The powers of rho end at [kq, (k + 2)q), and the last three levels start there.
                range = (k, k + 2);
                check(FROM_WITHIN, 3, &mut range);
            }
        }
    }
}
