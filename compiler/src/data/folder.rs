//! A folder of PNG and JPEG pictures, in the order of their names; or of folders of them, one per
//! class, as training code has them.
//!
//! A class is where its folder's name is among the names of the network's classes; where these are
//! not known, among the folders in order, as torchvision does it. Files with other endings, and
//! what is hidden, are left alone.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Dataset, MAX_BYTES, Problem, Samples, Wanted, picture, read_file};

/// Endings of the files that are read.
const PICTURES: [&str; 3] = ["png", "jpg", "jpeg"];

pub(super) fn read(path: &Path, wanted: &Wanted<'_>) -> Result<Dataset, Problem> {
    let Listing { pictures, folders } = list(path)?;
    let mut images = Images { wanted, pixels: Vec::new() };
    if !pictures.is_empty() || folders.is_empty() {
        pictures.iter().try_for_each(|picture| images.add(picture))?;
        return Dataset::new(wanted.shape, Samples::Pixels(images.pixels), None);
    }
    let mut labels = Vec::new();
    for (index, folder) in folders.iter().enumerate() {
        let class = class(folder, index, wanted.preprocess.classes())?;
        for picture in list(folder)?.pictures {
            images.add(&picture)?;
            labels.push(class);
        }
    }
    Dataset::new(wanted.shape, Samples::Pixels(images.pixels), Some(labels))
}

/// What a folder holds, by name.
struct Listing {
    pictures: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

fn list(path: &Path) -> Result<Listing, Problem> {
    let mut listing = Listing { pictures: Vec::new(), folders: Vec::new() };
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if hidden {
            continue;
        } else if path.is_dir() {
            listing.folders.push(path);
        } else if ending.is_some_and(|ending| PICTURES.contains(&ending.as_str())) {
            listing.pictures.push(path);
        }
    }
    listing.pictures.sort();
    listing.folders.sort();
    Ok(listing)
}

fn class(folder: &Path, index: usize, classes: &[String]) -> Result<u32, Problem> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let index =
        if classes.is_empty() { Some(index) } else { classes.iter().position(|class| *class == name) };
    index.and_then(|index| u32::try_from(index).ok()).ok_or(Problem::ClassFolder { name })
}

/// Pictures so far.
struct Images<'a> {
    wanted: &'a Wanted<'a>,
    pixels: Vec<u8>,
}

impl Images<'_> {
    fn add(&mut self, path: &Path) -> Result<(), Problem> {
        let Wanted { shape, preprocess } = *self.wanted;
        let pixels =
            read_file(path).and_then(|bytes| picture::pixels(&bytes, shape, preprocess.picture_fit()));
        let pixels =
            pixels.map_err(|problem| Problem::File { path: path.into(), problem: Box::new(problem) })?;
        if (self.pixels.len() + pixels.len()) as u64 > MAX_BYTES {
            return Err(Problem::TooLarge { limit: MAX_BYTES });
        }
        self.pixels.extend(pixels);
        Ok(())
    }
}
