//! Exact centred conversion between bases, and division with rounding.
//!
//! A polynomial known modulo `S = s_1 ... s_k` is `sum_i y_i (S / s_i) - v S` with `y_i = x_i (S /
//! s_i)^-1 mod s_i`. With `v = round(sum_i y_i / s_i)`, computed in double precision, the
//! right-hand side is the *centred* representative (Halevi, Polyakov, Shoup, ePrint 2018/117,
//! section 2.2). `v` is one more source of the conversion, with the factor `-S`: once found, it
//! costs one product per coefficient and target prime.
//!
//! `v` is wrong only when the exact value lies within `k 2^-49 S` of `S / 2`; the result is then
//! the representative next to it, still congruent, and larger than `S / 2` by that little. Digits
//! of a key switch and remainders of a division are therefore half a modulus at most instead of `k`
//! moduli, which saves one to three bits of noise.

use super::basis::Basis;
use super::basis_conversion::BasisConversion;
use super::context::Context;
use super::poly::{Domain, Poly};
use super::pool::PooledBuffer;
use crate::kernels::{self, NttTable, Permutation, SourceTiles, Tiles};
use crate::parallel;

/// Target primes that conversions serve at a time, which share the reading of the sources. Two stay
/// in the caches until they are transformed; of one to six, two was fastest or as fast on the sets
/// n15-128, n15-98 and n16-128.
pub(crate) const TARGETS_AT_ONCE: usize = 2;

impl BasisConversion {
    /// Limbs of what [`Context::prepare`] makes.
    pub(crate) fn prepared_limbs(&self) -> usize {
        if self.reduces() { 1 } else { self.sources.len() + 1 }
    }

    /// Where the sources, and their quotients, lie in what [`Context::prepare`] makes.
    fn tiles(&self, log_n: u32) -> Tiles {
        Tiles::new(log_n, self.sources.len() + 1)
    }

    /// `out[t] <- centred representative mod prime targets[t]` of what [`Context::prepare`] made,
    /// after the first pass of the prime's transform: [`NttTable::other_passes`] makes evaluations
    /// of it.
    #[doc(alias("BaseConv", "BConv", "fast basis conversion"))]
    pub(crate) fn convert(
        &self,
        context: &Context,
        out: &mut [&mut [u64]],
        prepared: &[u64],
        targets: &[usize],
    ) {
        let (isa, moduli) = (context.isa(), context.moduli());
        if let ([source], true) = (&self.sources[..], self.reduces()) {
            for (out, &target) in out.iter_mut().zip(targets) {
                kernels::reduce_into(isa, out, prepared, &moduli[*source], &moduli[target]);
                context.transform(target).first_pass(isa, out);
            }
            return;
        }
        let factors: Vec<&[u64]> = targets.iter().map(|&target| &self.targets[target].factors[..]).collect();
        let tables: Vec<&NttTable> = targets.iter().map(|&target| context.transform(target)).collect();
        let tiles = self.tiles(context.ring_degree().ilog2());
        kernels::convert_tiles(isa, out, &tiles, prepared, &self.source_bits, &factors, &tables);
    }
}

/// What [`Context::divide_round`] does with the quotient of one polynomial before it is written.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tail<'a> {
    /// Added, over at least the primes kept.
    pub(crate) add: Option<&'a Poly>,
    /// Then permuted: an automorphism.
    pub(crate) permute: Option<&'a Permutation>,
}

