//! The inverse transform with 52-bit products, or 64-bit ones for primes beyond `2^50`.
//!
//! *Butterfly.* `(a, b) → (a + b, (b - a) w)`, with `w` the *negative* of the reciprocal
//! multiplier, read from the forward table backwards. Products are below `2q`, sums grow: a
//! multiple of `q` at least the bound of `a` keeps the difference positive.
//!
//! *Ranges.* Words hold values below `2^S q`. Every pass takes and leaves values below `2q`; which
//! operands need Barrett's reduction in between, and which multiple of `q` a difference needs, is
//! worked out at compile time by following the bounds through the network ([`plans`]).

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch, _mm512_add_epi64, _mm512_sub_epi64};

use super::ntt::{Broadcast, Multipliers, PerLane, headroom};
use super::vector::{Field, Multiplier, V, encode, load, splat, store, transpose};
use crate::kernels::Modulus;
use crate::kernels::tiles::SourceTiles;
use crate::kernels::vector_tables::{GROUP_POWERS, GROUP_WORDS, VectorTables, record_words, unroll};

/// How far ahead, in words, the first pass asks for its input, which is one sequential stream from
/// memory.
const PREFETCH_AHEAD: usize = 1024;

/// What a butterfly does besides its arithmetic.
#[derive(Clone, Copy)]
struct Plan {
    reduce_a: bool,
    reduce_b: bool,
    /// log2 of the multiple of `q` added to the difference: 1, 2 or 3.
    log_offset: u32,
}

/// Follows upper bounds, in units of `q`, through a network of `m <= 16` elements that start below
/// `2q`, and returns the plans of the butterflies with distance `2^(level - 1)`, each at the index
/// of its `a`.
const fn plans(s: u32, m: usize, level: u32) -> [Plan; 16] {
    let limit = 1u32 << s;
    let mut bound = [2u32; 16];
    let mut plans = [Plan { reduce_a: false, reduce_b: false, log_offset: 1 }; 16];
    let mut l = 0;
    while l < level {
        let h = 1 << l;
        let mut i = 0;
        while i < m {
            if i & h == 0 {
                let (mut a, mut b) = (bound[i], bound[i + h]);
                let (mut reduce_a, mut reduce_b) = (false, false);
                if a > 2 && a.next_power_of_two() + b > limit {
                    (reduce_a, a) = (true, 2);
                }
                if a.next_power_of_two() + b > limit {
                    (reduce_b, b) = (true, 2);
                }
                assert!(a.next_power_of_two() + b <= limit);
                if l + 1 == level {
                    plans[i] =
                        Plan { reduce_a, reduce_b, log_offset: a.next_power_of_two().trailing_zeros() };
                }
                (bound[i], bound[i + h]) = (a + b, 2);
            }
            i += 1;
        }
        l += 1;
    }
    plans
}

/// Constants of the inverse passes.
#[derive(Clone, Copy)]
struct Constants<const W: bool> {
    field: Field<W>,
    /// `2q`, `4q` and `8q`.
    multiples: [V; 3],
}

/// The multipliers of the last level, with `1/N`, or a multiple, in them.
#[derive(Clone, Copy)]
struct LastLevel {
    sum: Multiplier,
    difference: Multiplier,
}

impl LastLevel {
    #[target_feature(enable = "avx512f")]
    fn new(pairs: [[u64; 2]; 2]) -> Self {
        let [sum, difference] =
            pairs.map(|[w, companion]| Multiplier { w: splat(w), companion: splat(companion) });
        LastLevel { sum, difference }
    }
}

/// `a ← NTT^-1(a)`, canonical residues in and out.
///
/// # Safety
///
/// The processor must have AVX-512 F, DQ and IFMA. `a.len()` must be the degree and `m` the prime
/// of `tables`, as [`Field`] takes.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn inverse(tables: &VectorTables, a: &mut [u64], m: &Modulus) {
    let (len, a) = (a.len(), a.as_mut_ptr());
    let last = LastLevel::new([tables.inverse_degree, tables.last_difference]);
    // SAFETY: the caller's promise.
    unsafe { transform(tables, a, a, Output::in_place(a, len >> tables.radices[0]), last, len, m) }
}

