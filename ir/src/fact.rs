//! Facts about a function: what passes leave for later ones, for programs and for the runtime, each
//! under a name in the text form and with a type in code.

use std::fmt;
use std::marker::PhantomData;

use crate::batch::Batch;
use crate::bootstrap::BootstrapParams;
use crate::layer_values::{StoredOrder, StoredValue};
use crate::layout::Layout;
use crate::nn::origin::OnnxNode;
use crate::permutation::Permutation;
use crate::program::Ending;

/// The name and the type of a fact. A fact that two crates share is one of the constants here.
pub struct Fact<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Fact<T> {
    /// A fact called `name` in the text form: a word.
    pub const fn new(name: &'static str) -> Self {
        Fact { name, of: PhantomData }
    }

    /// Its name in the text form.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Fact<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Fact<T> {}

impl<T> fmt::Debug for Fact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fact({})", self.name)
    }
}

/// Where the elements of each input are.
pub const INPUT_LAYOUTS: Fact<Vec<Layout>> = Fact::new("input_layout");
/// Where the elements of each output are.
pub const OUTPUT_LAYOUTS: Fact<Vec<Layout>> = Fact::new("output_layout");
/// What inputs are divided by to be stored, one number per input; absent where all are 1.
pub const INPUT_FACTORS: Fact<Option<Vec<f64>>> = Fact::new("input_factors");
/// In which order the elements of each input are laid out; absent where all are in their own.
pub const INPUT_PERMUTATIONS: Fact<Option<Vec<Permutation>>> = Fact::new("input_permutations");
/// Likewise of each output.
pub const OUTPUT_PERMUTATIONS: Fact<Option<Vec<Permutation>>> = Fact::new("output_permutations");
/// What stored outputs are multiplied with to be those of the network.
pub const OUTPUT_FACTOR: Fact<f64> = Fact::new("output_factor");
/// What is left of the network to whoever decrypts, per output; absent where nothing is.
pub const OUTPUT_ENDINGS: Fact<Option<Vec<Ending>>> = Fact::new("output_endings");
/// How values that layers are named after are stored.
pub const STORED_VALUES: Fact<Vec<StoredValue>> = Fact::new("stored_values");
/// Values that are stored in another order than their own, while passes run.
pub const STORED_ORDERS: Fact<Option<Vec<StoredOrder>>> = Fact::new("stored_orders");
/// Images of one run; absent for one image.
pub const BATCH: Fact<Option<Batch>> = Fact::new("batch");
/// What the `bootstrap` ops of a program mean, one per number of slots.
pub const BOOTSTRAPS: Fact<Vec<BootstrapParams>> = Fact::new("bootstraps");
/// Whether the keys are those of the ring, so that they tell nothing of the layers; absent where
/// they are those of the ops.
pub const GENERIC_KEYS: Fact<Option<bool>> = Fact::new("generic_keys");
/// Bytes of encoded weights that may be kept between images; absent where all of them may.
pub const WEIGHT_BYTES: Fact<Option<u64>> = Fact::new("weight_bytes");
/// The nodes of the model file that values come from.
pub const ONNX_NODES: Fact<Vec<OnnxNode>> = Fact::new("onnx_nodes");
/// Whether clips are the ends of the types of a quantised model; absent where they are a network's
/// own.
pub const QUANTISED: Fact<Option<bool>> = Fact::new("quantised");
