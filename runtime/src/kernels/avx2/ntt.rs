//! The transform in double precision, after the same tables and order as the 52-bit one.
//!
//! Between passes the array holds doubles; the first pass of each direction reads words and the
//! last writes them.
//!
//! *Forward.* `(x, y) → (x + t, x - t)` with `t = y w`. Canonical input is below `q`, three levels
//! take it below `2.9 q`. Each later pass first brings its `x` operands to `q/2`; three levels then
//! end below `2.5 q` (`t` is at most `(1/2 + B/16) q` for `y` below `Bq`).
//!
//! *Inverse.* `(a, b) → (a + b, (b - a) w)` with the negated reciprocal. A pass takes canonical
//! values, or values below `0.7 q` in absolute value: differences at the second level stay below
//! `2.8 q`, products below `0.7 q`. Sums double, so the two sums of four are reduced before the
//! third level and all sums at the end.

use super::vector::{Field, LANES, Multiplier, V, encode, load, splat_bits, store, transpose};
use crate::kernels::Modulus;
use crate::kernels::ntt::NttRoots;
use crate::kernels::vector_tables::{GROUP_POWERS, GROUP_WORDS, VectorTables, record_words, unroll};
use std::arch::x86_64::{_mm256_add_pd, _mm256_sub_pd};

/// Elements of a group in the block pass.
const GROUP: usize = 64;

/// Tables with multipliers as doubles.
pub(in crate::kernels) fn tables(m: &Modulus, roots: &NttRoots) -> VectorTables {
    VectorTables::new(m, roots, radices(roots.log_n()), |w| encode(w, m))
}

/// Strided passes by degree; sixteen registers hold a radix-8 network.
fn radices(log_n: u32) -> &'static [u32] {
    match log_n {
        10 => &[2, 2],
        11 => &[3, 2],
        12 => &[3, 3],
        13 => &[3, 2, 2],
        14 => &[3, 3, 2],
        15 => &[3, 3, 3],
        16 => &[3, 3, 2, 2],
        17 => &[3, 3, 3, 2],
        _ => unreachable!("the degree was checked when the roots were made"),
    }
}

/// Where a pass finds its multipliers, numbered level by level.
#[derive(Clone, Copy)]
enum Multipliers {
    /// Pairs of words, each for all lanes.
    Broadcast(*const u64),
    /// Eight lanes of the first word, then eight of the second; these are four of them.
    PerLane(*const u64),
}

impl Multipliers {
    /// Multiplier `k`.
    ///
    /// # Safety
    ///
    /// The record must have it, and the processor AVX2.
    #[inline(always)]
    unsafe fn get(self, k: usize) -> Multiplier {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Broadcast(p) => {
                    Multiplier { w: splat_bits(*p.add(2 * k)), quotient: splat_bits(*p.add(2 * k + 1)) }
                }
                Self::PerLane(p) => Multiplier { w: load(p.add(16 * k)), quotient: load(p.add(16 * k + 8)) },
            }
        }
    }
}

/// `a ← NTT(a)`, canonical residues in and out.
///
/// # Safety
///
/// The processor must have AVX2 and FMA. `a.len()` must be the degree and `m` the prime of
/// `tables`, `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn forward(tables: &VectorTables, a: &mut [u64], m: &Modulus) {
    // SAFETY: the caller's promise.
    unsafe { forward_block(tables, 0, 0, a.as_mut_ptr(), a.len(), &Field::new(m)) }
}

/// `a ← NTT^-1(a)`, canonical residues in and out.
///
/// # Safety
///
/// As for [`forward`].
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn inverse(tables: &VectorTables, a: &mut [u64], m: &Modulus) {
    // SAFETY: the caller's promise.
    unsafe { inverse_block(tables, 0, 0, a.as_mut_ptr(), a.len(), &Field::new(m)) }
}

