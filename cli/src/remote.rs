//! `fhec remote`: the client of a service.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use fhec_compiler::memory::{bundle_bytes, human_bytes};
use fhec_ir::program::Interface;
use fhec_roles::core_dumps::keep_secrets_from_core_dumps;
use fhec_roles::files::{self, Access};
use fhec_roles::verdict::REFUSED;
use fhec_roles::{Client, context, exchange};
use fhec_runtime::ring::Context;
use fhec_serve::api::{Job, JobState, Model};
use fhec_serve::remote::{Answered, Connection, Home, Identity, Remote, RemoteSession, Settings, Traffic};
use indicatif::ProgressBar;
use serde::Serialize;

use super::args::Common;
use super::images::Which;
use super::output::{Output, shown};
use super::verdict::{self, Shown};
use super::{keygen, progress};

/// Use a service (`fhec serve`): models, keys, classify, jobs
///
/// What belongs to a service is kept in the user's folder for configurations: the model's
/// interface, and keys, of which the secret one never leaves it. The token is read from
/// --token-file or from the environment (FHEC_TOKEN).
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address of the service: https://HOST[:PORT], or http:// on this machine
    #[arg(value_name = "URL")]
    url: String,
    #[command(subcommand)]
    command: Command,
    /// File with the token
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Certificates of the authority that the service's is from (PEM) [default: Mozilla's list]
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// The client's own certificate (PEM)
    #[arg(long, value_name = "FILE", global = true, requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", global = true, requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Folder for interfaces and keys [default: `fhec` in the user's folder for configurations]
    #[arg(long, value_name = "DIR", global = true)]
    home: Option<PathBuf>,
    /// Send a token over plain HTTP to another machine all the same
    #[arg(long, global = true)]
    insecure: bool,
    /// Seconds that an absent or busy service is waited for
    #[arg(long, value_name = "SECONDS", global = true, default_value_t = 300)]
    patience: u64,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the models of the service
    Models,
    /// Make keys for a model, and upload those for the service, or what is missing of them
    Keygen {
        /// Name of the model
        #[arg(value_name = "MODEL")]
        model: String,
    },
    Classify(Box<ClassifyArgs>),
    /// The keys that the service has
    #[command(subcommand)]
    Keys(KeysCommand),
    /// List jobs
    Jobs {
        /// Cancel this job if it is not finished, delete it if it is
        #[arg(long, value_name = "JOB")]
        delete: Option<String>,
    },
}

/// Classify an encrypted image
///
/// Does what is missing, and says so: fetches the model's interface, makes keys, uploads them.
/// Then encrypts, sends, waits and decrypts.
#[derive(clap::Args, Debug)]
struct ClassifyArgs {
    /// Name of the model
    #[arg(value_name = "MODEL")]
    model: String,
    /// Image file: PNG, JPEG, .npy, .npz, CIFAR-10 records or MNIST IDX
    #[arg(value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    shown: Shown,
    /// Seconds after which the answer is of no use
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<NonZeroU64>,
    /// Keep image.ct, answer.ct and receipt.json, as they were exchanged, in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum KeysCommand {
    /// List them
    List,
    /// Delete some; secret.key stays where it is
    Delete {
        /// Their name, 64 digits
        #[arg(value_name = "KEYS")]
        keys: String,
    },
}

/// What each step took.
#[derive(Default, Serialize)]
struct Steps {
    /// 0 where the interface was here.
    interface_seconds: f64,
    /// 0 where keys were here.
    keygen_seconds: f64,
    /// 0 where the service had them.
    upload_seconds: f64,
    encrypt_seconds: f64,
    /// From sending the image until the answer is here.
    answer_seconds: f64,
    /// Of it, the evaluation.
    evaluation_seconds: Option<f64>,
    decrypt_seconds: f64,
    sent_bytes: u64,
    received_bytes: u64,
}

