"""A small net to score with, and its images as pictures."""

import numpy as np
from PIL import Image

TEXT = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 5 mirror: true mean_value: [90, 100, 110] scale: 0.01 }
  data_param { source: "train_lmdb" batch_size: 3 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 5 mean_value: [90, 100, 110] scale: 0.01 }
  data_param { source: "test_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
"""Scores 10 images of 8x9 pixels for 4 classes, in batches of 4."""

NAMES = ["n00000001 cat, tom", "n00000002 dog", "n00000003 cow", "n00000004 hen"]


def picture(image):
    """An image (C, H, W), BGR, as Pillow has it."""
    return Image.fromarray(np.ascontiguousarray(image[::-1].transpose(1, 2, 0)))
