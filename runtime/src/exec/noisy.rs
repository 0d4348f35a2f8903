//! The backend of slots with modelled errors: what an encrypted run will answer, in milliseconds.
//!
//! Every op computes on the perturbed slots and adds a fresh normal error of the variance of
//! [`NoiseModel`]. Errors already there are carried along exactly, products included; polynomials
//! are evaluated by their [`PolynomialShape`], with the error of every rescaling inside.
//!
//! A linear map adds, to slot `s` of the result:
//! - `sum d_s^2` over the diagonals behind baby rotations, times the variance of a key switch at
//!   the operand's scale, without its division where those are postponed ([`Hoisting`]);
//! - the rounding of every diagonal, times the mean square of the slots it multiplies;
//! - the key switches of giant steps and the last division, at the squared scale, where they are
//!   negligible.
//!
//! A bootstrap is the function that its polynomials make of every slot, beside a random integer,
//! and one error drawn from the variance that [`fhec_ir::noise::bootstrap`] gives for that integer.
//! What a message beyond its range becomes is what it becomes under encryption; but a run of slots
//! can tell ([`Noisy::overflows`]).
//!
//! Not modelled, being smaller by tens of bits: roundings of constants, double precision.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::diagonal::{self, Hoisting, MapCounts};
use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::interp::Bundle;
use fhec_ir::linear_map::{LinearMap, PlainTensor};
use fhec_ir::noise::EncryptionKind;
use fhec_ir::noise::bootstrap::BootstrapNoise;
use fhec_ir::params::Params;
use fhec_ir::polynomial::Polynomial;
use fhec_ir::polynomial_shape::PolynomialShape;
use fhec_ir::scale::{ExactScale, Level, Scale};
use fhec_ir::slot_mask::SlotMask;
use fhec_ir::tensor::ConstPool;
use rayon::prelude::*;

use super::backend::{Backend, Site};
use super::ckks::check_levels;
use super::clear::{Clear, check_bundle};
use super::error::ExecError;
use super::noise::bootstrap::RefreshModel;
use super::noise::{NoiseModel, NormalStream};
use super::overflow::{Overflow, Overflows};
use crate::circuits::polynomial::{Arithmetic, Term, evaluate};
use crate::error::EvalError;

/// A program prepared for simulation: what does not depend on the input. Clones, all images and all
/// threads share it.
#[derive(Clone, Debug)]
pub struct Simulation {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clear: Clear,
    params: Params,
    maps: BTreeMap<usize, MapEnergy>,
    polynomials: BTreeMap<usize, PolynomialShape>,
    /// By slots and mask, level of the operand and level of the result.
    bootstraps: BTreeMap<((usize, Option<SlotMask>), Level, Level), RefreshModel>,
    /// The first bootstrap that cannot be simulated, and why.
    refused: Option<(usize, String)>,
}

/// Squares of the diagonals of a linear map.
#[derive(Debug)]
struct MapEnergy {
    /// Per output vector and slot of the diagonal period: the sum over diagonals behind baby
    /// rotations.
    rotated: Vec<Vec<f64>>,
    /// `(output, input, diagonals)`.
    diagonals: Vec<(usize, usize, usize)>,
    /// Giant rotations per output vector.
    giants: Vec<usize>,
    /// Baby rotations of all input vectors.
    babies: usize,
    period: usize,
}

impl MapEnergy {
    fn new(map: &LinearMap, consts: &ConstPool, baby_step: usize) -> Self {
        let (outputs, period) = (map.output.vectors(), map.diagonal_period(consts));
        let mut energy = MapEnergy {
            rotated: vec![vec![0.0; period]; outputs],
            diagonals: Vec::new(),
            giants: vec![0; outputs],
            babies: 0,
            period,
        };
        let (mut babies, mut giants) = (BTreeSet::new(), BTreeSet::new());
        for ((output, input), diagonals) in map.diagonals(consts) {
            energy.diagonals.push((output, input, diagonals.len()));
            for (rotation, diagonal) in diagonals {
                let baby = rotation % baby_step;
                if rotation != baby && giants.insert((output, rotation - baby)) {
                    energy.giants[output] += 1;
                }
                if baby != 0 {
                    babies.insert((input, baby));
                    energy.rotated[output].iter_mut().zip(diagonal).for_each(|(sum, x)| *sum += x * x);
                }
            }
        }
        energy.babies = babies.len();
        energy
    }

