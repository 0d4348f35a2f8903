//! The kernel floor: transforms, warm and over many primes in turn, sums of products, element-wise
//! kernels.
//!
//! `cargo bench -p fhec-runtime --bench kernels [-- FILTER]`. Names read `kernel/instruction
//! set/bits of the prime/N`; the instruction set is the fastest one, for transforms of `2^16` all
//! of them. Times are per limb.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use fhec_runtime::kernels::{
    Buffer, Isa, KeyLimb, Modulus, NttTable, PACKED_BLOCK, PACKED_SLACK, Permutation, Tiles, basis_convert,
    convert_tiles, gather_into, key_inner_product, mul_into, mul_montgomery_into, pack_into,
    permute_add_assign, permute_into, sub_mul_scalar_into,
};

/// Limbs of a ciphertext and its special primes at the top level.
const LIMBS: usize = 30;

/// Digits of a decomposition, which is also the limbs of one digit.
const DIGITS: usize = 5;

/// The largest primes of `bits` bits that have a transform of every degree.
fn primes(bits: u32) -> impl Iterator<Item = Modulus> {
    let step = 1u64 << 18;
    let top = ((1u64 << bits) - 1) / step * step + 1;
    (0..).filter_map(move |k| Modulus::new(top - k * step).ok())
}

