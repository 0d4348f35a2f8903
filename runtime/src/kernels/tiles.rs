//! Basis conversions between two transforms.
//!
//! A conversion reads the coefficients of all its sources, gives those of one target prime after
//! the other, and each of these is transformed. The coefficients lie in *tiles*,
//! `[tile][row][source][column]`: the rows are the streams of the transform's first pass, and a
//! tile has so many of their columns that up to a dozen sources stay in the first cache. The
//! inverse transforms write tiles in their last pass; the conversion reads each tile once for all
//! targets, one stream from memory, and a target's first pass follows while the converted tile is
//! in the first cache.

use std::marker::PhantomData;

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::isa::Kind;
use super::{Isa, MAX_LOG_N, MIN_LOG_N, NttTable, basis_convert, debug_assert_canonical};

/// The most elements that one source has in a tile.
const MAX_BLOCK: usize = 2048;

/// How the sources of a conversion lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    log_n: u32,
    pub(super) sources: usize,
    pub(super) columns: usize,
}

impl Tiles {
    /// The columns of a tile are a multiple of so many.
    pub(super) const COLUMNS: usize = 32;

    /// Tiles of `sources` polynomials of degree `2^log_n`.
    ///
    /// *Panics* without sources, with more than 2^32, or if the degree has no transform.
    pub fn new(log_n: u32, sources: usize) -> Self {
        // A third of a first-level cache for the sources, as long as rows have whole batches: the
        // next tile comes in meanwhile.
        const WORDS: usize = 2048;
        assert!(
            (MIN_LOG_N..=MAX_LOG_N).contains(&log_n),
            "tiles of degree 2^{log_n}, which has no transform"
        );
        let most = u64::from(u32::MAX) + 1;
        assert!(sources > 0 && sources as u64 <= most, "tiles of {sources} sources");
        let block = (1usize << (WORDS / sources).max(1).ilog2()).min(MAX_BLOCK);
        let (rows, degree) = (1 << log_rows(log_n), 1usize << log_n);
        Tiles { log_n, sources, columns: (block / rows).clamp(Self::COLUMNS, degree / rows) }
    }

    /// Words of all tiles.
    pub fn words(&self) -> usize {
        self.sources << self.log_n
    }

    /// Words of a tile.
    pub fn tile_words(&self) -> usize {
        self.sources * self.block()
    }

    /// The places of each source in `words`.
    ///
    /// *Panics* if `words` has not the length of all tiles.
    pub fn split<'w>(&self, words: &'w mut [u64]) -> Vec<SourceTiles<'w>> {
        assert_eq!(words.len(), self.words(), "words of tiles");
        let first = words.as_mut_ptr();
        (0..self.sources)
            .map(|source| SourceTiles {
                // SAFETY: the first row of the first tile has columns of every source.
                first: unsafe { first.add(source * self.columns) },
                tiles: *self,
                words: PhantomData,
            })
            .collect()
    }

    /// Elements of one source in a tile.
    fn block(&self) -> usize {
        self.columns * self.rows()
    }

    fn rows(&self) -> usize {
        1 << log_rows(self.log_n)
    }
}

/// log2 of the streams of a transform's first pass.
pub(super) const fn log_rows(log_n: u32) -> u32 {
    if log_n == 10 { 4 } else { 3 }
}

/// The places of one source's elements in all tiles.
#[derive(Debug)]
pub struct SourceTiles<'w> {
    /// Its first columns in the first tile.
    first: *mut u64,
    tiles: Tiles,
    words: PhantomData<&'w mut [u64]>,
}

// SAFETY: it is a mutable slice, only not of consecutive words: those of one source belong to one
// value.
unsafe impl Send for SourceTiles<'_> {}

