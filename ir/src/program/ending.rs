//! What is left of a network to whoever decrypts: a softmax over a list of classes, say, which
//! under encryption would cost levels and precision and which tells a client no more.

use super::affine::Affine;
use crate::attr::{AsAttr, Attr, AttrError, Fields};
use crate::record_attr;

/// The last step of a network, over the elements of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Ending {
    /// Nothing is left to do.
    #[default]
    Nothing,
    /// `exp(x) / sum exp(x)`, the sum over one of these lists; then this becomes of each number.
    Softmax(Lists, Affine),
    /// `x - log sum exp(x)`, likewise.
    LogSoftmax(Lists, Affine),
    /// The place of the largest number of each of these lists is what the network names. The
    /// numbers themselves stay as they are: they say how sure it is, too.
    ArgMax(Lists),
}

/// Which elements of an output are a list of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lists {
    /// All of them.
    #[default]
    One,
    /// Those along one dimension of a tensor, for every place in the others.
    Along(Dimension),
}

/// One dimension of a tensor whose elements are row-major, whatever the others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// How many elements lie along it, at least 1.
    pub length: usize,
    /// How far apart they are, at least 1: elements in the dimensions after it.
    pub stride: usize,
}

record_attr!(Dimension { length, stride });

impl Dimension {
    /// Dimension `axis` of a tensor of `shape`.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(shape: &[usize], axis: usize) -> Self {
        Dimension { length: shape[axis], stride: shape[axis + 1..].iter().product() }
    }

    /// Which dimension of `shape` this is, if it is one.
    pub fn axis_in(self, shape: &[usize]) -> Option<usize> {
        (0..shape.len()).find(|&axis| Dimension::of(shape, axis) == self)
    }

    fn fits(self, elements: usize) -> bool {
        let block = self.length.checked_mul(self.stride);
        block.is_some_and(|block| block > 0 && elements.is_multiple_of(block))
    }
}

impl Lists {
    /// Those along dimension `axis` of a tensor of `shape`.
    ///
    /// # Panics
    /// If there is no such dimension.
    pub fn along(shape: &[usize], axis: usize) -> Self {
        let one = shape.iter().enumerate().all(|(other, &length)| other == axis || length == 1);
        if one { Lists::One } else { Lists::Along(Dimension::of(shape, axis)) }
    }

    /// `f` of every list in place of the list. Elements that are in no whole list stay.
    fn map(self, elements: &[f64], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
        let dimension = match self {
            Lists::Along(dimension) if dimension.fits(elements.len()) => dimension,
            Lists::Along(_) => return elements.to_vec(),
            Lists::One => return f(elements),
        };
        let Dimension { length, stride } = dimension;
        let mut result = elements.to_vec();
        for block in result.chunks_exact_mut(length * stride) {
            for first in 0..stride {
                let list: Vec<f64> = block[first..].iter().step_by(stride).copied().collect();
                for (place, number) in block[first..].iter_mut().step_by(stride).zip(f(&list)) {
                    *place = number;
                }
            }
        }
        result
    }
}

