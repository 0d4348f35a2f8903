//! What several machines would take for one image: a simulation of a program's plan, with the rates
//! of a network between them. The table of `docs/scaling.md`.
//!
//!     cargo run --release -p fhec-tests --bin nodes -- PROGRAM.fhec...
//!
//! Each machine is the one that the plan was priced for, and has the program and the keys. Ops run
//! one after the other (`share`); the ciphertexts of a tensor are spread over the machines, and go
//! over the network where an op needs more of them.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the table goes there")]

mod share;

use std::path::Path;
use std::process::ExitCode;

use fhec_compiler::program::open;
use fhec_ir::program::Program;
use share::{Network, on_machines};

/// Machines of a column.
const MACHINES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Gigabits per second of a row.
const GIGABITS: [f64; 2] = [10.0, 100.0];
/// Programs of less security are no example.
const SECURITY: u32 = 98;

fn rows(program: &Program) -> String {
    let plan = &program.plan;
    let most = plan.ops.iter().map(|op| op.ciphertexts).max().unwrap_or(0);
    let mut text = String::new();
    for gigabits in GIGABITS {
        let network = Network::of_gigabits(gigabits);
        let runs = MACHINES.map(|machines| on_machines(program, machines, network));
        let cell =
            |run: &share::Run| format!("{:.1} ({:.0} %)", run.seconds, 100.0 * run.transfer / run.seconds);
        let cells: Vec<String> = runs.iter().map(cell).collect();
        let sent = runs.iter().map(|run| run.received_bytes).max().unwrap_or(0);
        text += &format!(
            "| {}, at most {most} ciphertexts | {gigabits} Gbit/s | {} | {:.1} GB |\n",
            plan.network,
            cells.join(" | "),
            sent as f64 / 1e9
        );
    }
    text
}

fn main() -> ExitCode {
    let programs: Vec<String> = std::env::args().skip(1).collect();
    if programs.is_empty() {
        eprintln!("usage: nodes PROGRAM.fhec...");
        return ExitCode::from(2);
    }
    let head = MACHINES.map(|machines| machines.to_string()).join(" | ");
    println!("| network | between machines | {head} | a machine receives at most |");
    println!("|{}", "---|".repeat(MACHINES.len() + 3));
    for path in programs {
        match open(Path::new(&path), SECURITY) {
            Ok(program) => print!("{}", rows(&program)),
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