/// Transforms `len` elements at `a`, block number `block` of those that pass `pass` works on, depth
/// first.
///
/// # Safety
///
/// `a` must be valid for `len` words, and `pass`, `block` and `len` those of the recursion from
/// `(0, 0, N)`.
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_block(t: &VectorTables, pass: usize, block: usize, a: *mut u64, len: usize, f: &Field) {
    let r = t.radices[pass];
    let sub = len >> r;
    // SAFETY: 2^r streams of `sub` words partition the block; the table has a record for each block
    // and group.
    unsafe {
        let record = t.passes[pass][block * record_words(r)..][..record_words(r)].as_ptr();
        match (r, pass) {
            (2, 0) => forward_strided::<true, 4>(a, sub, record, f),
            (2, _) => forward_strided::<false, 4>(a, sub, record, f),
            (3, 0) => forward_strided::<true, 8>(a, sub, record, f),
            (3, _) => forward_strided::<false, 8>(a, sub, record, f),
            _ => unreachable!("strided passes have two or three levels"),
        }
        if pass + 1 < t.radices.len() {
            for i in 0..1 << r {
                forward_block(t, pass + 1, (block << r) + i, a.add(i * sub), sub, f);
            }
        } else {
            let groups = len / GROUP;
            let records = &t.groups[block * groups * GROUP_WORDS..][..groups * GROUP_WORDS];
            for (g, record) in records.chunks_exact(GROUP_WORDS).enumerate() {
                forward_group(a.add(GROUP * g), record.as_ptr(), t.forward_lanes.as_ptr(), f);
            }
        }
    }
}

/// `log2 M` levels over `M` streams of `stride` words at `a`. `FIRST` reads words.
///
/// # Safety
///
/// `a` must be valid for `M * stride` words, `record` for those of a block; `stride` must be a
/// multiple of 4.
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_strided<const FIRST: bool, const M: usize>(
    a: *mut u64,
    stride: usize,
    record: *const u64,
    f: &Field,
) {
    let f = *f;
    let multipliers = Multipliers::Broadcast(record);
    for column in (0..stride).step_by(LANES) {
        // SAFETY: the caller's promise; a column stays inside its streams.
        unsafe {
            let p = a.add(column);
            let mut x = [f.zero; M];
            unroll!(for i in 0..M {
                x[i] = if FIRST { f.load_words(p.add(i * stride)) } else { load(p.add(i * stride)) };
            });
            forward_levels::<FIRST, M>(&mut x, multipliers, &f);
            unroll!(for i in 0..M {
                store(p.add(i * stride), x[i]);
            });
        }
    }
}

/// The last six levels on one group; canonical output.
///
/// # Safety
///
/// `a` must be valid for 64 words, `record` for a group record, `lanes` for the per-lane
/// multipliers.
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_group(a: *mut u64, record: *const u64, lanes: *const u64, f: &Field) {
    const M: usize = 8;
    let f = *f;
    let mut rows = [0u64; GROUP];
    let rows = rows.as_mut_ptr();
    for half in [0, 4] {
        // SAFETY: the caller's promise; row `i` is the eight words from `8 i`.
        unsafe {
            let mut x = [f.zero; M];
            unroll!(for i in 0..M {
                x[i] = load(a.add(8 * i + half));
            });
            forward_levels::<false, M>(&mut x, Multipliers::Broadcast(record), &f);
            unroll!(for i in 0..M {
                store(rows.add(8 * i + half), x[i]);
            });
        }
    }
    for half in [0, 4] {
        // SAFETY: as above. The transposed rows' lanes `half .. half + 4` are the rows `half ..
        // half + 4`.
        unsafe {
            let mut x = [f.zero; M];
            for columns in [0, 4] {
                let corner = rows.add(8 * half + columns);
                let block = transpose([
                    load(corner),
                    load(corner.add(8)),
                    load(corner.add(16)),
                    load(corner.add(24)),
                ]);
                x[columns..columns + 4].copy_from_slice(&block);
            }
            let powers = Multipliers::Broadcast(record.add(GROUP_POWERS));
            x[0] = f.reduce_lazy(x[0]);
            unroll!(for i in 0..M {
                if i > 0 {
                    x[i] = f.mul(x[i], powers.get(i - 1));
                }
            });
            forward_levels::<true, M>(&mut x, Multipliers::PerLane(lanes.add(half)), &f);
            unroll!(for i in 0..M {
                f.store_words(a.add(8 * i + half), f.canonical(f.reduce_lazy(x[i])));
            });
        }
    }
}

