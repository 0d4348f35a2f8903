//! The text form of linear maps.

use super::{Beside, LinearKind, LinearMap};
use crate::attr::{AsAttr, Attr, AttrError, Fields};

impl AsAttr for Beside {
    fn to_attr(&self) -> Option<Attr> {
        let word = match self {
            Beside::Zeros => "zeros",
            Beside::Sums => "sums",
        };
        Some(Attr::Word(word.into()))
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match attr {
            Some(Attr::Word(word)) if word == "zeros" => Ok(Beside::Zeros),
            Some(Attr::Word(word)) if word == "sums" => Ok(Beside::Sums),
            _ => Err(AttrError("expected zeros or sums".into())),
        }
    }
}

impl AsAttr for LinearMap {
    fn to_attr(&self) -> Option<Attr> {
        let fields = [
            ("kind", self.kind.to_attr()),
            ("input", self.input.to_attr()),
            ("output", self.output.to_attr()),
            ("fold", (self.fold != 1).then_some(self.fold).to_attr()),
            ("regular", self.regular.to_attr()),
        ];
        let present = fields.into_iter().filter_map(|(name, attr)| Some((name.to_string(), attr?)));
        Some(Attr::Record(present.collect()))
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        let mut fields = Fields::of(attr)?;
        let map = LinearMap {
            kind: fields.take("kind")?,
            input: fields.take("input")?,
            output: fields.take("output")?,
            fold: fields.take::<Option<usize>>("fold")?.unwrap_or(1),
            regular: fields.take("regular")?,
        };
        fields.finish()?;
        Ok(map)
    }
}

impl AsAttr for LinearKind {
    fn to_attr(&self) -> Option<Attr> {
        let mut fields = Vec::new();
        let mut field =
            |name: &str, attr: Option<Attr>| fields.extend(attr.map(|attr| (name.to_string(), attr)));
        match self {
            LinearKind::Conv2d { weight, strides, pads, dilations, groups } => {
                field("conv2d", weight.to_attr());
                field("strides", strides.to_attr());
                field("pads", pads.to_attr());
                field("dilations", dilations.to_attr());
                field("groups", groups.to_attr());
            }
            LinearKind::Dense { weight } => field("dense", weight.to_attr()),
            LinearKind::Place { channel_offset } => field("place", channel_offset.to_attr()),
            LinearKind::ConvTranspose2d { weight, strides, pads, dilations, groups, output_padding } => {
                field("conv_transpose2d", weight.to_attr());
                field("strides", strides.to_attr());
                field("pads", pads.to_attr());
                field("dilations", dilations.to_attr());
                field("groups", groups.to_attr());
                field("output_padding", output_padding.to_attr());
            }
            LinearKind::AxisMatrices { axes, weights } => {
                field("axes", axes.to_attr());
                field("weights", weights.to_attr());
            }
            LinearKind::Transpose { shape, permutation } => {
                field("transpose", shape.to_attr());
                field("permutation", permutation.to_attr());
            }
        }
        Some(Attr::Record(fields))
    }

    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        let mut fields = Fields::of(attr)?;
        let kind = if let Some(weight) = fields.take("conv2d")? {
            LinearKind::Conv2d {
                weight,
                strides: fields.take("strides")?,
                pads: fields.take("pads")?,
                dilations: fields.take("dilations")?,
                groups: fields.take("groups")?,
            }
        } else if let Some(weight) = fields.take("dense")? {
            LinearKind::Dense { weight }
        } else if let Some(channel_offset) = fields.take("place")? {
            LinearKind::Place { channel_offset }
        } else if let Some(weight) = fields.take("conv_transpose2d")? {
            LinearKind::ConvTranspose2d {
                weight,
                strides: fields.take("strides")?,
                pads: fields.take("pads")?,
                dilations: fields.take("dilations")?,
                groups: fields.take("groups")?,
                output_padding: fields.take("output_padding")?,
            }
        } else if let Some(axes) = fields.take("axes")? {
            LinearKind::AxisMatrices { axes, weights: fields.take("weights")? }
        } else if let Some(shape) = fields.take("transpose")? {
            LinearKind::Transpose { shape, permutation: fields.take("permutation")? }
        } else {
            let known = "conv2d, dense, place, conv_transpose2d, axes, transpose";
            return Err(AttrError(format!("expected one of {known}")));
        };
        fields.finish()?;
        Ok(kind)
    }
}