    fn counts(&self) -> MapCounts {
        let diagonals = self.diagonals.iter().map(|(.., count)| count).sum();
        MapCounts { babies: self.babies, giants: self.giants.iter().sum(), diagonals, period: self.period }
    }
}

impl Simulation {
    /// Prepares `program`, scheduled for `params`.
    pub fn new(program: &Arc<Func<Ckks>>, params: &Params) -> Self {
        Simulation { shared: Arc::new(Shared::new(program, params)) }
    }

    /// The program.
    pub fn program(&self) -> &Arc<Func<Ckks>> {
        self.shared.clear.program()
    }

    /// The backend of one run. Runs of the same seed are the same, bit for bit.
    pub fn run(&self, seed: u64) -> Noisy {
        Noisy { simulation: Arc::clone(&self.shared), seed, overflows: Overflows::default() }
    }
}

impl Shared {
    fn new(func: &Arc<Func<Ckks>>, params: &Params) -> Self {
        let mut simulation = Shared {
            clear: Clear::new(func),
            params: params.clone(),
            maps: BTreeMap::new(),
            polynomials: BTreeMap::new(),
            bootstraps: BTreeMap::new(),
            refused: None,
        };
        let energy = |(index, data): (usize, &OpData<Ckks>)| match &data.op {
            Op::LinearMap { map, baby_step, .. } => {
                Some((index, MapEnergy::new(map, &func.consts, *baby_step)))
            }
            _ => None,
        };
        simulation.maps = func.ops().par_iter().enumerate().filter_map(energy).collect();
        for (index, data) in func.ops().iter().enumerate() {
            match &data.op {
                Op::Polynomial { polynomial, .. } => {
                    simulation.polynomials.insert(index, PolynomialShape::new(polynomial));
                }
                Op::Bootstrap { x, level, mask, .. } if simulation.refused.is_none() => {
                    let x = func.ty(*x);
                    let prepared = simulation.prepare_bootstrap((x.slots, *mask), x.level, *level);
                    simulation.refused = prepared.err().map(|reason| (index, reason));
                }
                _ => {}
            }
        }
        simulation
    }

    fn prepare_bootstrap(
        &mut self,
        kept: (usize, Option<SlotMask>),
        from: Level,
        to: Level,
    ) -> Result<(), String> {
        if self.bootstraps.contains_key(&(kept, from, to)) {
            return Ok(());
        }
        let bootstraps =
            BootstrapParams::of_program(self.clear.program()).map_err(|error| error.to_string())?;
        let noise = BootstrapNoise::of_slots(&bootstraps, &self.params, kept, from, to);
        let noise = noise.map_err(|error| error.to_string())?;
        self.bootstraps.insert((kept, from, to), RefreshModel::new(noise, kept.0));
        Ok(())
    }
}

/// Slots with modelled errors: one run of a [`Simulation`].
#[derive(Debug)]
pub struct Noisy {
    simulation: Arc<Shared>,
    seed: u64,
    overflows: Overflows,
}

/// First label of the streams: what they perturb.
const INPUT: u64 = 0;
const OP: u64 = 1;

impl Noisy {
    /// The operands of polynomials and bootstraps that were outside `[-1, 1]` so far, in program
    /// order: what encrypted arithmetic cannot see. A little outside does little harm; how much is
    /// far depends on the polynomial.
    pub fn overflows(&self) -> Vec<Overflow> {
        self.overflows.list()
    }

