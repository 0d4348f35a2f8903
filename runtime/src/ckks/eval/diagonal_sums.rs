//! Sums of rotations times many plaintexts: what linear maps spend their time on.
//!
//! The plaintexts are integers ([`CompactPlaintext`]), whose residues are made per prime when they
//! are used. Per prime:
//!
//! 1. the rotations are made a range of evaluations at a time and written as *tiles*: the same few
//!    evaluations of all of them in a row, which stay in the first cache while all rows of terms
//!    are multiplied with them (as whole limbs, dozens of streams a power of two apart would throw
//!    each other out of every cache);
//! 2. a group of rows has its plaintexts transformed, as many as stay in the last cache;
//! 3. the group is multiplied tile by tile.
//!
//! Rotations come divided by `P`, over the chain, or not, over all primes: [`Hoisting`] says which
//! is cheaper.
//!
//! [`Hoisting`]: fhec_ir::diagonal::Hoisting

use std::sync::Arc;

use super::mul::add_special_multiple;
use super::rotate::{Hoisted, LiftedLimb};
use super::{Evaluator, check_keys, check_levels, check_scale};
use crate::ckks::CompactPlaintext;
use crate::error::EvalError;
use crate::kernels::{self, PERMUTATION_BLOCK, Permutation};
use crate::parallel;
use crate::ring::automorphism::rotation_element;
use crate::ring::basis_extension::{TARGETS_AT_ONCE, Tail};
use crate::ring::pool::PooledBuffer;
use crate::ring::{Basis, Context, Domain, Poly};
use crate::rlwe::key_switch::limb_pair;
use crate::rlwe::{Ciphertext, Decomposition, ExtendedCiphertext, SwitchingKey, SwitchingKeyKind};
use fhec_ir::scale::Scale;

/// One row: `(index of the rotation, plaintext)` of every term.
pub type CompactTerms<'t> = Vec<(usize, &'t CompactPlaintext)>;

/// Evaluations of one half of one rotation in a tile: 32 rotations fill the first cache. One block
/// of a permutation.
const TILE: usize = PERMUTATION_BLOCK;

/// Words of transformed plaintexts at a time: 8 MiB, a part of the last cache.
const FACTOR_WORDS: usize = 1 << 20;

/// Words between the plaintexts' residues beyond their number, so that they do not all start in one
/// cache set.
const FACTOR_PADDING: usize = 72;

/// Evaluations of every row that one task sums up.
const SPAN: usize = 1 << 11;

/// Words of rotations that stay in the second cache: 512 KiB.
const ROTATION_WORDS: usize = 1 << 16;

/// Evaluations of one half of a rotation that are made at a time.
const ROTATED: usize = 1 << 10;

/// Evaluations that a task makes of all rotations, at most: what is asked for ahead of a range is
/// the task's next.
const ROTATED_SPAN: usize = 1 << 12;

/// Sums decomposed at a time in giant steps.
const GIANTS_AT_ONCE: usize = 8;