/// Residues that look random.
fn residues(len: usize, m: &Modulus, seed: u64) -> Buffer {
    let word = |i: usize| (i as u64 + seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Buffer::from((0..len).map(|i| m.reduce(word(i) ^ (word(i) >> 29))).collect::<Vec<_>>())
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(60)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    group
}

/// One prime again and again: data and tables in cache.
fn warm_transforms(c: &mut Criterion) {
    let mut group = group(c, "ntt");
    for log_n in 14..=17 {
        for bits in [46, 48, 50, 60] {
            let table = NttTable::new(primes(bits).next().unwrap(), log_n).unwrap();
            let mut a = residues(1 << log_n, table.modulus(), 0);
            let sets = if log_n == 16 { Isa::available() } else { vec![Isa::detect()] };
            for isa in sets {
                let name = format!("{}/{bits}/2^{log_n}", isa.name());
                group.bench_function(format!("forward/{name}"), |b| b.iter(|| table.forward(isa, &mut a)));
                group.bench_function(format!("inverse/{name}"), |b| b.iter(|| table.inverse(isa, &mut a)));
            }
        }
    }
}

/// Thirty primes in turn: data and tables come from memory, as they do in a key switch.
fn cold_transforms(c: &mut Criterion) {
    let mut group = group(c, "ntt-30-primes");
    let isa = Isa::detect();
    for log_n in [15, 16] {
        for bits in [48, 50] {
            let tables: Vec<_> = primes(bits).take(LIMBS).map(|m| NttTable::new(m, log_n).unwrap()).collect();
            let mut limbs: Vec<_> = tables.iter().map(|t| residues(1 << log_n, t.modulus(), 0)).collect();
            let name = format!("{}/{bits}/2^{log_n}", isa.name());
            for (direction, transform) in [
                ("forward", NttTable::forward as fn(&NttTable, Isa, &mut [u64])),
                ("inverse", NttTable::inverse),
            ] {
                let mut next = 0;
                group.bench_function(format!("{direction}/{name}"), |b| {
                    b.iter(|| {
                        transform(&tables[next], isa, &mut limbs[next]);
                        next = (next + 1) % LIMBS;
                    })
                });
            }
        }
    }
}

fn packed(residues: &[u64], bits: u32) -> Buffer {
    let words = residues.len() / PACKED_BLOCK * bits as usize;
    let mut packed = Buffer::zeroed(words + PACKED_SLACK);
    pack_into(&mut packed[..words], residues, bits);
    packed
}

/// Key switching's inner product, five digits by two key halves: limb after limb from memory, and
/// from the second cache.
fn inner_products(c: &mut Criterion) {
    let mut group = group(c, "key-inner-product");
    let (isa, log_n) = (Isa::detect(), 15);
    for bits in [48, 50] {
        let moduli: Vec<_> = primes(bits).take(LIMBS).collect();
        let streams: Vec<Vec<Buffer>> = moduli
            .iter()
            .map(|m| (0..DIGITS as u64).map(|s| residues(1 << log_n, m, s << 20)).collect())
            .collect();
        let keys: Vec<Buffer> = moduli
            .iter()
            .map(|m| packed(&residues((2 * DIGITS) << log_n, m, (DIGITS as u64) << 20), bits))
            .collect();
        let operands = |log_len: u32| -> Vec<Vec<&[u64]>> {
            streams.iter().map(|limb| limb.iter().map(|s| &s[..1 << log_len]).collect()).collect()
        };
        let mut out = [Buffer::zeroed(1 << log_n), Buffer::zeroed(1 << log_n)];
        let mut run = |digits: &[Vec<&[u64]>], limb: usize| {
            let len = digits[limb][0].len();
            let [out0, out1] = out.each_mut().map(|o| &mut o[..len]);
            let words = &keys[limb][..2 * DIGITS * len / PACKED_BLOCK * bits as usize + PACKED_SLACK];
            let key = KeyLimb { words, bits, digits: DIGITS, absent: &[] };
            key_inner_product(isa, out0, out1, &digits[limb], key, &moduli[limb]);
        };
        let whole = operands(log_n);
        let mut next = 0;
        group.bench_function(format!("memory/{}/{bits}/2^{log_n}", isa.name()), |b| {
            b.iter(|| {
                run(&whole, next);
                next = (next + 1) % LIMBS;
            })
        });
        let part = operands(12);
        group.bench_function(format!("cached/{}/{bits}/2^12", isa.name()), |b| b.iter(|| run(&part, 0)));
    }
}

/// A basis conversion: one target prime by itself, and 25 together.
fn basis_conversions(c: &mut Criterion) {
    let mut group = group(c, "basis-convert");
    let isa = Isa::detect();
    for (log_n, bits, count) in
        [(15, 48, 5), (15, 50, 5), (16, 48, 5), (16, 48, 11), (16, 50, 11), (16, 48, 15)]
    {
        let moduli: Vec<_> = primes(bits).take(count + 4).collect();
        let (source_primes, targets) = moduli.split_at(count);
        let sources: Vec<_> = source_primes.iter().map(|m| residues(1 << log_n, m, 0)).collect();
        let sources: Vec<&[u64]> = sources.iter().map(|s| &s[..]).collect();
        let factors: Vec<_> = targets.iter().map(|m| residues(count, m, 7)).collect();
        let factors: Vec<&[u64]> = factors.iter().map(|f| &f[..]).collect();
        let mut outs = vec![Buffer::zeroed(1 << log_n); 4];
        let bits_of = vec![bits; count];
        let name = format!("{}/{bits}/2^{log_n}", isa.name());
        group.bench_function(format!("{count}-to-1/{name}"), |b| {
            b.iter(|| basis_convert(isa, &mut outs[0], &sources, &bits_of, factors[0], &targets[0]))
        });
        // With the first pass of the targets' transforms.
        let tables: Vec<_> =
            targets.iter().map(|&m| NttTable::new(m, log_n).expect("an NTT prime")).collect();
        let tables: Vec<_> = tables.iter().collect();
        let mut outs: Vec<_> = outs.iter_mut().map(|o| &mut o[..]).collect();
        let tiles = Tiles::new(log_n, count);
        let prepared = residues(tiles.words(), &source_primes[0], 0);
        for many in [2, 4] {
            group.bench_function(format!("tiles/{count}-to-{many}/{name}"), |b| {
                b.iter(|| {
                    let (outs, factors, tables) = (&mut outs[..many], &factors[..many], &tables[..many]);
                    convert_tiles(isa, outs, &tiles, &prepared, &bits_of, factors, tables)
                })
            });
        }
    }
}

/// Element-wise kernels on one limb in cache.
fn elementwise(c: &mut Criterion) {
    let mut group = group(c, "elementwise");
    let (isa, log_n) = (Isa::detect(), 15);
    let m = primes(50).next().unwrap();
    let (x, y) = (residues(1 << log_n, &m, 0), residues(1 << log_n, &m, 1));
    let mut out = Buffer::zeroed(1 << log_n);
    let name = |kernel: &str| format!("{kernel}/{}/50/2^{log_n}", isa.name());
    group.bench_function(name("mul"), |b| b.iter(|| mul_into(isa, &mut out, &x, &y, &m)));
    group.bench_function(name("mul-montgomery"), |b| {
        b.iter(|| mul_montgomery_into(isa, &mut out, &x, &y, &m))
    });
    group.bench_function(name("sub-mul-scalar"), |b| {
        b.iter(|| sub_mul_scalar_into(isa, &mut out, &x, &y, black_box(12345), &m))
    });
}

/// A rotation of one limb in cache: as a permutation of blocks, added to a sum, and by its index
/// table.
fn permutations(c: &mut Criterion) {
    let mut group = group(c, "permutation");
    for log_n in [15, 16] {
        let m = primes(50).next().unwrap();
        let (x, mut out) = (residues(1 << log_n, &m, 0), residues(1 << log_n, &m, 1));
        let permutation = Permutation::new(log_n, 5u64.pow(7));
        let index: Vec<u32> = (0..1 << log_n).map(|i| permutation.source(i) as u32).collect();
        let sets = if log_n == 16 { Isa::available() } else { vec![Isa::detect()] };
        for isa in sets {
            let name = |kernel: &str| format!("{kernel}/{}/50/2^{log_n}", isa.name());
            group.bench_function(name("permute"), |b| {
                b.iter(|| permute_into(isa, &mut out, &x, &permutation))
            });
            group.bench_function(name("permute-add"), |b| {
                b.iter(|| permute_add_assign(isa, &mut out, &x, &permutation, &m))
            });
            group.bench_function(name("gather"), |b| b.iter(|| gather_into(isa, &mut out, &x, &index)));
        }
    }
}

criterion_group!(
    kernels,
    warm_transforms,
    cold_transforms,
    inner_products,
    basis_conversions,
    elementwise,
    permutations
);
criterion_main!(kernels);
