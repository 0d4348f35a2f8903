//! `fhec serve`: a service for models, over HTTP.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use fhec_compiler::memory::rss_bytes;
use fhec_ir::program::Program;
use fhec_passes::options::ByteSize;
use fhec_serve::service::{Access, Bound, KeyBucket, Options, TlsFiles};
use fhec_serve::tokens;
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use super::traces;

/// Serve compiled programs over HTTP
///
/// Clients upload keys, send encrypted images and fetch encrypted answers (`fhec remote`). The
/// service has public keys and ciphertexts alone. docs/serving.md has endpoints, sizes and
/// operations. SIGTERM ends it without a loss, SIGHUP reads tokens and programs again.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

impl Args {
    /// Whether a service runs, and not a command of its operator.
    pub(super) fn serves(&self) -> bool {
        self.command.is_none()
    }
}

#[derive(Subcommand, Debug)]
enum Command {
    Token(TokenArgs),
}

/// Make a token for a principal and add its hash to a file of tokens
///
/// Prints the token, which nothing else keeps. To take it back, delete its line and send the
/// service SIGHUP.
#[derive(clap::Args, Debug)]
struct TokenArgs {
    /// Name of the principal: letters, digits, `-` and `_`
    #[arg(value_name = "NAME")]
    name: String,
    /// File of tokens; made if it does not exist
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// The principal may read metrics
    #[arg(long)]
    operator: bool,
}

#[derive(clap::Args, Debug)]
struct ServeArgs {
    /// Compiled programs (`fhec compile`, `fhec server`), or folders of them; a model is called as
    /// its file without `.fhec` or `.server.fhec`
    #[arg(value_name = "PROGRAM|DIR")]
    programs: Vec<PathBuf>,
    /// Address and port to listen at; port 0 is any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Folder for keys and jobs; made if it does not exist
    #[arg(long, value_name = "DIR", default_value = "fhec-state")]
    state: PathBuf,
    /// File of tokens (`fhec serve token`)
    #[arg(long, value_name = "FILE", conflicts_with = "no_auth")]
    tokens: Option<PathBuf>,
    /// Answer everybody on this machine; for loopback addresses alone
    #[arg(long)]
    no_auth: bool,
    /// Certificates of the server, its own first (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the server (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Take connections with a certificate of this authority alone (PEM); without --tokens each
    /// certificate is a principal
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Sign receipts with this key (Ed25519, PEM; `openssl genpkey -algorithm ed25519` makes one)
    #[arg(long, value_name = "FILE")]
    receipt_key: Option<PathBuf>,
    /// Offer browsers the page in this folder (`web/build.sh`) at /demo/: pictures are encrypted
    /// there, and answers decrypted
    #[arg(long, value_name = "DIR")]
    demo: Option<PathBuf>,
    /// Something in front of the service does TLS
    #[arg(long)]
    behind_proxy: bool,
    /// Evaluations at a time, each with `--threads` of its own [default of that: the cores, shared
    /// out among the lanes]
    #[arg(long, value_name = "N", default_value = "1")]
    lanes: NonZeroUsize,
    /// Keys that stay in memory; what was used longest ago goes first
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    key_memory: ByteSize,
    /// Jobs that may wait, of all principals
    #[arg(long, value_name = "N", default_value = "256")]
    queue: NonZeroUsize,
    /// Jobs of one principal that may wait or run
    #[arg(long, value_name = "N", default_value = "16")]
    jobs_per_principal: NonZeroUsize,
    /// Bytes of key files of one principal
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    keys_per_principal: ByteSize,
    /// Core-seconds of evaluation that one principal may use within an hour [default: no limit]
    #[arg(long, value_name = "N")]
    core_seconds_per_hour: Option<NonZeroU64>,
    /// Keep whole keys in a bucket of an S3-compatible store, too, for this service and others with
    /// the same bucket; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and
    /// AWS_ENDPOINT_URL say who and where
    #[arg(long, value_name = "s3://BUCKET[/PREFIX]")]
    key_bucket: Option<String>,
    /// Whole keys on disk; what was used longest ago goes first, once the bucket has it
    #[arg(long, value_name = "SIZE", requires = "key_bucket")]
    key_disk: Option<ByteSize>,
    /// Days after which keys are deleted that nobody has used or touched
    #[arg(long, value_name = "DAYS", default_value = "30")]
    keys_live: NonZeroU64,
    /// Hours after which finished jobs are deleted
    #[arg(long, value_name = "HOURS", default_value = "24")]
    jobs_live: NonZeroU64,
    /// Seconds between two checkpoints of an evaluation
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    checkpoint_interval: u64,
    /// Seconds that running evaluations have to end when the service ends, before they are stopped
    /// with a checkpoint
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    grace: u64,
    /// Largest chunk of an upload of keys
    #[arg(long, value_name = "SIZE", default_value = "4MiB")]
    chunk: ByteSize,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value = "256")]
    connections: NonZeroUsize,
    /// Seconds that a client may be silent in the middle of a request
    #[arg(long, value_name = "SECONDS", default_value = "15")]
    patience: NonZeroU64,
    /// Seconds that a whole body may take
    #[arg(long, value_name = "SECONDS", default_value = "120")]
    body_time: NonZeroU64,
}

#[derive(Serialize)]
struct Started {
    address: String,
    models: Vec<String>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    match args.command {
        Some(Command::Token(args)) => token(&args, common),
        None => serve(args.serve, common),
    }
}