impl Ending {
    /// Its name in the text form and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Nothing => "nothing",
            Ending::Softmax(..) => "softmax",
            Ending::LogSoftmax(..) => "log_softmax",
            Ending::ArgMax(_) => "arg_max",
        }
    }

    /// The one of this name, over these lists, with this done to each number then.
    pub fn named(name: &str, lists: Lists, then: Affine) -> Option<Self> {
        let all = [
            Ending::Nothing,
            Ending::Softmax(lists, then),
            Ending::LogSoftmax(lists, then),
            Ending::ArgMax(lists),
        ];
        all.into_iter().find(|ending| ending.name() == name)
    }

    /// The dimension along which its numbers are classes of one place each, if there is one.
    pub fn classes_of_places(self) -> Option<Dimension> {
        match self.lists() {
            Lists::One => None,
            Lists::Along(dimension) => Some(dimension),
        }
    }

    /// What it runs over.
    pub fn lists(self) -> Lists {
        match self {
            Ending::Nothing => Lists::One,
            Ending::Softmax(lists, _) | Ending::LogSoftmax(lists, _) | Ending::ArgMax(lists) => lists,
        }
    }

    /// What becomes of each number at the very end.
    pub fn then(self) -> Affine {
        match self {
            Ending::Nothing | Ending::ArgMax(_) => Affine::IDENTITY,
            Ending::Softmax(_, then) | Ending::LogSoftmax(_, then) => then,
        }
    }

    /// Errs unless an output of this many elements holds its lists, and the largest number of a
    /// list stays the largest.
    pub fn check(self, elements: usize) -> Result<(), String> {
        if let Lists::Along(dimension) = self.lists()
            && !dimension.fits(elements)
        {
            let Dimension { length, stride } = dimension;
            return Err(format!(
                "its {} is over {length} elements, {stride} apart, of {elements}",
                self.name()
            ));
        }
        match self.then() {
            then if then.keeps_order() => Ok(()),
            Affine { scale, offset } => {
                Err(format!("its {} is scaled by {scale}, plus {offset}", self.name()))
            }
        }
    }

    /// Bound on the error of its result over that of its elements: derivatives of a softmax by one
    /// element add up to `2 p (1 - p)`, those of its logarithm to `2 (1 - p)`.
    pub fn gain(self) -> f64 {
        let gain = match self {
            Ending::Nothing | Ending::ArgMax(_) => 1.0,
            Ending::Softmax(..) => 0.5,
            Ending::LogSoftmax(..) => 2.0,
        };
        gain * self.then().scale
    }

    /// Does it to the elements of one image, row-major.
    pub fn finish(self, elements: &[f64]) -> Vec<f64> {
        let (lists, of_list, then): (_, fn(&[f64]) -> Vec<f64>, _) = match self {
            Ending::Nothing | Ending::ArgMax(_) => return elements.to_vec(),
            Ending::Softmax(lists, then) => (lists, softmax, then),
            Ending::LogSoftmax(lists, then) => (lists, log_softmax, then),
        };
        lists.map(elements, of_list).into_iter().map(|number| then.apply(number)).collect()
    }
}

/// The largest element, and the sum of the exponentials of what others lack of it.
fn largest_and_sum(list: &[f64]) -> (f64, f64) {
    let largest = list.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (largest, list.iter().map(|x| (x - largest).exp()).sum())
}

fn softmax(list: &[f64]) -> Vec<f64> {
    let (largest, sum) = largest_and_sum(list);
    list.iter().map(|x| (x - largest).exp() / sum).collect()
}

fn log_softmax(list: &[f64]) -> Vec<f64> {
    let (largest, sum) = largest_and_sum(list);
    list.iter().map(|x| x - largest - sum.ln()).collect()
}

