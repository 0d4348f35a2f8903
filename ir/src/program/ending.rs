//! What is left of a network to whoever decrypts: a softmax over a list of classes, say, which
//! under encryption would cost levels and precision and which tells a client no more.

use serde::{Deserialize, Serialize};

use crate::attr::{AsAttr, Attr, AttrError};

/// The last step of a network, over all elements of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Nothing is left to do.
    #[default]
    Nothing,
    /// `exp(x) / sum exp(x)`.
    Softmax,
    /// `x - log sum exp(x)`.
    LogSoftmax,
}

impl Ending {
    /// All of them.
    pub const ALL: [Ending; 3] = [Ending::Nothing, Ending::Softmax, Ending::LogSoftmax];

    /// Its name in the text form and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Nothing => "nothing",
            Ending::Softmax => "softmax",
            Ending::LogSoftmax => "log_softmax",
        }
    }

    /// Bound on the error of its result over that of its elements: derivatives of a softmax by one
    /// element add up to `2 p (1 - p)`, those of its logarithm to `2 (1 - p)`.
    pub fn gain(self) -> f64 {
        match self {
            Ending::Nothing => 1.0,
            Ending::Softmax => 0.5,
            Ending::LogSoftmax => 2.0,
        }
    }

    /// Does it to the elements of one image.
    pub fn finish(self, elements: &[f64]) -> Vec<f64> {
        let largest = elements.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = || elements.iter().map(|x| (x - largest).exp()).sum::<f64>();
        match self {
            Ending::Nothing => elements.to_vec(),
            Ending::Softmax => {
                let sum = sum();
                elements.iter().map(|x| (x - largest).exp() / sum).collect()
            }
            Ending::LogSoftmax => {
                let log = sum().ln();
                elements.iter().map(|x| x - largest - log).collect()
            }
        }
    }
}

impl AsAttr for Ending {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Word(self.name().into()))
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        let attr = attr.ok_or_else(|| AttrError("the field is missing".into()))?;
        let known = Ending::ALL.into_iter().find(|ending| *attr == Attr::Word(ending.name().into()));
        known.ok_or_else(|| AttrError::expected("the ending of a network", attr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_those_of_networks() {
        let x = [1.0, 3.0, 2.0];
        let e = [1f64, 3.0, 2.0].map(f64::exp);
        let sum: f64 = e.iter().sum();
        let close = |found: Vec<f64>, expected: [f64; 3]| {
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15)
        };
        assert_eq!(Ending::Nothing.finish(&x), x);
        assert!(close(Ending::Softmax.finish(&x), e.map(|e| e / sum)));
        assert!(close(Ending::LogSoftmax.finish(&x), e.map(|e| (e / sum).ln())));
        // Large numbers are no infinities.
        assert_eq!(Ending::Softmax.finish(&[1000.0, -1000.0]), [1.0, 0.0]);
        assert_eq!(Ending::LogSoftmax.finish(&[1000.0, 0.0]), [0.0, -1000.0]);
        for ending in Ending::ALL {
            assert_eq!(Ending::from_attr(ending.to_attr().as_ref()), Ok(ending));
            assert_eq!(ending.finish(&x).len(), 3);
            assert!(ending.finish(&[]).is_empty());
        }
    }
}
