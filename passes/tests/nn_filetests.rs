//! Runs the text programs of `tests/filetests/nn`.
//!
//! Directives, in comments, one per line:
//!
//! | directive | meaning |
//! |---|---|
//! | `test: PASS` | the pass to run |
//! | `images: N` | ranges come from N random inputs in [-1, 1) (the default is 16) |
//! | `degrees: A B ..` | of `fit-activations`, one per activation; the result is the network with the fits in place |
//! | `least: F` | of `equalize-channels`: the smallest factor (default 1/16) |
//! | `intervals: LOW HIGH` | ranges come from interval arithmetic |
//! | `margin: M` | of `calibrate`; the default here is 1 |
//! | `relu: alpha A`, `relu: degrees A B ..`, `relu: even N`, `relu: shallowest A`, `smooth: error E`, `smooth: degree N` | of `approximate` |
//! | `tolerance: T` | largest difference of results, relative to the largest result (default 1e-5) |
//! | `count: OP N` | the result has N ops of this name |
//! | `check: TEXT`, `not: TEXT` | the printed result contains, does not contain TEXT |
//! | `note: TEXT` | the pass notes something that contains TEXT |
//! | `error: TEXT` | the pass refuses, with a message that contains TEXT |
//! | `out:` | the printed result follows, commented; for `calibrate` a range per value; `FHEC_BLESS=1` rewrites it |
//!
//! Besides, every program is printed and parsed again, verified before and after, and run before and after on random inputs.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    interp,
    nn::Nn,
    tensor::Tensor,
    text::{ConstSource, parse_func, print_func},
    verify::verify,
};
use fhec_passes::{
    error::PassError,
    nn::{
        approximate::{self, ReluMethod, SmoothMethod, approximate},
        calibrate::{self, Range, Ranges, Source, calibrate},
        collect_polynomials::collect_polynomials,
        drop_softmax::drop_softmax,
        equalize_channels::{Tail, channel_bounds, channel_factors, equalize_channels},
        fit_activations::{self, fit_activations},
        normalize_ranges::{OUTPUT_FACTOR, normalize_ranges},
        scaling::{Scaling, scaling},
        simplify::{self, simplify},
    },
    report::Report,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/filetests/nn");

#[test]
fn all_files() {
    let mut files = Vec::new();
    collect(Path::new(FOLDER), &mut files);
    files.sort();
    assert!(files.len() >= 20, "only {} files in {FOLDER}", files.len());
    let mut failures = String::new();
    for file in &files {
        if let Err(message) = run_file(file) {
            let _ =
                writeln!(failures, "{}: {message}\n", file.strip_prefix(FOLDER).unwrap_or(file).display());
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder of filetests") {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "fhec") {
            files.push(path);
        }
    }
}

struct Directives<'a>(&'a str);

impl<'a> Directives<'a> {
    fn all(&self, key: &str) -> Vec<&'a str> {
        let prefix = format!("; {key}:");
        self.0.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::trim).collect()
    }

    fn one(&self, key: &str) -> Option<&'a str> {
        self.all(key).first().copied()
    }

    fn number(&self, key: &str, default: f64) -> f64 {
        self.one(key).map_or(default, |text| text.parse().expect("a number"))
    }
}

/// Numbers in [-1, 1) from a fixed generator (SplitMix64).
struct Random(u64);