impl Evaluator<'_> {
    /// Adds to every sum, one per row of `terms`, `rotation[steps[i]] * factor` for all of its
    /// terms `(i, factor)`; every rotation is divided by `P` before. Without sums, they are made:
    /// no canonical ciphertexts but ones at the products' scale.
    ///
    /// *Cost*: one lift; per rotation an inner product with its key and a division; per term a
    /// transform of the size of its period and a product over the chain primes.
    pub fn add_products(
        &self,
        sums: &mut Option<Vec<Ciphertext>>,
        a: &Hoisted<'_>,
        steps: &[i64],
        terms: &[CompactTerms<'_>],
    ) -> Result<(), EvalError> {
        let op = "add_products";
        let scale = self.check_compact(op, a, terms)?;
        let (context, c) = (self.context, a.ciphertext);
        let elements = self.rotation_elements(a, steps);
        let rotations = self.divided_rotations(a, &self.galois_keys(op, a, &elements)?);
        let basis = c.polys()[0].basis();
        let accumulate = sums.is_some();
        let made = || {
            let polys = arbitrary(context, basis, terms.len());
            polys
                .into_iter()
                .map(|polys| Ciphertext::new(polys.into(), c.level(), scale, c.slots(), c.key()))
                .collect()
        };
        let sums = sums.get_or_insert_with(made);
        for sum in sums.iter() {
            check_keys(op, sum.key(), c.key())?;
            check_levels(op, sum.level(), c.level())?;
            check_scale(op, sum.scale(), scale)?;
        }
        let halves = sums.iter_mut().flat_map(|sum| sum.polys_mut()).collect();
        let mut plan = Products::new(context, basis, (halves, accumulate), steps.len(), terms);
        let permutations = self.permutations(&elements);
        for limb in 0..basis.chain {
            plan.limb(limb, |index, first, outs| {
                for (half, out) in outs.into_iter().enumerate() {
                    let Some(rotated) = &rotations[index] else {
                        out.copy_from_slice(&c.polys()[half].limb(limb)[first * TILE..][..out.len()]);
                        continue;
                    };
                    let (rotated, permutation) = (rotated[half].limb(limb), &permutations[index]);
                    kernels::permute_blocks_into(context.isa(), out, rotated, permutation, first);
                }
            });
        }
        Ok(())
    }

    /// [`Self::add_products`] of rotations that are not divided by `P`, over all primes.
    ///
    /// *Cost*: one lift; per rotation an inner product with its key; per term a transform of the
    /// size of its period and a product over all primes.
    pub fn add_products_extended(
        &self,
        sums: &mut Option<Vec<ExtendedCiphertext>>,
        a: &Hoisted<'_>,
        steps: &[i64],
        terms: &[CompactTerms<'_>],
    ) -> Result<(), EvalError> {
        let op = "add_products_extended";
        let scale = self.check_compact(op, a, terms)?;
        let (context, c, basis) = (self.context, a.ciphertext, a.decomposition.basis());
        let elements = self.rotation_elements(a, steps);
        let keys = self.galois_keys(op, a, &elements)?;
        let accumulate = sums.is_some();
        let (level, slots, key) = (c.level(), c.slots(), c.key());
        let made = || {
            let polys = arbitrary(context, basis, terms.len());
            polys.into_iter().map(|polys| ExtendedCiphertext { polys, level, scale, slots, key }).collect()
        };
        let sums = sums.get_or_insert_with(made);
        for sum in sums.iter() {
            check_keys(op, sum.key, key)?;
            check_levels(op, sum.level, level)?;
            check_scale(op, sum.scale, scale)?;
        }
        let halves = sums.iter_mut().flat_map(|sum| &mut sum.polys).collect();
        let mut plan = Products::new(context, basis, (halves, accumulate), steps.len(), terms);
        let permutations = self.permutations(&elements);
        let limbs = basis.limbs();
        // The digits of as many limbs as all threads lift at a time.
        let group = (TARGETS_AT_ONCE * rayon::current_num_threads()).min(limbs);
        let mut scratch = context.scratch(a.decomposition.lift_scratch(group));
        for start in (0..limbs).step_by(group) {
            let lifted = lift_all(context, &a.decomposition, start..limbs.min(start + group), &mut scratch);
            for (limb, digits) in (start..).zip(lifted) {
                let lifted = LiftedLimb::new(context, a, limb, digits);
                plan.limb(limb, |index, first, outs| {
                    lifted.rotate(keys[index], &permutations[index], outs, first);
                });
            }
        }
        Ok(())
    }

    /// `sum += P rotation of a_i left by steps_i`, for all of `parts` `(a, steps)`: giant steps of
    /// sums over the chain. *Level, scale*: equal.
    ///
    /// *Cost*: one key switch each, without a division.
    pub fn add_rotations_assign(
        &self,
        sum: &mut ExtendedCiphertext,
        parts: &[(&Ciphertext, i64)],
    ) -> Result<(), EvalError> {
        let op = "add_rotations";
        let context = self.context;
        let mut switched: Vec<(&Ciphertext, &SwitchingKey, Arc<Permutation>)> = Vec::new();
        let mut unrotated = Vec::new();
        for &(a, steps) in parts {
            super::check_size(op, 2, a)?;
            check_keys(op, a.key(), self.keys.id())?;
            check_keys(op, sum.key, a.key())?;
            check_levels(op, sum.level, a.level())?;
            check_scale(op, sum.scale, a.scale())?;
            let element = rotation_element(steps.rem_euclid(a.slots() as i64), context.ring_degree());
            if element == 1 {
                unrotated.push(a);
            } else {
                let key = self.keys.get(op, SwitchingKeyKind::Galois { element }, a.level())?;
                switched.push((a, key, context.automorphism(element)));
            }
        }
        for a in unrotated {
            for (sum, c) in sum.polys.iter_mut().zip(a.polys()) {
                add_special_multiple(context, sum, c);
            }
        }
        for batch in switched.chunks(GIANTS_AT_ONCE) {
            let decompositions =
                parallel::map(batch, |(a, ..)| Decomposition::new(context, &a.polys()[1], sum.level));
            let outputs = sum.polys.iter_mut().map(Poly::data_mut).collect();
            context.each_group(TARGETS_AT_ONCE, outputs, |limbs, mut outputs| {
                let (isa, degree) = (context.isa(), context.ring_degree());
                let scratch = decompositions.iter().map(|d| d.lift_scratch(limbs.len())).max();
                let mut scratch = context.scratch(scratch.unwrap_or(0));
                let mut switched = context.scratch(3);
                let (u0, rest) = switched.split_at_mut(degree);
                let (u1, image) = rest.split_at_mut(degree);
                for (decomposition, (a, key, permutation)) in decompositions.iter().zip(batch) {
                    let basis = decomposition.basis();
                    let lifted = decomposition.lift(context, limbs.clone(), &mut scratch);
                    for (i, (limb, digits)) in limbs.clone().zip(lifted).enumerate() {
                        let prime = context.prime(basis, limb);
                        let modulus = context.modulus(prime);
                        decomposition.inner_product(context, key, limb, &digits, u0, u1);
                        if limb < basis.chain {
                            image.copy_from_slice(a.polys()[0].limb(limb));
                            let multiple = context.special_product(prime, basis.special);
                            kernels::mul_scalar_assign(isa, image, multiple, modulus);
                            kernels::add_assign(isa, u0, image, modulus);
                        }
                        for (sum, u) in limb_pair(context, &mut outputs, i).into_iter().zip([&*u0, &*u1]) {
                            kernels::permute_add_assign(isa, sum, u, permutation, modulus);
                        }
                    }
                }
            });
        }
        let slots = parts.iter().map(|(a, _)| a.slots()).max().unwrap_or(0);
        sum.slots = sum.slots.max(slots);
        Ok(())
    }

    /// The rotations of a hoisted ciphertext by the keys' elements, divided by `P` but not yet
    /// permuted; none for the identity, which is the ciphertext. One after the other per thread, so
    /// that what is to be divided stays in the cache.
    fn divided_rotations(&self, a: &Hoisted<'_>, keys: &[Option<&SwitchingKey>]) -> Vec<Option<[Poly; 2]>> {
        let (context, c, decomposition) = (self.context, a.ciphertext, &a.decomposition);
        let basis = decomposition.basis();
        let limbs = basis.limbs();
        let mut scratch = context.scratch(decomposition.lift_scratch(limbs));
        let lifted = lift_all(context, decomposition, 0..limbs, &mut scratch);
        let rotate = |key: &SwitchingKey| {
            let [mut u0, mut u1] = [(); 2].map(|()| Poly::arbitrary(context, basis, Domain::Evaluation));
            for (limb, digits) in lifted.iter().enumerate() {
                decomposition.inner_product(context, key, limb, digits, u0.limb_mut(limb), u1.limb_mut(limb));
            }
            let tails = [Tail { add: Some(&c.polys()[0]), permute: None }, Tail::default()];
            context.divide_round([&u0, &u1], basis.with_special(0), tails)
        };
        parallel::map(keys, |key| key.map(rotate))
    }

    /// Checks all plaintexts; returns the scale of the products.
    fn check_compact(
        &self,
        op: &'static str,
        a: &Hoisted<'_>,
        terms: &[CompactTerms<'_>],
    ) -> Result<Scale, EvalError> {
        let c = a.ciphertext;
        let mut scale = None;
        for (_, factor) in terms.iter().flatten() {
            if factor.level() < c.level() {
                return Err(EvalError::LevelTooLow { op, needed: c.level(), found: factor.level() });
            }
            let product = factor.scale().product(c.scale(), self.context.params());
            let mismatch =
                EvalError::PlaintextScaleMismatch { op, ciphertext: c.scale(), plaintext: factor.scale() };
            let product = product.ok_or(mismatch)?;
            check_scale(op, *scale.get_or_insert(product), product)?;
        }
        Ok(scale.unwrap_or(c.scale()))
    }
}

fn arbitrary(context: &Context, basis: Basis, count: usize) -> Vec<[Poly; 2]> {
    (0..count).map(|_| [(); 2].map(|()| Poly::arbitrary(context, basis, Domain::Evaluation))).collect()
}

/// The digits modulo the primes of the limbs `limbs`, `[limb][digit]`, on all threads.
fn lift_all<'s>(
    context: &Context,
    decomposition: &'s Decomposition<'_>,
    limbs: std::ops::Range<usize>,
    scratch: &'s mut [u64],
) -> Vec<Vec<&'s [u64]>> {
    let words = decomposition.lift_scratch(TARGETS_AT_ONCE) * context.ring_degree();
    let groups = limbs.clone().step_by(TARGETS_AT_ONCE).zip(scratch.chunks_mut(words));
    let lift = |(first, scratch): (usize, &'s mut [u64])| {
        decomposition.lift(context, first..limbs.end.min(first + TARGETS_AT_ONCE), scratch)
    };
    parallel::map(groups, lift).into_iter().flatten().collect()
}

