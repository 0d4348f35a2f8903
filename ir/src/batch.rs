//! Several images in one run of a program.
//!
//! | images share | how | what it is for |
//! |---|---|---|
//! | the channels of every tensor | image after image, `[images * C, H, W]` in one layout; convolutions have a group per image | a few images of a deep network: tensors that leave slots free are merged, so that they share bootstraps |
//! | the copies of every layout | image `i` is what the layout calls copy `i` | thousands of images of a shallow network: with one pixel per ciphertext no slot ever meets another |
//!
//! Elements are listed image by image, each row-major `(c, y, x)`.

use thiserror::Error;

use crate::attr::AttrError;
use crate::fact::BATCH;
use crate::func::{Func, Stage};
use crate::interp::Bundle;
use crate::layout::Layout;
use crate::record_attr;

/// How many images a run takes, and how they share its ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Images of one run: at least 1.
    pub images: usize,
    /// Whether they are in the copies of layouts and not in the channels of tensors.
    pub in_copies: bool,
}

record_attr!(Batch { images, in_copies });

/// Why a program's batch makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum BatchError {
    #[error(transparent)]
    Fact(#[from] AttrError),
    #[error("a batch of no image")]
    Empty,
    #[error("{images} images do not fit {what}")]
    Misfit { images: usize, what: String },
}

impl Batch {
    /// One image.
    pub const SINGLE: Batch = Batch { images: 1, in_copies: false };

    /// What `func` says.
    pub fn of_program<S: Stage>(func: &Func<S>) -> Result<Batch, BatchError> {
        let batch = func.fact(BATCH)?.unwrap_or(Batch::SINGLE);
        if batch.images == 0 {
            return Err(BatchError::Empty);
        }
        Ok(batch)
    }

    /// Writes it into `func`.
    pub fn set_in_program<S: Stage>(self, func: &mut Func<S>) {
        func.set_fact(BATCH, &Some(self).filter(|batch| *batch != Batch::SINGLE));
    }

    /// Elements that one image has in a valid `layout`.
    pub fn elements_per_image(&self, layout: &Layout) -> Result<usize, BatchError> {
        let misfit = |what| Err(BatchError::Misfit { images: self.images, what });
        let elements = layout.elements();
        if self.in_copies {
            let copies = layout.slots / layout.period;
            return if self.images <= copies { Ok(elements) } else { misfit(format!("{copies} copies")) };
        }
        let channels = layout.shape[0];
        if channels.is_multiple_of(self.images) {
            Ok(elements / self.images)
        } else {
            misfit(format!("{channels} channels"))
        }
    }

    /// Puts the elements of up to [`Batch::images`] images into vectors. Where images are missing
    /// there is zero.
    ///
    /// # Errors
    /// If the layout is not one of such a batch, or `elements` are not whole images or too many.
    pub fn pack(&self, layout: &Layout, elements: &[f64]) -> Result<Bundle, BatchError> {
        let each = self.elements_per_image(layout)?;
        if !elements.len().is_multiple_of(each) || elements.len() > self.images * each {
            let what = format!("{} elements of {each} per image", elements.len());
            return Err(BatchError::Misfit { images: self.images, what });
        }
        if !self.in_copies {
            let mut all = elements.to_vec();
            all.resize(layout.elements(), 0.0);
            return Ok(layout.pack(&all));
        }
        let mut vectors = vec![vec![0.0; layout.slots]; layout.vectors()];
        for (copy, image) in elements.chunks_exact(each).enumerate() {
            for (place, &element) in layout.places().zip(image) {
                vectors[place.vector][copy * layout.period + place.slot] = element;
            }
        }
        Ok(vectors)
    }

    /// Reads the elements of all images.
    ///
    /// # Errors
    /// If the layout is not one of such a batch.
    ///
    /// # Panics
    /// If vectors are missing or too short.
    pub fn unpack(&self, layout: &Layout, vectors: &[Vec<f64>]) -> Result<Vec<f64>, BatchError> {
        self.elements_per_image(layout)?;
        if !self.in_copies {
            return Ok(layout.unpack(vectors));
        }
        let image = |copy: usize| {
            layout.places().map(move |place| vectors[place.vector][copy * layout.period + place.slot])
        };
        Ok((0..self.images).flat_map(image).collect())
    }

