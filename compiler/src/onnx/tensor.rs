//! Stored tensors: `TensorProto`, with its data in typed fields, as raw bytes, or in a file beside
//! the model.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use fhec_ir::tensor::element_count;
use onnx_protobuf::TensorProto;
use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use protobuf::Enum;

use super::error::ImportError;
use super::literal::{Elements, Literal};

/// Decodes stored tensors of one model.
pub(super) struct TensorReader {
    /// The model's directory; external data live in or below it.
    pub directory: Option<PathBuf>,
}

impl TensorReader {
    /// The tensor under the name `name`.
    pub fn read(&self, proto: &TensorProto, name: &str) -> Result<Literal, ImportError> {
        let (shape, elements) =
            self.decode(proto).map_err(|reason| ImportError::Tensor { name: name.to_string(), reason })?;
        Ok(Literal { name: name.to_string(), shape, elements })
    }

    fn decode(&self, proto: &TensorProto) -> Result<(Vec<usize>, Elements), String> {
        let shape: Result<Vec<usize>, _> = proto.dims.iter().map(|&d| usize::try_from(d)).collect();
        let shape = shape.map_err(|_| format!("the shape {:?} has a negative dimension", proto.dims))?;
        let count = element_count(&shape).ok_or_else(|| format!("the shape {shape:?} is too large"))?;
        let ty = data_type(proto.data_type)?;
        if proto.segment.is_some() {
            return Err("data in segments are not supported; store the tensor whole".into());
        }
        let bytes = byte_count(count, ty).ok_or_else(|| format!("the shape {shape:?} is too large"))?;
        let external;
        let raw = match proto.data_location.enum_value() {
            Ok(DataLocation::EXTERNAL) => {
                external = self.external(proto, bytes)?;
                Some(external.as_slice())
            }
            Ok(DataLocation::DEFAULT) => (!proto.raw_data.is_empty()).then_some(proto.raw_data.as_slice()),
            Err(other) => return Err(format!("unknown data location {other}")),
        };
        let elements = match raw {
            Some(raw) if raw.len() == bytes => from_raw(raw, ty)?,
            Some(raw) => {
                return Err(format!(
                    "shape {shape:?} of type {ty:?} needs {bytes} bytes, {} are stored",
                    raw.len()
                ));
            }
            None => from_fields(proto, ty)?,
        };
        let found = match &elements {
            Elements::Float(data) => data.len(),
            Elements::Int(data) => data.len(),
        };
        if found != count {
            return Err(format!("shape {shape:?} needs {count} elements, {found} are stored"));
        }
        Ok((shape, elements))
    }

