//! The holder of a secret key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fhec::answers::{advised_answers, count_answer};
use fhec::exchange::{self, ExchangeError};
use fhec::verdict::REFUSED;
use fhec::{Context, KeyFolder, ProgramKeys, RoleError, rounded};
use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{Kind, of_exchange, of_role};
use crate::evaluation_keys::EvaluationKeys;
use crate::images::{self, Images};
use crate::interface::Interface;
use crate::logging;
use crate::numbers::rows;
use crate::threads::install;
use crate::work::{self, Progress};

/// Holder of a secret key for one program.
#[pyclass(frozen, module = "fhec._native")]
pub struct Client {
    inner: Arc<fhec::Client>,
    context: Arc<Context>,
    /// Where the keys are, if they are in files.
    folder: Option<PathBuf>,
    /// Answers decrypted with keys that are in memory alone.
    answers: AtomicU64,
}

/// Why there are no keys.
enum KeysFailure {
    Role(RoleError),
    Exchange(ExchangeError),
}

impl From<RoleError> for KeysFailure {
    fn from(error: RoleError) -> Self {
        KeysFailure::Role(error)
    }
}

impl From<ExchangeError> for KeysFailure {
    fn from(error: ExchangeError) -> Self {
        KeysFailure::Exchange(error)
    }
}

impl From<KeysFailure> for PyErr {
    fn from(failure: KeysFailure) -> Self {
        match failure {
            KeysFailure::Role(error) => of_role(error),
            KeysFailure::Exchange(error) => of_exchange(error, Kind::Keys),
        }
    }
}

/// Switches core dumps of this process off, and keeps debuggers of the same user out: memory holds
/// secret keys.
#[pyfunction]
pub fn keep_secrets_from_core_dumps() {
    fhec::core_dumps::keep_secrets_from_core_dumps();
}

/// Errs where `what` needs more memory than there is.
pub fn require_memory(what: &str, bytes: u64) -> PyResult<()> {
    match fhec::memory::available_bytes() {
        Some(available) if available < bytes => Err(Kind::Memory.says(format!(
            "{what} takes about {}, and {} of memory can be had: free some, or say check_memory=False to try \
             all the same",
            fhec::memory::human_bytes(bytes),
            fhec::memory::human_bytes(available)
        ))),
        _ => Ok(()),
    }
}

#[pymethods]
impl Client {
    /// Makes keys: in `folder` as `fhec keygen` does, or in memory alone.
    #[staticmethod]
    fn generate(
        py: Python<'_>,
        interface: &Interface,
        folder: Option<PathBuf>,
        check_memory: bool,
    ) -> PyResult<Self> {
        let context = interface.context(py)?;
        if check_memory && folder.is_some() {
            require_memory("making the keys", interface.key_demand().1)?;
        }
        let claimed = folder.as_deref().map(KeyFolder::claim).transpose();
        let claimed = claimed.map_err(|error| of_exchange(error, Kind::Keys))?;
        let (interface, of) = (Arc::clone(interface.inner()), Arc::clone(&context));
        let generate = move || -> Result<fhec::Client, KeysFailure> {
            let client = fhec::Client::generate(&interface, &of)?;
            if let Some(folder) = claimed {
                folder.write(&of, client.secret(), &client.public_key()?, &client.evaluation_keys()?)?;
            }
            Ok(client)
        };
        let client = work::run(py, None, Progress::none(), generate)??;
        Ok(Client { inner: Arc::new(client), context, folder, answers: AtomicU64::new(0) })
    }

    /// Opens the keys in `folder`.
    #[staticmethod]
    fn open(py: Python<'_>, interface: &Interface, folder: PathBuf) -> PyResult<Self> {
        logging::start();
        let context = interface.context(py)?;
        let secret = install(py, || exchange::read_secret_key(&folder, &context))?;
        logging::deliver(py);
        let secret = secret.map_err(|error| of_exchange(error, Kind::Keys))?;
        let client = install(py, || fhec::Client::new(interface.inner(), &context, secret))?;
        let inner = Arc::new(client);
        Ok(Client { inner, context, folder: Some(folder), answers: AtomicU64::new(0) })
    }

    /// Name of the secret key.
    #[getter]
    fn key_id(&self) -> String {
        self.inner.secret().id().to_string()
    }

    /// The folder of the keys, if they are in files.
    #[getter]
    fn folder(&self) -> Option<PathBuf> {
        self.folder.clone()
    }

