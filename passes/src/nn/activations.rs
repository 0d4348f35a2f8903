//! Fitted activations as data: what a compile with sample images finds, and a compile without them
//! can use.
//!
//! Everything is by the names that values have in the model file, so a file of these belongs to one
//! model, simplified by the same rules. Numbers that programs are made of are `f32`, which JSON
//! keeps exactly.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    nn::Nn,
};
use serde::{Deserialize, Serialize};

use super::{
    agreement::{ClassChanges, Outputs},
    calibrate::Range,
    choose_degrees::Choice,
    equalize_channels::{ChannelFactors, share_factors},
    fit_activations::{Fit, Fits, fitted_activations},
    scaling::Scaling,
};
use crate::{approximation::chebyshev::polynomial, error::PassError};

/// Fitted polynomials of a network, with what they were judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activations {
    /// Images that polynomials were fitted to.
    pub fitted_images: usize,
    /// Other images, which the agreement is measured on.
    pub judged_images: usize,
    /// Of those, how many have their largest output where the exact network has it.
    pub agreeing_images: usize,
    /// The error that encryption may add to the worst output, in the network's units
    /// ([`super::agreement::Agreement::tolerated_error`]), if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerated_error: Option<f64>,
    /// What to expect of the classes of other images, where outputs are classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_changes: Option<ClassChanges>,
    /// The polynomials, in the order of the network.
    pub activations: Vec<Activation>,
}

/// What takes the place of one activation: channel c of it, divided by `factors[c]`, is `bound *
/// p(x / bound) + shift[c]`, x the operand divided by `factors[c]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Name of the result.
    pub activation: String,
    /// Name of the operand, by which tables of ranges know it.
    pub tensor: String,
    /// The polynomial holds for operands, divided by their factors, up to this.
    pub bound: f64,
    /// What channels are divided by; empty where it is 1.
    pub factors: Vec<f32>,
    /// Coefficients of p in the Chebyshev basis, lowest first.
    pub chebyshev: Vec<f32>,
    /// Added per channel.
    pub shift: Vec<f32>,
}

fn name(func: &Func<Nn>, value: Value) -> String {
    func.value_name(value).map_or(value.to_string(), str::to_string)
}

/// The operand of the activation with this result.
fn operand(func: &Func<Nn>, result: Value) -> Value {
    let data = func.ops().iter().find(|data| data.result == result).expect("it is the result of an op");
    data.op.operands()[0]
}

impl Activations {
    /// Of `func`, whose channels were divided by `factors` before `choice` was made; `target` (0 to
    /// 1) of other images are to keep their class.
    pub fn new(
        func: &Func<Nn>,
        factors: &ChannelFactors,
        scaling: &Scaling,
        choice: &Choice,
        target: f64,
    ) -> Activations {
        let row = |(&result, fit): (&Value, &Fit)| {
            let x = operand(func, result);
            let bound = scaling.factor(x);
            Activation {
                activation: name(func, result),
                tensor: name(func, x),
                bound,
                factors: factors[x.index()].clone(),
                chebyshev: fit.polynomial.coefficients().iter().map(|c| (c / bound) as f32).collect(),
                shift: fit.shift.clone(),
            }
        };
        let Choice { fits, fitted_images, agreement, .. } = choice;
        let (outputs, first) = (Outputs::of(func), func.outputs().first());
        let elements = first.map_or(0, |&output| func.ty(output).shape.iter().product());
        Activations {
            fitted_images: *fitted_images,
            judged_images: agreement.images,
            agreeing_images: agreement.agreeing,
            tolerated_error: agreement.tolerated_error(target, outputs, elements),
            class_changes: agreement.class_changes(outputs),
            activations: fits.iter().map(row).collect(),
        }
    }

    /// What the polynomials were judged by.
    pub fn agreement(&self) -> fhec_ir::plan::Agreement {
        let Activations { fitted_images, judged_images, agreeing_images, .. } = *self;
        fhec_ir::plan::Agreement {
            fitted_images,
            judged_images,
            agreeing_images,
            ..fhec_ir::plan::Agreement::default()
        }
    }