fn token(args: &TokenArgs, common: &Common) -> Result<()> {
    #[derive(Serialize)]
    struct Made {
        token: String,
    }
    let token = tokens::add(&args.tokens, &args.name, args.operator)?;
    let out = Output::new(common.json);
    out.json(&Made { token: token.clone() })?;
    out.text(&format!("{token}\n"))
}

fn serve(args: ServeArgs, common: &Common) -> Result<()> {
    let programs = models(&args.programs, args.lanes, 0, common)?;
    let names = programs.iter().map(|(name, _)| name.clone()).collect();
    let bound = Bound::new(programs, options(&args, common)?)?;
    let out = Output::new(common.json);
    let address = bound.address().context("the service has no address")?.to_string();
    let started = Started { address, models: names };
    let of_now = common.clone();
    let read = move || {
        // What the service has it can use again.
        let held = rss_bytes().unwrap_or(0);
        models(&args.programs, args.lanes, held, &of_now).map_err(|error| format!("{error:#}"))
    };
    // Nobody may be there to read it: the service runs all the same.
    bound.run(Arc::new(read), || {
        let line = format!("serving {} at {}\n", started.models.join(", "), started.address);
        if let Err(error) = out.json(&started).and_then(|()| out.text(&line)) {
            tracing::warn!("{error:#}");
        }
    })?;
    Ok(())
}

/// The programs to serve by name, if there is memory for all of them beside the `held` bytes that
/// this process has.
fn models(
    paths: &[PathBuf],
    lanes: NonZeroUsize,
    held: u64,
    common: &Common,
) -> Result<Vec<(String, Arc<Program>)>> {
    let mut models = Vec::new();
    for path in programs(paths)? {
        models.push((model_name(&path)?, Arc::new(common.open(&path)?.as_ref().clone().without_reference())));
    }
    let needed = memory(models.iter().map(|(_, program)| &**program), lanes);
    common.require_memory("serving these programs", needed.saturating_sub(held))?;
    Ok(models)
}

/// Bytes that programs take when all of them have been used: each keeps its encoded weights, each
/// lane works on one of them, and one client's keys are there. More keys stay as long as there is
/// room for them.
fn memory<'a>(programs: impl Iterator<Item = &'a Program>, lanes: NonZeroUsize) -> u64 {
    let (mut weights, mut keys, mut working) = (0, 0, 0);
    for Program { plan, .. } in programs {
        weights += plan.resident_bytes.saturating_sub(plan.key_bytes);
        keys = keys.max(plan.key_bytes);
        working = working.max(plan.predicted_peak_bytes.saturating_sub(plan.resident_bytes));
    }
    weights + keys + working * lanes.get() as u64
}

fn options(args: &ServeArgs, common: &Common) -> Result<Options> {
    let access = match (&args.tokens, args.no_auth) {
        (Some(path), _) => Access::Tokens(path.clone()),
        (None, true) => Access::Anybody,
        (None, false) if args.client_ca.is_some() => Access::Certificates,
        (None, false) => bail!(
            "say who may use the service: --tokens FILE (`fhec serve token NAME --tokens FILE` makes one), --client-ca, \
             or --no-auth for this machine alone"
        ),
    };
    let mut options = Options::new(args.listen, args.state.clone(), access);
    if let (Some(certificates), Some(key)) = (&args.tls_cert, &args.tls_key) {
        options.tls = Some(TlsFiles {
            certificates: certificates.clone(),
            key: key.clone(),
            client_authority: args.client_ca.clone(),
        });
    }
    (options.behind_proxy, options.lanes) = (args.behind_proxy, args.lanes.get());
    // Lanes do not sleep while they evaluate: more threads than cores would only wait.
    let share = (options.threads / options.lanes).max(1);
    options.threads = common.threads.map_or(share, NonZeroUsize::get);
    (options.queue, options.jobs_per_principal) = (args.queue.get(), args.jobs_per_principal.get());
    (options.key_memory, options.keys_per_principal) = (args.key_memory.0, args.keys_per_principal.0);
    options.core_seconds_per_hour = args.core_seconds_per_hour.map(NonZeroU64::get);
    options.key_bucket = args.key_bucket.as_deref().map(KeyBucket::from_environment).transpose()?;
    options.key_disk = args.key_disk.map(|size| size.0);
    options.keys_live = Duration::from_secs(args.keys_live.get().saturating_mul(24 * 3600));
    options.jobs_live = Duration::from_secs(args.jobs_live.get().saturating_mul(3600));
    options.checkpoint_interval = Duration::from_secs(args.checkpoint_interval);
    options.grace = Duration::from_secs(args.grace);
    (options.chunk_bytes, options.connections) = (args.chunk.0, args.connections.get());
    options.receipt_key = args.receipt_key.clone();
    options.demo = args.demo.clone();
    options.trace_contexts = traces::CONTEXTS;
    options.body_time = Duration::from_secs(args.body_time.get());
    options.patience = Duration::from_secs(args.patience.get());
    Ok(options)
}

const ENDING: &str = ".fhec";

/// The program files among `paths` and in the folders among them. Files of clients in a folder are
/// left out.
fn programs(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = path.read_dir().with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", path.display()))?.path();
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(ENDING) && !name.ends_with(".client.fhec") {
                found.push(entry);
            }
        }
    }
    ensure!(
        !found.is_empty(),
        "there is no program to serve: name files of `fhec compile`, or folders of them"
    );
    found.sort();
    Ok(found)
}

fn model_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} has no name for a model", path.display()))?;
    let name = name.strip_suffix(ENDING).unwrap_or(name);
    Ok(name.strip_suffix(".server").unwrap_or(name).to_string())
}