    /// What `vectors` hold if nothing is in them but the images they are read as: `spare` where no
    /// element is, the same in all copies that no image takes (they compute the answer of an image
    /// of zeros).
    ///
    /// # Errors
    /// If the layout is not one of such a batch.
    ///
    /// # Panics
    /// If vectors are missing or too short.
    pub fn repacked(&self, layout: &Layout, vectors: &[Vec<f64>], spare: f64) -> Result<Bundle, BatchError> {
        let elements = self.unpack(layout, vectors)?;
        let mut packed = self.pack(layout, &elements)?;
        if spare != 0.0 {
            let taken = self.pack(layout, &vec![1.0; elements.len()])?;
            let slots = packed.iter_mut().flatten().zip(taken.iter().flatten());
            slots.filter(|(_, taken)| **taken == 0.0).for_each(|(slot, _)| *slot = spare);
        }
        let (unused, period) = (self.images * layout.period, layout.period);
        if self.in_copies && unused < layout.slots {
            for (packed, vector) in packed.iter_mut().zip(vectors) {
                let copies = packed[unused..].chunks_exact_mut(period);
                copies.for_each(|copy| copy.copy_from_slice(&vector[unused..][..period]));
            }
        }
        Ok(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Packed;

    fn elements(count: usize) -> Vec<f64> {
        (1..=count).map(|x| x as f64).collect()
    }

    #[test]
    fn images_in_channels_are_a_longer_tensor() {
        let layout = Layout::dense([6, 2, 2], 64);
        let batch = Batch { images: 3, in_copies: false };
        let all = elements(24);
        let vectors = batch.pack(&layout, &all).unwrap();
        assert_eq!(vectors, layout.pack(&all));
        assert_eq!(batch.unpack(&layout, &vectors).unwrap(), all);
        // Two of three: the third is zero.
        let two = batch.unpack(&layout, &batch.pack(&layout, &all[..16]).unwrap()).unwrap();
        assert_eq!((&two[..16], &two[16..]), (&all[..16], &[0.0; 8][..]));
    }

    #[test]
    fn images_in_copies_have_slots_of_their_own() {
        let layout = Layout { period: 2, ..Layout::dense([1, 2, 3], 8) };
        let batch = Batch { images: 4, in_copies: true };
        let all = elements(24);
        let vectors = batch.pack(&layout, &all).unwrap();
        // The line of an image is cut into pairs: vector 1 has elements 2 and 3 of every image.
        assert_eq!(vectors[1], [3.0, 4.0, 9.0, 10.0, 15.0, 16.0, 21.0, 22.0]);
        assert_eq!(batch.unpack(&layout, &vectors).unwrap(), all);
    }

    #[test]
    fn what_is_beside_the_images_shows() {
        let layout = Layout { period: 1, ..Layout::dense([2, 1, 1], 8) };
        let batch = Batch { images: 3, in_copies: true };
        let mut vectors = batch.pack(&layout, &elements(6)).unwrap();
        vectors.iter_mut().for_each(|vector| vector[3..].fill(0.25));
        assert_eq!(batch.repacked(&layout, &vectors, 0.0).unwrap(), vectors);
        vectors[1][6] = 0.5;
        assert_ne!(batch.repacked(&layout, &vectors, 0.0).unwrap(), vectors);
        let layout = Layout::dense([3, 1, 1], 8);
        let mut vectors = Batch::SINGLE.pack(&layout, &elements(3)).unwrap();
        assert_eq!(Batch::SINGLE.repacked(&layout, &vectors, 0.0).unwrap(), vectors);
        vectors[0][3] = 1.0;
        assert_ne!(Batch::SINGLE.repacked(&layout, &vectors, 0.0).unwrap(), vectors);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let layout = Layout::dense([5, 1, 1], 64);
        let refused = |batch: Batch, count: usize| batch.pack(&layout, &elements(count)).is_err();
        assert!(refused(Batch { images: 2, in_copies: false }, 5));
        assert!(refused(Batch { images: 9, in_copies: true }, 5));
        assert!(refused(Batch::SINGLE, 4) && refused(Batch::SINGLE, 10));
        assert!(refused(Batch { images: 8, in_copies: true }, 45));
    }

    #[test]
    fn programs_say_it_only_where_there_are_several() {
        let mut func = Func::<Packed>::new("f".to_string());
        Batch::SINGLE.set_in_program(&mut func);
        assert!(func.meta.is_empty());
        let batch = Batch { images: 4, in_copies: true };
        batch.set_in_program(&mut func);
        assert_eq!(Batch::of_program(&func).unwrap(), batch);
        Batch { images: 0, in_copies: false }.set_in_program(&mut func);
        assert_eq!(Batch::of_program(&func), Err(BatchError::Empty));
    }
}
