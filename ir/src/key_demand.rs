//! Which keys the server of a scheduled program needs, and up to which level: asked by the passes
//! that plan memory and by key generation, so that both mean the same keys.

use std::collections::{BTreeMap, BTreeSet};

use crate::bootstrap::{BootstrapParams, ProgramBootstrapError};
use crate::circuit_shape::LinearShape;
use crate::ckks::{Ckks, Op};
use crate::fact::GENERIC_KEYS;
use crate::func::Func;
use crate::linear_map::LinearMap;
use crate::packing::{prime_bits, residue_bits};
use crate::params::Params;
use crate::scale::Level;

/// Switching keys, each with the highest level it is used at; at lower levels the same key is
/// truncated. And the keys to an ephemeral secret and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDemand {
    /// For `relinearize` and for products inside polynomials and bootstraps.
    pub relinearization: Option<Level>,
    /// By steps to the left, `1..slots`.
    pub rotations: BTreeMap<usize, Level>,
    /// For `conjugate` and bootstraps.
    pub conjugation: Option<Level>,
    /// For bootstraps under an ephemeral secret.
    pub encapsulation: Option<Encapsulation>,
}

/// The keys that a modulus is raised with under an ephemeral secret: one to it, and back from it
/// one per rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    /// Hamming weight of the ephemeral secret.
    pub weight: u32,
    /// Level that the modulus is raised to.
    pub level: Level,
    /// Number of special primes of the keys back: those of their gadget
    /// ([`BootstrapParams::raising_special_primes`]), and perhaps one for the scale of what they
    /// are multiplied by ([`BootstrapParams::scaling_prime`]).
    pub special: usize,
    /// Steps to the left that the keys back rotate by, 0 among them where nothing else is done on
    /// the way.
    pub rotations: BTreeSet<usize>,
}

/// Whether the keys of `func` are to tell nothing of its layers.
pub fn has_generic_keys(func: &Func<Ckks>) -> bool {
    func.fact(GENERIC_KEYS).ok().flatten() == Some(true)
}

impl KeyDemand {
    /// The keys of `func`: of its ops, and of the bootstraps in its meta, which have to be
    /// bootstraps of `params`.
    pub fn of(func: &Func<Ckks>, params: &Params) -> Result<Self, ProgramBootstrapError> {
        KeyDemand::of_ops(func).with_generic(func, params).with_bootstraps(func, params)
    }

    /// Baby step of [`KeyDemand::generic`]: the power of two at or above the root of the number of
    /// slots.
    pub fn generic_baby_step(params: &Params) -> usize {
        1 << params.slots().ilog2().div_ceil(2)
    }

    /// Keys that follow from the ring alone: with them every rotation is one or two key switches,
    /// by less than the baby step and by a multiple of it. All of them reach the highest level, and
    /// so do those of products and conjugates.
    pub fn generic(params: &Params) -> Self {
        let (step, slots, level) = (KeyDemand::generic_baby_step(params), params.slots(), params.top_level());
        let rotations = (1..step).chain((step..slots).step_by(step));
        KeyDemand {
            relinearization: Some(level),
            rotations: rotations.map(|steps| (steps, level)).collect(),
            conjugation: Some(level),
            encapsulation: None,
        }
    }

    /// These keys and, where the meta of `func` asks for them, the generic ones.
    pub fn with_generic(mut self, func: &Func<Ckks>, params: &Params) -> Self {
        if has_generic_keys(func) {
            let KeyDemand { relinearization, rotations, conjugation, .. } = KeyDemand::generic(params);
            self.relinearization = self.relinearization.max(relinearization);
            self.conjugation = self.conjugation.max(conjugation);
            rotations.into_iter().for_each(|(steps, level)| self.rotate(steps, level));
        }
        self
    }

    /// The keys that the ops of `func` use. Bootstraps bring keys of their own, which are not among
    /// them.
    pub fn of_ops(func: &Func<Ckks>) -> Self {
        KeyDemand::of_ops_with(func, |map, baby_step| {
            LinearShape::of(map, &func.consts, baby_step).rotation_set()
        })
    }

    /// These keys and those of the bootstraps in the meta of `func`.
    pub fn with_bootstraps(
        mut self,
        func: &Func<Ckks>,
        params: &Params,
    ) -> Result<Self, ProgramBootstrapError> {
        for bootstrap in BootstrapParams::checked_of_program(func, params)? {
            self.bootstrap(&bootstrap, params);
        }
        Ok(self)
    }

