//! Moduli, transforms and conversion constants of one parameter set.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use fhec_ir::key_demand::Encapsulation;
use fhec_ir::params::{Params, ParamsError};
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::Level;
use rayon::prelude::*;
use thiserror::Error;

use super::automorphism::Automorphisms;
use super::basis::Basis;
use super::basis_conversion::BasisConversion;
use super::pool::{BufferPool, PooledBuffer};
use crate::kernels::{Isa, KernelError, Modulus, NttTable, Permutation};
use crate::parallel;

/// Why a context cannot be made from a parameter set.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ContextError {
    /// A prime has no kernel or no transform.
    #[error("parameters {name}: prime {prime} cannot be used")]
    Prime {
        /// Name of the parameter set.
        name: String,
        /// The prime.
        prime: u64,
        /// Why.
        source: KernelError,
    },
    /// The bottom prime and the first special prime do not make a ring for an ephemeral secret.
    #[error("parameters {name}: no ring for the ephemeral secret: {error}")]
    Ephemeral {
        /// Name of the parameter set.
        name: String,
        /// Why.
        error: ParamsError,
    },
}

/// One parameter set, ready to compute with: a value, handed down by reference.
///
/// Primes are numbered chain first, then special. Tables are built at construction, conversion
/// constants and permutations of automorphisms on first use.
pub struct Context {
    params: Params,
    /// Of the parameters and of the keys to an ephemeral secret: what keys and ciphertexts are
    /// marked with.
    fingerprint: [u8; 32],
    isa: Isa,
    moduli: Vec<Modulus>,
    transforms: Vec<NttTable>,
    pool: Arc<BufferPool>,
    automorphisms: Automorphisms,
    /// By source primes, and primes that a division adds.
    conversions: RwLock<BTreeMap<(Vec<usize>, PrimeSet), Arc<BasisConversion>>>,
}

/// How much a task does per limb, which decides whether threads pay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A few passes over the limb.
    Light,
    /// A transform, or as much.
    Heavy,
}

/// Fewer residues than this are not worth waking a thread for in light work (about 20 us).
const LIGHT_PARALLEL_RESIDUES: usize = 1 << 17;

impl Context {
    /// The context of `params` on the fastest instruction set of this processor, of programs whose
    /// bootstraps, if they have any, raise the modulus under the main secret.
    pub fn new(params: Params) -> Result<Self, ContextError> {
        Self::with_isa(params, Isa::detect())
    }

    /// The context of a program on `params` whose bootstraps raise the modulus by `encapsulation`.
    /// Keys and ciphertexts of programs with other ephemeral secrets are foreign to it.
    pub fn of_program(params: Params, encapsulation: Option<&Encapsulation>) -> Result<Self, ContextError> {
        let fingerprint = params.fingerprint(encapsulation);
        Ok(Context { fingerprint, ..Context::new(params)? })
    }

    /// The context of `params` on a given instruction set. Results do not depend on it.
    pub fn with_isa(params: Params, isa: Isa) -> Result<Self, ContextError> {
        let primes: Vec<u64> = params.q().iter().chain(params.p()).copied().collect();
        let tables: Result<Vec<(Modulus, NttTable)>, ContextError> = primes
            .par_iter()
            .map(|&prime| {
                let modulus = Modulus::new(prime)?;
                Ok((modulus, NttTable::new(modulus, params.log_n())?))
            })
            .zip(primes.par_iter())
            .map(|(table, &prime)| {
                table.map_err(|source| ContextError::Prime { name: params.name().to_owned(), prime, source })
            })
            .collect();
        let (moduli, transforms): (Vec<Modulus>, Vec<NttTable>) = tables?.into_iter().unzip();
        let pool = BufferPool::new(params.resting_bytes());
        let automorphisms = Automorphisms::new(params.log_n());
        let fingerprint = params.fingerprint(None);
        Ok(Context {
            params,
            fingerprint,
            isa,
            moduli,
            transforms,
            pool,
            automorphisms,
            conversions: RwLock::default(),
        })
    }

    /// The parameter set.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What keys and ciphertexts are marked with.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Ring degree N.
    pub fn ring_degree(&self) -> usize {
        self.params.ring_degree()
    }

    /// Basis of a ciphertext at `level`.
    ///
    /// # Panics
    /// If `level` is above the top level of the parameters.
    pub fn basis(&self, level: Level) -> Basis {
        Basis::of(self.params.primes(level))
    }

    /// Basis of a ciphertext at `level` while its key switch is unfinished: with the special
    /// primes.
    ///
    /// # Panics
    /// If `level` is above the top level of the parameters.
    pub fn extended_basis(&self, level: Level) -> Basis {
        self.basis(level).with_special(self.params.p().len())
    }

    /// Basis of what serves ciphertexts at `level`, at all levels below, and those that lack primes
    /// of their levels: keys, and matrices of bootstraps. With the special primes.
    ///
    /// # Panics
    /// If `level` is above the top level of the parameters.
    pub fn key_basis(&self, level: Level) -> Basis {
        Basis::extended(self.params.key_limbs(level), self.params.p().len())
    }

    /// Basis at level `to` of a ciphertext over the chain primes of `basis` at level `from`, which
    /// may be others than the level's ([`fhec_ir::prime_set::Exchange`]). No special primes.
    pub(crate) fn basis_at(&self, basis: Basis, from: Level, to: Level) -> Basis {
        let [from, to] = [from, to].map(|level| self.params.primes(level));
        Basis::of(basis.primes().without(from.without(to)).with(to.without(from)))
    }