    /// Input number `input` of the program, encoded and encrypted.
    pub fn encrypt(
        &self,
        input: usize,
        ty: &CiphertextType,
        mut slots: Bundle,
        kind: EncryptionKind,
    ) -> Bundle {
        let model = self.model(ty.slots);
        let scale = model.scale(ty.scale);
        self.perturb(INPUT, input, &mut slots, |_, _| model.encoding(scale) + model.encryption(kind, scale));
        slots
    }

    fn model(&self, slots: usize) -> NoiseModel<'_> {
        NoiseModel::new(&self.simulation.params, slots)
    }

    /// Adds an error of variance `variance(vector, slot)` to every slot.
    fn perturb(&self, kind: u64, index: usize, x: &mut Bundle, variance: impl Fn(usize, usize) -> f64) {
        for (number, vector) in x.iter_mut().enumerate() {
            let mut stream = NormalStream::new(&[self.seed, kind, index as u64, number as u64]);
            for (slot, x) in vector.iter_mut().enumerate() {
                *x += variance(number, slot).sqrt() * stream.sample();
            }
        }
    }

    /// The same with one deviation for all slots.
    fn perturb_all(&self, site: Site<'_>, mut x: Bundle, variance: f64) -> Bundle {
        let deviation = variance.sqrt();
        for (number, vector) in x.iter_mut().enumerate() {
            let mut stream = NormalStream::new(&[self.seed, OP, site.index as u64, number as u64]);
            stream.add_to(vector, deviation);
        }
        x
    }
}

impl Backend for Noisy {
    type Value = Bundle;

    fn program(&self) -> &Arc<Func<Ckks>> {
        self.simulation.clear.program()
    }

    fn check_program(&self) -> Result<(), ExecError> {
        let func = self.program();
        check_levels(func, &self.simulation.params)?;
        match &self.simulation.refused {
            None => Ok(()),
            Some((op, reason)) => {
                let (mnemonic, params) = (func.ops()[*op].op.mnemonic(), self.simulation.params.name());
                let (reason, params) = (reason.clone(), params.to_owned());
                Err(ExecError::Params { op: *op, mnemonic, reason, params })
            }
        }
    }

    fn check_input(&self, ty: &CiphertextType, value: &Bundle) -> Result<(), String> {
        check_bundle(ty, value)
    }

    fn linear_map(
        &self,
        site: Site<'_>,
        x: &Bundle,
        map: &LinearMap,
        baby_step: usize,
    ) -> Result<Bundle, EvalError> {
        let energy = &self.simulation.maps[&site.index];
        let (model, level) = (self.model(site.operand.slots), site.operand.level);
        let (scale, squared) = (model.scale(Scale::canonical(level)), model.scale(Scale::squared(level)));
        let power = |v: &Vec<f64>| v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64;
        let powers: Vec<f64> = x.iter().map(power).collect();
        let switched = match Hoisting::cheaper(model.params(), level, energy.counts()) {
            Hoisting::Single => model.key_switch(level, scale),
            Hoisting::Double => model.key_switch_product(level, scale),
        };
        let masked = map.is_masked(site.consts);
        let log2_mask = if masked { diagonal::log2_mask(model.params(), level) } else { 0 };
        let mask = f64::from(log2_mask).exp2();
        let rounding = model.encoding_of_period(energy.period, squared / scale / mask);
        let common: Vec<f64> = (0..energy.rotated.len())
            .map(|output| {
                let of_output = energy.diagonals.iter().filter(|(o, ..)| *o == output);
                let products: f64 = of_output.map(|&(_, input, count)| count as f64 * powers[input]).sum();
                let giants = energy.giants[output] as f64 * model.key_switch(level, squared);
                rounding * products + giants + model.division(2, squared)
            })
            .collect();
        let mut y = self.simulation.clear.linear_map(site, x, map, baby_step)?;
        // Beside the picture there is about as much as inside before the mask.
        let masking: Vec<f64> = match masked {
            true => y.iter().map(|y| model.encoding(mask) * power(y)).collect(),
            false => vec![0.0; y.len()],
        };
        self.perturb(OP, site.index, &mut y, |vector, slot| {
            common[vector] + masking[vector] + switched * energy.rotated[vector][slot & (energy.period - 1)]
        });
        Ok(y)
    }

