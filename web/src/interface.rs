//! What a client knows of a program.

use std::sync::Arc;

use fhec_ir::program::PictureFit;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::WebError;

/// The client's part of a program (`fhec client`, or `interface` of a service): no weights, no
/// layers.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct Interface {
    pub(crate) known: Arc<fhec_ir::program::Interface>,
    security_bits: u32,
}

#[wasm_bindgen]
impl Interface {
    /// Reads the file of an interface, or that of any program. Its security is computed; less than
    /// `minSecurity` bits is an error.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: &[u8], min_security: u32) -> Result<Interface, WebError> {
        let known = fhec_ir::program::Interface::from_bytes(bytes, min_security)?;
        let security_bits = known.certificate()?.bits();
        Ok(Interface { known: Arc::new(known), security_bits })
    }

    /// Name of the network.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.known.name.clone()
    }

    /// Digest that names the program: 64 hexadecimal digits.
    #[wasm_bindgen(getter)]
    pub fn program(&self) -> String {
        self.known.program.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Names of the classes; empty if they have none.
    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> Vec<String> {
        self.known.preprocess.classes().to_vec()
    }

    /// Channels, height and width of the pictures that it takes; undefined if it takes none.
    #[wasm_bindgen(getter, js_name = imageShape)]
    pub fn image_shape(&self) -> Option<Vec<u32>> {
        Some(self.known.image_shape()?.map(|length| length as u32).to_vec())
    }

    /// Bits of security of the weaker of its secrets.
    #[wasm_bindgen(getter, js_name = securityBits)]
    pub fn security_bits(&self) -> u32 {
        self.security_bits
    }

    /// Numbers of an answer are multiples of this: the digits below are not certain.
    #[wasm_bindgen(getter, js_name = certainStep)]
    pub fn certain_step(&self) -> f64 {
        let step = self.known.certain_step();
        // Through text: a power of ten times 2 or 5 has digits that nobody wants to read.
        format!("{step:.0e}").parse().unwrap_or(step)
    }

    /// What the numbers of an answer are: `logits`, `values`, `probabilities` or
    /// `log-probabilities`.
    #[wasm_bindgen(getter)]
    pub fn numbers(&self) -> String {
        self.known.output().numbers().to_string()
    }

    /// Number of keys that a server needs.
    #[wasm_bindgen(getter, js_name = keyCount)]
    pub fn key_count(&self) -> u32 {
        self.known.keys.count() as u32
    }

    /// Bytes of the key file, without headers.
    #[wasm_bindgen(getter, js_name = keyBytes)]
    pub fn key_bytes(&self) -> f64 {
        self.known.keys.file_bytes(&self.known.params) as f64
    }

    /// Dimension of the ring.
    #[wasm_bindgen(getter, js_name = ringDegree)]
    pub fn ring_degree(&self) -> u32 {
        self.known.params.ring_degree() as u32
    }

    /// Numbers in a ciphertext.
    #[wasm_bindgen(getter)]
    pub fn slots(&self) -> u32 {
        self.known.input.ty.slots as u32
    }

    /// What of a picture of this size goes into the network, as its training did it: width and
    /// height that it is scaled to, then left, top, width and height of what is cut from that.
    /// Where that is not the size that the program takes, pictures of this size are none for it.
    #[wasm_bindgen(js_name = pictureFit)]
    pub fn picture_fit(&self, width: u32, height: u32) -> Vec<u32> {
        let fit = self.known.preprocess.picture_fit();
        let scaled = fit.scaled([width as usize, height as usize]);
        let cut = scaled.map(|side| fit.crop.map_or(side, |crop| side.min(crop as usize)));
        let start = [0, 1].map(|axis| PictureFit::middle(scaled[axis], cut[axis]));
        [scaled, start, cut].concat().iter().map(|&pixels| pixels as u32).collect()
    }
}