/// Where the coefficients of a source go.
enum Place<'p> {
    Limb(&'p mut [u64]),
    Tiles(SourceTiles<'p>),
}

impl Context {
    /// What conversions read, of the evaluations of their sources: the `y_i` in coefficients and
    /// the quotients `v`, in tiles; where a single source is reduced, its coefficients. *Cost*: one
    /// inverse transform per source, which the rest comes along with.
    pub(crate) fn prepare(&self, conversions: &[(&BasisConversion, Vec<&[u64]>)]) -> Vec<PooledBuffer> {
        let (isa, degree) = (self.isa(), self.ring_degree());
        let mut all: Vec<PooledBuffer> =
            conversions.iter().map(|(conversion, _)| self.scratch(conversion.prepared_limbs())).collect();
        let log_n = degree.ilog2();
        let limbs: Vec<_> = all
            .iter_mut()
            .zip(conversions)
            .flat_map(|(prepared, (conversion, values))| {
                let places = if conversion.reduces() {
                    vec![Place::Limb(prepared)]
                } else {
                    conversion.tiles(log_n).split(prepared).into_iter().map(Place::Tiles).collect()
                };
                let places = places.into_iter().zip(values).enumerate();
                places.map(move |(source, (place, values))| (conversion, source, place, values))
            })
            .collect();
        parallel::for_each(limbs, |(conversion, source, place, values)| {
            let transform = self.transform(conversion.sources[source]);
            match place {
                Place::Limb(limb) => transform.inverse_into(isa, limb, values),
                Place::Tiles(mut tiles) => {
                    let factor = conversion.source_factors[source];
                    transform.inverse_into_tiles(isa, &mut tiles, &mut self.scratch(1), values, factor);
                }
            }
        });
        let shares: Vec<_> = all
            .iter_mut()
            .zip(conversions)
            .filter(|(_, (conversion, _))| !conversion.reduces())
            .flat_map(|(prepared, (conversion, _))| {
                let tiles = conversion.tiles(log_n);
                let count = prepared.len() / tiles.tile_words();
                let share = tiles.tile_words() * count.div_ceil(8);
                prepared.chunks_mut(share).map(move |share| (conversion, tiles, share))
            })
            .collect();
        parallel::for_each(shares, |(conversion, tiles, share)| {
            kernels::rounded_quotients(isa, &tiles, share, &conversion.reciprocals);
        });
        all
    }

    /// `out <- round(a A / D)` over the chain primes of `kept`, where `D` is the product of the
    /// primes of the `a`s that are not in it, and `A` that of its primes that the `a`s do not have:
    /// rescaling (chain primes), leaving the extended basis (special primes), or both at once. Then
    /// the tail.
    ///
    /// Times `A` first: `a A`, as residues over the primes of both, is zero modulo those of `A`;
    /// the division is then the usual one (Cheon et al., *Grafting*, ePrint 2024/1014, section 3).
    ///
    /// *Domain*: evaluation, in and out. *Error*: at most `1/2 + 2^-43` per coefficient. *Cost*,
    /// per polynomial: one inverse transform per dropped prime, one transform per prime of the
    /// result.
    #[doc(alias("ModDown", "rescale"))]
    pub(crate) fn divide_round<const K: usize>(
        &self,
        a: [&Poly; K],
        kept: Basis,
        tails: [Tail<'_>; K],
    ) -> [Poly; K] {
        let basis = a[0].basis();
        assert!(
            a.iter().all(|a| a.basis() == basis && a.domain() == Domain::Evaluation),
            "division operands"
        );
        let stays = |limb: usize| limb < basis.chain && kept.primes().has(basis.chain_prime(limb));
        let dropped: Vec<usize> = (0..basis.limbs()).filter(|&limb| !stays(limb)).collect();
        assert!(kept.special == 0 && !dropped.is_empty(), "division by one");
        let primes = dropped.iter().map(|&limb| self.prime(basis, limb)).collect();
        let conversion = self.division(primes, kept.primes().without(basis.primes()));
        let (isa, moduli) = (self.isa(), self.moduli());
        let degree = self.ring_degree();
        let prepared = self.prepare(
            &a.map(|a| (&*conversion, dropped.iter().map(|&limb| a.limb(limb)).collect::<Vec<_>>())),
        );
        let mut out = [(); K].map(|()| Poly::arbitrary(self, kept, Domain::Evaluation));
        // Polynomial by polynomial, so that what is converted stays in the caches of all threads.
        let groups: Vec<(usize, usize, &mut [u64])> = out
            .iter_mut()
            .enumerate()
            .flat_map(|(k, out)| {
                let groups = out.data_mut().chunks_mut(TARGETS_AT_ONCE * degree).enumerate();
                groups.map(move |(index, out)| (k, index * TARGETS_AT_ONCE, out))
            })
            .collect();
        parallel::for_each(groups, |(k, first, out)| {
            let limbs = first..first + out.len() / degree;
            let tail = tails[k];
            let mut scratch = self.scratch(limbs.len());
            let mut quotient = self.scratch(usize::from(tail.permute.is_some()));
            let mut remainders: Vec<&mut [u64]> = scratch.chunks_exact_mut(degree).collect();
            let targets: Vec<usize> = limbs.clone().map(|limb| kept.chain_prime(limb)).collect();
            conversion.convert(self, &mut remainders, &prepared[k], &targets);
            for (((out, remainder), limb), &prime) in
                out.chunks_exact_mut(degree).zip(remainders).zip(limbs).zip(&targets)
            {
                let (modulus, inverse) = (&moduli[prime], conversion.targets[prime].inverse);
                self.transform(prime).other_passes(isa, remainder);
                let target = if tail.permute.is_some() { &mut quotient[..] } else { &mut *out };
                if basis.primes().has(prime) {
                    let limb = a[k].limb(basis.primes().rank(prime));
                    kernels::sub_mul_scalar_into(isa, target, limb, remainder, inverse, modulus);
                } else {
                    target.copy_from_slice(remainder);
                }
                if let Some(addend) = tail.add {
                    kernels::add_assign(isa, target, addend.limb_in(kept, limb), modulus);
                }
                if let Some(permutation) = tail.permute {
                    kernels::permute_into(isa, out, &quotient, permutation);
                }
            }
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::{BigInt, BigUint, Sign};

    use super::*;
    use fhec_ir::prime_set::PrimeSet;

    use crate::ring::Seed;
    use crate::testing::{context, mixed_context};

    fn product(context: &Context, primes: &[usize]) -> BigUint {
        primes.iter().map(|&p| BigUint::from(context.modulus(p).value())).product()
    }

    /// The centred integer with these residues.
    fn centred(context: &Context, primes: &[usize], residues: &[u64]) -> BigInt {
        let modulus = product(context, primes);
        let sum: BigUint = primes
            .iter()
            .zip(residues)
            .map(|(&p, &x)| {
                let q = BigUint::from(context.modulus(p).value());
                let others = &modulus / &q;
                let inverse = others.modpow(&(&q - 2u8), &q);
                others * (inverse * x % q)
            })
            .sum();
        let value = sum % &modulus;
        if &value * 2u8 > modulus { BigInt::from(value) - BigInt::from(modulus) } else { BigInt::from(value) }
    }

    fn residue(value: &BigInt, q: u64) -> u64 {
        let q = BigInt::from(q);
        let r = ((value % &q) + &q) % &q;
        r.to_biguint().map_or(0, |r| u64::try_from(r).unwrap())
    }

    #[test]
    fn conversion_is_the_centred_representative() {
        for context in [context(11, 9, 3), mixed_context(11)] {
            let (degree, chain) = (context.ring_degree(), context.params().q().len());
            let all = context.params().p().len();
            for (start, end, special) in
                [(0, 1, 0), (2, 5, 0), (1, 7, 0), (chain, chain, all), (3, chain, all), (3, chain, all - 1)]
            {
                let basis = Basis::extended(end, special);
                let sources = (start..basis.limbs()).map(|limb| context.prime(basis, limb)).collect();
                let conversion = context.conversion(sources);
                let mut residues = context.scratch(conversion.sources.len());
                let mut rng = Seed::from_bytes([7; 32]).rng();
                for (x, &s) in residues.chunks_exact_mut(degree).zip(&conversion.sources) {
                    crate::ring::sampling::uniform_into(x, context.modulus(s), &mut rng);
                }
                // The extremes: zero, one, the largest and the smallest centred value.
                let modulus = product(&context, &conversion.sources);
                let half: BigInt = (&modulus / 2u8).into();
                for (i, value) in [BigInt::ZERO, 1.into(), half.clone(), -half].iter().enumerate() {
                    for (x, &s) in residues.chunks_exact_mut(degree).zip(&conversion.sources) {
                        x[i] = residue(value, context.modulus(s).value());
                    }
                }
                let mut values = residues.clone();
                for (x, &s) in values.chunks_exact_mut(degree).zip(&conversion.sources) {
                    context.transform(s).forward(context.isa(), x);
                }
                let values = values.chunks_exact(degree).collect();
                let [prepared] = &context.prepare(&[(&*conversion, values)])[..] else { unreachable!() };
                for target in (0..context.moduli().len()).filter(|t| !conversion.sources.contains(t)) {
                    let mut out = vec![0; degree];
                    let mut outs = [&mut out[..]];
                    conversion.convert(&context, &mut outs, prepared, &[target]);
                    context.transform(target).other_passes(context.isa(), &mut out);
                    context.transform(target).inverse(context.isa(), &mut out);
                    for i in (0..4).chain((4..degree).step_by(37)) {
                        let x: Vec<u64> = residues.iter().skip(i).step_by(degree).copied().collect();
                        let exact = centred(&context, &conversion.sources, &x);
                        let q = context.modulus(target).value();
                        // At the very edge, S/2 and -S/2 are both right.
                        let other = if exact.sign() == Sign::Minus {
                            &exact + BigInt::from(modulus.clone())
                        } else {
                            &exact - BigInt::from(modulus.clone())
                        };
                        let edge = (2..4).contains(&i) && out[i] == residue(&other, q);
                        assert!(
                            edge || out[i] == residue(&exact, q),
                            "{start}..{end} {special} to {target} at {i}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn division_rounds_to_the_nearest_integer() {
        for context in [context(11, 9, 3), mixed_context(11)] {
            let (degree, primes) = (context.ring_degree(), context.params().q().len());
            let all = context.params().p().len();
            let without = |end: usize, range| Basis::of(PrimeSet::first(end).without(PrimeSet::range(range)));
            for (basis, kept) in [
                (Basis::chain(5), Basis::chain(4)),
                (Basis::chain(6), Basis::chain(3)),
                (Basis::extended(4, all), Basis::chain(4)),
                (Basis::extended(primes, all), Basis::chain(primes)),
                (Basis::extended(5, all), Basis::chain(3)),
                (Basis::extended(5, 1), Basis::chain(4)),
                // Primes that are not there below those that are dropped, and beside them.
                (without(6, 1..3), without(5, 1..3)),
                (without(7, 2..4).with_special(all), without(6, 2..4)),
                (without(7, 2..6).with_special(1), Basis::chain(2)),
                // Others added, with one prime dropped and with several.
                (without(6, 1..3), Basis::chain(5)),
                (without(7, 2..3), Basis::chain(4)),
                (without(7, 2..4).with_special(all), without(6, 3..4)),
                (without(7, 2..4).with_special(all), Basis::chain(7)),
            ] {
                let mut rng = Seed::from_bytes([3; 32]).rng();
                let mut a = Poly::zero(&context, basis, Domain::Coefficient);
                for limb in 0..a.limbs() {
                    let modulus = *context.modulus(context.prime(basis, limb));
                    crate::ring::sampling::uniform_into(a.limb_mut(limb), &modulus, &mut rng);
                }
                let original = a.clone();
                a.to_evaluation(&context);
                let [mut quotient] = context.divide_round([&a], kept, [Tail::default()]);
                quotient.to_coefficients(&context);
                let all: Vec<usize> = (0..a.limbs()).map(|limb| context.prime(basis, limb)).collect();
                let outside = |basis: Basis| move |&prime: &usize| !basis.primes().has(prime);
                let dropped: Vec<usize> = all.iter().copied().filter(outside(kept)).collect();
                let added: Vec<usize> = kept.primes().iter().filter(outside(basis)).collect();
                let divisor = BigInt::from(product(&context, &dropped));
                let factor = BigInt::from(product(&context, &added));
                for i in (0..degree).step_by(53) {
                    let x: Vec<u64> = (0..a.limbs()).map(|limb| original.limb(limb)[i]).collect();
                    let exact = centred(&context, &all, &x) * &factor;
                    // round(x A / D), written with integers.
                    let rounded: BigInt =
                        num_integer::Integer::div_floor(&(exact * 2 + &divisor), &(&divisor * 2));
                    for limb in 0..kept.chain {
                        assert_eq!(
                            quotient.limb(limb)[i],
                            residue(&rounded, context.modulus(quotient.basis().chain_prime(limb)).value())
                        );
                    }
                }
            }
        }
    }
}