/// Rows of products, prime by prime.
struct Products<'p> {
    context: &'p Context,
    basis: Basis,
    /// Two halves per row.
    sums: Vec<&'p mut Poly>,
    /// Whether products are added to what the sums hold.
    accumulate: bool,
    /// How many rotations there are.
    width: usize,
    terms: &'p [CompactTerms<'p>],
    /// The rotations of each row's terms.
    columns: Vec<Vec<u32>>,
    /// Ranges of rows whose plaintexts are transformed together.
    groups: Vec<std::ops::Range<usize>>,
    /// Words between plaintexts.
    stride: usize,
    log_repeat: u32,
    /// `[tile][rotation][half][evaluation]`.
    tiles: PooledBuffer,
    factors: PooledBuffer,
}

impl<'p> Products<'p> {
    fn new(
        context: &'p Context,
        basis: Basis,
        (sums, accumulate): (Vec<&'p mut Poly>, bool),
        width: usize,
        terms: &'p [CompactTerms<'p>],
    ) -> Self {
        let first = terms.iter().flatten().next().map(|(_, factor)| *factor);
        let (values, log_repeat) = first.map_or((0, 0), |factor| (factor.values(), factor.log_repeat()));
        assert!(
            terms.iter().flatten().all(|(_, factor)| factor.values() == values),
            "the plaintexts of a sum have one period"
        );
        assert_eq!(sums.len(), 2 * terms.len(), "one sum per row");
        let stride = values + FACTOR_PADDING;
        let at_once = (FACTOR_WORDS / stride).max(1);
        let (mut groups, mut start, mut count, mut most) = (Vec::new(), 0, 0, 0);
        for (row, terms) in terms.iter().enumerate() {
            if row > start && count + terms.len() > at_once {
                groups.push(start..row);
                (start, count) = (row, 0);
            }
            count += terms.len();
            most = most.max(count);
        }
        groups.push(start..terms.len());
        Products {
            context,
            basis,
            sums,
            accumulate,
            width,
            terms,
            columns: terms.iter().map(|row| row.iter().map(|&(i, _)| i as u32).collect()).collect(),
            groups,
            stride,
            log_repeat,
            tiles: context.scratch(2 * width),
            factors: context.pool().take(most * stride),
        }
    }