/// `out ← NTT^-1(a)`: the first pass reads `a`.
///
/// # Safety
///
/// As for [`inverse`], and `a` must be as long as `out`.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn inverse_into(
    tables: &VectorTables,
    out: &mut [u64],
    a: &[u64],
    m: &Modulus,
) {
    let last = LastLevel::new([tables.inverse_degree, tables.last_difference]);
    let (len, out) = (out.len(), out.as_mut_ptr());
    // SAFETY: the caller's promise.
    unsafe {
        let place = Output::in_place(out, len >> tables.radices[0]);
        transform(tables, a.as_ptr(), out, place, last, len, m);
    }
}

/// `out ← factor NTT^-1(a)`: the last pass writes it. `scratch` is overwritten.
///
/// # Safety
///
/// As for [`inverse`], and `out`, `scratch` and `a` must have as many elements; `factor` below the
/// prime.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn inverse_into_tiles(
    tables: &VectorTables,
    out: &mut SourceTiles<'_>,
    scratch: &mut [u64],
    a: &[u64],
    factor: u64,
    m: &Modulus,
) {
    let scaled = |[w, _]: [u64; 2]| encode(m.mul(w, factor), m);
    let last = LastLevel::new([scaled(tables.inverse_degree), scaled(tables.last_difference)]);
    assert_eq!(out.rows(), 1 << tables.radices[0], "tiles are laid out for the first pass");
    let (columns, (first, stride, step)) = (out.columns(), out.places());
    let out = Output { first, stride, columns, step };
    // SAFETY: the caller's promise; a tile has a row of `columns` words for every stream.
    unsafe { transform(tables, a.as_ptr(), scratch.as_mut_ptr(), out, last, a.len(), m) }
}

/// Where a pass writes: `columns` words of each of its streams, `stride` words apart, and `step`
/// words farther the next ones.
#[derive(Clone, Copy)]
struct Output {
    first: *mut u64,
    stride: usize,
    columns: usize,
    step: usize,
}

impl Output {
    /// Streams of `stride` words at `a`, one after the other.
    fn in_place(a: *mut u64, stride: usize) -> Self {
        Output { first: a, stride, columns: stride, step: stride }
    }
}

/// # Safety
///
/// As for [`inverse`], of the `len` words at `from`; `a` is `from` or overlaps nothing of it; `out`
/// takes as many.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn transform(
    tables: &VectorTables,
    from: *const u64,
    a: *mut u64,
    out: Output,
    last: LastLevel,
    len: usize,
    m: &Modulus,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (m.ifma(), headroom(m)) {
            (true, 2) => Transform::<false, 2>::new(tables, last, m).whole(from, a, out, len),
            (true, 3) => Transform::<false, 3>::new(tables, last, m).whole(from, a, out, len),
            (true, _) => Transform::<false, 4>::new(tables, last, m).whole(from, a, out, len),
            (false, 3) => Transform::<true, 3>::new(tables, last, m).whole(from, a, out, len),
            (false, _) => Transform::<true, 4>::new(tables, last, m).whole(from, a, out, len),
        }
    }
}

struct Transform<'a, const W: bool, const S: u32> {
    tables: &'a VectorTables,
    constants: Constants<W>,
    last: LastLevel,
}

impl<'a, const W: bool, const S: u32> Transform<'a, W, S> {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn new(tables: &'a VectorTables, last: LastLevel, m: &Modulus) -> Self {
        let multiples = [2, 4, 8].map(|k| splat(k * m.value()));
        Transform { tables, constants: Constants { field: Field::new(m), multiples }, last }
    }

