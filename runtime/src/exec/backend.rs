//! What executes the ops of a program.

use std::borrow::Cow;
use std::sync::Arc;

use fhec_ir::ckks::{CiphertextType, Ckks};
use fhec_ir::func::Func;
use fhec_ir::linear_map::{LinearMap, PlainTensor};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::slot_mask::SlotMask;
use fhec_ir::tensor::ConstPool;

use super::control::Control;
use super::error::ExecError;
use crate::error::EvalError;

/// Where an op stands.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Index of the op in its program.
    pub index: usize,
    /// Constants of the program.
    pub consts: &'a ConstPool,
    /// Type of the first operand.
    pub operand: &'a CiphertextType,
    /// Type of the result.
    pub result: &'a CiphertextType,
    /// Asked between ciphertexts where each takes long.
    pub control: &'a Control,
}

/// Executes the ops of a program on bundles of its own kind: one method per op of
/// [`fhec_ir::ckks::Op`], whose meaning, levels and scales it has. [`super::execute`] calls them in
/// program order, with operands of the declared types. Ops that act on every ciphertext by itself
/// are given the operand where nothing else needs it, so that each can go when its result is there.
pub trait Backend: Sync {
    /// A bundle.
    type Value: Clone + Send;

    /// Runs an op, which calls one of the methods below: where threads can be made ready for it.
    fn run<R: Send>(&self, op: impl FnOnce() -> R + Send) -> R {
        op()
    }

    /// The program that it runs.
    fn program(&self) -> &Arc<Func<Ckks>>;

    /// Checks everything about the program that could make an op fail: parameters, keys,
    /// unsupported ops.
    fn check_program(&self) -> Result<(), ExecError>;

    /// Checks that `value` has type `ty`; says what is wrong otherwise.
    fn check_input(&self, ty: &CiphertextType, value: &Self::Value) -> Result<(), String>;

    /// `linear_map`.
    fn linear_map(
        &self,
        site: Site<'_>,
        x: &Self::Value,
        map: &LinearMap,
        baby_step: usize,
    ) -> Result<Self::Value, EvalError>;

    /// `polynomial`.
    fn polynomial(
        &self,
        site: Site<'_>,
        x: Cow<'_, Self::Value>,
        polynomial: &Polynomial,
    ) -> Result<Self::Value, EvalError>;

    /// `add`.
    fn add(&self, site: Site<'_>, x: &Self::Value, y: &Self::Value) -> Result<Self::Value, EvalError>;

    /// `sub`.
    fn sub(&self, site: Site<'_>, x: &Self::Value, y: &Self::Value) -> Result<Self::Value, EvalError>;

    /// `mul`.
    fn mul(&self, site: Site<'_>, x: &Self::Value, y: &Self::Value) -> Result<Self::Value, EvalError>;

    /// `add_plain`.
    fn add_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Self::Value>,
        plain: &PlainTensor,
    ) -> Result<Self::Value, EvalError>;

    /// `mul_plain`.
    fn mul_plain(
        &self,
        site: Site<'_>,
        x: Cow<'_, Self::Value>,
        plain: &PlainTensor,
    ) -> Result<Self::Value, EvalError>;

    /// `mul_scalar`.
    fn mul_scalar(
        &self,
        site: Site<'_>,
        x: Cow<'_, Self::Value>,
        factor: f64,
    ) -> Result<Self::Value, EvalError>;

    /// `add_scalar`.
    fn add_scalar(
        &self,
        site: Site<'_>,
        x: Cow<'_, Self::Value>,
        offset: f64,
    ) -> Result<Self::Value, EvalError>;

    /// `rotate`.
    fn rotate(&self, site: Site<'_>, x: &Self::Value, steps: i64) -> Result<Self::Value, EvalError>;

    /// `conjugate`.
    fn conjugate(&self, site: Site<'_>, x: &Self::Value) -> Result<Self::Value, EvalError>;

    /// `relinearize`.
    fn relinearize(&self, site: Site<'_>, x: Cow<'_, Self::Value>) -> Result<Self::Value, EvalError>;

    /// `rescale`.
    fn rescale(&self, site: Site<'_>, x: Cow<'_, Self::Value>) -> Result<Self::Value, EvalError>;

    /// `level_drop`.
    fn level_drop(&self, site: Site<'_>, x: Cow<'_, Self::Value>) -> Result<Self::Value, EvalError>;

    /// `bootstrap`: of the slots that `mask` keeps; `sine` says what is expected of the result.
    fn bootstrap(
        &self,
        site: Site<'_>,
        x: &Self::Value,
        sine: Option<f64>,
        mask: Option<SlotMask>,
    ) -> Result<Self::Value, EvalError>;

    /// `relinearize` whose only use is the `rescale` that follows it; a backend may have one
    /// division for both.
    fn relinearize_rescale(
        &self,
        relinearize: Site<'_>,
        rescale: Site<'_>,
        x: Cow<'_, Self::Value>,
    ) -> Result<Self::Value, EvalError> {
        self.rescale(rescale, Cow::Owned(self.relinearize(relinearize, x)?))
    }

    /// `linear_map` whose only use is the `rescale` that follows it; a backend may have one
    /// division for both.
    fn linear_map_rescale(
        &self,
        linear_map: Site<'_>,
        rescale: Site<'_>,
        x: &Self::Value,
        map: &LinearMap,
        baby_step: usize,
    ) -> Result<Self::Value, EvalError> {
        self.rescale(rescale, Cow::Owned(self.linear_map(linear_map, x, map, baby_step)?))
    }
}