#[derive(Serialize)]
struct Classified {
    #[serde(flatten)]
    verdict: verdict::Report,
    job: String,
    steps: Steps,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let remote = Remote::new(connect(&args)?, Duration::from_secs(args.patience));
    let home = || Home::open(args.home.as_deref(), &args.url);
    let out = Output::new(common.json);
    match &args.command {
        Command::Models => models(&remote, out),
        Command::Keygen { model } => {
            keep_secrets_from_core_dumps();
            let mut ready = Ready::of(&remote, &home()?, model, common, out)?;
            ready.session(&remote, common, out)?;
            out.json(&ready.steps)
        }
        Command::Classify(what) => {
            keep_secrets_from_core_dumps();
            classify(&remote, &home()?, what, common, out)
        }
        Command::Keys(KeysCommand::List) => keys(&remote, out),
        Command::Keys(KeysCommand::Delete { keys }) => {
            remote.delete_keys(keys)?;
            out.text("deleted\n")
        }
        Command::Jobs { delete: Some(job) } => {
            remote.delete_job(job)?;
            out.text("cancelled or deleted\n")
        }
        Command::Jobs { delete: None } => jobs(&remote, out),
    }
}

/// Larger token files hold something else.
const MAX_TOKEN_BYTES: u64 = 4096;

fn connect(args: &Args) -> Result<Connection> {
    let token = match &args.token_file {
        Some(path) => {
            let bytes = files::read(path, MAX_TOKEN_BYTES)?;
            let text = String::from_utf8(bytes).ok();
            let text = text.with_context(|| format!("{} holds no token", path.display()))?;
            Some(text.trim().to_string())
        }
        None => std::env::var("FHEC_TOKEN").ok().filter(|token| !token.is_empty()),
    };
    let identity = args.client_cert.clone().zip(args.client_key.clone());
    let settings = Settings {
        token,
        authority: args.ca.clone(),
        identity: identity.map(|(certificates, key)| Identity { certificates, key }),
        insecure: args.insecure,
    };
    Ok(Connection::new(&args.url, &settings)?)
}

fn models(remote: &Remote, out: Output) -> Result<()> {
    let models = remote.models()?;
    out.json(&models)?;
    for model in models {
        let keys = if model.keys.is_empty() { "no keys of yours" } else { "has your keys" };
        out.text(&format!(
            "{}: {} bits of security, about {:.1} s, keys up to {}, image up to {}, {} in the queue, {:.0} s to wait, {keys}\n",
            model.name,
            model.security_bits,
            model.expected_seconds,
            human_bytes(model.key_file_max_bytes),
            human_bytes(model.input_max_bytes),
            model.queued,
            model.wait_seconds
        ))?;
    }
    Ok(())
}

fn keys(remote: &Remote, out: Output) -> Result<()> {
    let keys = remote.keys()?;
    out.json(&keys)?;
    for set in keys {
        let state = match set.offset == set.length {
            true => "whole".to_string(),
            false => format!("{} there", human_bytes(set.offset)),
        };
        out.text(&format!(
            "{}: {}, {state}, deleted in {} hours unless used\n",
            set.keys,
            human_bytes(set.length),
            set.expires_in_seconds / 3600
        ))?;
    }
    Ok(())
}

fn jobs(remote: &Remote, out: Output) -> Result<()> {
    let jobs = remote.jobs()?;
    out.json(&jobs)?;
    jobs.iter().try_for_each(|job| out.text(&format!("{}: {}, {}\n", job.id, job.model, state(job))))
}

fn state(job: &Job) -> String {
    match (job.state, &job.problem) {
        (JobState::Queued, _) => "waits".into(),
        (JobState::Running, _) => format!("{} of {} ops", job.ops_done, job.ops),
        (JobState::Done, _) => format!("done in {:.2} s", job.seconds.unwrap_or(0.0)),
        (JobState::Cancelled, _) => "cancelled".into(),
        (JobState::Failed, Some(problem)) => format!("failed: {}", problem.detail),
        (JobState::Failed, None) => "failed".into(),
    }
}

/// What has to be there before an image is encrypted.
struct Ready {
    model: Model,
    interface: Arc<Interface>,
    context: Arc<Context>,
    folder: PathBuf,
    steps: Steps,
}

impl Ready {
    /// Fetches the interface and makes keys where they are missing.
    fn of(remote: &Remote, home: &Home, name: &str, common: &Common, out: Output) -> Result<Self> {
        let mut steps = Steps::default();
        let begun = Instant::now();
        let model = remote.model(name)?;
        let (interface, fetched) = home.interface(remote, &model, common.min_security)?;
        if fetched {
            steps.interface_seconds = begun.elapsed().as_secs_f64();
            out.text(&format!("fetched the interface of {name}, {}\n", human_bytes(model.interface_bytes)))?;
        }
        let folder = home.keys(model.program)?;
        if !exchange::has_secret_key(&folder) {
            out.text(&format!(
                "there are no keys for this program yet: making some in {}\n",
                folder.display()
            ))?;
            let begun = Instant::now();
            Home::keys_are_new(&folder);
            keygen::make(&interface, &folder, None, common, out)?;
            steps.keygen_seconds = begun.elapsed().as_secs_f64();
        }
        let context = context(&interface)?;
        Ok(Ready { model, interface, context, folder, steps })
    }

