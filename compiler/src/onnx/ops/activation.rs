//! Activations whose attributes are more than numbers, and the operators that do nothing at
//! inference.

use fhec_ir::nn::Activation;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;

type Outputs = Result<Vec<Operand>, ImportError>;

/// A row of the table of activations: its parameters are the operator's attributes.
pub(super) fn of_table(node: &mut Node<'_>) -> Outputs {
    let operator = node.id.op.clone();
    let row = Activation::of_onnx(&operator).ok_or_else(|| node.invalid("it is no activation"))?;
    let x = node.input(0)?;
    let parameters: Result<Vec<f64>, ImportError> =
        row.parameters.iter().map(|parameter| node.float_or(parameter.name, parameter.default)).collect();
    let function = Activation::new(row, &parameters?).map_err(|reason| node.invalid(reason))?;
    Ok(vec![node.activation(&x, function)?])
}

pub(super) fn gelu(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let tanh = match node.text_or("approximate", "none")?.as_str() {
        "none" => false,
        "tanh" => true,
        other => return Err(node.unsupported(format!("approximate=`{other}`"), "use `none` or `tanh`")),
    };
    Ok(vec![node.activation(&x, Activation::gelu(tanh))?])
}

/// `x sigmoid(alpha x)`.
pub(super) fn swish(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let alpha = node.float_or("alpha", 1.0)?;
    if alpha > 0.0 {
        return Ok(vec![node.activation(&x, Activation::swish(alpha))?]);
    }
    let inner = node.scaled(&x, alpha)?;
    let gate = node.activation(&inner, Activation::SIGMOID)?;
    Ok(vec![node.mul(&x, &gate)?])
}

/// `min(max(x, low), high)`; bounds are attributes before opset 11, inputs since.
pub(super) fn clip(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let (low, high) = match node.opset() < 11 {
        true => (node.number_or("min", f64::NEG_INFINITY)?, node.number_or("max", f64::INFINITY)?),
        false => {
            let (low, high) =
                (node.optional_number(1, "lower bound")?, node.optional_number(2, "upper bound")?);
            (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY))
        }
    };
    if low.is_nan() || high.is_nan() {
        return Err(node.invalid("a bound is NaN"));
    }
    // Exporters write the largest float for "no bound".
    let largest = f64::from(f32::MAX);
    let low = if low <= -largest { f64::NEG_INFINITY } else { low };
    let high = if high >= largest { f64::INFINITY } else { high };
    let clipped = match (low, high) {
        (f64::NEG_INFINITY, f64::INFINITY) => x,
        (0.0, f64::INFINITY) => node.activation(&x, Activation::RELU)?,
        _ => node.activation(&x, Activation::clip(low, high))?,
    };
    Ok(vec![clipped])
}

/// `x` where positive, `slope x` elsewhere, the slope constant: `relu(x) + slope (x - relu(x))`.
pub(super) fn prelu(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let slope = node.weight(1, "slope")?;
    let shape = node.shape_of(&x);
    if let [first, rest @ ..] = slope.data()
        && rest.iter().all(|s| s == first)
        && slope.shape().len() <= shape.len()
    {
        let alpha = f64::from(*first);
        return Ok(vec![node.activation(&x, Activation::leaky_relu(alpha))?]);
    }
    let slope = node.input(1)?;
    let positive = node.activation(&x, Activation::RELU)?;
    let negative = node.sub(&x, &positive)?;
    let scaled = node.mul(&negative, &slope)?;
    let sum = node.add(&positive, &scaled)?;
    if node.shape_of(&sum) != shape {
        return Err(node.invalid("the slope does not broadcast to the operand"));
    }
    Ok(vec![sum])
}

/// `|x|`: a rectifier that turns the left side over.
pub(super) fn abs(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    Ok(vec![absolute(node, &x)?])
}

pub(super) fn absolute(node: &mut Node<'_>, x: &Operand) -> Result<Operand, ImportError> {
    node.activation(x, Activation::leaky_relu(-1.0))
}

pub(super) fn log(node: &mut Node<'_>) -> Outputs {
    let x = node.input(0)?;
    Ok(vec![node.activation(&x, Activation::LOG)?])
}

pub(super) fn identity(node: &mut Node<'_>) -> Outputs {
    Ok(vec![node.input(0)?])
}

/// Nothing at inference. The second output, the mask, is not computed.
pub(super) fn dropout(node: &mut Node<'_>) -> Outputs {
    node.ignore(&["ratio", "seed"]);
    let training = match node.opset() {
        ..7 => !node.flag("is_test", false)?,
        7..12 => false,
        _ => node.optional_number(2, "training mode")?.is_some_and(|mode| mode != 0.0),
    };
    if training && node.optional_number(1, "ratio")? != Some(0.0) {
        let instead = "export the network in inference mode (model.eval())";
        return Err(node.unsupported("dropout in training mode", instead));
    }
    Ok(vec![node.input(0)?])
}
