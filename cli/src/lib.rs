//! The command line: one file per subcommand, each with its arguments, what it does, and what it
//! prints.
//!
//! | module | subject |
//! |---|---|
//! | `check`, `compile`, `calibrate` | a look at a model file; from there to a program; fits of its activations |
//! | `inspect`, `diff` | the plan of a program; two plans compared |
//! | `client`, `server` | the parts of a program that each party needs |
//! | `keygen`, `encrypt`, `eval`, `decrypt` | client and server apart |
//! | `serve`, `remote`, `verify` | a service over HTTP; its client; receipts of answers |
//! | `run`, `simulate` | all roles on one machine; answers without encryption |
//! | `completions`, `man`, `version` | for shells; for `man`; what `--version` says |
//! | `bench` | measuring bootstraps, and what operations cost |
//! | `args`, `options`, `gates`, `images`, `normalisation`, `prices`, `quantities` | arguments that several subcommands share |
//! | `output`, `verdict`, `progress`, `timings`, `exit`, `interrupt` | what goes out, how a command ends, and when |
//! | `traces` | spans of the service, for a collector (feature `otlp`) |

#![forbid(unsafe_code)]

mod args;
mod bench;
mod calibrate;
mod check;
mod client;
mod compile;
mod completions;
mod decrypt;
mod diff;
mod encrypt;
mod eval;
mod exit;
mod gates;
mod images;
mod inspect;
mod interrupt;
mod keygen;
mod man;
mod normalisation;
mod options;
mod output;
mod prices;
mod progress;
mod quantities;
mod remote;
mod run;
mod serve;
mod server;
mod simulate;
mod timings;
mod traces;
mod verdict;
mod verify;
mod version;

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stderr};

use anyhow::Context;
use clap::{Parser, Subcommand};
use fhec_serve::service::SPANS;
use timings::Timings;
use traces::Traces;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use exit::{Exit, Failure, message};
pub use output::print;

use args::Common;

/// Compile an ONNX CNN once, then run it on encrypted images.
#[derive(Parser, Debug)]
#[command(
    name = "fhec",
    version,
    long_version = version::long(),
    about = "Run pretrained ONNX networks on encrypted data",
    long_about = "fhec compiles a pretrained ONNX CNN into a scheduled RNS-CKKS program and runs it on encrypted images. \
        The compiler decides everything a homomorphic program needs: polynomial activations, packing, levels, \
        scales, keys and parameters, for the security level asked for.",
    after_help = "A first look (nothing but this program needed):\n  fhec run\n\n\
        One's own network, all roles on one machine:\n  \
        fhec check net.onnx\n  \
        fhec compile net.onnx --security 128 --calibration images.npy -o net.fhec\n  \
        fhec inspect net.fhec\n  \
        fhec simulate net.fhec --dataset test_batch.bin\n  \
        fhec run net.fhec --input cat.png\n\n\
        Client and server apart (the server never sees the secret key):\n  \
        fhec keygen net.fhec --dir keys    (and keys/evaluation.keys goes to the server)\n  \
        fhec encrypt net.fhec --keys keys --input cat.png -o cat.ct\n  \
        fhec eval net.fhec --keys server cat.ct -o answer.ct\n  \
        fhec decrypt net.fhec --keys keys answer.ct\n\n\
        Over HTTP:\n  \
        fhec serve token alice --tokens tokens\n  \
        fhec serve net.server.fhec --tokens tokens --tls-cert cert.pem --tls-key key.pem --listen 0.0.0.0:8443\n  \
        fhec remote https://HOST:8443 --token-file alice.token classify net cat.png\n\n\
        Two versions of a program:\n  \
        fhec diff old.fhec new.fhec --tolerance 5%\n\n\
        Exit codes: 0 success, 1 an error (one message on standard error), 2 wrong usage, 3 a plan beyond the limits \
        asked for (compile --max-...), 4 something got worse (diff), 130 interrupted (Ctrl-C)."
)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Check(check::Args),
    Compile(Box<compile::Args>),
    Calibrate(calibrate::Args),
    Inspect(inspect::Args),
    Diff(diff::Args),
    Run(run::Args),
    Simulate(simulate::Args),
    Client(client::Args),
    Server(server::Args),
    Keygen(keygen::Args),
    Encrypt(encrypt::Args),
    Eval(eval::Args),
    Decrypt(decrypt::Args),
    Serve(Box<serve::Args>),
    Remote(remote::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The whole command: parses `args`, the name of the program first, runs the subcommand, and prints
/// one line where that fails. Returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and versions come this way, too. Nothing to do if nobody listens.
            let _ = error.print();
            return error.exit_code().try_into().unwrap_or(u8::MAX);
        }
    };
    match execute(cli) {
        Ok(exit) => exit.code(),
        Err(failure) => {
            // One line, causes included; nothing to do if standard error is gone.
            let _ = writeln!(stderr(), "error: {}", failure.message());
            failure.code()
        }
    }
}