    /// Uploads the keys where the service does not have them.
    fn session(&mut self, remote: &Remote, common: &Common, out: Output) -> Result<RemoteSession> {
        let Ready { model, interface, context, folder, .. } = self;
        let begun = Instant::now();
        let length = exchange::evaluation_key_bytes(folder).unwrap_or(0);
        let lacking = !model.keys.contains(&Home::keys_digest(folder)?);
        if lacking {
            out.text(&format!("the service lacks the keys: uploading {}\n", human_bytes(length)))?;
        }
        let bar = progress::bar(common, "uploading", usize::try_from(length).unwrap_or(usize::MAX));
        let mut tell = |there, _| bar.set_position(there);
        let session = RemoteSession::open(remote, model, interface, context, folder, &mut tell)?;
        bar.finish_and_clear();
        if lacking {
            self.steps.upload_seconds = begun.elapsed().as_secs_f64();
        }
        Ok(session)
    }
}

fn classify(remote: &Remote, home: &Home, args: &ClassifyArgs, common: &Common, out: Output) -> Result<()> {
    let mut ready = Ready::of(remote, home, &args.model, common, out)?;
    // Before minutes are spent on an upload: the image may be none of this model.
    let image = args.which.of(&args.input, &ready.interface)?;
    let session = ready.session(remote, common, out)?;
    let Ready { interface, context, folder, mut steps, .. } = ready;

    let begun = Instant::now();
    common.require_memory("encrypting", bundle_bytes(&interface.params, &interface.input.ty))?;
    let client = Client::new(&interface, &context, exchange::read_secret_key(&folder, &context)?);
    let encrypted = exchange::seeded_ciphertexts_to_bytes(&context, &client.encrypt_seeded(&image.numbers)?);
    steps.encrypt_seconds = begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    let deadline = args.deadline.map(NonZeroU64::get);
    let bar = progress::bar(common, "evaluating", 0);
    let answered = session.evaluate(remote, &encrypted, deadline, &mut |job| show(&bar, job))?;
    bar.finish_and_clear();
    let Answered { answer, receipt, job } = answered;
    steps.answer_seconds = begun.elapsed().as_secs_f64();
    steps.evaluation_seconds = job.seconds;
    if let Some(kept) = &args.keep {
        keep(kept, &encrypted, &answer, &serde_json::to_vec_pretty(&receipt)?)?;
    }

    let begun = Instant::now();
    let answer = exchange::answer_from_bytes(&answer, &context, &interface.answer_types())
        .context("the service's answer is refused; do not tell it (docs/threat-model.md)")?;
    // Before the key is used: refused answers count, too.
    verdict::count_and_advise(&folder, &interface)?;
    let answer = client.decrypt(&answer)?;
    if answer.overflow {
        bail!("the answer is refused: {REFUSED}");
    }
    steps.decrypt_seconds = begun.elapsed().as_secs_f64();
    let Traffic { sent, received } = remote.traffic();
    (steps.sent_bytes, steps.received_bytes) = (sent, received);
    let verdict = verdict::report(&interface, &answer, image.count, args.shown, common);
    let report = Classified { verdict, job: job.id, steps };
    out.json(&report)?;
    verdict::print(&interface, &report.verdict, args.shown, out)
}

fn show(bar: &ProgressBar, job: &Job) {
    bar.set_length(job.ops as u64);
    bar.set_position(job.ops_done as u64);
    if let Some(layer) = &job.layer {
        bar.set_message(shown(layer));
    }
}

/// Writes what was exchanged into `folder`.
fn keep(folder: &Path, image: &[u8], answer: &[u8], receipt: &[u8]) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    for (name, bytes) in [("image.ct", image), ("answer.ct", answer), ("receipt.json", receipt)] {
        files::write_atomically(&folder.join(name), Access::Ordinary, |writer| writer.write_all(bytes))?;
    }
    Ok(())
}
