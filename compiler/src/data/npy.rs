//! NumPy's `.npy` (one array) and `.npz` (a zip of them).
//!
//! Arrays of bytes (`uint8`) are pixels, 0 to 255. Arrays of floats are the network's input itself:
//! whoever saved floats has normalised already. Accepted shapes, for a network that takes `c × h ×
//! w`: `c × h × w`, with one channel also `h × w`, channels last (`h × w × c`), and any of them
//! with the number of images in front; dimensions of 1 may be left out.
//!
//! An `.npz` gives its images in an array named `images`, `x`, `data` (or in its only array), and
//! labels, if it has them, in `labels` or `y`.
//!
//! The header is read here rather than by a crate: `ndarray-npy` allocates what the header asks
//! for, and panics on shapes such as `(0, 2**62, 2**62)`. Format:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::{Dataset, ImageArray, ImageShape, Problem, Samples, bounded};

const MAGIC: &[u8] = b"\x93NUMPY";
const IMAGE_NAMES: [&str; 3] = ["images", "x", "data"];
const LABEL_NAMES: [&str; 2] = ["labels", "y"];
/// Arrays looked at in one `.npz`; more is no data set.
const MAX_ARRAYS: usize = 64;

pub(super) fn read_npy(bytes: &[u8], expected: ImageShape) -> Result<Dataset, Problem> {
    let array = Array::parse("of the file", bytes)?;
    Dataset::new(expected, array.images(expected)?, None)
}

/// Images of an array in memory.
pub(super) fn of_array(array: &ImageArray, expected: ImageShape) -> Result<Dataset, Problem> {
    let ImageArray { shape, samples } = array;
    let promised = shape.iter().try_fold(1u128, |n, &d| n.checked_mul(d as u128)).unwrap_or(u128::MAX);
    if promised != samples.len() as u128 {
        return Err(Problem::Length { promised, found: samples.len() });
    }
    let bytes: Vec<u8>;
    let (kind, data) = match samples {
        Samples::Pixels(pixels) => (b'u', &pixels[..]),
        Samples::Values(values) => {
            bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (b'f', &bytes[..])
        }
    };
    let element = Element { kind, bytes: if kind == b'u' { 1 } else { 4 }, big_endian: false };
    let array = Array { name: "in memory", element, fortran: false, shape: shape.clone(), data };
    Dataset::new(expected, array.images(expected)?, None)
}

pub(super) fn read_npz(bytes: &[u8], expected: ImageShape) -> Result<Dataset, Problem> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let names: Vec<String> = archive
        .file_names()
        .filter(|name| name.ends_with(".npy"))
        .take(MAX_ARRAYS)
        .map(|name| name.trim_end_matches(".npy").to_owned())
        .collect();
    let named = |wanted: &[&str]| names.iter().find(|name| wanted.contains(&name.as_str()));
    let labels = named(&LABEL_NAMES);
    let mut others = names.iter().filter(|name| Some(*name) != labels);
    let images = named(&IMAGE_NAMES).or_else(|| others.next().filter(|_| others.next().is_none()));
    let Some(images) = images else {
        return Err(Problem::WhichArray { names });
    };
    let samples = Array::parse(images, &entry(&mut archive, images)?)?.images(expected)?;
    let labels = match labels {
        Some(name) => Some(Array::parse(name, &entry(&mut archive, name)?)?.labels()?),
        None => None,
    };
    Dataset::new(expected, samples, labels)
}

fn entry(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Vec<u8>, Problem> {
    bounded(archive.by_name(&format!("{name}.npy")).map_err(damaged)?.by_ref()).map_err(|problem| {
        match problem {
            Problem::Io(source) => Problem::Archive { reason: format!("{name}: {source}") },
            other => other,
        }
    })
}

fn damaged(error: zip::result::ZipError) -> Problem {
    Problem::Archive { reason: error.to_string() }
}

/// A parsed header and exactly the bytes it describes.
struct Array<'a> {
    name: &'a str,
    element: Element,
    /// Column-major: the first index runs fastest.
    fortran: bool,
    shape: Vec<usize>,
    data: &'a [u8],
}

