//! One network of each kind that people have, answered under encryption.

/// A kind, and the case that stands for it, by its path in the folder of cases.
pub const KINDS: [(&str, &str); 10] = [
    ("series, one dimension", "models/ecg/ecg_model.onnx"),
    ("int8, QuantizeLinear and DequantizeLinear", "models/kws_m_qdq/micro_kws_m_static_qdq.onnx"),
    ("channels last", "models/tf_resnet8_tfl/model.onnx"),
    ("depthwise convolutions", "models/tf_kws_dscnn/model.onnx"),
    ("squeeze-and-excitation, Paddle", "models/ppocr_cls/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    ("HardSwish", "forms/b37_mobilenetv3_block/model.onnx"),
    ("two outputs", "models/mtcnn_pnet/pnet.onnx"),
    ("image to image", "models/denoise_mixed/mixed.onnx"),
    ("dense layers alone", "models/spqr_cls/classification.onnx"),
    ("MATLAB", "models/trafficlight/net.onnx"),
];
