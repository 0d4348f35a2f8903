//! A compiled program: what a client needs of it, what a server runs, the plain network beside it,
//! and what was decided.
//!
//! | part | who reads it |
//! |---|---|
//! | [`Interface`] | client and server |
//! | schedule: the ckks function with its weights and bootstraps | server |
//! | reference: the network as imported | whoever compares answers with those in the clear |
//! | [`Plan`] | people and pipelines |
//!
//! [`mod@file`] writes them into one file, each as a section of its own, so that a reader of one
//! never parses the others.

mod affine;
mod compression;
mod ending;
pub mod file;
mod interface;
mod limits;
mod picture;
mod preprocess;
pub mod wire;

use thiserror::Error;

use crate::attr::AttrError;
use crate::batch::{Batch, BatchError};
use crate::bootstrap::ProgramBootstrapError;
use crate::ckks::Ckks;
use crate::entity::Value;
use crate::fact::{
    Fact, INPUT_FACTORS, INPUT_LAYOUTS, INPUT_PERMUTATIONS, OUTPUT_ENDINGS, OUTPUT_FACTOR, OUTPUT_LAYOUTS,
    OUTPUT_PERMUTATIONS,
};
use crate::func::{Func, Stage};
use crate::key_demand::KeyDemand;
use crate::layout::Layout;
use crate::nn::Nn;
use crate::params::{Params, ParamsError};
use crate::permutation::Permutation;
use crate::plan::{Plan, PlanError};
use crate::security::{Certificate, SecurityError};
use crate::spare::spare_slots;
use crate::text::ParseError;
use crate::verify::VerifyErrors;

#[cfg(test)]
mod tests;

pub use affine::Affine;
pub use ending::{Dimension, Ending, Lists};
pub use interface::{Interface, InterfaceError, Port, ProgramId};
pub use picture::luma;
pub use preprocess::{InputLayout, PictureFit, Preprocess, PreprocessError};

/// A compiled program. Its parts fit one another: [`Program::new`] and the reader of files see to
/// it.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// What a client needs.
    pub interface: Interface,
    /// The scheduled homomorphic function.
    pub schedule: Func<Ckks>,
    /// The network as imported, with its exact activations; absent in the files of servers.
    pub reference: Option<Func<Nn>>,
    /// What was decided, predicted and considered.
    pub plan: Plan,
}