/// The levels of a forward network of `M`; with `SMALL` its inputs are below `q` and need no
/// reduction.
///
/// # Safety
///
/// The processor must have AVX2 and FMA, and the record `M - 1` multipliers.
#[inline(always)]
unsafe fn forward_levels<const SMALL: bool, const M: usize>(
    x: &mut [V; M],
    multipliers: Multipliers,
    f: &Field,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if M == 8 {
            forward_level::<SMALL, M, 4>(x, multipliers, f);
            forward_level::<true, M, 2>(x, multipliers, f);
        } else {
            forward_level::<SMALL, M, 2>(x, multipliers, f);
        }
        forward_level::<true, M, 1>(x, multipliers, f);
    }
}

/// One forward level with distance `H`.
///
/// # Safety
///
/// As for [`forward_levels`].
#[inline(always)]
unsafe fn forward_level<const SMALL: bool, const M: usize, const H: usize>(
    x: &mut [V; M],
    multipliers: Multipliers,
    f: &Field,
) {
    unroll!(for i in 0..M {
        if i & H == 0 {
            // SAFETY: the caller's promise.
            unsafe {
                let u = if SMALL { x[i] } else { f.reduce_lazy(x[i]) };
                let t = f.mul(x[i + H], multipliers.get(M / (2 * H) - 1 + i / (2 * H)));
                x[i] = _mm256_add_pd(u, t);
                x[i + H] = _mm256_sub_pd(u, t);
            }
        }
    });
}

/// Transforms back what [`forward_block`] transforms, parts first; records are read in reverse.
///
/// # Safety
///
/// As for [`forward_block`].
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_block(t: &VectorTables, pass: usize, block: usize, a: *mut u64, len: usize, f: &Field) {
    let r = t.radices[pass];
    let sub = len >> r;
    // SAFETY: as in `forward_block`.
    unsafe {
        if pass + 1 < t.radices.len() {
            for i in 0..1 << r {
                inverse_block(t, pass + 1, (block << r) + i, a.add(i * sub), sub, f);
            }
        } else {
            let (groups, total) = (len / GROUP, t.groups.len() / GROUP_WORDS);
            let records = &t.groups[(total - (block + 1) * groups) * GROUP_WORDS..][..groups * GROUP_WORDS];
            for (g, record) in records.chunks_exact(GROUP_WORDS).rev().enumerate() {
                inverse_group(a.add(GROUP * g), record.as_ptr(), t.inverse_lanes.as_ptr(), f);
            }
        }
        let words = record_words(r);
        let record = t.passes[pass][t.passes[pass].len() - (block + 1) * words..][..words].as_ptr();
        match (r, pass) {
            (2, 0) => inverse_strided::<true, 4>(a, sub, record, t, f),
            (2, _) => inverse_strided::<false, 4>(a, sub, record, t, f),
            (3, 0) => inverse_strided::<true, 8>(a, sub, record, t, f),
            (3, _) => inverse_strided::<false, 8>(a, sub, record, t, f),
            _ => unreachable!("strided passes have two or three levels"),
        }
    }
}

/// The first six levels on one group of canonical residues.
///
/// # Safety
///
/// As for [`forward_group`].
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_group(a: *mut u64, record: *const u64, lanes: *const u64, f: &Field) {
    const M: usize = 8;
    let f = *f;
    let mut rows = [0u64; GROUP];
    let rows = rows.as_mut_ptr();
    for half in [0, 4] {
        // SAFETY: the caller's promise; row `i` is the eight words from `8 i`.
        unsafe {
            let mut x = [f.zero; M];
            unroll!(for i in 0..M {
                x[i] = f.load_words(a.add(8 * i + half));
            });
            inverse_levels::<M>(&mut x, Multipliers::PerLane(lanes.add(half)), &f);
            let powers = Multipliers::Broadcast(record.add(GROUP_POWERS));
            x[0] = f.reduce_lazy(x[0]);
            unroll!(for i in 0..M {
                if i > 0 {
                    x[i] = f.mul(x[i], powers.get(i - 1));
                }
            });
            for columns in [0, 4] {
                let block = transpose([x[columns], x[columns + 1], x[columns + 2], x[columns + 3]]);
                for (i, row) in block.into_iter().enumerate() {
                    store(rows.add(8 * (half + i) + columns), row);
                }
            }
        }
    }
    for half in [0, 4] {
        // SAFETY: as above.
        unsafe {
            let mut x = [f.zero; M];
            unroll!(for i in 0..M {
                x[i] = load(rows.add(8 * i + half));
            });
            inverse_levels::<M>(&mut x, Multipliers::Broadcast(record), &f);
            unroll!(for i in 0..M {
                store(a.add(8 * i + half), if i < M / 2 { f.reduce_lazy(x[i]) } else { x[i] });
            });
        }
    }
}

