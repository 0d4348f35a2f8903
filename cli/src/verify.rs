//! `fhec verify`: a receipt compared with the files that it names.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use fhec_roles::files;
use fhec_roles::{Server, context, exchange};
use fhec_runtime::exec::Control;
use fhec_serve::digest::Digest;
use fhec_serve::receipt::{Part, PublicKey, Receipt, VERSION};
use serde::Serialize;

use super::args::Common;
use super::output::Output;

/// Compare a receipt with files, or with another evaluation
///
/// A receipt (`fhec remote URL classify --keep DIR`) names program, keys, image and answer by their
/// digests. With --again the program is evaluated once more: evaluation is deterministic, so an
/// answer of this program with these keys is the same byte for byte. With --public-key the
/// signature of the service is checked.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The receipt
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,
    /// Program file, of which kind ever
    #[arg(long, value_name = "PROGRAM")]
    program: Option<PathBuf>,
    /// Folder with evaluation.keys
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// The encrypted image
    #[arg(long, value_name = "CT")]
    image: Option<PathBuf>,
    /// The encrypted answer
    #[arg(long, value_name = "CT")]
    answer: Option<PathBuf>,
    /// Public key that the receipt has to be signed with (Ed25519, PEM): the one that the service's
    /// operator has published, not the one that comes with the receipt
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Evaluate the program on the image again and compare the answer
    #[arg(long, requires_all = ["program", "keys", "image"])]
    again: bool,
}

#[derive(Serialize)]
struct Report {
    /// What fits the receipt.
    verified: Vec<&'static str>,
}

/// Receipts are smaller.
const MAX_RECEIPT_BYTES: u64 = 1 << 16;

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let bytes = files::read(&args.receipt, MAX_RECEIPT_BYTES)?;
    let receipt: Receipt = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is no receipt", args.receipt.display()))?;
    ensure!(
        receipt.version == VERSION,
        "the receipt has version {}, this fhec reads {VERSION}",
        receipt.version
    );
    let mut verified = Vec::new();
    if let Some(path) = &args.public_key {
        let key = PublicKey::open(path)?;
        ensure!(
            receipt.signature.is_some(),
            "the receipt is not signed: the service has no key for receipts, or did not have it then"
        );
        ensure!(
            receipt.is_signed_by(&key),
            "the signature is not one of {} for this receipt",
            path.display()
        );
        verified.push("signature");
    }
    let mut compare = |part, what: &'static str, digest: Digest| {
        ensure!(receipt.names(part, digest), "the receipt is of another {what}");
        verified.push(what);
        Ok(())
    };
    if let Some(path) = &args.program {
        compare(Part::Program, "program", common.open_interface(path)?.program.into())?;
    }
    if let Some(folder) = &args.keys {
        compare(Part::Keys, "set of keys", digest(&fhec_serve::remote::Home::evaluation_keys(folder))?)?;
    }
    if let Some(path) = &args.image {
        compare(Part::Image, "image", digest(path)?)?;
    }
    if let Some(path) = &args.answer {
        compare(Part::Answer, "answer", digest(path)?)?;
    }
    if let (true, Some(program), Some(keys), Some(image)) =
        (args.again, &args.program, &args.keys, &args.image)
    {
        compare(Part::Answer, "answer of another evaluation", evaluate(program, keys, image, common)?)?;
    }
    if verified.is_empty() {
        bail!(
            "there is nothing to compare the receipt with: name files (--program, --keys, --image, --answer, --public-key)"
        );
    }
    let out = Output::new(common.json);
    out.text(&format!("verified: {}\n", verified.join(", ")))?;
    out.json(&Report { verified })
}

fn digest(path: &Path) -> Result<Digest> {
    let read = std::fs::File::open(path).and_then(Digest::of_reader);
    read.with_context(|| format!("cannot read {}", path.display()))
}

/// Digest of the answer of the program.
fn evaluate(program: &Path, keys: &Path, image: &Path, common: &Common) -> Result<Digest> {
    let program = common.open(program)?;
    common.require_memory("the evaluation", program.plan.predicted_peak_bytes)?;
    let context = context(&program.interface)?;
    let image = exchange::read_ciphertexts(image, &context, &program.interface.input.ty)?;
    let keys = exchange::read_evaluation_keys(keys, &context)?;
    let session = Server::new(&program, &context)?.session(keys)?;
    let control: Control = super::interrupt::control();
    let answer = session.evaluate_from(image, Default::default(), &control, &mut (), &mut ())?;
    Ok(Digest::of(&exchange::ciphertexts_to_bytes(&context, &answer)))
}