    /// [`KeyDemand::of_ops`] for a caller who knows the rotations of the linear maps already.
    pub fn of_ops_with(
        func: &Func<Ckks>,
        mut rotation_set: impl FnMut(&LinearMap, usize) -> BTreeSet<usize>,
    ) -> Self {
        let mut keys = KeyDemand::default();
        for data in func.ops() {
            keys.note(func, &data.op, &mut rotation_set);
        }
        keys
    }

    /// The keys that one op of `func` uses; those of a bootstrap are [`KeyDemand::bootstrap`].
    pub fn of_op_with(
        func: &Func<Ckks>,
        op: &Op,
        mut rotation_set: impl FnMut(&LinearMap, usize) -> BTreeSet<usize>,
    ) -> Self {
        let mut keys = KeyDemand::default();
        keys.note(func, op, &mut rotation_set);
        keys
    }

    fn note(
        &mut self,
        func: &Func<Ckks>,
        op: &Op,
        rotation_set: &mut impl FnMut(&LinearMap, usize) -> BTreeSet<usize>,
    ) {
        let Some(&operand) = crate::func::StageOp::operands(op).first() else { return };
        let ty = func.ty(operand);
        match op {
            Op::LinearMap { map, baby_step, .. } => {
                rotation_set(map, *baby_step).into_iter().for_each(|steps| self.rotate(steps, ty.level));
            }
            Op::Rotate { steps, .. } => {
                self.rotate(steps.rem_euclid(ty.slots as i64) as usize, ty.level);
            }
            Op::Conjugate { .. } => self.conjugation = self.conjugation.max(Some(ty.level)),
            Op::Relinearize { .. } => self.relinearization = self.relinearization.max(Some(ty.level)),
            Op::Polynomial { polynomial, .. } if polynomial.degree() > 1 => {
                self.relinearization = self.relinearization.max(Some(ty.level));
            }
            _ => {}
        }
    }

    /// Notes a rotation at `level`; rotating by nothing needs no key.
    pub fn rotate(&mut self, steps: usize, level: Level) {
        if steps != 0 {
            let highest = self.rotations.entry(steps).or_insert(level);
            *highest = level.max(*highest);
        }
    }

    /// Notes the keys of one bootstrap, which fits `params`; all of a program share one ephemeral
    /// secret.
    pub fn bootstrap(&mut self, bootstrap: &BootstrapParams, params: &Params) {
        let sine = Some(bootstrap.sine_input_level());
        self.relinearization = self.relinearization.max(sine);
        self.conjugation = self.conjugation.max(sine);
        bootstrap.rotations(params).into_iter().for_each(|(steps, level)| self.rotate(steps, level));
        if let Some(weight) = bootstrap.ephemeral_weight {
            let rotations = bootstrap.raising_rotations(params);
            let special = bootstrap.raising_key_primes(params);
            let none = || Encapsulation { weight, level: 0, special, rotations: BTreeSet::new() };
            let keys = self.encapsulation.get_or_insert_with(none);
            keys.special = keys.special.max(special);
            keys.level = keys.level.max(bootstrap.raised_level());
            keys.rotations.extend(rotations);
        }
    }

    /// Levels of all switching keys, one entry per key.
    pub fn levels(&self) -> impl Iterator<Item = Level> + '_ {
        self.relinearization.iter().chain(self.rotations.values()).chain(&self.conjugation).copied()
    }

    /// Number of keys, those of the encapsulation included.
    pub fn count(&self) -> usize {
        self.levels().count() + self.encapsulation.as_ref().map_or(0, |keys| 1 + keys.rotations.len())
    }

    /// Bytes of all keys with both halves expanded.
    pub fn bytes(&self, params: &Params) -> u64 {
        let switching: u64 = self.levels().map(|level| switching_key_bytes(params, level)).sum();
        switching + self.encapsulation.as_ref().map_or(0, |keys| encapsulation_bytes(params, keys))
    }

    /// Bytes that a client sends to a server once: of each key one half, packed; the other one
    /// follows from a seed. Headers are left out, which is a hundredth of a per cent.
    pub fn file_bytes(&self, params: &Params) -> u64 {
        let switching: u64 = self.levels().map(|level| switching_key_bytes(params, level) / 2).sum();
        let back = |keys: &Encapsulation| {
            let unused = params.p().len() - keys.special;
            let limbs = params.key_limbs(keys.level);
            let special = params.p().iter().rev().take(unused);
            let bits = residue_bits(params, limbs) - special.map(|&p| prime_bits(p)).sum::<usize>();
            keys.rotations.len() * bits
        };
        let to = prime_bits(params.q()[0]) + prime_bits(params.p()[0]);
        let encapsulation = self.encapsulation.as_ref().map_or(0, |keys| to + back(keys));
        switching + (encapsulation * params.ring_degree() / 8) as u64
    }
}