/// The type of the elements, NumPy's `descr`: `<f4` is a little-endian float of four bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Element {
    /// `u` unsigned, `i` signed, `f` float.
    kind: u8,
    bytes: usize,
    big_endian: bool,
}

impl<'a> Array<'a> {
    fn parse(name: &'a str, bytes: &'a [u8]) -> Result<Array<'a>, Problem> {
        let fault = |reason: &str| Problem::Numpy { name: name.to_owned(), reason: reason.to_owned() };
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| fault("is not in .npy format"))?;
        let (length, rest) = match *rest {
            [1, 0, a, b, ref rest @ ..] => (usize::from(u16::from_le_bytes([a, b])), rest),
            [2 | 3, 0, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]) as usize, rest),
            [major, minor, ..] if !(1..=3).contains(&major) || minor != 0 => {
                return Err(fault(&format!(
                    "has format version {major}.{minor}, known are 1.0, 2.0 and 3.0"
                )));
            }
            _ => return Err(fault("ends inside the header")),
        };
        if rest.len() < length {
            return Err(fault("ends inside the header"));
        }
        let (header, data) = rest.split_at(length);
        let (element, fortran, shape) = Header::parse(header).map_err(|reason| fault(&reason))?;
        let promised = shape
            .iter()
            .try_fold(element.bytes as u128, |n, &d| n.checked_mul(u128::from(d)))
            .ok_or_else(|| fault("has a shape beyond any memory"))?;
        if promised != data.len() as u128 {
            return Err(Problem::Length { promised, found: data.len() });
        }
        // An array without elements may still name dimensions that do not fit.
        let shape = shape.into_iter().map(usize::try_from).collect::<Result<_, _>>();
        let shape = shape.map_err(|_| fault("has a shape beyond any memory"))?;
        Ok(Array { name, element, fortran, shape, data })
    }

    /// The elements as images of shape `expected`, channel-major.
    fn images(&self, expected: ImageShape) -> Result<Samples, Problem> {
        let channels_last = self.fit(expected)?;
        match (self.element.kind, self.element.bytes) {
            (b'u', 1) => Ok(Samples::Pixels(self.ordered(expected, channels_last, |b: [u8; 1]| b[0]))),
            (b'f', 4) => {
                let big = self.element.big_endian;
                finite(
                    self.ordered(expected, channels_last, |b| {
                        if big { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) }
                    }),
                    expected,
                )
            }
            (b'f', 8) => {
                let big = self.element.big_endian;
                let read = |b| if big { f64::from_be_bytes(b) } else { f64::from_le_bytes(b) };
                finite(self.ordered(expected, channels_last, read), expected)
            }
            _ => Err(self.fault(format!(
                "has elements of type {}; images are uint8 (pixels), float32 or float64 (network input)",
                self.element.name()
            ))),
        }
    }

    /// Whether the array holds `expected` images with channels last; an error if in no accepted
    /// order.
    fn fit(&self, expected: ImageShape) -> Result<bool, Problem> {
        let [c, h, w] = expected;
        let ends = |tail: &[usize]| {
            self.shape == tail || (self.shape.len() == tail.len() + 1 && self.shape[1..] == *tail)
        };
        match () {
            () if ends(&expected) || (c == 1 && ends(&[h, w])) => Ok(false),
            () if ends(&[h, w, c]) => Ok(true),
            () if self.is_squeezed(expected) => Ok(false),
            () => Err(Problem::Shape { found: self.shape.clone(), expected }),
        }
    }

    /// Whether the array is `expected`, or several of it, but for dimensions of 1: a series of one
    /// channel, say, or a list of features.
    fn is_squeezed(&self, expected: ImageShape) -> bool {
        let long = |shape: &[usize]| shape.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
        // A dimension of the array may be the number of images, 1 included.
        long(&self.shape) == long(&expected)
            || self.shape.split_first().is_some_and(|(_, rest)| long(rest) == long(&expected))
    }

    /// The elements image after image, each channel-major and row-major.
    fn ordered<const B: usize, T>(
        &self,
        [c, h, w]: ImageShape,
        channels_last: bool,
        read: impl Fn([u8; B]) -> T,
    ) -> Vec<T> {
        let elements = self.data.as_chunks::<B>().0;
        let count = elements.len() / (c * h * w);
        // Strides of image, channel, row and column in the array as stored.
        let dims = if channels_last { [count, h, w, c] } else { [count, c, h, w] };
        let mut strides = [1; 4];
        if self.fortran {
            (1..4).for_each(|i| strides[i] = strides[i - 1] * dims[i - 1]);
        } else {
            (0..3).rev().for_each(|i| strides[i] = strides[i + 1] * dims[i + 1]);
        }
        let [image, channel, row, column] = match channels_last {
            true => [strides[0], strides[3], strides[1], strides[2]],
            false => strides,
        };
        let mut out = Vec::with_capacity(elements.len());
        for n in 0..count {
            for ch in 0..c {
                for y in 0..h {
                    let start = n * image + ch * channel + y * row;
                    out.extend((0..w).map(|x| read(elements[start + x * column])));
                }
            }
        }
        out
    }

    /// The elements as classes.
    fn labels(&self) -> Result<Vec<u32>, Problem> {
        let column = self.shape.len() == 1 || (self.shape.len() == 2 && self.shape[1] == 1);
        let Element { kind: b'u' | b'i', bytes, big_endian } = self.element else {
            return Err(self.fault(format!("holds labels of type {}, not integers", self.element.name())));
        };
        if !column {
            return Err(self.fault(format!("holds labels of shape {:?}, not one per image", self.shape)));
        }
        let label = |(index, element): (usize, &[u8])| {
            let shift = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
            let value = match big_endian {
                true => element.iter().fold(0, shift),
                false => element.iter().rev().fold(0, shift),
            };
            let negative = self.element.kind == b'i' && value >> (8 * bytes - 1) == 1;
            let class = u32::try_from(value).ok().filter(|_| !negative);
            class.ok_or_else(|| self.fault(format!("label {index} is not a class from 0 to {}", u32::MAX)))
        };
        self.data.chunks_exact(bytes).enumerate().map(label).collect()
    }

    fn fault(&self, reason: String) -> Problem {
        Problem::Numpy { name: self.name.to_owned(), reason }
    }
}

