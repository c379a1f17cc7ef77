"""A net and a solver in which a check finds nothing, for tests to change."""

from netspec.check import Options, Report

NET = """\
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 16 scale: 0.5 } data_param { source: "train" batch_size: 2 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 16 scale: 0.5 } data_param { source: "test" batch_size: 2 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "norm" type: "LRN" bottom: "conv" top: "norm" lrn_param { alpha: 0.0001 } }
layer { name: "up" type: "Deconvolution" bottom: "norm" top: "up" convolution_param {
  num_output: 4 group: 4 kernel_size: 4 stride: 2 weight_filler { type: "bilinear" } } }
layer { name: "drop" type: "Dropout" bottom: "up" top: "up" dropout_param { dropout_ratio: 0.5 } }
layer { name: "ip" type: "InnerProduct" bottom: "up" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """\
net: "net.prototxt"
base_lr: 0.1
lr_policy: "multistep"
gamma: 0.1
stepvalue: 50
max_iter: 100
momentum: 0.9
test_iter: 2
test_interval: 20
snapshot: 50
display: 10
random_seed: 1
"""
SHAPES = Options(shapes={"data": (2, 3, 16, 16), "label": (2,)})


def found(reports: list[Report], severity: str) -> list[str]:
    """The reasons of all findings of one severity."""
    return [finding.place.reason for report in reports for finding in report.ordered() if finding.severity == severity]