/// `log2 M` levels back over `M` streams of `stride` words. `LAST` multiplies by `1/N` and writes
/// canonical words.
///
/// # Safety
///
/// As for [`forward_strided`].
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_strided<const LAST: bool, const M: usize>(
    a: *mut u64,
    stride: usize,
    record: *const u64,
    t: &VectorTables,
    f: &Field,
) {
    let f = *f;
    let pair = |pair: [u64; 2]| Multiplier { w: splat_bits(pair[0]), quotient: splat_bits(pair[1]) };
    let (inverse_degree, last_difference) = (pair(t.inverse_degree), pair(t.last_difference));
    let multipliers = Multipliers::Broadcast(record);
    for column in (0..stride).step_by(LANES) {
        // SAFETY: the caller's promise; a column stays inside its streams.
        unsafe {
            let p = a.add(column);
            let mut x = [f.zero; M];
            unroll!(for i in 0..M {
                x[i] = load(p.add(i * stride));
            });
            if LAST {
                inverse_level::<M, 1>(&mut x, multipliers, &f);
                if M == 8 {
                    inverse_level::<M, 2>(&mut x, multipliers, &f);
                    reduce_sums_of_four(&mut x, &f);
                }
                unroll!(for i in 0..M {
                    if i < M / 2 {
                        let (u, v) = (x[i], x[i + M / 2]);
                        let sum = f.mul(_mm256_add_pd(u, v), inverse_degree);
                        let difference = f.mul(_mm256_sub_pd(v, u), last_difference);
                        f.store_words(p.add(i * stride), f.canonical(sum));
                        f.store_words(p.add((i + M / 2) * stride), f.canonical(difference));
                    }
                });
            } else {
                inverse_levels::<M>(&mut x, multipliers, &f);
                unroll!(for i in 0..M {
                    store(p.add(i * stride), if i < M / 2 { f.reduce_lazy(x[i]) } else { x[i] });
                });
            }
        }
    }
}

/// The levels of an inverse network of `M` with inputs as the head of the file says; sums are left
/// below `2.9 q`.
///
/// # Safety
///
/// The processor must have AVX2 and FMA, and the record `M - 1` multipliers.
#[inline(always)]
unsafe fn inverse_levels<const M: usize>(x: &mut [V; M], multipliers: Multipliers, f: &Field) {
    // SAFETY: the caller's promise.
    unsafe {
        inverse_level::<M, 1>(x, multipliers, f);
        inverse_level::<M, 2>(x, multipliers, f);
        if M == 8 {
            reduce_sums_of_four(x, f);
            inverse_level::<M, 4>(x, multipliers, f);
        }
    }
}

/// Between the second and the third inverse level.
///
/// # Safety
///
/// The processor must have AVX2 and FMA.
#[inline(always)]
unsafe fn reduce_sums_of_four<const M: usize>(x: &mut [V; M], f: &Field) {
    // SAFETY: the caller's promise.
    unsafe {
        x[0] = f.reduce_lazy(x[0]);
        x[M / 2] = f.reduce_lazy(x[M / 2]);
    }
}

/// One inverse level with distance `H`, multipliers numbered in reverse.
///
/// # Safety
///
/// As for [`inverse_levels`].
#[inline(always)]
unsafe fn inverse_level<const M: usize, const H: usize>(x: &mut [V; M], multipliers: Multipliers, f: &Field) {
    unroll!(for i in 0..M {
        if i & H == 0 {
            // SAFETY: the caller's promise.
            unsafe {
                let (u, v) = (x[i], x[i + H]);
                x[i] = _mm256_add_pd(u, v);
                x[i + H] = f.mul(_mm256_sub_pd(v, u), multipliers.get(M / H - 2 - i / (2 * H)));
            }
        }
    });
}