    /// Transforms the `len` elements at `from` back into `out`, by way of those at `a`.
    ///
    /// # Safety
    ///
    /// `from` and `a` must be valid for `len` words, the same or apart, and `out` for as many;
    /// `len` is the degree.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn whole(&self, from: *const u64, a: *mut u64, out: Output, len: usize) {
        let (t, c, last) = (self.tables, &self.constants, &self.last);
        let record = t.passes[0].as_ptr();
        // SAFETY: the caller's promise; the first pass of the forward direction has one record.
        unsafe {
            self.parts(0, 0, from, a, len);
            match t.radices[0] {
                3 => strided_pass::<W, S, true, 8, 2>(a, out, len / 8, record, c, last),
                4 => strided_pass::<W, S, true, 16, 1>(a, out, len / 16, record, c, last),
                _ => unreachable!("the first pass has three or four levels"),
            }
        }
    }

    /// Transforms block number `block` of those that pass `pass > 0` of the forward direction works
    /// on: its parts first, each while it is in cache.
    ///
    /// # Safety
    ///
    /// `from` and `a` must be valid for `len` words, the same or apart, and `pass`, `block` and
    /// `len` those of the recursion from `(0, 0, N)`.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn block(&self, pass: usize, block: usize, from: *const u64, a: *mut u64, len: usize) {
        let (t, c) = (self.tables, &self.constants);
        let r = t.radices[pass];
        let words = record_words(r);
        let last = t.passes[pass].len() - words;
        let record = t.passes[pass][last - block * words..][..words].as_ptr();
        // SAFETY: 2^r streams partition the block; the table has a record for each block, read in
        // reverse.
        unsafe {
            self.parts(pass, block, from, a, len);
            let (out, last) = (Output::in_place(a, len >> r), &self.last);
            match r {
                2 => strided_pass::<W, S, false, 4, 2>(a, out, len / 4, record, c, last),
                3 => strided_pass::<W, S, false, 8, 2>(a, out, len / 8, record, c, last),
                4 => strided_pass::<W, S, false, 16, 1>(a, out, len / 16, record, c, last),
                _ => unreachable!("strided passes have two to four levels"),
            }
        }
    }

    /// What comes before pass `pass` on a block: the passes after it of the forward direction.
    ///
    /// # Safety
    ///
    /// As for [`Self::block`], of any pass.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn parts(&self, pass: usize, block: usize, from: *const u64, a: *mut u64, len: usize) {
        let t = self.tables;
        let r = t.radices[pass];
        let sub = len >> r;
        // SAFETY: 2^r streams of `sub` words partition the block; the table has a record for each
        // group, read in reverse.
        unsafe {
            if pass + 1 < t.radices.len() {
                for i in 0..1 << r {
                    self.block(pass + 1, (block << r) + i, from.add(i * sub), a.add(i * sub), sub);
                }
            } else {
                let (groups, total) = (len / 64, t.groups.len() / GROUP_WORDS);
                let first = total - (block + 1) * groups;
                let records = t.groups[first * GROUP_WORDS..][..groups * GROUP_WORDS].as_ptr();
                block_pass::<W, S>(from, a, groups, records, t.inverse_lanes.as_ptr(), &self.constants);
            }
        }
    }
}