    /// One limb of all sums. `rotate(rotation, first, outs)` writes the evaluations of that limb of
    /// both halves of a rotation from tile `first` on.
    fn limb(&mut self, limb: usize, rotate: impl Fn(usize, usize, [&mut [u64]; 2]) + Sync) {
        let (context, width) = (self.context, self.width);
        let (isa, prime, degree) = (context.isa(), context.prime(self.basis, limb), context.ring_degree());
        let modulus = context.modulus(prime);
        let row = 2 * width.max(1);
        // Two tasks per thread at least, as long as they are whole ranges.
        let share = 1 << (degree / (2 * rayon::current_num_threads())).max(1).ilog2();
        let range = ROTATED.min(degree);
        let span = share.clamp(range, ROTATED_SPAN.min(degree));
        parallel::for_each(self.tiles.chunks_exact_mut(row * span).enumerate(), |(index, out)| {
            let mut rotated = [0; 2 * ROTATED];
            for (tiles, start) in out.chunks_exact_mut(row * range).zip((index * span..).step_by(range)) {
                for rotation in 0..width {
                    let (half0, half1) = rotated.split_at_mut(ROTATED);
                    let mut halves = [&mut half0[..range], &mut half1[..range]];
                    rotate(rotation, start / TILE, halves.each_mut().map(|half| &mut **half));
                    // One operand of the products has to be in Montgomery form; there are fewer
                    // rotations than plaintexts.
                    for half in halves {
                        kernels::mul_scalar_assign(isa, half, modulus.to_montgomery(1), modulus);
                    }
                    for (tile, at) in tiles.chunks_exact_mut(row * TILE).zip((0..range).step_by(TILE)) {
                        let out = &mut tile[2 * rotation * TILE..][..2 * TILE];
                        out[..TILE].copy_from_slice(&rotated[at..][..TILE]);
                        out[TILE..].copy_from_slice(&rotated[ROTATED + at..][..TILE]);
                    }
                }
            }
        });
        for rows in self.groups.clone() {
            let terms: Vec<&CompactPlaintext> =
                self.terms[rows.clone()].iter().flatten().map(|&(_, factor)| factor).collect();
            parallel::for_each(self.factors.chunks_exact_mut(self.stride).zip(&terms), |(out, factor)| {
                factor.evaluate(context, prime, &mut out[..factor.values()]);
            });
            self.multiply(limb, rows);
        }
    }

