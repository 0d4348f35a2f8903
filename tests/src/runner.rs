//! Runs one filetest.
//!
//! Directives, in comments, one per line:
//!
//! | directive | meaning |
//! |---|---|
//! | `test: PASS` | the pass to run, by its name in [`crate::passes::PASSES`] |
//! | `params: LOG_N LEVELS` | parameters for passes that need some (default `10 8`) |
//! | `count: OP N` | the result has N ops of this name |
//! | `check: TEXT`, `not: TEXT` | the printed result contains, does not contain TEXT |
//! | `note: TEXT` | the pass notes something that contains TEXT |
//! | `error: TEXT` | the pass refuses, with a message that contains TEXT |
//! | `out:` | the printed result follows, commented; `FHEC_BLESS=1` rewrites it |
//!
//! An analysis has text for a result: what it chose or predicts. A pass may read directives of its
//! own, which are described where it is run ([`crate::passes`]). Besides, every program is printed
//! and parsed again, verified before and after, and run before and after on random inputs.

use std::path::{Path, PathBuf};

use fhec_ir::ckks::Ckks;
use fhec_ir::func::{Func, Stage, StageOp};
use fhec_ir::interp::{Bundle, run_ckks, run_packed};
use fhec_ir::packed::Packed;
use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::text::{ConstSource, parse_func, print_func};
use fhec_ir::verify::verify;

use crate::passes::PASSES;
use crate::random::Random;

/// A filetest's text.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    text: &'a str,
}

/// What a pass made of a program: printed, with the mnemonics of its ops; or what an analysis says.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The result as text.
    pub printed: String,
    /// Mnemonics in order.
    pub ops: Vec<&'static str>,
    /// What the pass notes.
    pub notes: Vec<String>,
}

impl Outcome {
    /// The outcome `func`, which must verify.
    pub fn of<S: Stage>(func: &Func<S>) -> Result<Self, Failure> {
        verify(func).map_err(|e| Failure::Broken(format!("after: {e}")))?;
        let ops = func.ops().iter().map(|data| data.op.mnemonic()).collect();
        Ok(Outcome { printed: print_func(func), ops, notes: Vec::new() })
    }

    /// What an analysis says, as lines of text: there is no program to count ops in.
    pub fn text(lines: impl IntoIterator<Item = String>) -> Self {
        let printed = lines.into_iter().map(|line| line + "\n").collect();
        Outcome { printed, ops: Vec::new(), notes: Vec::new() }
    }
}

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The pass refused the program with this message.
    Refused(String),
    /// The test itself failed.
    Broken(String),
}

impl Failure {
    /// A refusal with the error's message.
    pub fn refused(error: impl std::fmt::Display) -> Self {
        Failure::Refused(error.to_string())
    }

    /// A broken test with the error's message.
    pub fn broken(error: impl std::fmt::Display) -> Self {
        Failure::Broken(error.to_string())
    }
}

impl<'a> Case<'a> {
    /// All values of a directive, in order.
    pub fn all(&self, key: &str) -> Vec<&'a str> {
        let prefix = format!("; {key}:");
        self.text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::trim).collect()
    }

    /// The first value of a directive.
    pub fn one(&self, key: &str) -> Option<&'a str> {
        self.all(key).first().copied()
    }

    /// A directive that is a number.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        let parse =
            |text: &str| text.parse().map_err(|_| Failure::Broken(format!("`{key}: {text}`: no number")));
        self.one(key).map(parse).transpose()
    }

    /// The program, which must verify and survive printing and parsing.
    pub fn program<S: Stage>(&self) -> Result<Func<S>, Failure> {
        let broken = |e: &dyn std::fmt::Display| Failure::Broken(e.to_string());
        let func: Func<S> = parse_func(self.text, &ConstSource::default()).map_err(|e| broken(&e))?;
        let source = ConstSource::new(func.consts.iter().map(|(_, tensor)| tensor.clone()));
        if parse_func(&print_func(&func), &source).as_ref() != Ok(&func) {
            return Err(Failure::Broken("printing and parsing changes the program".into()));
        }
        verify(&func).map_err(|e| Failure::Broken(format!("before: {e}")))?;
        Ok(func)
    }

    /// [`params`] by `params: LOG_N LEVELS`.
    pub fn params(&self) -> Result<Params, Failure> {
        let numbers: Vec<u32> =
            self.one("params").unwrap_or("10 8").split(' ').filter_map(|n| n.parse().ok()).collect();
        let [log_n, levels] = numbers[..] else {
            return Err(Failure::Broken("expected `params: LOG_N LEVELS`".into()));
        };
        params(log_n, levels)
    }
}

/// Parameters of tests, of no security: 40-bit levels over a 49-bit base, three 50-bit special
/// primes.
pub fn params(log_n: u32, levels: u32) -> Result<Params, Failure> {
    let mut q: Vec<u64> = ntt_primes_near(1 << 49, log_n).take(1).collect();
    q.extend(ntt_primes_near(1 << 40, log_n).take(levels as usize));
    let literal = ParamsLiteral {
        name: "filetest".into(),
        log_n,
        levels: PrimeSet::prefixes(1..=q.len()),
        digit_limbs: q.len().min(3),
        q,
        p: ntt_primes_near((1 << 50) - 1, log_n).filter(|p| *p < 1 << 50).take(3).collect(),
        log_scale: 40,
        secret: Secret::UniformTernary,
    };
    Params::new(literal).map_err(|e| Failure::Broken(e.to_string()))
}

