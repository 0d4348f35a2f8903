//! Cases: a model with inputs and the outputs of another program.

use std::path::{Path, PathBuf};

use fhec_ir::tensor::Tensor;
use ndarray::ArrayD;

/// Files of one model.
#[derive(Clone)]
pub struct Case {
    pub model: PathBuf,
    /// The model that the other files stand beside.
    beside: PathBuf,
    pub inputs: PathBuf,
    pub expected: PathBuf,
    pub calibration: PathBuf,
}

impl Case {
    /// The files beside a model: those that begin with its name's first word if there are such.
    pub fn of_model(model: &Path) -> Case {
        let folder = model.parent().unwrap_or(Path::new("."));
        let stem = model.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let prefix = stem.split('_').next().unwrap_or_default();
        let beside = |names: &[String]| {
            let found = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
            found.unwrap_or_else(|| folder.join(names.last().expect("there are names")))
        };
        let named = |what: &str| {
            beside(&[format!("{stem}_{what}.npy"), format!("{prefix}_{what}.npy"), format!("{what}.npy")])
        };
        let mut expected = named("expected");
        if !expected.exists() {
            expected = folder.join("expected_0.npy");
        }
        let calibration = named("calib");
        let inputs = named("inputs");
        let calibration = if calibration.exists() { calibration } else { inputs.clone() };
        Case { model: model.into(), beside: model.into(), inputs, expected, calibration }
    }

    /// The files beside `model`; where there are no inputs, those beside one of `models` that is
    /// the same file.
    pub fn among(model: &Path, models: &[PathBuf]) -> Case {
        let case = Case::of_model(model);
        let bytes = if case.inputs.exists() { None } else { std::fs::read(model).ok() };
        let Some(bytes) = bytes else { return case };
        let same = |other: &&PathBuf| {
            let length = std::fs::metadata(other).map_or(0, |data| data.len());
            let beside = Case::of_model(other);
            length == bytes.len() as u64
                && beside.inputs.exists()
                && std::fs::read(other).is_ok_and(|found| found == bytes)
        };
        match models.iter().find(same) {
            Some(other) => Case::of_model_beside(model, other),
            None => case,
        }
    }

    /// `model` on what stands beside another one.
    pub fn of_model_beside(model: &Path, beside: &Path) -> Case {
        Case { model: model.into(), ..Case::of_model(beside) }
    }

    /// The model whose inputs are taken: itself, or the same file in another folder.
    pub fn beside(&self) -> &Path {
        &self.beside
    }

    /// Whether there is anything to run the model on.
    pub fn has_inputs(&self) -> bool {
        self.inputs.exists()
    }

    /// The folder's name, with the model's where that says more.
    pub fn name(&self) -> String {
        let name = |path: Option<&Path>| {
            path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let (folder, model) = (name(self.model.parent()), name(Some(&self.model)));
        let special = ["cut_", "wrap_"].iter().any(|prefix| model.starts_with(prefix));
        if special { format!("{folder}/{}", model.trim_end_matches(".onnx")) } else { folder }
    }
}

/// The models below `folder` whose path holds `only`, in order.
pub fn models(folder: &Path, only: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "onnx")
                && path.to_string_lossy().contains(only)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// An array of numbers of any usual type, as single precision.
pub fn array(path: &Path) -> Result<Tensor, String> {
    fn read<T: ndarray_npy::ReadableElement + Copy>(path: &Path, single: fn(T) -> f32) -> Option<Tensor> {
        let array: ArrayD<T> = ndarray_npy::read_npy(path).ok()?;
        let data: Vec<f32> = array.iter().map(|&x| single(x)).collect();
        Tensor::new(array.shape().to_vec(), data).ok()
    }
    let all = [
        read::<f32>(path, |x| x),
        read::<f64>(path, |x| x as f32),
        read::<u8>(path, f32::from),
        read::<i8>(path, f32::from),
        read::<i64>(path, |x| x as f32),
    ];
    all.into_iter().flatten().next().ok_or(format!("{} cannot be read", path.display()))
}
