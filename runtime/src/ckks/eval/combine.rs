//! Linear combinations with integer coefficients, and products, of ciphertexts from different
//! levels, in one pass over memory: what polynomials are made of.

use fhec_ir::scale::{ExactScale, Level, Scale};
use num_bigint::BigInt;

use super::mul::{constant_residues, scaled_integer};
use super::{Evaluator, check_keys, check_size};
use crate::error::EvalError;
use crate::kernels;
use crate::ring::{Basis, Context, Poly, Work};
use crate::rlwe::Ciphertext;

/// A linear combination of ciphertexts: `sum_i factors_i sources_i + constant`.
#[derive(Clone, Debug)]
pub struct Combination<'c> {
    /// Ciphertexts, at least one, and what they are multiplied by.
    pub sources: Vec<(&'c Ciphertext, BigInt)>,
    /// What is added.
    pub constant: BigInt,
}

/// Words of the sources that stay in the second cache while all combinations are made of them.
const SOURCE_WORDS: usize = 1 << 16;

/// Words of one source at a time, at least: less is no stream.
const LEAST_SPAN: usize = 256;

/// A combination whose numbers are residues, and the ciphertext to come.
struct Residues<'c> {
    polys: Vec<Poly>,
    /// Polynomials of the sources by index in these, each with the number of its factor.
    terms: Vec<Vec<(&'c Poly, usize)>>,
    factors: Vec<Vec<u64>>,
    constant: Vec<u64>,
    slots: usize,
}

impl Residues<'_> {
    /// The span from `start` on of one limb of polynomial `index`.
    fn sum(
        &self,
        context: &Context,
        (basis, limb): (Basis, usize),
        index: usize,
        start: usize,
        out: &mut [u64],
    ) {
        let (isa, prime) = (context.isa(), basis.chain_prime(limb));
        let modulus = context.modulus(prime);
        let terms = &self.terms[index];
        let spans: Vec<&[u64]> =
            terms.iter().map(|(poly, _)| &poly.limb_in(basis, limb)[start..][..out.len()]).collect();
        let factors: Vec<u64> =
            terms.iter().map(|&(_, factor)| modulus.to_montgomery(self.factors[factor][prime])).collect();
        let bits = vec![modulus.bits(); spans.len()];
        kernels::basis_convert(isa, out, &spans, &bits, &factors, modulus);
        if index == 0 && self.constant[prime] != 0 {
            // A constant polynomial has the same value at every point.
            kernels::add_scalar_assign(isa, out, self.constant[prime], modulus);
        }
    }
}

