//! Every format, sound and broken, from files made here; arrays are written by `ndarray-npy`,
//! pictures by `image`.

use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{ExtendedColorType, ImageFormat};
use ndarray::{Array1, Array2, Array3, Array4, ShapeBuilder};
use ndarray_npy::{NpzWriter, WritableElement, WriteNpyExt};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tempfile::TempDir;

use super::*;

const GRAY: ImageShape = [1, 3, 4];
const COLOUR: ImageShape = [3, 2, 4];

/// A folder for one test's files.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn open(&self, name: &str, bytes: &[u8], shape: ImageShape) -> Result<Dataset, DataError> {
        Dataset::open(self.write(name, bytes), shape)
    }
}

/// The problem found in a file of this name and content.
fn problem(name: &str, bytes: &[u8], shape: ImageShape) -> Problem {
    let error = Files::new().open(name, bytes, shape).unwrap_err();
    assert!(error.to_string().contains(name), "{error} does not name the file");
    *error.problem
}

/// What a file of this name and content holds.
fn parsed(bytes: Vec<u8>, path: &Path, shape: ImageShape) -> Result<Dataset, Problem> {
    Wanted { shape, preprocess: &Preprocess::default() }.parse(bytes, path)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn npy<A: WritableElement, D: ndarray::Dimension>(array: &ndarray::Array<A, D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

/// A `.npy` file with this header dictionary.
fn npy_by_hand(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn picture(
    pixels: &[u8],
    width: u32,
    height: u32,
    colour: ExtendedColorType,
    format: ImageFormat,
) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, pixels, width, height, colour, format).unwrap();
    bytes.into_inner()
}

/// `count` bytes that tell their position apart.
fn ramp(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 % 251) as u8).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().map(|&b| f32::from(b)).collect()
}

#[test]
fn gray_png_is_one_image_of_pixels() {
    let pixels = ramp(12);
    let png = picture(&pixels, 4, 3, ExtendedColorType::L8, ImageFormat::Png);
    let data = Files::new().open("a.png", &png, GRAY).unwrap();
    assert_eq!((data.len(), data.shape(), data.labels(), data.holds_pixels()), (1, GRAY, None, true));
    assert_eq!(data.raw(0), floats(&pixels));
    // The content decides, not the name.
    assert_eq!(Files::new().open("a.npy", &png, GRAY).unwrap(), data);
}

#[test]
fn colour_png_becomes_planes_and_gray_where_one_channel_is_wanted() {
    let pixels = ramp(24);
    let png = picture(&pixels, 4, 2, ExtendedColorType::Rgb8, ImageFormat::Png);
    let data = Files::new().open("a.png", &png, COLOUR).unwrap();
    let expected: Vec<u8> = (0..3).flat_map(|c| (0..8).map(move |i| i * 3 + c)).map(|i| pixels[i]).collect();
    assert_eq!(data.raw(0), floats(&expected));
    let gray = Files::new().open("a.png", &png, [1, 2, 4]).unwrap().raw(0);
    for (g, p) in gray.iter().zip(pixels.chunks_exact(3)) {
        let luma = 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        assert!((g - luma).abs() <= 0.51, "{g} for {p:?}");
    }
}

#[test]
fn gray_and_transparent_pictures_serve_three_channels() {
    let files = Files::new();
    let gray = picture(&ramp(8), 4, 2, ExtendedColorType::L8, ImageFormat::Png);
    let data = files.open("a.png", &gray, COLOUR).unwrap();
    assert_eq!(data.raw(0), floats(&[ramp(8), ramp(8), ramp(8)].concat()));
    let rgba: Vec<u8> = ramp(8).iter().flat_map(|&v| [v, v, v, 0]).collect();
    let clear = picture(&rgba, 4, 2, ExtendedColorType::Rgba8, ImageFormat::Png);
    assert_eq!(files.open("b.png", &clear, COLOUR).unwrap().raw(0), data.raw(0));
}

#[test]
fn jpeg_of_one_shade_keeps_it() {
    let jpeg = picture(&[200; 24], 4, 2, ExtendedColorType::Rgb8, ImageFormat::Jpeg);
    for v in Files::new().open("a.jpg", &jpeg, COLOUR).unwrap().raw(0) {
        assert!((v - 200.0).abs() <= 2.0);
    }
}