    /// Reads `needed` bytes of the file that the tensor names.
    fn external(&self, proto: &TensorProto, needed: usize) -> Result<Vec<u8>, String> {
        let entry = |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| {
            let parse =
                |text: &str| text.parse::<u64>().map_err(|_| format!("external data: bad {key} `{text}`"));
            entry(key).map(parse).transpose()
        };
        let location = entry("location").ok_or("external data without a location")?;
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|length| length != needed as u64) {
            return Err(format!("needs {needed} bytes, the external data claim {}", length.unwrap_or(0)));
        }
        let path = self.external_path(location)?;
        let failed = |e: std::io::Error| format!("external data `{location}`: {e}");
        let metadata = path.metadata().map_err(failed)?;
        let end = offset.checked_add(needed as u64);
        if !metadata.is_file() || end.is_none_or(|end| end > metadata.len()) {
            let have = metadata.len();
            return Err(format!(
                "external data `{location}`: {needed} bytes at {offset} are wanted of {have}"
            ));
        }
        let mut file = File::open(&path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = vec![0; needed];
        file.read_exact(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// The file at `location`, which must lie in or below the model's directory, symbolic links
    /// resolved.
    fn external_path(&self, location: &str) -> Result<PathBuf, String> {
        let directory = self.directory.as_deref();
        let directory = directory
            .ok_or_else(|| format!("external data `{location}`: the model was not read from a directory"))?;
        let relative = Path::new(location);
        let inside = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        let outside = || format!("external data `{location}`: only files in the model's directory are read");
        if location.is_empty() || !inside {
            return Err(outside());
        }
        let failed = |e: std::io::Error| format!("external data `{location}`: {e}");
        let root = directory.canonicalize().map_err(failed)?;
        let path = root.join(relative).canonicalize().map_err(failed)?;
        if path.starts_with(&root) { Ok(path) } else { Err(outside()) }
    }
}

/// The type of that number, with its name in errors.
pub(super) fn data_type(number: i32) -> Result<DataType, String> {
    let known = DataType::from_i32(number).filter(|&ty| ty != DataType::UNDEFINED);
    known.ok_or_else(|| format!("unknown element type {number}"))
}

/// Whether values of `ty` become floats.
pub(super) fn is_float(ty: DataType) -> bool {
    matches!(ty, DataType::FLOAT | DataType::DOUBLE | DataType::FLOAT16 | DataType::BFLOAT16)
}

/// Least and largest number of an integer type. Numbers are stored in 64 bits with a sign.
pub(super) fn integer_limits(ty: DataType) -> Option<[i64; 2]> {
    Some(match ty {
        DataType::INT64 => [i64::MIN, i64::MAX],
        DataType::INT32 => [i32::MIN.into(), i32::MAX.into()],
        DataType::INT16 => [i16::MIN.into(), i16::MAX.into()],
        DataType::INT8 => [i8::MIN.into(), i8::MAX.into()],
        DataType::UINT64 => [0, i64::MAX],
        DataType::UINT32 => [0, u32::MAX.into()],
        DataType::UINT16 => [0, u16::MAX.into()],
        DataType::UINT8 => [0, u8::MAX.into()],
        _ => return None,
    })
}

/// Bytes of `count` elements in raw data.
fn byte_count(count: usize, ty: DataType) -> Option<usize> {
    let width = match ty {
        DataType::DOUBLE | DataType::INT64 | DataType::UINT64 => 8,
        DataType::FLOAT | DataType::INT32 | DataType::UINT32 => 4,
        DataType::FLOAT16 | DataType::BFLOAT16 | DataType::INT16 | DataType::UINT16 => 2,
        _ => 1,
    };
    count.checked_mul(width)
}

fn unsupported(ty: DataType) -> String {
    format!("elements of type {ty:?} are not supported; store weights as FLOAT and shapes as INT64")
}

fn from_raw(raw: &[u8], ty: DataType) -> Result<Elements, String> {
    fn each<const W: usize, T, C: FromIterator<T>>(raw: &[u8], f: impl Fn([u8; W]) -> T) -> C {
        raw.as_chunks::<W>().0.iter().map(|&bytes| f(bytes)).collect()
    }
    Ok(match ty {
        DataType::FLOAT => Elements::Float(each(raw, f32::from_le_bytes)),
        DataType::DOUBLE => Elements::Float(each(raw, |b| f64::from_le_bytes(b) as f32)),
        DataType::FLOAT16 => Elements::Float(each(raw, |b| from_half(u16::from_le_bytes(b)))),
        DataType::BFLOAT16 => Elements::Float(each(raw, |b| from_bfloat(u16::from_le_bytes(b)))),
        DataType::INT64 => Elements::Int(each(raw, i64::from_le_bytes)),
        DataType::INT32 => Elements::Int(each(raw, |b| i32::from_le_bytes(b).into())),
        DataType::INT16 => Elements::Int(each(raw, |b| i16::from_le_bytes(b).into())),
        DataType::INT8 => Elements::Int(each(raw, |b| i8::from_le_bytes(b).into())),
        DataType::UINT64 => {
            let values: Vec<u64> = each(raw, u64::from_le_bytes);
            Elements::Int(signed(&values)?)
        }
        DataType::UINT32 => Elements::Int(each(raw, |b| u32::from_le_bytes(b).into())),
        DataType::UINT16 => Elements::Int(each(raw, |b| u16::from_le_bytes(b).into())),
        DataType::UINT8 => Elements::Int(each(raw, |[b]: [u8; 1]| b.into())),
        DataType::BOOL => Elements::Int(each(raw, |[b]: [u8; 1]| i64::from(b != 0))),
        other => return Err(unsupported(other)),
    })
}

/// Each type's own field of `TensorProto`; small types share the field of 32-bit integers.
fn from_fields(proto: &TensorProto, ty: DataType) -> Result<Elements, String> {
    let small = &proto.int32_data;
    // Bit patterns of 16-bit floats; higher bits are to be zero.
    let halves = |f: fn(u16) -> f32| Elements::Float(small.iter().map(|&v| f(v as u16)).collect());
    Ok(match ty {
        DataType::FLOAT => Elements::Float(proto.float_data.as_slice().into()),
        DataType::DOUBLE => Elements::Float(proto.double_data.iter().map(|&v| v as f32).collect()),
        DataType::FLOAT16 => halves(from_half),
        DataType::BFLOAT16 => halves(from_bfloat),
        DataType::INT64 => Elements::Int(proto.int64_data.clone()),
        DataType::UINT64 | DataType::UINT32 => Elements::Int(signed(&proto.uint64_data)?),
        DataType::INT32 | DataType::INT16 | DataType::INT8 | DataType::UINT16 | DataType::UINT8 => {
            Elements::Int(small.iter().map(|&v| v.into()).collect())
        }
        DataType::BOOL => Elements::Int(small.iter().map(|&v| i64::from(v != 0)).collect()),
        other => return Err(unsupported(other)),
    })
}

fn signed(values: &[u64]) -> Result<Vec<i64>, String> {
    let values: Result<Vec<i64>, _> = values.iter().map(|&v| i64::try_from(v)).collect();
    values.map_err(|_| "an unsigned integer is beyond 2^63".into())
}

/// IEEE 754 binary16.
fn from_half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    sign * magnitude
}

/// The upper half of a binary32.
fn from_bfloat(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(proto: &TensorProto) -> Result<Literal, String> {
        TensorReader { directory: None }.read(proto, "t").map_err(|e| e.to_string())
    }

    fn proto(ty: DataType, dims: &[i64]) -> TensorProto {
        TensorProto { data_type: ty as i32, dims: dims.to_vec(), ..Default::default() }
    }

    #[test]
    fn half_precision_values() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
            (0x8000, -0.0),
            (0x3555, 0.333_251_95),
        ];
        for (bits, value) in cases {
            assert_eq!(from_half(bits).to_bits(), f32::to_bits(value), "{bits:#x}");
        }
        assert!(from_half(0x7e00).is_nan());
        assert_eq!(from_bfloat(0xc049), -3.140_625);
    }

    #[test]
    fn raw_and_typed_data_agree() {
        let floats = |literal: Literal| literal.as_tensor().unwrap().data().to_vec();
        let mut typed = proto(DataType::FLOAT, &[2]);
        typed.float_data = vec![1.5, -2.0];
        let mut raw = proto(DataType::FLOAT, &[2]);
        raw.raw_data = [1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut double = proto(DataType::DOUBLE, &[2]);
        double.raw_data = [1.5f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut half = proto(DataType::FLOAT16, &[2]);
        half.int32_data = vec![0x3e00, 0xc000];
        for proto in [typed, raw, double, half] {
            assert_eq!(floats(read(&proto).unwrap()), [1.5, -2.0]);
        }
        let mut long = proto(DataType::INT64, &[1, 2]);
        long.raw_data = [7i64, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read(&long).unwrap().as_ints(), Some(&[7, -1][..]));
        let mut bytes = proto(DataType::INT8, &[3]);
        bytes.raw_data = vec![1, 0xff, 0x80];
        assert_eq!(read(&bytes).unwrap().as_ints(), Some(&[1, -1, -128][..]));
        let mut flags = proto(DataType::BOOL, &[2]);
        flags.raw_data = vec![0, 1];
        assert_eq!(read(&flags).unwrap().as_ints(), Some(&[0, 1][..]));
        let mut scalar = proto(DataType::UINT64, &[]);
        scalar.uint64_data = vec![u64::MAX];
        assert!(read(&scalar).unwrap_err().contains("2^63"));
    }

    #[test]
    fn shapes_are_checked_against_data_before_anything_is_allocated() {
        let mut huge = proto(DataType::FLOAT, &[1 << 40, 1 << 40]);
        assert!(read(&huge).unwrap_err().contains("too large"));
        huge.dims = vec![1 << 62];
        assert!(read(&huge).unwrap_err().contains("too large"));
        huge.dims = vec![1 << 40];
        assert!(read(&huge).unwrap_err().contains("0 are stored"));
        huge.raw_data = vec![0; 7];
        assert!(read(&huge).unwrap_err().contains("7 are stored"));
        huge.dims = vec![-1];
        assert!(read(&huge).unwrap_err().contains("negative"));
        huge.data_type = 99;
        assert!(read(&proto(DataType::STRING, &[0])).unwrap_err().contains("STRING"));
    }

    #[test]
    fn external_data_stay_in_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("model");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(folder.path().join("secret"), [0; 64]).unwrap();
        let data: Vec<u8> = (0..4).flat_map(|i| (i as f32).to_le_bytes()).collect();
        std::fs::write(inside.join("weights.bin"), &data).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path().join("secret"), inside.join("link")).unwrap();
        let reader = TensorReader { directory: Some(inside) };
        let read = |entries: &[(&str, &str)]| {
            let mut proto = proto(DataType::FLOAT, &[2]);
            proto.data_location = DataLocation::EXTERNAL.into();
            for (key, value) in entries {
                let mut entry = onnx_protobuf::StringStringEntryProto::new();
                (entry.key, entry.value) = (key.to_string(), value.to_string());
                proto.external_data.push(entry);
            }
            reader.read(&proto, "w").map_err(|e| e.to_string())
        };
        let good = read(&[("location", "weights.bin"), ("offset", "4"), ("length", "8")]).unwrap();
        assert_eq!(good.as_tensor().unwrap().data(), [1.0, 2.0]);
        let absolute = folder.path().join("secret");
        for location in ["../secret", absolute.to_str().unwrap(), "link", "", "."] {
            assert!(read(&[("location", location)]).is_err(), "{location}");
        }
        let beyond = read(&[("location", "weights.bin"), ("offset", "12")]).unwrap_err();
        assert!(beyond.contains("8 bytes at 12 are wanted of 16"), "{beyond}");
        let overflow = read(&[("location", "weights.bin"), ("offset", "18446744073709551615")]);
        assert!(overflow.is_err());
        assert!(read(&[("location", "weights.bin"), ("length", "4")]).unwrap_err().contains("claim 4"));
        assert!(read(&[("location", "weights.bin"), ("offset", "x")]).unwrap_err().contains("bad offset"));
        assert!(read(&[("location", "none.bin")]).is_err());
        assert!(read(&[]).unwrap_err().contains("without a location"));
    }
}
