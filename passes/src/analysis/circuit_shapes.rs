//! Shapes of the big circuits of one program, computed once and asked for again and again.
//!
//! Entries are keyed by what the op says; constants are meant by their id, so a cache serves functions that share a
//! constant pool, as all stages after lowering do.

use std::collections::HashMap;
use std::rc::Rc;

use fhec_ir::linear_map::LinearMap;
use fhec_ir::polynomial::Polynomial;
use fhec_ir::polynomial_shape::PolynomialShape;
use fhec_ir::tensor::ConstPool;

use super::linear_cost::Rotations;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct CircuitShapes {
    maps: HashMap<String, Rc<Rotations>>,
    polynomials: HashMap<Vec<u64>, Rc<PolynomialShape>>,
}

impl CircuitShapes {
    /// Rotations of `map`.
    pub fn rotations(&mut self, map: &LinearMap, consts: &ConstPool) -> Rc<Rotations> {
        let compute = || Rc::new(map.rotations(consts));
        self.maps.entry(format!("{map:?}")).or_insert_with(compute).clone()
    }

    /// Evaluation scheme of `polynomial`.
    pub fn polynomial(&mut self, polynomial: &Polynomial) -> Rc<PolynomialShape> {
        let key = polynomial.coefficients().iter().map(|c| c.to_bits()).collect();
        self.polynomials.entry(key).or_insert_with(|| Rc::new(PolynomialShape::new(polynomial))).clone()
    }
}
