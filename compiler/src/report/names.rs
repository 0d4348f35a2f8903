//! Names of layers as people write them.

/// A name without what exporters put around it: `/layers/layers.0/Relu_output_0` is
/// `layers/layers.0/Relu`. JSON has names whole.
pub fn short(name: &str) -> String {
    let name = name.strip_prefix('/').unwrap_or(name);
    // Names of values that were composed by the compiler may hold such a suffix inside.
    name.replace("_output_0", "")
}

/// The end of a name of more than `most` characters: that is where names differ.
pub fn clipped(name: &str, most: usize) -> String {
    let count = name.chars().count();
    match count > most {
        true => format!("…{}", name.chars().skip(count - most + 1).collect::<String>()),
        false => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(clipped("layers/ä/Relu", 6), "…/Relu");
        assert_eq!(clipped("Relu", 4), "Relu");
    }

    #[test]
    fn exporters_trimmings_go() {
        assert_eq!(short("/layers/layers.0/Relu_output_0"), "layers/layers.0/Relu");
        assert_eq!(short("logits"), "logits");
        assert_eq!(short("/bn1/Bn_output_0, linear_map (step 1)"), "bn1/Bn, linear_map (step 1)");
    }
}
