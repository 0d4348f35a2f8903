//! What can be wrong with a data file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::ImageShape;

/// A data file that cannot be used.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
pub struct DataError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Box<Problem>,
}

/// What is wrong with a data file. Shapes are channels × height × width.
#[derive(Debug, Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The network asks for images without pixels.
    #[error("images of shape {} hold nothing", show(expected))]
    EmptyShape {
        /// The shape asked for.
        expected: ImageShape,
    },
    /// Nothing in the bytes or the name says what the file is.
    #[error(
        "{bytes} bytes of no known format; known are PNG, JPEG, NumPy .npy and .npz, CIFAR-10 and CIFAR-100 \
         binary records (3,073 or 3,074 bytes each), MNIST IDX, .csv and WAV, each gzip'd or not, and folders of \
         pictures"
    )]
    UnknownFormat {
        /// The file's length.
        bytes: usize,
    },
    /// More data than is ever read.
    #[error("holds more than {limit} bytes once decompressed; split it into smaller files")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A gzip stream that is cut short or damaged.
    #[error("the gzip stream is damaged: {source}")]
    Gzip {
        /// What the decoder says.
        source: io::Error,
    },
    /// Images of another shape than the network takes.
    #[error(
        "holds images of {}, the network takes {}; nothing is resized, so convert the file first",
        show(found),
        show(expected)
    )]
    Shape {
        /// The file's.
        found: Vec<usize>,
        /// The network's.
        expected: ImageShape,
    },
    /// A picture of another size than the network takes.
    #[error("is a {} picture{}, the network takes {}; {}", show(found), fitting(*scaled, *fitted, *found), show(expected), remedy(*scaled, *expected))]
    PictureSize {
        /// The file's width and height.
        found: [usize; 2],
        /// Once it is scaled.
        scaled: [usize; 2],
        /// Once it is scaled and cut.
        fitted: [usize; 2],
        /// The network's.
        expected: [usize; 2],
    },
    /// The format cannot hold images of the shape the network takes.
    #[error("{format} cannot hold the {} images the network takes; it holds {holds}", show(expected))]
    Format {
        /// The file's format.
        format: &'static str,
        /// What that format can hold.
        holds: &'static str,
        /// The network's shape.
        expected: ImageShape,
    },
    /// A header that promises another number of bytes than follow.
    #[error("the header promises {promised} bytes of data, the file has {found}")]
    Length {
        /// Bytes by the header.
        promised: u128,
        /// Bytes there.
        found: usize,
    },
    /// A length that is not a whole number of records.
    #[error(
        "{bytes} bytes are not a whole number of CIFAR-10 records of 3073 bytes, or of CIFAR-100 records of 3074"
    )]
    Records {
        /// The file's length.
        bytes: usize,
    },
    /// A label no class has.
    #[error("record {index} has label {label}, which is none of the {classes} classes: not a CIFAR file?")]
    Label {
        /// Which record.
        index: usize,
        /// Its label.
        label: u8,
        /// Number of classes.
        classes: u8,
    },
    /// As many labels as images are needed.
    #[error("has {labels} labels for {images} images")]
    LabelCount {
        /// Labels found.
        labels: usize,
        /// Images found.
        images: usize,
    },
    /// The label file beside the images cannot be used.
    #[error("its label file {}: {problem}", path.display())]
    LabelFile {
        /// The label file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// An IDX header of another kind than asked for.
    #[error("IDX header {found:02x?} is not that of {wanted}")]
    IdxHeader {
        /// The first bytes, at most four.
        found: Vec<u8>,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A NumPy array that cannot be read.
    #[error("NumPy array {name}: {reason}")]
    Numpy {
        /// Its name in an `.npz`, or "of the file".
        name: String,
        /// Why.
        reason: String,
    },
    /// An `.npz` whose entries do not say which of them holds the images.
    #[error(
        "the .npz holds {}; name the images' array `images`, `x` or `data`, or store no other",
        list(names)
    )]
    WhichArray {
        /// Names of the arrays found.
        names: Vec<String>,
    },
    /// An `.npz` that cannot be opened.
    #[error("the .npz archive is damaged: {reason}")]
    Archive {
        /// What the archive reader says.
        reason: String,
    },
    /// A value that is not a number the network can take.
    #[error("image {image} holds {value} at position {position}: every value must be a finite 32-bit float")]
    NotFinite {
        /// Which image.
        image: usize,
        /// Index into the image, channel-major and row-major.
        position: usize,
        /// The value.
        value: f64,
    },
    /// A picture that cannot be decoded.
    #[error("the picture cannot be decoded: {reason}")]
    Picture {
        /// What the decoder says.
        reason: String,
    },
    /// A CSV that cannot be read.
    #[error("the table: {reason}")]
    Table {
        /// Why.
        reason: String,
    },
    /// A line of a CSV with too many or too few numbers.
    #[error(
        "line {line} has {columns} numbers, the network takes {} of them; a column of classes is called `label` \
         in the first line",
        show(expected)
    )]
    Columns {
        /// Which line, from 1.
        line: u64,
        /// Its numbers, the class left out.
        columns: usize,
        /// The network's shape.
        expected: ImageShape,
    },
    /// A sound that cannot be decoded.
    #[error("the sound cannot be decoded: {reason}")]
    Sound {
        /// What the decoder says.
        reason: String,
    },
    /// A folder that is no class of the network.
    #[error("its folder `{name}` is none of the network's classes (`classes` of --preprocess)")]
    ClassFolder {
        /// The folder's name.
        name: String,
    },
    /// A file of a folder that cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// A file without images.
    #[error("holds no images")]
    NoImages,
}

/// `1 × 28 × 28`.
fn show(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

/// What was made of a picture.
fn fitting(scaled: [usize; 2], fitted: [usize; 2], found: [usize; 2]) -> String {
    match (scaled != found, fitted != scaled) {
        (false, false) => String::new(),
        (true, false) => format!(" ({} once scaled)", show(&scaled)),
        (_, true) => format!(" ({} once scaled, of which {} is cut)", show(&scaled), show(&fitted)),
    }
}

/// How a picture can be made to fit.
fn remedy(scaled: [usize; 2], [width, height]: [usize; 2]) -> String {
    let large_enough = scaled[0] >= width && scaled[1] >= height;
    match (width == height, large_enough) {
        (true, true) => format!("cut it with --crop {width}, or scale it first with --resize"),
        (true, false) => format!("scale and cut it with --resize {width} --crop {width}"),
        (false, _) => "convert the file first".into(),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no arrays".to_owned() } else { format!("the arrays {}", names.join(", ")) }
}