impl Evaluator<'_> {
    /// `sum_i factors_i sources_i + constant`, over the primes of `level`, as integers: scales are
    /// the caller's business, who names that of the result.
    ///
    /// *Level*: one that nests in that of every source. *Size*: that of the largest source. *Cost*:
    /// one product per source limb, one reduction per limb.
    ///
    /// # Panics
    /// Without a source.
    pub fn combine(
        &self,
        level: Level,
        scale: Scale,
        combination: &Combination<'_>,
    ) -> Result<Ciphertext, EvalError> {
        let (first, _) = combination.sources.first().expect("a combination has a source");
        let context = self.context;
        let basis = context.basis_at(first.polys()[0].basis(), first.level(), level);
        let mut residues = self.residues(level, (basis, first), combination)?;
        let mut polys = std::mem::take(&mut residues.polys);
        for (index, out) in polys.iter_mut().enumerate() {
            let work = if residues.terms[index].len() < 4 { Work::Light } else { Work::Heavy };
            context.each_limb(work, [out.data_mut()], |limb, [out]| {
                residues.sum(context, (basis, limb), index, 0, out);
            });
        }
        Ok(Ciphertext::new(polys, level, scale, residues.slots, first.key()))
    }

    /// [`Self::combine`] of combinations of much the same ciphertexts: what of these comes from
    /// memory is used for all results before the next part comes. The results are all there at a
    /// time.
    ///
    /// # Panics
    /// If one has no source.
    pub fn combine_all(
        &self,
        level: Level,
        scale: Scale,
        combinations: &[Combination<'_>],
    ) -> Result<Vec<Ciphertext>, EvalError> {
        let first = match combinations {
            [] => return Ok(Vec::new()),
            [one] => return Ok(vec![self.combine(level, scale, one)?]),
            [first, ..] => first,
        };
        let (first, _) = first.sources.first().expect("a combination has a source");
        let context = self.context;
        let basis = context.basis_at(first.polys()[0].basis(), first.level(), level);
        let rows = combinations.iter().map(|combination| self.residues(level, (basis, first), combination));
        let mut rows = rows.collect::<Result<Vec<Residues<'_>>, EvalError>>()?;
        let degree = context.ring_degree();
        let most = combinations.iter().map(|combination| combination.sources.len()).max().unwrap_or(1);
        // A power of two, as the degree is.
        let span = 1 << (SOURCE_WORDS / most).max(LEAST_SPAN).min(degree).ilog2();
        let mut made: Vec<Vec<Poly>> = rows.iter_mut().map(|row| std::mem::take(&mut row.polys)).collect();
        let mut places: Vec<(usize, usize, &mut Poly)> = Vec::new();
        for (row, polys) in made.iter_mut().enumerate() {
            places.extend(polys.iter_mut().enumerate().map(|(index, poly)| (index, row, poly)));
        }
        // All that is made of the first halves comes first.
        places.sort_by_key(|&(index, row, _)| (index, row));
        let (places, outputs): (Vec<(usize, usize)>, Vec<&mut [u64]>) =
            places.into_iter().map(|(index, row, poly)| ((index, row), poly.data_mut())).unzip();
        context.each_group(1, outputs, |limbs, mut outputs| {
            for (within, limb) in limbs.enumerate() {
                let mut from = 0;
                for of_index in places.chunk_by(|a, b| a.0 == b.0) {
                    let outputs = &mut outputs[from..][..of_index.len()];
                    from += of_index.len();
                    for start in (0..degree).step_by(span) {
                        for (&(index, row), out) in of_index.iter().zip(outputs.iter_mut()) {
                            let out = &mut out[within * degree + start..][..span];
                            rows[row].sum(context, (basis, limb), index, start, out);
                        }
                    }
                }
            }
        });
        let ciphertext = |(polys, row): (Vec<Poly>, &Residues<'_>)| {
            Ciphertext::new(polys, level, scale, row.slots, first.key())
        };
        Ok(made.into_iter().zip(&rows).map(ciphertext).collect())
    }

    /// What [`Self::combine`] works with, checked; `first` is the ciphertext that the others have
    /// to fit.
    fn residues<'c>(
        &self,
        level: Level,
        (basis, first): (Basis, &Ciphertext),
        combination: &Combination<'c>,
    ) -> Result<Residues<'c>, EvalError> {
        let op = "combine";
        let Combination { sources, constant } = combination;
        for (source, factor) in sources {
            check_keys(op, first.key(), source.key())?;
            self.check_nested(op, source.level(), level)?;
            self.check_constant(factor, level)?;
        }
        self.check_constant(constant, level)?;
        let context = self.context;
        let size = sources.iter().map(|(source, _)| source.size()).max().unwrap_or(2);
        let terms = |index: usize| {
            let polys = sources.iter().enumerate();
            polys.filter_map(|(number, (source, _))| Some((source.polys().get(index)?, number))).collect()
        };
        Ok(Residues {
            polys: (0..size).map(|_| Poly::arbitrary(context, basis, first.polys()[0].domain())).collect(),
            terms: (0..size).map(terms).collect(),
            factors: sources.iter().map(|(_, factor)| constant_residues(context, factor)).collect(),
            constant: constant_residues(context, constant),
            slots: sources.iter().map(|(source, _)| source.slots()).max().unwrap_or(1),
        })
    }

    /// `a b` over the primes of `level`, which nests in both levels, without copies of operands
    /// from above it; named `D_level^2`, whatever the scales are. *Size*: 2 and 2, gives 3.
    pub(crate) fn product_at(
        &self,
        level: Level,
        a: &Ciphertext,
        b: &Ciphertext,
    ) -> Result<Ciphertext, EvalError> {
        let op = "product";
        check_keys(op, a.key(), b.key())?;
        for operand in [a, b] {
            check_size(op, 2, operand)?;
            self.check_nested(op, operand.level(), level)?;
        }
        let context = self.context;
        let basis = context.basis_at(a.polys()[0].basis(), a.level(), level);
        let mut polys = [(); 3].map(|()| Poly::arbitrary(context, basis, a.polys()[0].domain()));
        let outputs = polys.each_mut().map(Poly::data_mut);
        let square = std::ptr::eq(a, b);
        context.each_limb(Work::Light, outputs, |limb, [c0, c1, c2]| {
            let (isa, modulus) = (context.isa(), context.modulus(basis.chain_prime(limb)));
            let [a0, a1, b0, b1] =
                [(a, 0), (a, 1), (b, 0), (b, 1)].map(|(x, i)| x.polys()[i].limb_in(basis, limb));
            if square {
                kernels::add_into(isa, c0, a0, a0, modulus);
                kernels::mul_into(isa, c1, c0, a1, modulus);
            } else {
                kernels::mul_into(isa, c1, a0, b1, modulus);
                kernels::mul_add_assign(isa, c1, a1, b0, modulus);
            }
            kernels::mul_into(isa, c0, a0, b0, modulus);
            kernels::mul_into(isa, c2, a1, b1, modulus);
        });
        let slots = a.slots().max(b.slots());
        Ok(Ciphertext::new(polys.into(), level, Scale::squared(level), slots, a.key()))
    }

    /// The integer nearest to `constant * scale`.
    pub(crate) fn scaled_integer(&self, constant: f64, scale: &ExactScale) -> Result<BigInt, EvalError> {
        scaled_integer(constant, scale)
    }
}