/// Why there is no program.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ProgramError {
    #[error("not an fhec program: the file does not start with FHEP; compile the model with `fhec compile`")]
    Magic,
    #[error(
        "the program has format version {found}, this fhec reads version {}; compile the model again",
        file::FORMAT_VERSION
    )]
    Version { found: u32 },
    #[error("the program is truncated or has trailing bytes: {expected} bytes announced, {found} found")]
    Length { expected: u64, found: u64 },
    #[error("the program's table of sections makes no sense; copy or compile it again")]
    Sections,
    #[error("the program is damaged: its checksum does not match; copy or compile it again")]
    Checksum,
    #[error("the file has no {section}; {advice}")]
    NoSection { section: &'static str, advice: &'static str },
    #[error("the program cannot be decompressed: {0}")]
    Decompress(std::io::Error),
    #[error("the program decompresses to more than {limit} bytes, more than a file of its size may hold")]
    TooLarge { limit: u64 },
    #[error("the program's {part} has {bytes} bytes, more than {limit}")]
    PartTooLarge { part: &'static str, bytes: usize, limit: usize },
    #[error("the program's message cannot be read: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("the program lacks its {0}")]
    Missing(&'static str),
    #[error("the program's parameters are invalid: {0}")]
    Params(#[from] ParamsError),
    #[error("a tensor of the program is malformed: {0}")]
    Tensor(String),
    #[error("the program's {stage} function cannot be parsed: {error}")]
    Parse { stage: &'static str, error: ParseError },
    #[error("the program's {stage} function is malformed: {errors}")]
    Verify { stage: &'static str, errors: VerifyErrors },
    #[error("the program's {stage} function declares what no program has: {reason}")]
    Limits { stage: &'static str, reason: String },
    #[error("the program does not fit its parameters: {0}")]
    Misfit(String),
    #[error("the program's `{meta}` does not describe it: {reason}; compile the model again")]
    Facts { meta: &'static str, reason: String },
    #[error("the program's normalisation cannot be read: {0}")]
    Normalisation(String),
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    #[error("the program's plan cannot be read: {0}")]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Bootstraps(#[from] ProgramBootstrapError),
    #[error("the program is not secure enough: {0}")]
    Security(#[from] SecurityError),
}

impl From<BatchError> for ProgramError {
    fn from(error: BatchError) -> Self {
        ProgramError::Facts { meta: "batch", reason: error.to_string() }
    }
}

impl Program {
    /// The program of `schedule` on `params`, compiled from `reference`. Its interface follows from
    /// them.
    ///
    /// # Errors
    /// If they do not fit one another, or if there is not exactly one input.
    pub fn new(
        schedule: Func<Ckks>,
        params: Params,
        reference: Func<Nn>,
        plan: Plan,
        preprocess: Preprocess,
    ) -> Result<Self, ProgramError> {
        let input = Port::of_input(&schedule, &reference)?;
        let outputs = Port::of_outputs(&schedule, &reference, &plan)?;
        let interface = Interface {
            name: schedule.name.clone(),
            program: ProgramId::of(&schedule),
            input,
            outputs,
            batch: Batch::of_program(&schedule)?,
            keys: KeyDemand::of(&schedule, &params)?,
            params,
            preprocess,
        };
        interface.check()?;
        let program = Program { interface, schedule, reference: Some(reference), plan };
        program.check()?;
        Ok(program)
    }

    /// What a server needs of it: all but the plain network.
    pub fn without_reference(self) -> Self {
        Program { reference: None, ..self }
    }

    /// The plain network.
    ///
    /// # Errors
    /// If the program was made for a server.
    pub fn reference(&self) -> Result<&Func<Nn>, ProgramError> {
        self.reference.as_ref().ok_or(ProgramError::NoSection {
            section: "plain network to compare answers with",
            advice: "it was made for a server (`fhec server`): take the one that `fhec compile` wrote",
        })
    }

    /// What the security table says of the program's secrets.
    ///
    /// # Errors
    /// If the table says nothing of one, or if one keeps less than its lowest level.
    pub fn certificate(&self) -> Result<Certificate, SecurityError> {
        self.interface.certificate()
    }

    /// Errs unless schedule, interface, reference and plan belong together.
    fn check(&self) -> Result<(), ProgramError> {
        let Program { interface, schedule, reference, plan } = self;
        let Interface { params, input, outputs, .. } = interface;
        let values = schedule.inputs().iter().copied().chain(schedule.ops().iter().map(|data| data.result));
        for value in values {
            let ty = schedule.ty(value);
            if ty.level > params.top_level() || ty.slots > params.slots() {
                return Err(ProgramError::Misfit(format!(
                    "{value} needs level {} and {} slots",
                    ty.level, ty.slots
                )));
            }
        }
        let limits = |stage| move |reason| ProgramError::Limits { stage, reason };
        limits::check_schedule(schedule).map_err(limits(Ckks::NAME))?;
        let input = std::slice::from_ref(input);
        for (what, ports, values) in
            [("input", input, schedule.inputs()), ("output", outputs, schedule.outputs())]
        {
            let types = values.iter().map(|&value| *schedule.ty(value));
            if !types.eq(ports.iter().map(|port| port.ty)) {
                return Err(ProgramError::Misfit(format!("its {what} is not that of its interface")));
            }
        }
        let encapsulation = KeyDemand::default().with_bootstraps(schedule, params)?.encapsulation;
        if encapsulation != interface.keys.encapsulation {
            return Err(ProgramError::Misfit("its bootstraps are not those of its interface".into()));
        }
        if let Some(reference) = reference {
            limits::check_network(reference).map_err(limits(Nn::NAME))?;
            for (what, ports, values) in
                [("input", input, reference.inputs()), ("output", outputs, reference.outputs())]
            {
                let shapes = values.iter().map(|&value| &reference.ty(value).shape);
                if !shapes.eq(ports.iter().map(|port| &port.shape)) {
                    return Err(ProgramError::Misfit(format!(
                        "the {what} of its plain network is not that of its interface"
                    )));
                }
            }
        }
        Ok(plan.check(schedule.ops().len())?)
    }
}

fn refused<T>(fact: Fact<T>) -> impl Fn(AttrError) -> ProgramError {
    move |error| ProgramError::Facts { meta: fact.name(), reason: error.to_string() }
}

impl Port {
    fn of_input(schedule: &Func<Ckks>, reference: &Func<Nn>) -> Result<Self, ProgramError> {
        let layouts = schedule.fact(INPUT_LAYOUTS).map_err(refused(INPUT_LAYOUTS))?;
        let factors = schedule.fact(INPUT_FACTORS).map_err(refused(INPUT_FACTORS))?;
        let (&[bundle], &[tensor], [layout], [factor]) =
            (schedule.inputs(), reference.inputs(), &layouts[..], factors.as_deref().unwrap_or(&[1.0]))
        else {
            return Err(misfit(INPUT_LAYOUTS, schedule.inputs(), reference.inputs(), &layouts));
        };
        Ok(Port {
            name: reference.value_name(tensor).unwrap_or_default().into(),
            shape: reference.ty(tensor).shape.clone(),
            ty: *schedule.ty(bundle),
            layout: layout.clone(),
            permutation: permutations(schedule, INPUT_PERMUTATIONS, reference, &[tensor])?.remove(0),
            factor: *factor,
            spare: 0.0,
            ending: Ending::Nothing,
            log2_error: f64::NEG_INFINITY,
        })
    }

    fn of_outputs(
        schedule: &Func<Ckks>,
        reference: &Func<Nn>,
        plan: &Plan,
    ) -> Result<Vec<Self>, ProgramError> {
        // Of the output itself: what the plan judges a program with a softmax by is its operand.
        let definitions = schedule.definitions();
        let log2_error = |bundle: Value| {
            let row = definitions[bundle.index()].and_then(|op| plan.ops.get(op));
            row.map_or(plan.predicted_log2_error, |row| row.log2_error)
        };
        let layouts = schedule.fact(OUTPUT_LAYOUTS).map_err(refused(OUTPUT_LAYOUTS))?;
        let (bundles, tensors) = (schedule.outputs(), reference.outputs());
        if bundles.len() != layouts.len() || tensors.len() != layouts.len() {
            return Err(misfit(OUTPUT_LAYOUTS, bundles, tensors, &layouts));
        }
        let factor = schedule.fact(OUTPUT_FACTOR).map_err(refused(OUTPUT_FACTOR))?;
        let endings = schedule.fact(OUTPUT_ENDINGS).map_err(refused(OUTPUT_ENDINGS))?;
        let endings = endings.unwrap_or_else(|| vec![Ending::Nothing; bundles.len()]);
        if endings.len() != bundles.len() {
            let reason = format!("there are {} of them for {} outputs", endings.len(), bundles.len());
            return Err(ProgramError::Facts { meta: OUTPUT_ENDINGS.name(), reason });
        }
        let spare = spare_slots(schedule);
        let permutations = permutations(schedule, OUTPUT_PERMUTATIONS, reference, tensors)?;
        let port = |((((&bundle, &tensor), layout), permutation), ending)| Port {
            name: reference.value_name(tensor).unwrap_or_default().into(),
            shape: reference.ty(tensor).shape.clone(),
            ty: *schedule.ty(bundle),
            layout: Layout::clone(layout),
            permutation,
            factor,
            spare: spare[bundle.index()],
            ending,
            log2_error: log2_error(bundle),
        };
        Ok(bundles.iter().zip(tensors).zip(&layouts).zip(permutations).zip(endings).map(port).collect())
    }
}

fn misfit<T>(fact: Fact<T>, bundles: &[Value], tensors: &[Value], layouts: &[Layout]) -> ProgramError {
    let reason = format!(
        "there are {} layouts for {} bundles and {} tensors; there must be as many of each, and one input",
        layouts.len(),
        bundles.len(),
        tensors.len()
    );
    ProgramError::Facts { meta: fact.name(), reason }
}

/// The order in which each of `tensors`, of `reference`, is laid out; `None` for its own.
fn permutations(
    schedule: &Func<Ckks>,
    fact: Fact<Option<Vec<Permutation>>>,
    reference: &Func<Nn>,
    tensors: &[Value],
) -> Result<Vec<Option<Permutation>>, ProgramError> {
    let refused = refused(fact);
    let Some(list) = schedule.fact(fact).map_err(&refused)? else { return Ok(vec![None; tensors.len()]) };
    if list.len() != tensors.len() {
        let reason = format!("there are {} of them for {} tensors", list.len(), tensors.len());
        return Err(refused(AttrError(reason)));
    }
    let permutation = |(permutation, &tensor): (Permutation, &Value)| {
        let checked = permutation.check(reference.ty(tensor).shape.iter().product());
        checked.map_err(|error| refused(AttrError(error.to_string())))?;
        Ok(Some(permutation).filter(|permutation| !permutation.is_identity()))
    };
    list.into_iter().zip(tensors).map(permutation).collect()
}