    /// Levels that each polynomial takes.
    pub fn depths(&self) -> impl Iterator<Item = u32> + '_ {
        self.activations.iter().map(|row| row.chebyshev.len().next_power_of_two().trailing_zeros())
    }

    /// Checks that this belongs to `func`: the same activations with the same channels, and usable
    /// numbers.
    fn check(&self, func: &Func<Nn>) -> Result<(), PassError> {
        let refuse =
            |value: &str, reason: String| Err(PassError::Activations { value: value.to_string(), reason });
        let values = fitted_activations(func);
        if values.len() != self.activations.len() {
            let (found, expected) = (self.activations.len(), values.len());
            return refuse(&func.name, format!("there are {found} polynomials for {expected} activations"));
        }
        if self.tolerated_error.is_some_and(|error| !(error.is_finite() && error > 0.0)) {
            return refuse(&func.name, "the error that is tolerated is not positive".into());
        }
        if self.class_changes.is_some_and(|changes| !changes.is_sound()) {
            return refuse(&func.name, "no share of images can change as is said".into());
        }
        let mut seen = BTreeSet::new();
        for (&value, row) in values.iter().zip(&self.activations) {
            let x = operand(func, value);
            let channels = func.ty(x).shape[1];
            if (name(func, value), name(func, x)) != (row.activation.clone(), row.tensor.clone()) {
                return refuse(&row.activation, format!("the network has {} here", name(func, value)));
            }
            let lengths =
                row.shift.len() == channels && (row.factors.is_empty() || row.factors.len() == channels);
            if !lengths || !(3..=512).contains(&row.chebyshev.len()) {
                return refuse(
                    &row.activation,
                    format!("numbers for {channels} channels and degrees 2 to 511 are needed"),
                );
            }
            let positive = |v: f64| v > 0.0 && v.is_finite();
            let finite = row.chebyshev.iter().chain(&row.shift).all(|v| v.is_finite());
            if !positive(row.bound) || !finite || !row.factors.iter().all(|f| positive(f64::from(*f))) {
                return refuse(
                    &row.activation,
                    "a number is not finite, or not positive where it must be".into(),
                );
            }
            // Ranges go by the operand, so one operand has one bound.
            if !seen.insert(x) {
                return refuse(&row.activation, "its operand is read by two activations".into());
            }
        }
        Ok(())
    }

    /// What channels of all values of `func` are divided by.
    pub fn channel_factors(&self, func: &Func<Nn>) -> Result<ChannelFactors, PassError> {
        self.check(func)?;
        let mut factors = vec![Vec::new(); func.value_count()];
        for (value, row) in fitted_activations(func).into_iter().zip(&self.activations) {
            factors[operand(func, value).index()] = row.factors.clone();
        }
        share_factors(func, &factors).map_err(|value| PassError::Activations {
            value: name(func, value),
            reason: "it shares its channels' factors with a value that has others".into(),
        })
    }

    /// Ranges of operands by name, such that their bounds with this `margin` are those the
    /// polynomials are made for.
    pub fn ranges(&self, margin: f64) -> BTreeMap<String, Range> {
        let range = |row: &Activation| Range::new(-row.bound / margin, row.bound / margin);
        self.activations.iter().map(|row| (row.tensor.clone(), range(row))).collect()
    }

    /// The polynomials, by the activations of `func`.
    pub fn fits(&self, func: &Func<Nn>) -> Result<Fits, PassError> {
        self.check(func)?;
        let fit = |(value, row): (Value, &Activation)| {
            let coefficients = row.chebyshev.iter().map(|c| f64::from(*c) * row.bound).collect();
            let polynomial = polynomial(coefficients, [-row.bound, row.bound])
                .map_err(|source| PassError::Approximation { value: row.activation.clone(), source })?;
            Ok((value, Fit { polynomial, shift: row.shift.clone() }))
        };
        fitted_activations(func).into_iter().zip(&self.activations).map(fit).collect()
    }
}