    /// Number, in this context, of the prime of limb `limb` of `basis`.
    #[inline]
    pub fn prime(&self, basis: Basis, limb: usize) -> usize {
        if limb < basis.chain { basis.chain_prime(limb) } else { limb - basis.chain + self.params.q().len() }
    }

    /// Modulus of prime number `prime`.
    #[inline]
    pub fn modulus(&self, prime: usize) -> &Modulus {
        &self.moduli[prime]
    }

    /// All moduli, chain first, then special.
    pub fn moduli(&self) -> &[Modulus] {
        &self.moduli
    }

    /// Transform of prime number `prime`.
    #[inline]
    pub fn transform(&self, prime: usize) -> &NttTable {
        &self.transforms[prime]
    }

    /// The product of the first `special` special primes modulo prime number `prime`; zero for one
    /// of them.
    pub(crate) fn special_product(&self, prime: usize, special: usize) -> u64 {
        let m = &self.moduli[prime];
        self.params.p()[..special].iter().fold(1, |product, &p| m.mul(product, m.reduce(p)))
    }

    /// The permutation of evaluations that `X -> X^element` is; see [`Automorphisms`].
    pub fn automorphism(&self, element: u64) -> Arc<Permutation> {
        self.automorphisms.permutation(element)
    }

    /// The pool of buffers behind polynomials and scratch space.
    pub fn pool(&self) -> &Arc<BufferPool> {
        &self.pool
    }

    /// Scratch space for `limbs` limbs, with arbitrary contents.
    pub(crate) fn scratch(&self, limbs: usize) -> PooledBuffer {
        self.pool.take(limbs * self.ring_degree())
    }

    /// Conversion from the primes `sources` to all other primes.
    pub(crate) fn conversion(&self, sources: Vec<usize>) -> Arc<BasisConversion> {
        self.division(sources, PrimeSet::EMPTY)
    }

    /// Conversion from the primes `dropped` for a division by their product that the chain primes
    /// `added` come out of.
    pub(crate) fn division(&self, dropped: Vec<usize>, added: PrimeSet) -> Arc<BasisConversion> {
        let key = (dropped, added);
        if let Some(found) = self.conversions.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(found);
        }
        let (sources, added) = (key.0.clone(), added.iter().collect::<Vec<usize>>());
        let conversion = Arc::new(if added.is_empty() {
            BasisConversion::new(&self.moduli, sources)
        } else {
            BasisConversion::of_division(&self.moduli, sources, &added)
        });
        let mut conversions = self.conversions.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(conversions.entry(key).or_insert(conversion))
    }

    /// Runs `task(limb, [limb of each output])` for every limb of `outputs`, on several threads
    /// where that pays.
    ///
    /// Tasks write disjoint limbs, so results do not depend on the number of threads.
    pub(crate) fn each_limb<const K: usize>(
        &self,
        work: Work,
        outputs: [&mut [u64]; K],
        task: impl Fn(usize, [&mut [u64]; K]) + Sync,
    ) {
        let degree = self.ring_degree();
        let limbs = outputs.first().map_or(0, |output| output.len() / degree);
        let parallel = limbs > 1 && (work == Work::Heavy || K * limbs * degree >= LIGHT_PARALLEL_RESIDUES);
        if parallel {
            let group = if work == Work::Heavy { 1 } else { limbs.div_ceil(8) };
            self.each_group(group, outputs.into(), |limbs, outputs| {
                let mut rest: Vec<_> =
                    outputs.into_iter().map(|output| output.chunks_exact_mut(degree)).collect();
                for limb in limbs {
                    task(limb, std::array::from_fn(|k| rest[k].next().expect("one chunk per limb")));
                }
            });
        } else {
            let mut rest = outputs.map(|output| output.chunks_exact_mut(degree));
            for limb in 0..limbs {
                task(limb, rest.each_mut().map(|chunks| chunks.next().expect("one chunk per limb")));
            }
        }
    }

    /// Runs `task(limbs, outputs)` for groups of up to `group` limbs on all threads; each output is
    /// the group's limbs of one of `outputs`, which all have the same number of limbs.
    ///
    /// There are as many groups for every thread where there are enough limbs, and of about the
    /// same size.
    pub(crate) fn each_group(
        &self,
        group: usize,
        outputs: Vec<&mut [u64]>,
        task: impl Fn(Range<usize>, Vec<&mut [u64]>) + Sync,
    ) {
        let degree = self.ring_degree();
        let limbs = outputs.first().map_or(0, |output| output.len() / degree);
        assert!(outputs.iter().all(|o| o.len() == limbs * degree), "outputs of different numbers of limbs");
        let groups = limbs.div_ceil(group).next_multiple_of(rayon::current_num_threads()).min(limbs);
        let mut rest = outputs;
        let tasks: Vec<(Range<usize>, Vec<&mut [u64]>)> = (0..groups)
            .map(|index| {
                let range = index * limbs / groups..(index + 1) * limbs / groups;
                let words = range.len() * degree;
                let outputs = rest.iter_mut().filter_map(|output| output.split_off_mut(..words));
                (range, outputs.collect())
            })
            .collect();
        parallel::for_each(tasks, |(limbs, outputs)| task(limbs, outputs));
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("params", &self.params.name())
            .field("isa", &self.isa)
            .finish_non_exhaustive()
    }
}