#[test]
fn picture_of_another_size_names_both() {
    let png = picture(&ramp(12), 4, 3, ExtendedColorType::L8, ImageFormat::Png);
    let error = Files::new().open("a.png", &png, [1, 28, 28]).unwrap_err();
    assert!(matches!(&*error.problem, Problem::PictureSize { found: [4, 3], expected: [28, 28], .. }));
    let text = error.to_string();
    assert!(text.contains("a 4 × 3 picture, the network takes 28 × 28"), "{text}");
    assert!(matches!(problem("a.png", &png, [2, 3, 4]), Problem::Format { .. }));
}

#[test]
fn pictures_are_scaled_and_cut_where_asked() {
    let files = Files::new();
    // Two halves, 8 by 4: scaled to 4 by 2, and the middle 2 by 2 cut out.
    let row = [vec![0u8; 4], vec![200; 4]].concat();
    let path = files.write("a.png", &picture(&row.repeat(4), 8, 4, ExtendedColorType::L8, ImageFormat::Png));
    let fitted = |resize, crop, shape| {
        let fit = PictureFit { resize, crop };
        Dataset::open_for(&path, shape, &Preprocess::default().with_picture_fit(fit).unwrap())
    };
    let found = fitted(Some(2), Some(2), [1, 2, 2]).unwrap().raw(0);
    // The triangle's sides reach a quarter of a pixel into the other half.
    for line in found.chunks(2) {
        assert!(line[0] < 30.0 && line[1] > 170.0, "{found:?}");
    }
    assert_eq!(fitted(Some(2), None, [1, 2, 4]).unwrap().len(), 1);
    assert_eq!(fitted(None, Some(4), [1, 4, 4]).unwrap().raw(0)[..4], [0.0, 0.0, 200.0, 200.0]);
    for (resize, crop, shape, says) in [
        (None, None, [1, 2, 2], "--crop 2"),
        (None, None, [1, 6, 6], "--resize 6 --crop 6"),
        (Some(2), None, [1, 2, 2], "(4 × 2 once scaled)"),
        (Some(2), Some(4), [1, 4, 4], "of which 4 × 4 is cut"),
        (Some(2), Some(1), [1, 2, 2], "of which 1 × 1 is cut"),
    ] {
        let error = fitted(resize, crop, shape).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // A header of 30,000 by 30,000 pixels is not decoded to be scaled.
    let mut huge = fs::read(&path).unwrap();
    huge[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let huge = files.write("huge.png", &huge);
    let fit = Preprocess::default().with_picture_fit(PictureFit { resize: Some(2), crop: None }).unwrap();
    let error = Dataset::open_for(huge, [1, 2, 2], &fit).unwrap_err();
    assert!(matches!(*error.problem, Problem::Picture { .. }), "{error}");
}

#[test]
fn folders_hold_pictures_or_classes_of_them() {
    let files = Files::new();
    let png = |shade: u8| picture(&[shade; 12], 4, 3, ExtendedColorType::L8, ImageFormat::Png);
    let root = files.0.path().join("set");
    for (folder, name, shade) in [("dog", "b.png", 2), ("cat", "a.PNG", 1), ("dog", "a.png", 3)] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::write(root.join(folder).join(name), png(shade)).unwrap();
    }
    fs::write(root.join("notes.md"), "no picture").unwrap();
    fs::write(root.join(".hidden.png"), "no picture").unwrap();
    let data = Dataset::open(&root, GRAY).unwrap();
    assert_eq!((data.len(), data.labels()), (3, Some(&[0, 1, 1][..])));
    assert_eq!([data.raw(0)[0], data.raw(1)[0], data.raw(2)[0]], [1.0, 3.0, 2.0]);
    let with_classes = |text: &str| {
        let preprocess: Preprocess = toml::from_str(text).unwrap();
        Dataset::open_for(&root, GRAY, &preprocess)
    };
    let named = with_classes("classes = ['bird', 'dog', 'cat']").unwrap();
    assert_eq!(named.labels(), Some(&[2, 1, 1][..]));
    let error = with_classes("classes = ['bird', 'dog']").unwrap_err();
    assert!(error.to_string().contains("`cat` is none of"), "{error}");
    let flat = Dataset::open(root.join("dog"), GRAY).unwrap();
    assert_eq!((flat.len(), flat.labels(), flat.raw(0)[0]), (2, None, 3.0));
    fs::write(root.join("dog/c.png"), "damaged").unwrap();
    let error = Dataset::open(&root, GRAY).unwrap_err().to_string();
    assert!(error.contains("c.png"), "{error}");
    let empty = files.0.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(matches!(*Dataset::open(empty, GRAY).unwrap_err().problem, Problem::NoImages));
}

#[test]
fn tables_hold_one_input_per_line() {
    let shape = [1, 1, 3];
    let open = |name: &str, text: &str| Files::new().open(name, text.as_bytes(), shape);
    let plain = open("a.csv", "1, 2.5,-3e-2\n# a remark\n4,5,6\n").unwrap();
    assert_eq!((plain.len(), plain.raw(0), plain.holds_pixels()), (2, vec![1.0, 2.5, -0.03], false));
    let labelled = open("a.csv.gz", "a;Label;b;c\n1;7;2;3\n4;2.0;5;6\n").unwrap();
    assert_eq!((labelled.labels(), labelled.raw(1)), (Some(&[7, 2][..]), vec![4.0, 5.0, 6.0]));
    assert_eq!(open("a.tsv", "x\ty\tz\tw\n1\t9\t3\t4\n").unwrap().labels(), Some(&[9][..]));
    for (text, says) in [
        ("1,2\n", "line 1 has 2 numbers"),
        ("1,2,3\n1,2,x\n", "line 2, column 3 holds `x`"),
        ("1,2,inf\n", "`inf`, which is no finite number"),
        ("label,a,b,c\n-1,1,2,3\n", "class `-1`"),
        ("1,2,3\n1,2\n", "line: 2"),
        ("a,b,c\n", "no images"),
        ("", "no images"),
    ] {
        let error = open("a.csv", text).unwrap_err().to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
}

/// A WAV of samples from -1 to 1, channels interleaved.
fn wav(channels: u16, sample_format: hound::SampleFormat, bits_per_sample: u16, samples: &[f32]) -> Vec<u8> {
    let spec = hound::WavSpec { channels, sample_rate: 8000, bits_per_sample, sample_format };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for &x in samples {
        match sample_format {
            hound::SampleFormat::Float => writer.write_sample(x).unwrap(),
            hound::SampleFormat::Int => {
                writer.write_sample((x * 2f32.powi(i32::from(bits_per_sample) - 1)) as i32).unwrap()
            }
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

#[test]
fn sounds_are_series() {
    let samples = [0.5, -0.25, -1.0, 0.125];
    for (format, bits) in [
        (hound::SampleFormat::Int, 8),
        (hound::SampleFormat::Int, 16),
        (hound::SampleFormat::Int, 24),
        (hound::SampleFormat::Float, 32),
    ] {
        let mono = Files::new().open("a.wav", &wav(1, format, bits, &samples), [1, 1, 4]).unwrap();
        assert_eq!((mono.raw(0), mono.holds_pixels()), (samples.to_vec(), false), "{bits} bits");
        let stereo = Files::new().open("a.wav", &wav(2, format, bits, &samples), [2, 1, 2]).unwrap();
        assert_eq!(stereo.raw(0), [0.5, -1.0, -0.25, 0.125]);
    }
    let bytes = wav(1, hound::SampleFormat::Int, 16, &samples);
    let shape = Problem::Shape { found: vec![1, 4], expected: [1, 1, 5] };
    assert_eq!(problem("a.wav", &bytes, [1, 1, 5]).to_string(), shape.to_string());
    assert!(matches!(problem("a.wav", &bytes[..30], [1, 1, 4]), Problem::Sound { .. }));
    assert!(matches!(problem("a.wav", &bytes[..bytes.len() - 3], [1, 1, 4]), Problem::Sound { .. }));
}

#[test]
fn damaged_pictures_are_errors() {
    let png = picture(&ramp(12), 4, 3, ExtendedColorType::L8, ImageFormat::Png);
    for cut in [9, 20, 40, png.len() - 20] {
        assert!(matches!(problem("a.png", &png[..cut], GRAY), Problem::Picture { .. }), "cut at {cut}");
    }
    // A header of 2^31 - 1 by 2^31 - 1 pixels: refused for its size, before any of it is allocated.
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    assert!(matches!(problem("a.png", &huge, GRAY), Problem::PictureSize { .. } | Problem::Picture { .. }));
}

#[test]
fn cifar_records_give_planes_and_labels() {
    let mut bytes = vec![3];
    bytes.extend(ramp(3072));
    bytes.push(9);
    bytes.extend(vec![255; 3072]);
    for (name, bytes) in
        [("test_batch.bin", bytes.clone()), ("noname", bytes.clone()), ("t.gz", gzip(&bytes))]
    {
        let data = Files::new().open(name, &bytes, cifar::SHAPE).unwrap();
        assert_eq!((data.len(), data.labels()), (2, Some(&[3, 9][..])));
        assert_eq!(data.raw(0), floats(&ramp(3072)));
        assert_eq!(data.raw(1), [255.0; 3072]);
    }
}

#[test]
fn records_of_cifar_100_have_the_fine_label() {
    let record = |coarse, fine| [vec![coarse, fine], ramp(3072)].concat();
    let bytes = [record(3, 99), record(19, 20)].concat();
    let data = Files::new().open("train.bin", &bytes, cifar::SHAPE).unwrap();
    assert_eq!((data.len(), data.labels()), (2, Some(&[99, 20][..])));
    assert_eq!(data.raw(1), floats(&ramp(3072)));
    assert!(matches!(
        problem("a.bin", &[record(3, 99), record(20, 0)].concat(), cifar::SHAPE),
        Problem::Label { index: 1, label: 20, classes: 20 }
    ));
}

#[test]
fn cifar_record_that_begins_like_idx_is_still_cifar() {
    let mut bytes = vec![0, 0, 8, 3];
    bytes.resize(3073, 1);
    assert_eq!(Files::new().open("a.bin", &bytes, cifar::SHAPE).unwrap().labels(), Some(&[0][..]));
}

#[test]
fn broken_cifar_files_are_errors() {
    let record = [vec![4], ramp(3072)].concat();
    assert!(matches!(problem("a.bin", &record[..3000], cifar::SHAPE), Problem::Records { bytes: 3000 }));
    let two = [record.clone(), vec![10], ramp(3072)].concat();
    assert!(matches!(
        problem("a.bin", &two, cifar::SHAPE),
        Problem::Label { index: 1, label: 10, classes: 10 }
    ));
    assert!(matches!(problem("a.bin", &record, GRAY), Problem::Format { .. }));
}

#[test]
fn idx_images_find_the_labels_beside_them() {
    let images = idx(&[2, 3, 4], &ramp(24));
    let labels = idx(&[2], &[7, 5]);
    for (image_name, label_name) in [
        ("t-images-idx3-ubyte", "t-labels-idx1-ubyte"),
        ("t-images-idx3-ubyte.gz", "t-labels-idx1-ubyte.gz"),
        ("t-images-idx3-ubyte", "t-labels-idx1-ubyte.gz"),
        ("t-images-idx3-ubyte.gz", "t-labels-idx1-ubyte"),
        ("t-images.idx3-ubyte", "t-labels.idx1-ubyte"),
    ] {
        let files = Files::new();
        let packed =
            |name: &str, bytes: &[u8]| if name.ends_with("gz") { gzip(bytes) } else { bytes.to_vec() };
        files.write(label_name, &packed(label_name, &labels));
        let data = files.open(image_name, &packed(image_name, &images), GRAY).unwrap();
        assert_eq!((data.len(), data.labels()), (2, Some(&[7, 5][..])));
        assert_eq!(data.raw(1), floats(&ramp(24)[12..]));
    }
    assert_eq!(Files::new().open("t-images-idx3-ubyte", &images, GRAY).unwrap().labels(), None);
    assert_eq!(
        Files::new().open("4d", &idx(&[1, 3, 2, 4], &ramp(24)), COLOUR).unwrap().raw(0),
        floats(&ramp(24))
    );
}

#[test]
fn labels_that_do_not_fit_the_images_are_errors() {
    let images = idx(&[2, 3, 4], &ramp(24));
    for labels in [idx(&[3], &[1, 2, 3]), idx(&[2], &[1]), idx(&[2, 1], &[1, 2]), vec![], vec![1; 100]] {
        let files = Files::new();
        files.write("t-labels-idx1-ubyte", &labels);
        let error = files.open("t-images-idx3-ubyte", &images, GRAY).unwrap_err();
        assert!(matches!(*error.problem, Problem::LabelFile { .. }), "{error}");
        assert!(error.to_string().contains("t-labels-idx1-ubyte"));
    }
}

#[test]
fn idx_headers_that_lie_are_errors() {
    let name = "t-images-idx3-ubyte";
    let all = u32::MAX;
    for (dims, data) in [
        (vec![all, 3, 4], 24),
        (vec![2, 3, 4], 23),
        (vec![2, 3, 4], 25),
        (vec![all; 3], 8),
        (vec![all; 4], 8),
    ] {
        assert!(matches!(problem(name, &idx(&dims, &ramp(data)), GRAY), Problem::Length { .. }), "{dims:?}");
    }
    assert!(matches!(problem(name, &idx(&[2, 3, 4], &[])[..9], GRAY), Problem::Length { .. }));
    assert!(matches!(problem(name, &idx(&[2, 4, 3], &ramp(24)), GRAY), Problem::Shape { .. }));
    assert!(matches!(problem(name, &idx(&[24], &ramp(24)), GRAY), Problem::IdxHeader { .. }));
    assert!(matches!(problem(name, b"IDX?", GRAY), Problem::IdxHeader { .. }));
    assert!(matches!(problem(name, &idx(&[0, 3, 4], &[]), GRAY), Problem::NoImages));
    let mut floats = idx(&[1, 3, 4], &ramp(48));
    floats[2] = 0x0d;
    assert!(matches!(problem(name, &floats, GRAY), Problem::IdxHeader { .. }));
}

#[test]
fn damaged_gzip_is_an_error() {
    let packed = gzip(&idx(&[2, 3, 4], &ramp(24)));
    for cut in [3, 12, packed.len() - 4] {
        assert!(matches!(problem("a.gz", &packed[..cut], GRAY), Problem::Gzip { .. }), "cut at {cut}");
    }
}

#[test]
fn npy_of_bytes_holds_pixels_and_of_floats_input() {
    let files = Files::new();
    let bytes = Array4::from_shape_vec((2, 1, 3, 4), ramp(24)).unwrap();
    let pixels = files.open("b.npy", &npy(&bytes), GRAY).unwrap();
    assert!(pixels.holds_pixels());
    assert_eq!((pixels.len(), pixels.raw(1)), (2, floats(&ramp(24)[12..])));
    let half = Preprocess::new(2.0, vec![1.0], vec![]).unwrap();
    let single = files.open("s.npy", &npy(&bytes.mapv(f32::from)), GRAY).unwrap();
    let double = files.open("d.npy", &npy(&bytes.mapv(f64::from)), GRAY).unwrap();
    assert!(!single.holds_pixels());
    assert_eq!(single, double);
    assert_eq!(single.raw(1), pixels.raw(1));
    assert_eq!(single.input(1, &half).unwrap(), pixels.raw(1));
    let normalised: Vec<f32> = pixels.raw(1).iter().map(|p| p / 2.0 - 1.0).collect();
    assert_eq!(pixels.input(1, &half).unwrap(), normalised);
    let other = Preprocess::new(2.0, vec![1.0; 3], vec![]).unwrap();
    assert!(matches!(single.input(0, &other), Err(PreprocessError::Channels { .. })));
}

#[test]
fn npy_in_any_memory_order_gives_the_same_images() {
    let files = Files::new();
    let c = Array4::from_shape_vec((2, 3, 2, 4), ramp(48)).unwrap();
    let expected = files.open("c.npy", &npy(&c), COLOUR).unwrap();
    assert_eq!(expected.raw(0), floats(&ramp(48)[..24]));
    let mut fortran = Array4::<u8>::zeros((2, 3, 2, 4).f());
    fortran.assign(&c);
    let last = c.clone().permuted_axes([0, 2, 3, 1]).as_standard_layout().to_owned();
    let mut fortran_last = Array4::<u8>::zeros((2, 2, 4, 3).f());
    fortran_last.assign(&last);
    for (name, array) in [("f.npy", fortran), ("l.npy", last), ("fl.npy", fortran_last)] {
        assert_eq!(files.open(name, &npy(&array), COLOUR).unwrap(), expected, "{name}");
    }
    let one = Array3::from_shape_vec((3, 2, 4), ramp(24)).unwrap();
    assert_eq!(files.open("1.npy", &npy(&one), COLOUR).unwrap().raw(0), expected.raw(0));
    let sheet = Array3::from_shape_vec((2, 3, 4), ramp(24)).unwrap();
    assert_eq!(files.open("2.npy", &npy(&sheet), GRAY).unwrap().len(), 2);
    let plane = Array2::from_shape_vec((3, 4), ramp(12)).unwrap();
    assert_eq!(files.open("3.npy", &npy(&plane), GRAY).unwrap().raw(0), floats(&ramp(12)));
}

#[test]
fn npy_in_big_endian_is_read() {
    let data: Vec<u8> = (0..12).flat_map(|i| (i as f32 / 8.0).to_be_bytes()).collect();
    let bytes = npy_by_hand("{'descr': '>f4', 'fortran_order': False, 'shape': (1, 3, 4)}\n", &data);
    let expected: Vec<f32> = (0..12).map(|i| i as f32 / 8.0).collect();
    assert_eq!(Files::new().open("a.npy", &bytes, GRAY).unwrap().raw(0), expected);
}

#[test]
fn npy_headers_that_lie_are_errors() {
    let header = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n");
    let open = |shape: &str, data: usize| problem("a.npy", &npy_by_hand(&header(shape), &ramp(data)), GRAY);
    assert!(matches!(open("(1, 3, 4)", 47), Problem::Length { promised: 48, found: 47 }));
    assert!(matches!(open("(1, 3, 4)", 49), Problem::Length { promised: 48, found: 49 }));
    assert!(matches!(open("(1000000000000, 3, 4)", 48), Problem::Length { .. }));
    assert!(matches!(open("(0, 4611686018427387904, 4611686018427387904)", 0), Problem::Shape { .. }));
    assert!(matches!(
        open("(9223372036854775807, 9223372036854775807, 9223372036854775807)", 0),
        Problem::Numpy { .. }
    ));
    assert!(matches!(open("(0, 1, 3, 4)", 0), Problem::NoImages));
    assert!(matches!(open("(2, 4, 3)", 96), Problem::Shape { .. }));
    assert!(matches!(open("()", 4), Problem::Shape { .. }));
    let good = npy_by_hand(&header("(1, 3, 4)"), &ramp(48));
    for cut in [6, 7, 9, 30] {
        assert!(matches!(problem("a.npy", &good[..cut], GRAY), Problem::Numpy { .. }), "cut at {cut}");
    }
    let mut version = good.clone();
    version[6] = 9;
    assert!(matches!(problem("a.npy", &version, GRAY), Problem::Numpy { .. }));
    // A version 2 header of 4 GiB in a file of a few bytes.
    let long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'".to_vec();
    assert!(matches!(problem("a.npy", &long, GRAY), Problem::Numpy { .. }));
    let counts = npy(&Array3::<i32>::zeros((1, 3, 4)));
    assert!(matches!(problem("a.npy", &counts, GRAY), Problem::Numpy { .. }));
}

#[test]
fn npy_values_must_be_finite() {
    for bad in [f64::NAN, f64::INFINITY, 1e39] {
        let mut array = Array4::<f64>::zeros((2, 1, 3, 4));
        array[[1, 0, 2, 1]] = bad;
        assert!(matches!(
            problem("a.npy", &npy(&array), GRAY),
            Problem::NotFinite { image: 1, position: 9, value } if value.to_bits() == bad.to_bits()
        ));
    }
}

fn npz(write: impl FnOnce(&mut NpzWriter<Cursor<&mut Vec<u8>>>), compressed: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let cursor = Cursor::new(&mut bytes);
    let mut writer = if compressed { NpzWriter::new_compressed(cursor) } else { NpzWriter::new(cursor) };
    write(&mut writer);
    writer.finish().unwrap();
    bytes
}

#[test]
fn npz_gives_images_and_labels() {
    let images = Array4::from_shape_vec((2, 1, 3, 4), ramp(24)).unwrap();
    for compressed in [false, true] {
        let bytes = npz(
            |w| {
                w.add_array("labels", &Array1::from(vec![4_i64, 999])).unwrap();
                w.add_array("images", &images).unwrap();
                w.add_array("names", &Array1::from(vec![0_u8])).unwrap();
            },
            compressed,
        );
        let data = Files::new().open("a.npz", &bytes, GRAY).unwrap();
        assert_eq!((data.len(), data.labels()), (2, Some(&[4, 999][..])));
        assert_eq!(data.raw(0), floats(&ramp(24)[..12]));
    }
    let only = npz(|w| w.add_array("arr_0", &images).unwrap(), false);
    assert_eq!(Files::new().open("a.npz", &only, GRAY).unwrap().labels(), None);
}

#[test]
fn npz_that_cannot_be_told_or_read_is_an_error() {
    let images = Array4::from_shape_vec((2, 1, 3, 4), ramp(24)).unwrap();
    let two = npz(
        |w| {
            w.add_array("a", &images).unwrap();
            w.add_array("b", &images).unwrap();
        },
        false,
    );
    assert!(matches!(problem("a.npz", &two, GRAY), Problem::WhichArray { names } if names.len() == 2));
    assert!(matches!(problem("a.npz", &npz(|_| (), false), GRAY), Problem::WhichArray { .. }));
    assert!(matches!(problem("a.npz", &two[..two.len() / 2], GRAY), Problem::Archive { .. }));
    let with_labels = |labels: Array1<i64>| {
        npz(
            |w| {
                w.add_array("x", &images).unwrap();
                w.add_array("y", &labels).unwrap();
            },
            true,
        )
    };
    for labels in [vec![-1, 0], vec![1 << 32, 0], vec![0, i64::MAX]] {
        assert!(matches!(problem("a.npz", &with_labels(labels.into()), GRAY), Problem::Numpy { .. }));
    }
    let three = with_labels(vec![0, 1, 2].into());
    assert!(matches!(problem("a.npz", &three, GRAY), Problem::LabelCount { labels: 3, images: 2 }));
}

#[test]
fn files_of_no_known_kind_are_errors() {
    assert!(matches!(problem("a.txt", b"hello", GRAY), Problem::UnknownFormat { bytes: 5 }));
    assert!(matches!(problem("a", b"", GRAY), Problem::UnknownFormat { bytes: 0 }));
    assert!(matches!(problem("a", b"", [0, 1, 1]), Problem::EmptyShape { .. }));
    let missing = Dataset::open("no/such/file.png", GRAY).unwrap_err();
    assert!(matches!(*missing.problem, Problem::Io(_)));
    assert!(matches!(*Dataset::open(Files::new().0.path(), GRAY).unwrap_err().problem, Problem::NoImages));
}

#[test]
fn sample_digits_and_their_normalisation_are_read() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let preprocess = preprocess::beside(models.join("mnist_cnn.onnx")).unwrap().unwrap();
    assert_eq!(preprocess.classes().len(), 10);
    let mut seen = [false; 10];
    for entry in fs::read_dir(models.join("digits")).unwrap() {
        let path = entry.unwrap().path();
        let class: usize = path.file_name().unwrap().to_str().unwrap()[6..7].parse().unwrap();
        seen[class] = true;
        let digit = Dataset::open(&path, [1, 28, 28]).unwrap();
        let input = digit.input(0, &preprocess).unwrap();
        // The corner is background, and somewhere the ink is full.
        assert_eq!(input[0], -0.1307 / 0.3081, "{}", path.display());
        assert_eq!(input.iter().copied().fold(0.0, f32::max), (1.0 - 0.1307) / 0.3081);
    }
    assert_eq!(seen, [true; 10]);
}

#[test]
fn mnist_and_cifar_as_published_are_read() {
    let Some(folder) = fhec_test_data::folder_with("mnist") else { return };
    let mnist = Dataset::open(folder.join("mnist/t10k_a-images-idx3-ubyte.gz"), [1, 28, 28]).unwrap();
    assert_eq!((mnist.len(), &mnist.labels().unwrap()[..5]), (5000, &[7, 2, 1, 0, 4][..]));
    let cifar = Dataset::open(folder.join("cifar10/test_batch_a.bin"), cifar::SHAPE).unwrap();
    assert_eq!((cifar.len(), &cifar.labels().unwrap()[..5]), (5000, &[3, 8, 8, 0, 6][..]));
    let logits = folder.join("expected/resnet20_logits_0_999.npy");
    assert_eq!(
        Dataset::open(logits, [1, 2, 5]).unwrap_err().problem.to_string().matches("1000 × 10").count(),
        1
    );
}

/// A sound file of each format that fits `GRAY`, or CIFAR's shape.
fn sound_files() -> Vec<(&'static str, Vec<u8>, ImageShape)> {
    let images = Array4::from_shape_vec((2, 1, 3, 4), ramp(24)).unwrap();
    let rgb = ramp(36);
    vec![
        ("a.png", picture(&ramp(12), 4, 3, ExtendedColorType::L8, ImageFormat::Png), GRAY),
        ("a.jpg", picture(&rgb, 4, 3, ExtendedColorType::Rgb8, ImageFormat::Jpeg), GRAY),
        ("a.npy", npy(&images.mapv(f32::from)), GRAY),
        ("a.npz", npz(|w| w.add_array("x", &images).unwrap(), true), GRAY),
        ("a-images-idx3-ubyte", idx(&[2, 3, 4], &ramp(24)), GRAY),
        ("a.gz", gzip(&idx(&[2, 3, 4], &ramp(24))), GRAY),
        ("a.bin", [vec![1], ramp(3072)].concat(), cifar::SHAPE),
        ("b.bin", [vec![1, 2], ramp(3072)].concat(), cifar::SHAPE),
        ("a.csv", b"label,0,1,2,3,4,5,6,7,8,9,10,11\n3,1,2,3,4,5,6,7,8,9,10,11,12\n".to_vec(), GRAY),
        ("a.wav", wav(1, hound::SampleFormat::Int, 16, &[0.5; 12]), GRAY),
    ]
}

#[test]
fn sound_files_open() {
    for (name, bytes, shape) in sound_files() {
        assert_eq!(parsed(bytes, Path::new(name), shape).unwrap().shape(), shape, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::with_cases(512)
    })]

    /// Whatever follows a magic number, the answer is images or an error.
    #[test]
    fn random_bytes_never_panic(
        magic in prop::sample::select(vec![
            &b""[..], b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"PK\x03\x04",
            b"\x1f\x8b\x08", b"RIFF\x20\0\0\0WAVEfmt ", b"\x00\x00\x08\x03", b"\x00\x00\x08\x04",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..300),
        name in prop::sample::select(vec!["a", "a.bin", "a-images-idx3-ubyte", "a.npz", "a.csv"]),
        shape in prop::sample::select(vec![GRAY, cifar::SHAPE, [1, 1, 1], [3, 1, 1], [2, 1, 2]]),
    ) {
        let _ = parsed([magic, &tail].concat(), Path::new(name), shape);
    }

    /// A sound file with a few bytes changed, or cut short, gives images or an error.
    #[test]
    fn damaged_files_never_panic(
        file in 0..10_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        keep in 0.0..1.2_f64,
    ) {
        let (name, mut bytes, shape) = sound_files().swap_remove(file);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        let _ = parsed(bytes, Path::new(name), shape);
    }

    /// NumPy headers made of the words headers are made of.
    #[test]
    fn near_headers_never_panic(words in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "(", ")", ",", ":", "'", "\"", "'descr'", "'shape'", "'fortran_order'", "True", "'<f4'", "'|u1'", "'>f8'",
        "0", "1", "3", "4", "18446744073709551615", "9223372036854775808", " ", "\\", "\n",
    ]), 0..40)) {
        let bytes = npy_by_hand(&words.concat(), &ramp(48));
        let _ = parsed(bytes, Path::new("a.npy"), GRAY);
    }
}

#[test]
fn an_array_in_memory_is_what_its_file_is() {
    let pixels = Array4::from_shape_fn((2, 2, 4, 3), |(n, y, x, c)| (n * 100 + y * 12 + x * 3 + c) as u8);
    let values = pixels.mapv(|pixel| f32::from(pixel) / 7.0);
    let from_file = |bytes: Vec<u8>| Dataset::from_bytes(bytes, "a.npy", COLOUR).unwrap();
    let shape = || pixels.shape().to_vec();
    let array = ImageArray::pixels(shape(), pixels.iter().copied().collect());
    assert_eq!(Dataset::from_array(&array, COLOUR).unwrap(), from_file(npy(&pixels)));
    let array = ImageArray::values(shape(), values.iter().copied().collect());
    assert_eq!(Dataset::from_array(&array, COLOUR).unwrap(), from_file(npy(&values)));
    let problem = |array: ImageArray| *Dataset::from_array(&array, COLOUR).unwrap_err().problem;
    assert!(matches!(problem(ImageArray::pixels(shape(), vec![0; 3])), Problem::Length { found: 3, .. }));
    assert!(matches!(problem(ImageArray::pixels(vec![7], vec![0; 7])), Problem::Shape { .. }));
    assert!(matches!(problem(ImageArray::values(shape(), vec![f32::NAN; 48])), Problem::NotFinite { .. }));
    assert!(matches!(problem(ImageArray::pixels(vec![usize::MAX; 3], vec![])), Problem::Length { .. }));
    let none = Dataset::from_array(&array_of_none(), [0, 2, 4]).unwrap_err();
    assert!(matches!(*none.problem, Problem::EmptyShape { .. }));
}

fn array_of_none() -> ImageArray {
    ImageArray::pixels(vec![0, 2, 4], Vec::new())
}