/// A word where it runs over all elements and nothing becomes of the numbers; otherwise
/// `{ending=softmax, along={length=2, stride=144}, then={scale=256.0, offset=-128.0}}`, one of the
/// last two left out where it says nothing.
impl AsAttr for Ending {
    fn to_attr(&self) -> Option<Attr> {
        let along = match self.lists() {
            Lists::One => None,
            Lists::Along(dimension) => Some(dimension),
        };
        let then = Some(self.then()).filter(|then| *then != Affine::IDENTITY);
        let word = Attr::Word(self.name().into());
        if along.is_none() && then.is_none() {
            return Some(word);
        }
        let fields = [("ending", Some(word)), ("along", along.to_attr()), ("then", then.to_attr())];
        let fields = fields.into_iter().filter_map(|(name, attr)| Some((name.to_string(), attr?)));
        Some(Attr::Record(fields.collect()))
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        let attr = attr.ok_or_else(|| AttrError("the field is missing".into()))?;
        let (name, along, then) = match attr {
            Attr::Word(name) => (name, None, None),
            Attr::Record(fields) => match &fields[..] {
                [(ending, Attr::Word(name)), rest @ ..] if ending == "ending" => {
                    let mut rest = Fields::new(rest);
                    let (along, then) = (rest.take("along")?, rest.take("then")?);
                    rest.finish()?;
                    (name, along, then)
                }
                _ => return Err(AttrError::expected("the ending of a network", attr)),
            },
            _ => return Err(AttrError::expected("the ending of a network", attr)),
        };
        let known = Ending::named(name, along.map_or(Lists::One, Lists::Along), then.unwrap_or_default());
        known.ok_or_else(|| AttrError::expected("the ending of a network", attr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Ending; 4] = [
        Ending::Nothing,
        Ending::Softmax(Lists::One, Affine::IDENTITY),
        Ending::LogSoftmax(Lists::One, Affine::IDENTITY),
        Ending::ArgMax(Lists::One),
    ];

    #[test]
    fn endings_are_those_of_networks() {
        let x = [1.0, 3.0, 2.0];
        let e = [1f64, 3.0, 2.0].map(f64::exp);
        let sum: f64 = e.iter().sum();
        let close = |found: Vec<f64>, expected: [f64; 3]| {
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15)
        };
        let [nothing, softmax, log_softmax, arg_max] = ALL;
        assert_eq!((nothing.finish(&x), arg_max.finish(&x)), (x.to_vec(), x.to_vec()));
        assert!(close(softmax.finish(&x), e.map(|e| e / sum)));
        assert!(close(log_softmax.finish(&x), e.map(|e| (e / sum).ln())));
        // Large numbers are no infinities.
        assert_eq!(softmax.finish(&[1000.0, -1000.0]), [1.0, 0.0]);
        assert_eq!(log_softmax.finish(&[1000.0, 0.0]), [0.0, -1000.0]);
        for ending in ALL {
            assert_eq!(Ending::from_attr(ending.to_attr().as_ref()), Ok(ending));
            assert_eq!(ending.finish(&x).len(), 3);
            assert!(ending.finish(&[]).is_empty());
        }
    }

    #[test]
    fn lists_along_a_dimension_end_one_by_one() {
        // A map of 2 x 3 places with 2 classes each, before and after the places.
        let lists = Lists::along(&[1, 2, 2, 3], 1);
        assert_eq!(lists, Lists::Along(Dimension { length: 2, stride: 6 }));
        let first: Vec<f64> = (0..12).map(|i| f64::from(i * i % 7)).collect();
        let last: Vec<f64> = (0..12).map(|i| first[i % 2 * 6 + i / 2]).collect();
        for ending in [Ending::Softmax, Ending::LogSoftmax] {
            let end = |lists| ending(lists, Affine::IDENTITY);
            let found = end(lists).finish(&first);
            let other = end(Lists::along(&[1, 2, 3, 2], 3)).finish(&last);
            for place in 0..6 {
                let alone = end(Lists::One).finish(&[first[place], first[6 + place]]);
                assert_eq!([found[place], found[6 + place]], alone[..], "{place}");
                assert_eq!(other[2 * place..][..2], alone[..], "{place}");
            }
            let attr = end(lists).to_attr();
            assert_eq!(Ending::from_attr(attr.as_ref()), Ok(end(lists)));
        }
        let named = Ending::ArgMax(lists);
        assert_eq!((named.finish(&first), named.gain()), (first.clone(), 1.0));
        assert_eq!(Ending::from_attr(named.to_attr().as_ref()), Ok(named));
        assert_eq!(named.classes_of_places(), Some(Dimension { length: 2, stride: 6 }));
        assert_eq!(Lists::along(&[1, 1, 12, 1], 2), Lists::One);
        let dimension = Dimension::of(&[1, 2, 2, 3], 1);
        assert_eq!((dimension.axis_in(&[2, 6]), dimension.axis_in(&[4, 3])), (Some(0), None));
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let along =
            |length, stride| Ending::Softmax(Lists::Along(Dimension { length, stride }), Affine::IDENTITY);
        assert!(along(2, 6).check(24).is_ok() && ALL.iter().all(|ending| ending.check(7).is_ok()));
        for wrong in [along(0, 6), along(2, 0), along(2, 5), along(usize::MAX, 2), along(24, 2)] {
            assert!(wrong.check(24).unwrap_err().contains("softmax"), "{wrong:?}");
            assert_eq!(wrong.finish(&[1.0, 2.0, 3.0]).len(), 3);
        }
        let word = ("ending".to_string(), Attr::Word("softmax".into()));
        for more in ["along", "then", "ending"] {
            let attr = Attr::Record(vec![word.clone(), (more.into(), Attr::Int(2))]);
            assert!(Ending::from_attr(Some(&attr)).is_err(), "{more}");
        }
    }

    #[test]
    fn numbers_become_codes_at_the_very_end() {
        let then = Affine { scale: 256.0, offset: -128.0 };
        let lists = Lists::along(&[1, 2, 3], 1);
        for ending in [Ending::Softmax, Ending::LogSoftmax] {
            for lists in [Lists::One, lists] {
                let (plain, codes) = (ending(lists, Affine::IDENTITY), ending(lists, then));
                let x = [1.0, 3.0, 2.0, -1.0, 0.0, 0.5];
                let expected: Vec<f64> = plain.finish(&x).iter().map(|p| 256.0 * p - 128.0).collect();
                assert_eq!(codes.finish(&x), expected);
                assert_eq!(codes.gain(), 256.0 * plain.gain());
                assert_eq!(Ending::from_attr(codes.to_attr().as_ref()), Ok(codes));
                codes.check(6).unwrap();
            }
            let falling = ending(Lists::One, Affine { scale: -256.0, offset: 0.0 });
            assert!(falling.check(6).unwrap_err().contains("scaled by -256"), "{falling:?}");
        }
    }
}