    /// Makes the keys of the server: other ones with each call, for the same secret key. Those of a
    /// folder are read from it.
    fn evaluation_keys(&self, py: Python<'_>, check_memory: bool) -> PyResult<EvaluationKeys> {
        if check_memory {
            let interface = self.inner.interface();
            require_memory("making the keys", interface.keys.bytes(&interface.params))?;
        }
        let (client, context, folder) =
            (Arc::clone(&self.inner), Arc::clone(&self.context), self.folder.clone());
        let keys = move || -> Result<ProgramKeys, KeysFailure> {
            match folder {
                Some(folder) => Ok(exchange::read_evaluation_keys(&folder, &context)?),
                None => Ok(client.evaluation_keys()?),
            }
        };
        let keys = work::run(py, None, Progress::none(), keys)??;
        Ok(EvaluationKeys::new(keys, &self.context))
    }

    /// Encrypts images, in bundles of as many as the program has in a batch: the bytes of a
    /// ciphertext file each, and the number of images. Unless `all`, there may be one bundle.
    fn encrypt<'py>(
        &self,
        py: Python<'py>,
        images: Images<'_>,
        all: bool,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, usize)>> {
        let interface = Arc::clone(self.inner.interface());
        let dataset = images::open(images, &interface)?;
        let (images, most) = (dataset.len(), interface.batch.images);
        if images > most && !all {
            return Err(Kind::Data.says(format!(
                "{images} images, and the program takes {most} at a time: encrypt_all makes several bundles, \
                 and compile(batch={images}) another program"
            )));
        }
        let inputs = images::inputs(&dataset, &interface)?;
        let (client, context) = (Arc::clone(&self.inner), Arc::clone(&self.context));
        let encrypt = move || -> Result<Vec<(Vec<u8>, usize)>, RoleError> {
            let bundle = |images: &[Vec<f32>]| {
                let bundle = client.encrypt_seeded(&images.concat())?;
                Ok((exchange::seeded_ciphertexts_to_bytes(&context, &bundle), images.len()))
            };
            inputs.chunks(most).map(bundle).collect()
        };
        let bundles = work::run(py, None, Progress::none(), encrypt)?.map_err(of_role)?;
        Ok(bundles.into_iter().map(|(bytes, images)| (PyBytes::new(py, &bytes), images)).collect())
    }

    /// Decrypts an answer of `images` images: per output the numbers, `[images, numbers]`. Unless
    /// `raw`, they are rounded to what is certain.
    fn decrypt<'py>(
        &self,
        py: Python<'py>,
        answer: Vec<u8>,
        images: usize,
        raw: bool,
    ) -> PyResult<Vec<Bound<'py, PyArray2<f64>>>> {
        let interface = Arc::clone(self.inner.interface());
        let batch = interface.batch.images;
        if images == 0 || images > batch {
            return Err(
                Kind::Data.says(format!("the program answers {batch} images at a time, not {images}"))
            );
        }
        let (client, context) = (Arc::clone(&self.inner), Arc::clone(&self.context));
        let of = Arc::clone(&interface);
        let read = move || {
            let types = of.answer_types();
            let bundle = exchange::answer_from_bytes(&answer, &context, &types);
            bundle.map_err(|error| error.in_file(Path::new("the answer")))
        };
        let bundle = work::run(py, None, Progress::none(), read)?;
        let bundle = bundle.map_err(|error| of_exchange(error, Kind::Ciphertext))?;
        // Before the key is used: refused answers count, too.
        self.count_and_advise(&interface)?;
        let answer =
            work::run(py, None, Progress::none(), move || client.decrypt(&bundle))?.map_err(of_role)?;
        if answer.overflow {
            // The same words whatever was wrong, and no numbers.
            return Err(Kind::Refused.says(format!("the answer is refused: {REFUSED}")));
        }
        let step = (!raw).then(|| interface.certain_step());
        let shown = |value: &f64| step.map_or(*value, |step| rounded(*value, step));
        let output = |values: &Vec<f64>| {
            let each = (values.len() / batch).max(1);
            rows(
                py,
                values.chunks(each).take(images).map(|image| image.iter().map(shown).collect()).collect(),
            )
        };
        answer.outputs.iter().map(output).collect()
    }
}

impl Client {
    /// Counts one more answer, and says where that is enough for one key.
    fn count_and_advise(&self, interface: &fhec::Interface) -> PyResult<()> {
        let certificate = interface.certificate().map_err(|error| Kind::Security.of(&error))?;
        let advised = advised_answers(&interface.params, &certificate);
        let counted = match &self.folder {
            Some(folder) => count_answer(folder),
            None => Ok(self.answers.fetch_add(1, Ordering::Relaxed) + 1),
        };
        match counted {
            Ok(answers) if answers > advised => tracing::warn!(
                "these keys have decrypted {answers} answers: after {advised} new ones are advised if the \
                 server learns anything of them (docs/threat-model.md)"
            ),
            Ok(_) => {}
            Err(error) => tracing::warn!("answers cannot be counted: {error}"),
        }
        Ok(())
    }
}
