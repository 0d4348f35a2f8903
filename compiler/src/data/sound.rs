//! One WAV, as one series of numbers from -1 to 1 per channel.

use std::io::Cursor;

use hound::{SampleFormat, WavReader};

use super::{Dataset, ImageShape, Problem, Samples};

pub(super) fn read(bytes: &[u8], expected: ImageShape) -> Result<Dataset, Problem> {
    let damaged = |error: hound::Error| Problem::Sound { reason: error.to_string() };
    let mut reader = WavReader::new(Cursor::new(bytes)).map_err(damaged)?;
    let spec = reader.spec();
    let channels = usize::from(spec.channels);
    // What the header says is compared before any sample is read.
    let found = vec![channels, reader.duration() as usize];
    let samples: usize = expected.iter().product();
    let fits = samples == reader.len() as usize && (expected[0] == channels || channels == 1);
    if !fits {
        return Err(Problem::Shape { found, expected });
    }
    let interleaved: Result<Vec<f32>, _> = match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().collect(),
        SampleFormat::Int => {
            let largest = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
            reader.samples::<i32>().map(|x| x.map(|x| (f64::from(x) / largest) as f32)).collect()
        }
    };
    let interleaved = interleaved.map_err(damaged)?;
    if let Some(position) = interleaved.iter().position(|x| !x.is_finite()) {
        return Err(Problem::NotFinite { image: 0, position, value: f64::from(interleaved[position]) });
    }
    let series = |c: usize| interleaved.iter().skip(c).step_by(channels.max(1)).copied();
    Dataset::new(expected, Samples::Values((0..channels).flat_map(series).collect()), None)
}
