//! Images from files: one type for every format, and what turns pixels into network input.
//!
//! | module | reads |
//! |---|---|
//! | `picture` | one PNG or JPEG |
//! | `folder` | a folder of pictures, or of a folder of them per class |
//! | `npy` | NumPy `.npy` and `.npz`: bytes (pixels) or floats (network input) |
//! | `cifar` | CIFAR-10 and CIFAR-100 binary records: labels and 3 × 32 × 32 bytes |
//! | `idx` | MNIST IDX images, labels from the file beside them |
//! | `table` | CSV: numbers of one input per line |
//! | `sound` | one WAV of 8 to 32 bits, or of floats |
//! | `preprocess` | `(p / scale - mean) / std`, per channel |
//!
//! The network says what shape it wants; a file of another shape is an error that names both.
//! Pictures alone are made to fit, and only where a [`PictureFit`] says so. Formats are told apart
//! by their first bytes, the file's name deciding only where those cannot. Any of them may be
//! gzip'd. Files are taken as hostile: sizes in headers are compared with the bytes that are there
//! before anything of that size is allocated.

mod cifar;
mod error;
mod folder;
mod idx;
mod npy;
mod picture;
pub mod preprocess;
mod sound;
mod table;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

pub use error::{DataError, Problem};
pub use fhec_ir::program::{InputLayout, PictureFit, Preprocess, PreprocessError};
pub use preprocess::PreprocessFileError;

/// The most bytes a data file may hold, decompressed: 4 GiB.
pub const MAX_BYTES: u64 = 4 << 30;

/// Channels, height, width.
pub type ImageShape = [usize; 3];

/// Samples of all images, image after image, each channel-major and row-major: `[image][c][y][x]`.
#[derive(Clone, Debug, PartialEq)]
enum Samples {
    /// Pixels, 0 to 255: preprocessing applies.
    Pixels(Vec<u8>),
    /// Finite numbers that are the network's input already.
    Values(Vec<f32>),
}

impl Samples {
    fn len(&self) -> usize {
        match self {
            Samples::Pixels(p) => p.len(),
            Samples::Values(v) => v.len(),
        }
    }
}

/// Images in memory whose dimensions nobody has compared with a network's yet: row-major, of any
/// shape.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageArray {
    shape: Vec<usize>,
    samples: Samples,
}

impl ImageArray {
    /// Pixels, 0 to 255: preprocessing applies.
    pub fn pixels(shape: Vec<usize>, pixels: Vec<u8>) -> Self {
        ImageArray { shape, samples: Samples::Pixels(pixels) }
    }

    /// Numbers that are the network's input already.
    pub fn values(shape: Vec<usize>, values: Vec<f32>) -> Self {
        ImageArray { shape, samples: Samples::Values(values) }
    }
}

/// Images of one shape, with their classes where the file tells.
///
/// Files of bytes hold pixels, and [`Dataset::input`] preprocesses them. Files of other numbers
/// (`.npy`, `.npz`, CSV, WAV) hold the network's input itself, and preprocessing leaves them alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    shape: ImageShape,
    samples: Samples,
    labels: Option<Vec<u32>>,
}

impl Dataset {
    /// Reads the images in `path`, a file or a folder, which must be of shape `expected` (channels,
    /// height, width).
    ///
    /// *Errors*: [`DataError`], naming the file, what is wrong in it and what was expected.
    pub fn open(path: impl AsRef<Path>, expected: ImageShape) -> Result<Dataset, DataError> {
        Dataset::open_for(path, expected, &Preprocess::default())
    }

    /// [`Dataset::open`] for a network with `preprocess`: pictures are made to fit as it says, and
    /// folders are classes by its names.
    pub fn open_for(
        path: impl AsRef<Path>,
        expected: ImageShape,
        preprocess: &Preprocess,
    ) -> Result<Dataset, DataError> {
        let path = path.as_ref();
        let wanted = Wanted { shape: expected, preprocess };
        let read = || {
            if path.is_dir() { folder::read(path, &wanted) } else { wanted.parse(read_file(path)?, path) }
        };
        read().map_err(|problem| DataError { path: path.to_owned(), problem: Box::new(problem) })
    }

    /// [`Dataset::open`] on bytes that are already in memory; `name` stands for the file.
    pub fn from_bytes(bytes: Vec<u8>, name: &str, expected: ImageShape) -> Result<Dataset, DataError> {
        let path = Path::new(name);
        Wanted { shape: expected, preprocess: &Preprocess::default() }
            .parse(bytes, path)
            .map_err(|problem| DataError { path: path.to_owned(), problem: Box::new(problem) })
    }

    /// Images in memory, in any order of dimensions that a `.npy` file may have.
    ///
    /// *Errors*: [`DataError`], as for such a file.
    pub fn from_array(array: &ImageArray, expected: ImageShape) -> Result<Dataset, DataError> {
        let empty = expected.contains(&0).then_some(Problem::EmptyShape { expected });
        let dataset = empty.map_or_else(|| npy::of_array(array, expected), Err);
        dataset.map_err(|problem| DataError { path: "the array".into(), problem: Box::new(problem) })
    }