    fn polynomial(&self, site: Site<'_>, x: Cow<'_, Bundle>, _: &Polynomial) -> Result<Bundle, EvalError> {
        self.overflows.check(site.index, &x);
        let shape = &self.simulation.polynomials[&site.index];
        let model = self.model(site.operand.slots);
        let vectors = x.iter().enumerate().map(|(number, vector)| {
            let slots = NoisySlots { model, labels: [self.seed, OP, site.index as u64, number as u64] };
            let input = PolynomialValue { slots: vector.clone(), product: false };
            Ok(evaluate(&slots, &self.simulation.params, shape, &input, site.operand.level)?.slots)
        });
        vectors.collect()
    }

    fn add(&self, site: Site<'_>, x: &Bundle, y: &Bundle) -> Result<Bundle, EvalError> {
        self.simulation.clear.add(site, x, y)
    }

    fn sub(&self, site: Site<'_>, x: &Bundle, y: &Bundle) -> Result<Bundle, EvalError> {
        self.simulation.clear.sub(site, x, y)
    }

    fn mul(&self, site: Site<'_>, x: &Bundle, y: &Bundle) -> Result<Bundle, EvalError> {
        self.simulation.clear.mul(site, x, y)
    }

    fn add_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Bundle>,
        plain: &PlainTensor,
    ) -> Result<Bundle, EvalError> {
        let model = self.model(site.operand.slots);
        let sum = self.simulation.clear.add_plain(site, x, plain)?;
        Ok(self.perturb_all(site, sum, model.encoding(model.scale(site.operand.scale))))
    }

    fn mul_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Bundle>,
        plain: &PlainTensor,
    ) -> Result<Bundle, EvalError> {
        let (model, level) = (self.model(site.operand.slots), site.operand.level);
        let ratio = model.scale(Scale::squared(level)) / model.scale(Scale::canonical(level));
        let rounding = model.encoding(ratio);
        let mut product = self.simulation.clear.mul_plain(site, Cow::Borrowed(&x), plain)?;
        self.perturb(OP, site.index, &mut product, |vector, slot| {
            rounding * x[vector][slot] * x[vector][slot]
        });
        Ok(product)
    }

    fn mul_scalar(&self, site: Site<'_>, x: Cow<'_, Bundle>, factor: f64) -> Result<Bundle, EvalError> {
        self.simulation.clear.mul_scalar(site, x, factor)
    }

    fn add_scalar(&self, site: Site<'_>, x: Cow<'_, Bundle>, offset: f64) -> Result<Bundle, EvalError> {
        self.simulation.clear.add_scalar(site, x, offset)
    }

    fn rotate(&self, site: Site<'_>, x: &Bundle, steps: i64) -> Result<Bundle, EvalError> {
        let rotated = self.simulation.clear.rotate(site, x, steps)?;
        if steps.rem_euclid(site.operand.slots as i64) == 0 {
            return Ok(rotated);
        }
        self.conjugate(site, &rotated)
    }

    fn conjugate(&self, site: Site<'_>, x: &Bundle) -> Result<Bundle, EvalError> {
        let model = self.model(site.operand.slots);
        let variance = model.key_switch(site.operand.level, model.scale(site.operand.scale));
        Ok(self.perturb_all(site, x.clone(), variance))
    }

    fn relinearize(&self, site: Site<'_>, x: Cow<'_, Bundle>) -> Result<Bundle, EvalError> {
        self.conjugate(site, &x)
    }

    fn rescale(&self, site: Site<'_>, x: Cow<'_, Bundle>) -> Result<Bundle, EvalError> {
        let model = self.model(site.operand.slots);
        let variance = model.division(site.operand.size, model.scale(site.result.scale));
        Ok(self.perturb_all(site, x.into_owned(), variance))
    }

    fn level_drop(&self, site: Site<'_>, x: Cow<'_, Bundle>) -> Result<Bundle, EvalError> {
        self.rescale(site, x)
    }

    fn bootstrap(
        &self,
        site: Site<'_>,
        x: &Bundle,
        _: Option<f64>,
        mask: Option<SlotMask>,
    ) -> Result<Bundle, EvalError> {
        let mut y = x.clone();
        if let Some(mask) = mask {
            y.iter_mut().for_each(|vector| mask.apply(vector));
        }
        self.overflows.check(site.index, &y);
        let levels = ((site.operand.slots, mask), site.operand.level, site.result.level);
        let model = &self.simulation.bootstraps[&levels];
        for (number, vector) in y.iter_mut().enumerate() {
            let mut stream = NormalStream::new(&[self.seed, OP, site.index as u64, number as u64]);
            model.refresh(vector, &mut stream);
        }
        Ok(y)
    }
}

