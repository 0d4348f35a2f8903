//! What a decrypted answer says.

use fhec_ir::program::Interface;
use fhec_roles::verdict::{REFUSED, argmax, rounded, tied_with_argmax};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::WebError;

/// A decrypted answer; of programs of a batch that for the first picture. Numbers are rounded to
/// the digits that are certain, because the others tell about the secret key.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct Answer {
    /// Rounded, output by output; none if the answer is refused.
    outputs: Vec<Vec<f64>>,
    class_name: String,
}

impl Answer {
    pub(crate) fn new(interface: &Interface, answer: &fhec_roles::Answer) -> Self {
        if answer.overflow {
            return Answer { outputs: Vec::new(), class_name: String::new() };
        }
        let step = interface.certain_step();
        let of_image = |values: &Vec<f64>| -> Vec<f64> {
            let each = values.len() / interface.batch.images.max(1);
            values[..each].iter().map(|&value| rounded(value, step)).collect()
        };
        let outputs: Vec<Vec<f64>> = answer.outputs.iter().map(of_image).collect();
        let class = outputs.first().map_or(0, |logits| argmax(logits));
        Answer { outputs, class_name: interface.class_name(class) }
    }

    fn first(&self) -> &[f64] {
        self.outputs.first().map_or(&[], Vec::as_slice)
    }
}

#[wasm_bindgen]
impl Answer {
    /// Whether it is no answer: then it has no numbers, and nobody must learn that it was refused.
    #[wasm_bindgen(getter)]
    pub fn refused(&self) -> bool {
        self.outputs.is_empty()
    }

    /// What to say of an answer that is refused; the same words whatever was wrong.
    #[wasm_bindgen(getter)]
    pub fn reason(&self) -> Option<String> {
        self.refused().then(|| format!("the answer is refused: {REFUSED}"))
    }

    /// The class with the largest number, the first one on a tie; undefined if it is refused.
    #[wasm_bindgen(getter, js_name = class)]
    pub fn class(&self) -> Option<u32> {
        (!self.refused()).then(|| argmax(self.first()) as u32)
    }

    /// What the class is called; undefined if it is refused.
    #[wasm_bindgen(getter, js_name = className)]
    pub fn class_name(&self) -> Option<String> {
        (!self.refused()).then(|| self.class_name.clone())
    }

    /// Other classes whose number is as large, by the digits that are certain.
    #[wasm_bindgen(getter, js_name = tiedClasses)]
    pub fn tied_classes(&self) -> Vec<u32> {
        tied_with_argmax(self.first()).into_iter().map(|class| class as u32).collect()
    }

    /// The numbers of the first output.
    #[wasm_bindgen(getter)]
    pub fn numbers(&self) -> Vec<f64> {
        self.first().to_vec()
    }

    /// The numbers of any output.
    pub fn output(&self, index: usize) -> Result<Vec<f64>, WebError> {
        let count = self.outputs.len();
        self.outputs.get(index).cloned().ok_or(WebError::NoOutput { index, count })
    }
}
