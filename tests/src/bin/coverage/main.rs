//! What becomes of real models: imports, runs, compiles, rehearses and encrypts every case of a
//! folder, and writes the table of `docs/coverage.md`.
//!
//!     cargo run --release -p fhec-tests --bin coverage -- CASES [--only TEXT] [--seconds S]
//!         [--encrypt S] [--memory GIB] [--rows LOG] [--note TEXT] [--kinds] [-o FILE.md]
//!
//! A case is a folder with models (`*.onnx`), inputs (`inputs.npy`), the outputs of onnxruntime for
//! them (`expected.npy`, `expected_0.npy`), and inputs to calibrate with (`calib.npy`). Each model
//! is a process of its own, which ends after so many seconds (`--seconds`, 120); programs whose
//! prediction is below `--encrypt` seconds (0: none) and `--memory` GiB (10) are run under
//! encryption, too. A row per model goes to standard error; a run that was ended goes on where it
//! was with `--rows` and a file of these. A model without inputs takes those of the same model in
//! another folder; where there are none, it is no case.
//!
//! With `--kinds` only one network of each kind is run (`kinds.rs`), and the section on these takes
//! its place in the file; the rest of the page stays as it is.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the page, and rows between processes, go there")]

mod case;
mod kinds;
mod stages;
mod table;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use case::Case;
use stages::{Limits, Row};

/// What is asked for.
struct Args {
    cases: PathBuf,
    only: String,
    seconds: u64,
    limits: Limits,
    kinds: bool,
    output: Option<PathBuf>,
    rows: Option<PathBuf>,
    note: String,
    one: bool,
    /// The model whose inputs are taken.
    beside: Option<PathBuf>,
}

fn args() -> Result<Args, String> {
    let mut args = Args {
        cases: PathBuf::new(),
        only: String::new(),
        seconds: 120,
        limits: Limits { seconds: 0.0, gib: 10.0, asked: false },
        kinds: false,
        output: None,
        rows: None,
        note: String::new(),
        one: false,
        beside: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("`{text}` is no number"));
        match word.as_str() {
            "--only" => args.only = value()?,
            "--seconds" => args.seconds = number(value()?)? as u64,
            "--encrypt" => args.limits.seconds = number(value()?)?,
            "--memory" => args.limits.gib = number(value()?)?,
            "--kinds" => args.kinds = true,
            "--within" => args.limits.asked = true,
            "-o" => args.output = Some(value()?.into()),
            "--note" => args.note = value()?,
            "--rows" => args.rows = Some(value()?.into()),
            "--one" => args.one = true,
            "--beside" => args.beside = Some(value()?.into()),
            _ => args.cases = word.into(),
        }
    }
    if args.cases.as_os_str().is_empty() { Err("name a folder of cases".into()) } else { Ok(args) }
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if args.one {
        let beside = args.beside.as_ref().unwrap_or(&args.cases);
        let case = Case::of_model_beside(&args.cases, beside);
        stages::run(&case, args.limits, &mut |row| println!("{}", row.line()));
        return ExitCode::SUCCESS;
    }
    match page(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for, and writes the page.
fn page(args: &Args) -> Result<(), String> {
    let all = case::models(&args.cases, "");
    let known = args.rows.as_deref().map(known).transpose();
    let known = known.map_err(|error| format!("--rows: {error}"))?.unwrap_or_default();
    let models = match args.kinds {
        true => kinds::KINDS.iter().map(|(_, model)| args.cases.join(model)).collect(),
        false => case::models(&args.cases, &args.only),
    };
    let (mut rows, mut without) = (Vec::new(), Vec::new());
    for (index, model) in models.iter().enumerate() {
        let name = model.strip_prefix(&args.cases).unwrap_or(model).display().to_string();
        let case = Case::among(model, &all);
        let row = known.get(&name).cloned().unwrap_or_else(|| in_its_own_process(&case, args));
        eprintln!("{}/{} {name} {}", index + 1, models.len(), row.line());
        // What is refused at import is refused for all inputs.
        if case.has_inputs() || !row.imported { rows.push((case, row)) } else { without.push(case) }
    }
    let before = args.output.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    let text = match args.kinds {
        true => table::with_kinds(&before.unwrap_or_default(), &args.note, &rows),
        false => {
            let page = table::page(&args.cases, &args.note, &rows, &without);
            table::with_kinds_of(&page, &before.unwrap_or_default())
        }
    };
    match &args.output {
        Some(path) => std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// The rows that an earlier run showed, by the models' paths.
fn known(path: &Path) -> std::io::Result<BTreeMap<String, Row>> {
    let text = std::fs::read_to_string(path)?;
    let row = |line: &str| {
        let (_, rest) = line.split_once(' ')?;
        let (name, row) = rest.split_once(" {")?;
        Some((name.to_string(), Row::parse(&format!("{{{row}"))?))
    };
    Ok(text.lines().filter_map(row).collect())
}

/// The last row that the process of one model wrote before it ended, or was ended.
fn in_its_own_process(case: &Case, args: &Args) -> Row {
    let start = Instant::now();
    let limit = Duration::from_secs(args.seconds);
    let program = std::env::current_exe().expect("this program is a file");
    let child = Command::new(program)
        .args(["--one", "--encrypt", &args.limits.seconds.to_string()])
        .args(["--memory", &args.limits.gib.to_string()])
        .args(args.kinds.then_some("--within"))
        .arg("--beside")
        .arg(case.beside())
        .arg(&case.model)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return Row { stopped: Some(error.to_string()), ..Row::default() },
    };
    let output = child.stdout.take().expect("it was piped");
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let mut last = Row::default();
    let mut ended = false;
    while let Some(left) = limit.checked_sub(start.elapsed()) {
        match receive.recv_timeout(left) {
            Ok(line) => last = Row::parse(&line).unwrap_or(last),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                ended = true;
                break;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => break,
        }
    }
    if !ended {
        let _ = child.kill();
        last.stopped = Some(format!("not done after {} s", args.seconds));
    }
    let status = child.wait();
    let _ = reader.join();
    if ended && !status.is_ok_and(|status| status.success()) {
        last.stopped = Some("the process died".into());
    }
    last
}