impl Element {
    /// From `descr`; `None` for types other than plain numbers of 1, 2, 4 or 8 bytes.
    fn parse(text: &str) -> Option<Element> {
        let (big_endian, rest) = match text.as_bytes() {
            [b'>', rest @ ..] => (true, rest),
            [b'<' | b'|' | b'=', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        match *rest {
            [kind @ (b'u' | b'i' | b'f'), size @ (b'1' | b'2' | b'4' | b'8')] => {
                Some(Element { kind, bytes: usize::from(size - b'0'), big_endian })
            }
            _ => None,
        }
    }

    fn name(&self) -> String {
        let kind = match self.kind {
            b'u' => "uint",
            b'i' => "int",
            _ => "float",
        };
        format!("{kind}{}", 8 * self.bytes)
    }
}

/// `values` as `f32`; the first that is not finite as one is an error.
fn finite<T: Copy + Into<f64>>(values: Vec<T>, expected: ImageShape) -> Result<Samples, Problem> {
    let image: usize = expected.iter().product();
    let rounded: Vec<f32> = values.iter().map(|&v| v.into() as f32).collect();
    match rounded.iter().position(|v| !v.is_finite()) {
        None => Ok(Samples::Values(rounded)),
        Some(at) => {
            Err(Problem::NotFinite { image: at / image, position: at % image, value: values[at].into() })
        }
    }
}

/// Reader of the header: a Python dictionary of the keys `descr`, `fortran_order` and `shape`,
/// padded with spaces.
struct Header<'a> {
    rest: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(text: &'a [u8]) -> Result<(Element, bool, Vec<u64>), String> {
        let mut header = Header { rest: text };
        let (mut element, mut fortran, mut shape) = (None, None, None);
        header.expect(b'{')?;
        while !header.take(b'}') {
            let key = header.string()?;
            header.expect(b':')?;
            let repeated = match key {
                "descr" => element.replace(header.element()?).is_some(),
                "fortran_order" => fortran.replace(header.boolean()?).is_some(),
                "shape" => shape.replace(header.shape()?).is_some(),
                _ => return Err(format!("has the unknown key {key:?} in its header")),
            };
            if repeated {
                return Err(format!("has the key {key:?} twice in its header"));
            }
            if !header.take(b',') {
                header.expect(b'}')?;
                break;
            }
        }
        header.skip_space();
        match (element, fortran, shape) {
            (Some(element), Some(fortran), Some(shape)) if header.rest.is_empty() => {
                Ok((element, fortran, shape))
            }
            _ => Err("has a header without `descr`, `fortran_order` or `shape`, or with more".to_owned()),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(&[byte]) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        match self.take(byte) {
            true => Ok(()),
            false => Err(format!("has no {:?} where its header needs one", char::from(byte))),
        }
    }

    /// As many bytes as satisfy `belongs`.
    fn word(&mut self, belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|b| !belongs(b)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.take(b'"') { b'"' } else { b'\'' };
        if quote == b'\'' {
            self.expect(quote)?;
        }
        let text = self.word(|&b| b != quote && b != b'\\');
        self.expect(quote)?;
        str::from_utf8(text).map_err(|_| "has a header that is not text".to_owned())
    }

    fn element(&mut self) -> Result<Element, String> {
        self.skip_space();
        if matches!(self.rest.first(), Some(b'[' | b'(')) {
            return Err("has structured elements; save plain numbers".to_owned());
        }
        let text = self.string()?;
        Element::parse(text).ok_or_else(|| format!("has elements of type {text:?}; save uint8 or float32"))
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.skip_space();
        match self.word(u8::is_ascii_alphabetic) {
            b"True" => Ok(true),
            b"False" => Ok(false),
            _ => Err("has a `fortran_order` that is neither True nor False".to_owned()),
        }
    }

    fn shape(&mut self) -> Result<Vec<u64>, String> {
        self.expect(b'(')?;
        let mut shape = Vec::new();
        while !self.take(b')') {
            self.skip_space();
            let digits = str::from_utf8(self.word(u8::is_ascii_digit)).unwrap_or_default();
            let size = digits.parse().map_err(|_| "has a shape with a size that is no number".to_owned())?;
            self.take(b'L'); // Python 2 wrote long integers so.
            shape.push(size);
            if shape.len() > 8 {
                return Err("has more than 8 dimensions".to_owned());
            }
            if !self.take(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<(Element, bool, Vec<u64>), String> {
        Header::parse(text.as_bytes())
    }

    #[test]
    fn header_as_numpy_writes_it() {
        let float = Element { kind: b'f', bytes: 4, big_endian: false };
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 28, 28), }     \n";
        assert_eq!(header(text), Ok((float, false, vec![2, 1, 28, 28])));
        let text = "{\"shape\":(7L,),\"descr\":\">f4\",\"fortran_order\":True}";
        assert_eq!(header(text), Ok((Element { big_endian: true, ..float }, true, vec![7])));
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (), }";
        assert_eq!(header(text), Ok((Element { kind: b'u', bytes: 1, big_endian: false }, false, vec![])));
    }

    #[test]
    fn header_that_lies_is_refused() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '<f4'",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': ()} more",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}",
            "{'descr': '<c8', 'fortran_order': False, 'shape': ()}",
            "{'descr': '|O', 'fortran_order': False, 'shape': ()}",
            "{'order': 1}",
        ] {
            assert!(header(text).is_err(), "{text}");
        }
    }
}