    /// `samples` must be whole images of `shape`, `labels` one per image: the readers have checked
    /// the file says so.
    fn new(shape: ImageShape, samples: Samples, labels: Option<Vec<u32>>) -> Result<Dataset, Problem> {
        let image: usize = shape.iter().product();
        assert_eq!(samples.len() % image, 0, "a reader returned a part of an image");
        let data = Dataset { shape, samples, labels };
        if data.is_empty() {
            return Err(Problem::NoImages);
        }
        match &data.labels {
            Some(labels) if labels.len() != data.len() => {
                Err(Problem::LabelCount { labels: labels.len(), images: data.len() })
            }
            _ => Ok(data),
        }
    }

    /// Channels, height and width of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Number of images, at least one.
    pub fn len(&self) -> usize {
        self.samples.len() / self.shape.iter().product::<usize>()
    }

    /// Never true of an opened dataset.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of each image, if the file (or one beside it) tells.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// Whether the file holds pixels (bytes), which preprocessing turns into network input, or that
    /// input itself.
    pub fn holds_pixels(&self) -> bool {
        matches!(self.samples, Samples::Pixels(_))
    }

    /// The network's input for image `index`, in the order of [`Preprocess::input_layout`].
    ///
    /// *Errors*: [`PreprocessError::Channels`] if `preprocess` is for another number of channels.
    /// *Panics*: if `index >= self.len()`.
    pub fn input(&self, index: usize, preprocess: &Preprocess) -> Result<Vec<f32>, PreprocessError> {
        preprocess.check_channels(self.shape[0])?;
        let mut image = self.raw(index);
        if self.holds_pixels() {
            preprocess.apply(self.shape, &mut image)?;
        }
        Ok(preprocess.input_layout().arrange(self.shape, image))
    }

    /// Image `index` as the file has it, `[c][y][x]`: pixels 0 to 255, or network input.
    ///
    /// *Panics*: if `index >= self.len()`.
    pub fn raw(&self, index: usize) -> Vec<f32> {
        let image: usize = self.shape.iter().product();
        let range = index * image..(index + 1) * image;
        match &self.samples {
            Samples::Pixels(p) => p[range].iter().map(|&b| f32::from(b)).collect(),
            Samples::Values(v) => v[range].to_vec(),
        }
    }
}

/// What the network takes.
struct Wanted<'a> {
    /// Of every image.
    shape: ImageShape,
    preprocess: &'a Preprocess,
}

impl Wanted<'_> {
    fn parse(&self, bytes: Vec<u8>, path: &Path) -> Result<Dataset, Problem> {
        let expected = self.shape;
        if expected.contains(&0) {
            return Err(Problem::EmptyShape { expected });
        }
        let bytes = decompressed(bytes)?;
        match Format::of(&bytes, path, expected)? {
            Format::Picture => picture::read(&bytes, expected, self.preprocess.picture_fit()),
            Format::Npy => npy::read_npy(&bytes, expected),
            Format::Npz => npy::read_npz(&bytes, expected),
            Format::Cifar => cifar::read(bytes, expected),
            Format::Idx => idx::read(bytes, path, expected),
            Format::Table => table::read(&bytes, expected),
            Format::Sound => sound::read(&bytes, expected),
        }
    }
}

/// What a file's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Picture,
    Npy,
    Npz,
    Cifar,
    Idx,
    Table,
    Sound,
}

impl Format {
    fn of(bytes: &[u8], path: &Path, expected: ImageShape) -> Result<Format, Problem> {
        const MAGIC: [(&[u8], Format); 6] = [
            (b"\x89PNG\r\n\x1a\n", Format::Picture),
            (b"\xff\xd8\xff", Format::Picture),
            (b"\x93NUMPY", Format::Npy),
            (b"PK\x03\x04", Format::Npz),
            (b"PK\x05\x06", Format::Npz),
            (b"RIFF", Format::Sound),
        ];
        if let Some((_, format)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return Ok(*format);
        }
        // CIFAR records have no magic, and their first bytes may be those of an IDX file: the name
        // decides.
        let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name = name.trim_end_matches(".gz");
        if [".csv", ".tsv"].iter().any(|ending| name.ends_with(ending)) {
            return Ok(Format::Table);
        }
        let records = cifar::has_records(bytes.len());
        let idx = matches!(bytes, [0, 0, 0x08..=0x0e, 1..=4, ..]);
        match (idx, records) {
            (true, true) if !name.contains("idx") && expected == cifar::SHAPE => Ok(Format::Cifar),
            (true, _) => Ok(Format::Idx),
            (false, true) => Ok(Format::Cifar),
            (false, false) if name.contains("idx") => Ok(Format::Idx),
            (false, false) if name.ends_with(".bin") => Ok(Format::Cifar),
            (false, false) => Err(Problem::UnknownFormat { bytes: bytes.len() }),
        }
    }
}

/// The bytes of `path`, at most [`MAX_BYTES`].
fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    bounded(File::open(path)?)
}

/// What `reader` holds, growing with what comes, not with what a header promises.
fn bounded(reader: impl Read) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Problem::TooLarge { limit: MAX_BYTES });
    }
    Ok(bytes)
}

/// `bytes` with one layer of gzip undone, if they are gzip'd.
fn decompressed(bytes: Vec<u8>) -> Result<Vec<u8>, Problem> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    bounded(MultiGzDecoder::new(bytes.as_slice())).map_err(|problem| match problem {
        Problem::Io(source) => Problem::Gzip { source },
        other => other,
    })
}

#[cfg(test)]
mod tests;