/// `log2 M` levels over `M` streams of `stride` words, `G` independent columns of vectors at a
/// time. With `LAST` the level of greatest distance multiplies by what `last` has and the results
/// are canonical. They go to `out`.
///
/// # Safety
///
/// `a` and `out` must be valid for `M * stride` words, `record` for those of a block; `stride` must
/// be a multiple of `8 G`.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn strided_pass<const W: bool, const S: u32, const LAST: bool, const M: usize, const G: usize>(
    a: *mut u64,
    out: Output,
    stride: usize,
    record: *const u64,
    c: &Constants<W>,
    last: &LastLevel,
) {
    let (c, last) = (*c, *last);
    // SAFETY: the caller's promise; `i * stride + 8 g` stays inside stream `i`.
    unsafe {
        let (mut column, mut to, mut left) = (0, out.first, out.columns);
        while column < stride {
            let p = a.add(column);
            let mut x = [[c.field.zero; M]; G];
            unroll!(for i in 0..M {
                for g in 0..G {
                    x[g][i] = load(p.add(i * stride + 8 * g));
                }
            });
            let multipliers = [Broadcast(record); G];
            level::<W, S, M, G, 1, _>(&mut x, multipliers, &c);
            level_or_last::<W, S, LAST, M, G, 2>(&mut x, multipliers, &c, &last);
            if M >= 8 {
                level_or_last::<W, S, LAST, M, G, 4>(&mut x, multipliers, &c, &last);
            }
            if M >= 16 {
                level_or_last::<W, S, LAST, M, G, 8>(&mut x, multipliers, &c, &last);
            }
            if LAST {
                unroll!(for i in 0..M {
                    for g in 0..G {
                        x[g][i] = c.field.canonical(x[g][i]);
                    }
                });
            } else {
                reduce_sums::<W, S, M, G>(&mut x, &c);
            }
            unroll!(for i in 0..M {
                for g in 0..G {
                    store(to.add(i * out.stride + 8 * g), x[g][i]);
                }
            });
            column += 8 * G;
            left -= 8 * G;
            to = to.wrapping_add(8 * G);
            if left == 0 {
                left = out.columns;
                to = to.wrapping_add(out.step - out.columns);
            }
        }
    }
}

/// The first six levels on `groups` groups of 64 consecutive elements at `from`, into those at `a`,
/// two groups at a time.
///
/// # Safety
///
/// `from` and `a` must be valid for `64 * groups` words, the same or apart, `records` for a group
/// record each (used from the last to the first), `lanes` for the per-lane multipliers; `groups`
/// must be even.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn block_pass<const W: bool, const S: u32>(
    from: *const u64,
    a: *mut u64,
    groups: usize,
    records: *const u64,
    lanes: *const u64,
    c: &Constants<W>,
) {
    let c = *c;
    // SAFETY: the caller's promise. The prefetched address may lie outside the array: a prefetch
    // reads nothing, and the pointer is made without claiming to stay inside.
    unsafe {
        let mut group = 0;
        while group < groups {
            let (source, p) = (from.add(64 * group), a.add(64 * group));
            let reversed = groups - 1 - group;
            let record = [records.add(GROUP_WORDS * reversed), records.add(GROUP_WORDS * (reversed - 1))];
            for i in 0..16 {
                _mm_prefetch::<_MM_HINT_T0>(source.wrapping_add(PREFETCH_AHEAD + 8 * i).cast());
            }
            let mut x = [[c.field.zero; 8]; 2];
            for i in 0..8 {
                for g in 0..2 {
                    x[g][i] = load(source.add(64 * g + 8 * i));
                }
            }
            let multipliers = [PerLane(lanes); 2];
            level::<W, S, 8, 2, 1, _>(&mut x, multipliers, &c);
            level::<W, S, 8, 2, 2, _>(&mut x, multipliers, &c);
            level::<W, S, 8, 2, 4, _>(&mut x, multipliers, &c);
            // The powers of 1 / rho, which also put everything below 2q.
            for g in 0..2 {
                x[g][0] = c.field.reduce_lazy(c.field.zero, x[g][0]);
            }
            for j in 1..8 {
                for g in 0..2 {
                    let power = Broadcast(record[g].add(GROUP_POWERS)).get(j - 1);
                    x[g][j] = c.field.mul_shoup(c.field.zero, x[g][j], power);
                }
            }
            for g in 0..2 {
                transpose(&mut x[g]);
            }
            let multipliers = [Broadcast(record[0]), Broadcast(record[1])];
            level::<W, S, 8, 2, 1, _>(&mut x, multipliers, &c);
            level::<W, S, 8, 2, 2, _>(&mut x, multipliers, &c);
            level::<W, S, 8, 2, 4, _>(&mut x, multipliers, &c);
            reduce_sums::<W, S, 8, 2>(&mut x, &c);
            for i in 0..8 {
                for g in 0..2 {
                    store(p.add(64 * g + 8 * i), x[g][i]);
                }
            }
            group += 2;
        }
    }
}