impl SourceTiles<'_> {
    /// Elements of the source.
    pub(super) fn len(&self) -> usize {
        1 << self.tiles.log_n
    }

    /// Rows of a tile.
    pub(super) fn rows(&self) -> usize {
        self.tiles.rows()
    }

    /// Elements in a row of a tile.
    pub(super) fn columns(&self) -> usize {
        self.tiles.columns
    }

    /// The first element, and how many words away the first ones of the next row and of the next
    /// tile are.
    pub(super) fn places(&mut self) -> (*mut u64, usize, usize) {
        (self.first, self.tiles.sources * self.tiles.columns, self.tiles.tile_words())
    }

    /// The elements in natural order.
    #[cfg(test)]
    pub(super) fn elements(&mut self) -> Vec<u64> {
        let (columns, (first, next_row, next_tile)) = (self.columns(), self.places());
        let stride = self.len() / self.tiles.rows();
        let places = (0..self.len()).map(|i| {
            let (row, column) = (i / stride, i % stride);
            column / columns * next_tile + row * next_row + column % columns
        });
        // SAFETY: every row of every tile has columns of this source.
        places.map(|place| unsafe { *first.add(place) }).collect()
    }

    /// Copies coefficients in natural order.
    pub(super) fn copy_from_slice(&mut self, coefficients: &[u64]) {
        assert_eq!(coefficients.len(), self.len(), "coefficients for tiles");
        let (columns, (first, next_row, next_tile)) = (self.columns(), self.places());
        let stride = self.len() / self.tiles.rows();
        for (row, coefficients) in coefficients.chunks_exact(stride).enumerate() {
            for (tile, piece) in coefficients.chunks_exact(columns).enumerate() {
                // SAFETY: every row of every tile has columns of this source, all apart.
                unsafe {
                    let to = first.add(tile * next_tile + row * next_row);
                    to.copy_from_nonoverlapping(piece.as_ptr(), columns);
                }
            }
        }
    }
}