    /// One limb of the sums of `rows`, whose plaintexts are at hand.
    fn multiply(&mut self, limb: usize, rows: std::ops::Range<usize>) {
        let (context, width, stride, log_repeat) = (self.context, self.width, self.stride, self.log_repeat);
        let modulus = context.modulus(context.prime(self.basis, limb));
        let degree = context.ring_degree();
        let (tiles, factors, columns) = (&self.tiles, &self.factors, &self.columns[rows.clone()]);
        let accumulate = self.accumulate;
        let halves = self.sums[2 * rows.start..2 * rows.end].iter_mut();
        let mut rest: Vec<_> =
            halves.map(|half| half.limb_mut(limb).chunks_exact_mut(SPAN.min(degree))).collect();
        let spans: Vec<(usize, Vec<&mut [u64]>)> = (0..degree)
            .step_by(SPAN)
            .map(|start| (start, rest.iter_mut().filter_map(Iterator::next).collect()))
            .collect();
        // The first term of every row.
        let firsts: Vec<usize> = columns
            .iter()
            .scan(0, |next, columns| Some(std::mem::replace(next, *next + columns.len())))
            .collect();
        parallel::for_each(spans, |(start, mut outputs)| {
            let length = outputs.first().map_or(0, |out| out.len());
            let mut tile = |row: usize, offset: usize| {
                let [out0, out1] = &mut outputs[2 * row..][..2] else { unreachable!("halves come in pairs") };
                let (at, columns) = (start + offset, &columns[row]);
                if accumulate && columns.is_empty() {
                    // Of a grouped convolution, an operand is in few rows.
                    return;
                }
                let factors = &factors[(firsts[row] * stride + (at >> log_repeat)).min(factors.len())..];
                kernels::tile_products(
                    context.isa(),
                    &mut out0[offset..][..TILE],
                    &mut out1[offset..][..TILE],
                    (factors, stride, log_repeat),
                    (&tiles[2 * width * at..][..2 * width * TILE], columns),
                    accumulate,
                    modulus,
                );
            };
            // Few rotations of many rows: the span's rotations stay in the second cache, and a row
            // after the other is one stream. Many rotations: a tile of them stays in the first,
            // while all rows pass.
            if 2 * width * length <= ROTATION_WORDS {
                for row in 0..columns.len() {
                    (0..length).step_by(TILE).for_each(|offset| tile(row, offset));
                }
            } else {
                for offset in (0..length).step_by(TILE) {
                    (0..columns.len()).for_each(|row| tile(row, offset));
                }
            }
        });
    }
}