/// Numbers in [-1, 1), from a fixed seed.
pub fn random_bundle(vectors: usize, slots: usize, seed: u64) -> Bundle {
    let mut random = Random::new(seed);
    (0..vectors).map(|_| (0..slots).map(|_| random.double()).collect()).collect()
}

/// Both results are the same to rounding.
pub fn same(before: &[Bundle], after: &[Bundle]) -> Result<(), Failure> {
    same_to(1e-9, before, after)
}

/// Both results are the same to `tolerance` of the largest, or of 1.
pub fn same_to(tolerance: f64, before: &[Bundle], after: &[Bundle]) -> Result<(), Failure> {
    let slots = |results: &[Bundle]| results.iter().flatten().flatten().copied().collect::<Vec<f64>>();
    let (before, after) = (slots(before), slots(after));
    let largest = before.iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
    let differs = |(x, y): (&f64, &f64)| (x - y).abs() >= tolerance * largest || !y.is_finite();
    if before.len() != after.len() || before.iter().zip(&after).any(differs) {
        return Err(Failure::Broken("the program before and the one after compute different results".into()));
    }
    Ok(())
}

/// Runs a packed program on random inputs.
pub fn run_packed_random(func: &Func<Packed>) -> Result<Vec<Bundle>, Failure> {
    let types = func.inputs().iter().map(|&input| func.ty(input));
    let inputs: Vec<Bundle> =
        types.zip(1..).map(|(ty, seed)| random_bundle(ty.vectors, ty.slots, seed)).collect();
    run_packed(func, &inputs).map_err(|e| Failure::Broken(e.to_string()))
}

/// Runs a ckks program on the same inputs as [`run_packed_random`].
pub fn run_ckks_random(func: &Func<Ckks>) -> Result<Vec<Bundle>, Failure> {
    let types = func.inputs().iter().map(|&input| func.ty(input));
    let inputs: Vec<Bundle> =
        types.zip(1..).map(|(ty, seed)| random_bundle(ty.vectors, ty.slots, seed)).collect();
    run_ckks(func, &inputs).map_err(|e| Failure::Broken(e.to_string()))
}

/// Runs the test in `text`. `Ok(Some(_))` is the text with a new expected output, if it is to be
/// blessed.
pub fn run(text: &str, bless: bool) -> Result<Option<String>, String> {
    let case = Case { text };
    let name = case.one("test").ok_or("there is no `; test: PASS`")?;
    let pass = PASSES.iter().find(|(known, _)| *known == name);
    let (_, pass) = pass.ok_or_else(|| format!("there is no pass `{name}`"))?;
    let outcome = pass(&case);
    if let Some(expected) = case.one("error") {
        return match outcome {
            Err(Failure::Refused(message)) if message.contains(expected) => Ok(None),
            Err(Failure::Refused(message)) => {
                Err(format!("expected `{expected}`, the pass says `{message}`"))
            }
            Err(Failure::Broken(message)) => Err(message),
            Ok(_) => Err(format!("an error with `{expected}` was expected")),
        };
    }
    let outcome = outcome.map_err(|failure| match failure {
        Failure::Refused(message) => format!("refused: {message}"),
        Failure::Broken(message) => message,
    })?;
    let printed = &outcome.printed;
    for line in case.all("count") {
        let (op, expected) = line.split_once(' ').ok_or("expected `count: OP N`")?;
        let found = outcome.ops.iter().filter(|mnemonic| **mnemonic == op).count();
        if expected.trim().parse() != Ok(found) {
            return Err(format!("expected {expected} of `{op}`, found {found} in\n{printed}"));
        }
    }
    if let Some(missing) = case.all("check").into_iter().find(|text| !printed.contains(text)) {
        return Err(format!("`{missing}` is missing in\n{printed}"));
    }
    if let Some(unwanted) = case.all("not").into_iter().find(|text| printed.contains(text)) {
        return Err(format!("`{unwanted}` is in\n{printed}"));
    }
    let noted = |text: &&str| outcome.notes.iter().any(|note| note.contains(text));
    if let Some(missing) = case.all("note").into_iter().find(|text| !noted(text)) {
        return Err(format!("no note contains `{missing}`: {:?}", outcome.notes));
    }
    let commented: String =
        printed.lines().map(|line| format!("; {line}").trim_end().to_string() + "\n").collect();
    match text.split_once("; out:\n") {
        Some((_, expected)) if expected == commented => Ok(None),
        Some((head, _)) if bless => Ok(Some(format!("{head}; out:\n{commented}"))),
        Some(_) => Err(format!("the result differs from what is written below `; out:`\n{commented}")),
        None => Ok(None),
    }
}

/// All `.fhec` files under `folder`, sorted.
pub fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "fhec") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