/// `outs[t] ← Σ_i sources[i] * factors[t][i]` modulo the prime of `tables[t]`, after the first pass
/// of its transform: a fast basis conversion to many primes. [`NttTable::other_passes`] of the same
/// instruction set makes evaluations of each; in between, words mean something to it alone.
///
/// `prepared` has the sources in `tiles`. Factors and sizes of sources are those of
/// [`super::basis_convert`].
///
/// *Panics* if lengths or numbers do not agree.
pub fn convert_tiles(
    isa: Isa,
    outs: &mut [&mut [u64]],
    tiles: &Tiles,
    prepared: &[u64],
    source_bits: &[u32],
    factors: &[&[u64]],
    tables: &[&NttTable],
) {
    assert!(
        outs.len() == factors.len() && outs.len() == tables.len(),
        "one row of factors and one transform per target"
    );
    assert_eq!(prepared.len(), tiles.words(), "words of tiles");
    assert_eq!(source_bits.len(), tiles.sources, "sizes for the sources of tiles");
    assert!(source_bits.iter().all(|&bits| bits <= 61), "source residues of {source_bits:?} bits");
    assert!(factors.iter().all(|factors| factors.len() == tiles.sources), "one factor per source");
    for (factors, table) in factors.iter().zip(tables) {
        debug_assert_canonical(factors, table.modulus());
    }
    for (out, table) in outs.iter().zip(tables) {
        assert!(
            table.log_n() == tiles.log_n && out.len() == 1 << tiles.log_n,
            "transforms of the tiles' degree"
        );
    }
    let (block, targets, words) = (tiles.block(), outs.len(), tiles.tile_words());
    let (mut converted, mut parts) = ([0; MAX_BLOCK], Vec::with_capacity(tiles.sources));
    let converted = &mut converted[..block];
    // Each target asks for its share of the next tile, about.
    let share = words / targets.max(1);
    #[cfg(target_arch = "x86_64")]
    let vectors: Vec<bool> =
        tables.iter().map(|table| avx512::converts_tiles(source_bits, table.modulus())).collect();
    for (index, tile) in prepared.chunks_exact(words).enumerate() {
        for (t, ((out, factors), table)) in outs.iter_mut().zip(factors).zip(tables).enumerate() {
            let m = table.modulus();
            match isa.0 {
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 if vectors[t] => {
                    let ahead = words + t * share..words + (t + 1) * share;
                    // SAFETY: the value of `isa` was made by detection; the lengths were checked
                    // above.
                    unsafe { avx512::convert_tile(converted, tile, tiles.columns, factors, ahead, m) }
                }
                _ => {
                    let rows = tile.chunks_exact(tiles.sources * tiles.columns);
                    for (row, out) in rows.zip(converted.chunks_exact_mut(tiles.columns)) {
                        parts.clear();
                        parts.extend(row.chunks_exact(tiles.columns));
                        basis_convert(isa, out, &parts, source_bits, factors, m);
                    }
                }
            }
            table.first_pass_on_tile(isa, out, converted, index * tiles.columns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Words, ntt_prime};
    use crate::kernels::{Buffer, Modulus};

    /// Against [`basis_convert`] and whole transforms, in every set and degree, to primes of every
    /// kind, from so many sources that a sum is reduced in parts, and from some above 52 bits.
    #[test]
    fn tiles_are_converted_and_transformed() {
        for (log_n, count, source_bits) in [
            (10, 2, 50),
            (11, 1, 46),
            (12, 5, 48),
            (13, 12, 50),
            (14, 6, 50),
            (15, 3, 60),
            (16, 15, 50),
            (17, 2, 49),
            (10, 40, 50),
        ] {
            let degree = 1 << log_n;
            let mut words = Words(u64::from(log_n) << 8 | count as u64);
            let sizes: Vec<u32> = (0..count).map(|i| if i + 1 == count { 4 } else { source_bits }).collect();
            let mut sources: Vec<Buffer> =
                sizes.iter().map(|&bits| words.residues(degree, 1 << bits)).collect();
            if count == 12 {
                // The largest sums that are reduced at once.
                sources.iter_mut().zip(&sizes).for_each(|(s, bits)| s.fill((1 << bits) - 1));
            }
            let slices: Vec<&[u64]> = sources.iter().map(|s| &s[..]).collect();
            let tiles = Tiles::new(log_n, count);
            let mut prepared = Buffer::zeroed(tiles.words());
            for (mut place, source) in tiles.split(&mut prepared).into_iter().zip(&sources) {
                place.copy_from_slice(source);
                assert!(place.elements() == source[..], "N = 2^{log_n}, {count} sources");
            }
            let moduli: Vec<Modulus> = [46, 48, 49, 50, 60, 61].map(|bits| ntt_prime(bits, log_n, 1)).into();
            let tables: Vec<NttTable> = moduli.iter().map(|&m| NttTable::new(m, log_n).unwrap()).collect();
            let mut factors: Vec<Buffer> = moduli.iter().map(|m| words.residues(count, m.value())).collect();
            if count == 12 {
                factors.iter_mut().zip(&moduli).for_each(|(f, m)| f.fill(m.value() - 1));
            }
            for isa in Isa::available() {
                let mut outs = vec![Buffer::zeroed(degree); moduli.len()];
                convert_tiles(
                    isa,
                    &mut outs.iter_mut().map(|out| &mut out[..]).collect::<Vec<_>>(),
                    &tiles,
                    &prepared,
                    &sizes,
                    &factors.iter().map(|f| &f[..]).collect::<Vec<_>>(),
                    &tables.iter().collect::<Vec<_>>(),
                );
                for (t, (mut out, table)) in outs.into_iter().zip(&tables).enumerate() {
                    table.other_passes(isa, &mut out);
                    let mut expected = Buffer::zeroed(degree);
                    basis_convert(isa, &mut expected, &slices, &sizes, &factors[t], &moduli[t]);
                    table.forward(isa, &mut expected);
                    assert!(out == expected, "{isa:?}, N = 2^{log_n}, {count} sources, target {t}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "has no transform")]
    fn tiles_have_a_transform() {
        Tiles::new(74, 1);
    }

    #[test]
    #[should_panic(expected = "one row of factors")]
    fn targets_are_counted() {
        let table = NttTable::new(ntt_prime(50, 10, 0), 10).unwrap();
        let tiles = Tiles::new(10, 1);
        convert_tiles(Isa::detect(), &mut [], &tiles, &[0; 1024], &[50], &[], &[&table]);
    }

    #[test]
    fn no_targets_are_no_work() {
        convert_tiles(Isa::detect(), &mut [], &Tiles::new(10, 1), &[0; 1024], &[50], &[], &[]);
    }

    #[test]
    #[should_panic(expected = "words of tiles")]
    fn tiles_are_split_whole() {
        Tiles::new(10, 2).split(&mut [0; 2047]);
    }
}