impl Random {
    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        Tensor::from_fn(shape, |_| {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
    }

    fn inputs(&mut self, func: &Func<Nn>) -> Vec<Tensor> {
        func.inputs().iter().map(|&input| self.tensor(&func.ty(input).shape)).collect()
    }
}

fn run_file(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let directives = Directives(&text);
    let func: Func<Nn> = parse_func(&text, &ConstSource::default()).map_err(|e| e.to_string())?;
    let source = ConstSource::new(func.consts.iter().map(|(_, tensor)| tensor.clone()));
    if parse_func(&print_func(&func), &source).as_ref() != Ok(&func) {
        return Err("printing and parsing changes the program".into());
    }
    verify(&func).map_err(|e| format!("before: {e}"))?;
    let outcome = run_pass(&func, &directives);
    if let Some(expected) = directives.one("error") {
        return match outcome {
            Ok(_) => Err(format!("an error with `{expected}` was expected")),
            Err(error) if error.to_string().contains(expected) => Ok(()),
            Err(error) => Err(format!("expected an error with `{expected}`, found `{error}`")),
        };
    }
    let Outcome { func: result, report, text: said } = outcome.map_err(|e| e.to_string())?;
    verify(&result).map_err(|e| format!("after: {e}"))?;
    compare(&func, &result, &directives)?;
    let printed = said.unwrap_or_else(|| print_func(&result));
    for line in directives.all("count") {
        let (op, expected) = line.split_once(' ').ok_or("count: OP N")?;
        let found = result.ops().iter().filter(|data| data.op.mnemonic() == op).count();
        if expected.trim().parse() != Ok(found) {
            return Err(format!("expected {expected} of `{op}`, found {found}\n{printed}"));
        }
    }
    for expected in directives.all("check") {
        if !printed.contains(expected) {
            return Err(format!("`{expected}` is missing in\n{printed}"));
        }
    }
    for unwanted in directives.all("not") {
        if printed.contains(unwanted) {
            return Err(format!("`{unwanted}` is in\n{printed}"));
        }
    }
    if let Some(note) = report.notes.iter().find(|note| note.starts_with("stopped before")) {
        return Err(format!("rules must run out in small programs: {note}"));
    }
    for expected in directives.all("note") {
        if !report.notes.iter().any(|note| note.contains(expected)) {
            return Err(format!("no note contains `{expected}`: {:?}", report.notes));
        }
    }
    check_text(path, &text, &printed)
}

/// Compares with what follows `; out:`, or rewrites it.
fn check_text(path: &Path, text: &str, printed: &str) -> Result<(), String> {
    let Some(start) = text.find("; out:\n") else { return Ok(()) };
    let head = &text[..start + "; out:\n".len()];
    let commented: String =
        printed.lines().map(|line| format!("; {line}").trim_end().to_string() + "\n").collect();
    let expected = format!("{head}{commented}");
    if expected == text {
        return Ok(());
    }
    if std::env::var_os("FHEC_BLESS").is_some() {
        return fs::write(path, expected).map_err(|e| e.to_string());
    }
    Err(format!("the result is now\n{commented}"))
}

fn ranges_of(func: &Func<Nn>, directives: &Directives<'_>) -> Result<(Ranges, Report), PassError> {
    let options = calibrate::Options { margin: directives.number("margin", 1.0), ..Default::default() };
    if let Some(ends) = directives.one("intervals") {
        let ends: Vec<f64> = ends.split_whitespace().map(|end| end.parse().expect("a number")).collect();
        return calibrate(func, &Source::Intervals(Range::new(ends[0], ends[1])), &options);
    }
    calibrate(func, &Source::Images(&images_of(func, directives)), &options)
}

fn images_of(func: &Func<Nn>, directives: &Directives<'_>) -> Vec<Vec<Tensor>> {
    let mut random = Random(1);
    (0..directives.number("images", 16.0) as usize).map(|_| random.inputs(func)).collect()
}

/// What a pass left, or an analysis said.
struct Outcome {
    func: Func<Nn>,
    report: Report,
    /// In place of the printed function.
    text: Option<String>,
}

impl From<(Func<Nn>, Report)> for Outcome {
    fn from((func, report): (Func<Nn>, Report)) -> Outcome {
        Outcome { func, report, text: None }
    }
}

fn approximated(
    func: &Func<Nn>,
    directives: &Directives<'_>,
) -> Result<(Func<Nn>, Scaling, Report), PassError> {
    let mut options = approximate::Options::default();
    if let Some(method) = directives.one("relu") {
        let words: Vec<&str> = method.split_whitespace().collect();
        let number = |i: usize| words[i].parse::<f64>().expect("a number");
        options.relu = match words[0] {
            "alpha" => ReluMethod::Alpha(number(1)),
            "shallowest" => ReluMethod::Shallowest(number(1)),
            "even" => ReluMethod::Even(number(1) as usize),
            _ => ReluMethod::Degrees((1..words.len()).map(|i| number(i) as usize).collect()),
        };
    }
    if let Some(method) = directives.one("smooth") {
        let (kind, number) = method.split_once(' ').expect("a method and a number");
        let number: f64 = number.parse().expect("a number");
        options.smooth =
            if kind == "error" { SmoothMethod::Error(number) } else { SmoothMethod::Degree(number as usize) };
    }
    let (ranges, _) = ranges_of(func, directives)?;
    approximate(func, &ranges, &scaling(func, &ranges), &options)
}

fn run_pass(func: &Func<Nn>, directives: &Directives<'_>) -> Result<Outcome, PassError> {
    Ok(match directives.one("test").expect("`; test: PASS`") {
        "drop-softmax" => drop_softmax(func).into(),
        "collect-polynomials" => collect_polynomials(func)?.into(),
        "simplify" => simplify(func, &simplify::Options::default())?.into(),
        "calibrate" => {
            let (ranges, mut report) = ranges_of(func, directives)?;
            let mut text = String::new();
            for index in 0..func.value_count() {
                let Range { min, max } = ranges.range(Value::new(index));
                let line = format!("%{index} in [{min}, {max}]");
                let _ = writeln!(text, "{line}, bound {}", ranges.bound(Value::new(index)));
                report.note(line);
            }
            Outcome { func: func.clone(), report, text: Some(text) }
        }
        "equalize-channels" => {
            let bounds = channel_bounds(func, &images_of(func, directives), Tail::default())?;
            let factors = channel_factors(func, &bounds, directives.number("least", 1.0 / 16.0));
            equalize_channels(func, &factors)?.into()
        }
        "fit-activations" => {
            let degrees = directives.one("degrees").unwrap_or_default();
            let degrees: Vec<usize> =
                degrees.split_whitespace().map(|degree| degree.parse().expect("a number")).collect();
            let (ranges, _) = ranges_of(func, directives)?;
            let factors = scaling(func, &ranges);
            let options = fit_activations::Options::default();
            let fits = fit_activations(func, &images_of(func, directives), &factors, &degrees, &options)?;
            let relu = ReluMethod::Fitted { fits, otherwise: 126 };
            let options = approximate::Options { relu, ..approximate::Options::default() };
            let (func, _, report) = approximate(func, &ranges, &factors, &options)?;
            (func, report).into()
        }
        "approximate" => {
            let (func, _, report) = approximated(func, directives)?;
            (func, report).into()
        }
        // With activations: what they become, on stored values.
        "normalize-ranges" => {
            let (func, scaling, _) = approximated(func, directives)?;
            normalize_ranges(&func, &scaling)?.into()
        }
        other => panic!("unknown pass `{other}`"),
    })
}

/// Both functions on random inputs, outputs multiplied with their factor.
fn compare(before: &Func<Nn>, after: &Func<Nn>, directives: &Directives<'_>) -> Result<(), String> {
    let factor: f64 = after.meta::<Option<f64>>(OUTPUT_FACTOR).map_err(|e| e.to_string())?.unwrap_or(1.0);
    let tolerance = directives.number("tolerance", 1e-5);
    let softmax = directives.one("test") == Some("drop-softmax");
    // The same inputs that ranges were measured on: beyond them nothing is promised.
    let mut random = Random(1);
    for _ in 0..4 {
        let inputs = random.inputs(before);
        let old = interp::nn::run(before, &inputs).map_err(|e| e.to_string())?;
        let new = interp::nn::run(after, &inputs).map_err(|e| e.to_string())?;
        for (old, new) in old.iter().zip(&new) {
            if softmax {
                if largest(old) != largest(new) {
                    return Err("the largest output moved".into());
                }
                continue;
            }
            let scale = old.data().iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
            let difference = old.data().iter().zip(new.data()).fold(0.0f64, |m, (a, b)| {
                let difference = (f64::from(*a) - f64::from(*b) * factor).abs();
                if difference.is_nan() { f64::INFINITY } else { m.max(difference) }
            });
            if old.shape() != new.shape() || difference > tolerance * scale {
                return Err(format!(
                    "results differ by {difference:e}, the largest is {scale:e}\n{}",
                    print_func(after)
                ));
            }
        }
    }
    Ok(())
}

fn largest(tensor: &Tensor) -> usize {
    let data = tensor.data();
    (0..data.len()).max_by(|&i, &j| data[i].total_cmp(&data[j])).unwrap_or(0)
}