/// Sets up logging and threads and runs the subcommand.
///
/// # Errors
/// [`Failure`], with the exit code and the line to print.
pub fn execute(cli: Cli) -> Result<Exit, Failure> {
    let Cli { common, command } = cli;
    let timings = matches!(&command, Command::Compile(args) if args.wants_timings());
    // A service tells what it does.
    let more = u8::from(matches!(command, Command::Serve(_)));
    // What is on its way leaves when this is dropped, so at the end of the command.
    let traces = matches!(&command, Command::Serve(args) if args.serves()).then(Traces::begin);
    start_logging(&common, more, timings, traces.as_ref());
    if let Some(threads) = common.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .build_global()
            .with_context(|| format!("cannot start {threads} worker threads"))?;
    }
    match command {
        Command::Compile(args) => return compile::execute(*args, &common),
        Command::Check(args) => check::execute(args, &common),
        Command::Calibrate(args) => calibrate::execute(args, &common),
        Command::Inspect(args) => inspect::execute(args, &common),
        Command::Diff(args) => return Ok(diff::execute(args, &common)?),
        Command::Run(args) => run::execute(args, &common),
        Command::Simulate(args) => simulate::execute(args, &common),
        Command::Client(args) => client::execute(args, &common),
        Command::Server(args) => server::execute(args, &common),
        Command::Keygen(args) => keygen::execute(args, &common),
        Command::Encrypt(args) => encrypt::execute(args, &common),
        Command::Eval(args) => eval::execute(args, &common),
        Command::Decrypt(args) => decrypt::execute(args, &common),
        Command::Serve(args) => serve::execute(*args, &common),
        Command::Remote(args) => remote::execute(args, &common),
        Command::Verify(args) => verify::execute(args, &common),
        Command::Bench(args) => bench::execute(args, &common),
        Command::Completions(args) => completions::execute(args),
        Command::Man(args) => man::execute(args),
    }?;
    Ok(Exit::Success)
}

fn start_logging(common: &Common, more: u8, timings: bool, traces: Option<&Traces>) {
    // Libraries tell what they do on the last level only.
    let directives = match (common.quiet, common.verbose.saturating_add(more)) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,fhec=info",
        (false, 2) => "warn,fhec=debug",
        // Addresses of requests to a bucket are signed, and ureq tells all of them at that level.
        (false, _) => "trace,ureq=debug",
    };
    // FHEC_LOG takes tracing's filter directives, e.g. `fhec_passes=debug`.
    let filter = EnvFilter::try_from_env("FHEC_LOG").unwrap_or_else(|_| EnvFilter::new(directives));
    // Spans of a service are for traces: in the log they would stand before its lines.
    let no_spans = filter_fn(|metadata| !(metadata.is_span() && metadata.target() == SPANS));
    let filter = filter.and(no_spans.with_max_level_hint(LevelFilter::TRACE));
    // Escapes are for people, and not for those who turn colours off (no-color.org).
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A second call (in tests) keeps the first subscriber.
    let log = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(colour)
        .with_target(false)
        .with_filter(filter);
    let timings = timings.then(|| Timings::new().with_filter(EnvFilter::new("off,fhec=debug")));
    let export = traces.and_then(Traces::layer);
    let _ = tracing_subscriber::registry().with(log).with(timings).with(export).try_init();
    if let Some(traces) = traces {
        traces.tell();
    }
}