/// Puts every element of a finished network below `2q`: the last level's sums, for its products
/// are.
///
/// # Safety
///
/// The processor must have AVX-512 F, DQ and IFMA.
#[inline(always)]
unsafe fn reduce_sums<const W: bool, const S: u32, const M: usize, const G: usize>(
    x: &mut [[V; M]; G],
    c: &Constants<W>,
) {
    unroll!(for i in 0..M {
        for g in 0..G {
            if i < M / 2 {
                // SAFETY: the caller's promise.
                x[g][i] = unsafe { c.field.reduce_lazy(c.field.zero, x[g][i]) };
            }
        }
    });
}

/// The operands of the butterfly at `i` with distance `H`: sum, and positive difference the other
/// way round.
///
/// # Safety
///
/// The processor must have AVX-512 F, DQ and IFMA.
#[inline(always)]
unsafe fn sum_and_difference<const W: bool, const S: u32, const M: usize, const H: usize>(
    x: &[V; M],
    i: usize,
    c: &Constants<W>,
) -> (V, V) {
    let plan = const { plans(S, M, H.trailing_zeros() + 1) }[i];
    // SAFETY: the caller's promise.
    unsafe {
        let reduce = |x, needed| if needed { c.field.reduce_lazy(c.field.zero, x) } else { x };
        let (a, b) = (reduce(x[i], plan.reduce_a), reduce(x[i + H], plan.reduce_b));
        let offset = c.multiples[plan.log_offset as usize - 1];
        (_mm512_add_epi64(a, b), _mm512_sub_epi64(_mm512_add_epi64(b, offset), a))
    }
}

/// One level with distance `H` among `M` vectors, in `G` networks in lock step; multipliers
/// numbered in reverse.
///
/// # Safety
///
/// The processor must have AVX-512 F, DQ and IFMA, and the records `M - 1` multipliers.
#[inline(always)]
unsafe fn level<
    const W: bool,
    const S: u32,
    const M: usize,
    const G: usize,
    const H: usize,
    T: Multipliers,
>(
    x: &mut [[V; M]; G],
    multipliers: [T; G],
    c: &Constants<W>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        unroll!(for i in 0..M {
            if i & H == 0 {
                for g in 0..G {
                    let multiplier = multipliers[g].get(M / H - 2 - i / (2 * H));
                    let (sum, difference) = sum_and_difference::<W, S, M, H>(&x[g], i, c);
                    x[g][i] = sum;
                    x[g][i + H] = c.field.mul_shoup(c.field.zero, difference, multiplier);
                }
            }
        });
    }
}

/// [`level`], or the last one of the transform when `LAST` and `H` is the greatest distance: both
/// results multiplied.
///
/// # Safety
///
/// As for [`level`].
#[inline(always)]
unsafe fn level_or_last<
    const W: bool,
    const S: u32,
    const LAST: bool,
    const M: usize,
    const G: usize,
    const H: usize,
>(
    x: &mut [[V; M]; G],
    multipliers: [Broadcast; G],
    c: &Constants<W>,
    last: &LastLevel,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if !LAST || 2 * H < M {
            return level::<W, S, M, G, H, _>(x, multipliers, c);
        }
        unroll!(for i in 0..H {
            for g in 0..G {
                let (sum, difference) = sum_and_difference::<W, S, M, H>(&x[g], i, c);
                x[g][i] = c.field.mul_shoup(c.field.zero, sum, last.sum);
                x[g][i + H] = c.field.mul_shoup(c.field.zero, difference, last.difference);
            }
        });
    }
}