/// One vector inside a polynomial.
struct PolynomialValue {
    slots: Vec<f64>,
    /// Whether it is a product not yet relinearised, or a sum with one.
    product: bool,
}

struct NoisySlots<'a> {
    model: NoiseModel<'a>,
    labels: [u64; 4],
}

impl Arithmetic for NoisySlots<'_> {
    type Value = PolynomialValue;

    fn mul(&self, a: &PolynomialValue, b: &PolynomialValue, _: Level) -> Result<PolynomialValue, EvalError> {
        let slots = a.slots.iter().zip(&b.slots).map(|(x, y)| x * y).collect();
        Ok(PolynomialValue { slots, product: true })
    }

    fn lower(
        &self,
        value: &PolynomialValue,
        _: (Level, Level),
        scale: &ExactScale,
        label: u64,
    ) -> Result<PolynomialValue, EvalError> {
        let mut slots = value.slots.clone();
        self.perturb(&mut slots, self.model.division(2, scale.to_f64()), label);
        Ok(PolynomialValue { slots, product: false })
    }

    fn sum(
        &self,
        _: Level,
        _: &ExactScale,
        terms: &[Term<'_, PolynomialValue>],
        constant: f64,
    ) -> Result<PolynomialValue, EvalError> {
        let mut slots = vec![constant; terms.first().map_or(0, |term| term.value.slots.len())];
        for Term { value, coefficient, .. } in terms {
            slots.iter_mut().zip(&value.slots).for_each(|(sum, x)| *sum += coefficient * x);
        }
        Ok(PolynomialValue { slots, product: terms.iter().any(|term| term.value.product) })
    }

    fn rescale(
        &self,
        mut sum: PolynomialValue,
        level: Level,
        scale: &ExactScale,
        label: u64,
    ) -> Result<PolynomialValue, EvalError> {
        let (model, scale) = (&self.model, scale.to_f64());
        let mut variance = model.division(2, scale);
        if sum.product {
            let divisor = model.params().rescale_divisor(level).to_f64();
            variance += model.key_switch_product(level, scale * divisor);
        }
        self.perturb(&mut sum.slots, variance, label);
        Ok(PolynomialValue { slots: sum.slots, product: false })
    }
}

impl NoisySlots<'_> {
    fn perturb(&self, slots: &mut [f64], variance: f64, label: u64) {
        let [seed, kind, op, vector] = self.labels;
        let mut stream = NormalStream::new(&[seed, kind, op, vector, label]);
        stream.add_to(slots, variance.sqrt());
    }
}
