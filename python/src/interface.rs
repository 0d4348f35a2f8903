//! What a client needs of a program.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use fhec::{Context, InputLayout};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{self, Kind};
use crate::threads::install;

// Python shows defaults of signatures, and of constants it would show their names.
const _: () = assert!(fhec::DEFAULT_FLOOR == 128);

/// Name, shape, whether it is a list of classes, what the client does at the end, scale and offset.
type Output = (String, Vec<usize>, bool, &'static str, (f64, f64));

/// What a client needs of a program: no weights, no layers.
#[pyclass(frozen, module = "fhec")]
pub struct Interface {
    inner: Arc<fhec::Interface>,
    context: OnceLock<Arc<Context>>,
}

#[pymethods]
impl Interface {
    /// Reads the interface of a program file, a client's or any other.
    #[staticmethod]
    #[pyo3(signature = (path, min_security=128))]
    fn open(py: Python<'_>, path: PathBuf, min_security: u32) -> PyResult<Self> {
        let interface = install(py, || fhec::open_interface(&path, min_security))?;
        Ok(interface.map_err(errors::of_open)?.into())
    }

    /// The same from bytes.
    #[staticmethod]
    #[pyo3(signature = (data, min_security=128))]
    fn from_bytes(py: Python<'_>, data: &[u8], min_security: u32) -> PyResult<Self> {
        let interface = install(py, || fhec::Interface::from_bytes(data, min_security))?;
        Ok(interface.map_err(errors::of_program)?.into())
    }

    /// The bytes of a client's file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_bytes())
    }

    /// Writes a client's file and returns its size in bytes.
    fn save(&self, path: PathBuf) -> PyResult<u64> {
        fhec::write_interface(&self.inner, &path).map_err(|error| Kind::File.of(&error))
    }

    /// Name of the network.
    #[getter]
    fn name(&self) -> &str {
        &self.inner.name
    }

    /// Names the program by its content.
    #[getter]
    fn digest(&self) -> String {
        self.inner.program.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Channels, height and width of an image.
    #[getter]
    fn image_shape(&self) -> PyResult<(usize, usize, usize)> {
        let shape = self.inner.image_shape().ok_or_else(|| {
            Kind::Data.says(format!(
                "the program takes no images: its input has shape {:?}",
                self.inner.input.shape
            ))
        })?;
        Ok(shape.into())
    }

    /// Shape of the network's input, its batch of 1 included.
    #[getter]
    fn input_shape(&self) -> Vec<usize> {
        self.inner.input.shape.clone()
    }

    /// Whether the network's input has its channels last.
    #[getter]
    fn channels_last(&self) -> bool {
        self.inner.preprocess.input_layout() == InputLayout::Nhwc
    }

    /// Per output its name, the shape for one image, whether it is a list of classes, and what the
    /// client does at the end: `nothing`, `softmax` or `log_softmax`, then the scale that it
    /// multiplies each number with and the offset that it adds.
    #[getter]
    fn outputs(&self) -> Vec<Output> {
        let output = |port: &fhec::Port| {
            let fhec::Affine { scale, offset } = port.ending.then();
            let (name, shape) = (port.name.clone(), port.shape.clone());
            (name, shape, port.is_class_list(), port.ending.name(), (scale, offset))
        };
        self.inner.outputs.iter().map(output).collect()
    }

    /// Names of the classes; empty if they have none.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.inner.preprocess.classes().to_vec()
    }

    /// Images of one run.
    #[getter]
    fn batch(&self) -> usize {
        self.inner.batch.images
    }

    /// Bits of security, computed from the parameters.
    #[getter]
    fn security_bits(&self) -> PyResult<u32> {
        Ok(self.inner.certificate().map_err(|error| Kind::Security.of(&error))?.bits())
    }

    /// Evaluation keys that the program needs: how many, and bytes in memory.
    #[getter]
    pub(crate) fn key_demand(&self) -> (usize, u64) {
        (self.inner.keys.count(), self.inner.keys.bytes(&self.inner.params))
    }

    /// What pixels are divided by, the means and the deviations.
    #[getter]
    fn normalisation(&self) -> (f32, Vec<f32>, Vec<f32>) {
        let preprocess = &self.inner.preprocess;
        (preprocess.scale(), preprocess.mean().to_vec(), preprocess.std().to_vec())
    }

    /// What decrypted numbers are multiples of.
    #[getter]
    fn certain_step(&self) -> f64 {
        self.inner.certain_step()
    }
}

impl Interface {
    pub(crate) fn inner(&self) -> &Arc<fhec::Interface> {
        &self.inner
    }

    /// What keys and ciphertexts are computed with; made once.
    pub(crate) fn context(&self, py: Python<'_>) -> PyResult<Arc<Context>> {
        if let Some(context) = self.context.get() {
            return Ok(Arc::clone(context));
        }
        let context =
            install(py, || fhec::context(&self.inner))?.map_err(|error| Kind::Program.of(&error))?;
        Ok(Arc::clone(self.context.get_or_init(|| context)))
    }
}

impl From<Arc<fhec::Interface>> for Interface {
    fn from(inner: Arc<fhec::Interface>) -> Self {
        Interface { inner, context: OnceLock::new() }
    }
}

impl From<fhec::Interface> for Interface {
    fn from(interface: fhec::Interface) -> Self {
        Arc::new(interface).into()
    }
}