/// Bytes of one switching key for ciphertexts up to `level`, both halves expanded: per digit two
/// polynomials over the chain primes of that level and the special primes, in as many bits as these
/// have.
pub fn switching_key_bytes(params: &Params, level: Level) -> u64 {
    let bits = residue_bits(params, params.key_limbs(level));
    (params.digits(level).len() * 2 * bits * params.ring_degree() / 8) as u64
}

/// Bytes of the keys to an ephemeral secret and back: a pair of polynomials over the bottom prime
/// and a special one, and one per rotation over the chain primes of the level and the special
/// primes they have.
fn encapsulation_bytes(params: &Params, keys: &Encapsulation) -> u64 {
    let limbs = 2 + keys.rotations.len() * (params.key_limbs(keys.level) + keys.special);
    (2 * limbs * params.ring_degree() * size_of::<u64>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{ParamsLiteral, Secret};
    use crate::prime::ntt_primes_near;
    use crate::prime_set::PrimeSet;
    use crate::text::{ConstSource, parse_func};

    #[test]
    fn generic_keys_follow_from_the_ring_alone() {
        let q: Vec<u64> = ntt_primes_near(1 << 40, 12).take(3).collect();
        let params = Params::new(ParamsLiteral {
            name: "test".into(),
            log_n: 12,
            levels: PrimeSet::prefixes(1..=q.len()),
            digit_limbs: 1,
            q,
            p: ntt_primes_near((1 << 50) - 1, 12).filter(|&p| p < 1 << 50).take(1).collect(),
            log_scale: 40,
            secret: Secret::UniformTernary,
        });
        let params = params.unwrap();
        let generic = KeyDemand::generic(&params);
        let step = KeyDemand::generic_baby_step(&params);
        assert_eq!((params.slots(), step, generic.rotations.len()), (2048, 64, 63 + 31));
        for steps in 1..params.slots() {
            let parts = [steps % step, steps - steps % step];
            assert!(parts.iter().all(|part| *part == 0 || generic.rotations.contains_key(part)), "{steps}");
        }
        assert!(generic.levels().all(|level| level == params.top_level()));
        // Programs of one ring ask for the same keys, whatever their ops are.
        let programs = ["rotate(%0) {steps=5}", "rotate(%0) {steps=64}", "mul(%0, %0)"].map(|op| {
            let text = format!(
                "func ckks p {{\n meta generic_keys = true\n input %0 : ct<1, 2048, 2, D2, 2>\n %1 = {op}\n return %1\n}}"
            );
            parse_func(&text, &ConstSource::default()).unwrap()
        });
        let mut demands: Vec<KeyDemand> = Vec::new();
        for mut program in programs {
            // What the ops use and the set has not would show.
            program.set_fact(GENERIC_KEYS, &Some(true));
            demands.push(KeyDemand::of(&program, &params).unwrap());
            program.set_fact(GENERIC_KEYS, &None);
            assert_ne!(KeyDemand::of(&program, &params).unwrap(), generic);
        }
        assert!(demands.iter().all(|demand| *demand == generic));
    }

    #[test]
    fn each_key_reaches_the_highest_level_it_is_used_at() {
        let program = r#"
            func ckks keys {
              const @0 : f32[4, 4] = random(1)
              input %0 : ct<1, 16, 5, D5, 2>
              %1 = rotate(%0) {steps=-1}
              %2 = level_drop(%1) {level=3}
              %3 = linear_map(%2) {map={kind={dense=@0}, input={shape=[4, 1, 1], gap=1, multiplex=1, plane=[1, 1],
                period=4, slots=16}, output={shape=[4, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=4, slots=16}},
                baby_step=2}
              %4 = rescale(%3)
              %5 = rotate(%4) {steps=2}
              %6 = mul(%5, %5)
              %7 = relinearize(%6)
              return %7
            }"#;
        let func = parse_func(program, &ConstSource::default()).unwrap();
        let keys = KeyDemand::of_ops(&func);
        assert_eq!(keys.rotations, BTreeMap::from([(1, 3), (2, 3), (15, 5)]));
        assert_eq!((keys.relinearization, keys.conjugation), (Some(2), None));
    }
}
