"""Which layer types, fields and enum values are not Caffe's own, and whose fork of Caffe they come from."""

from __future__ import annotations

from google.protobuf.message import Message

_SEGNET, _PSPNET = "SegNet's fork", "PSPNet's and TSN's forks"

_TYPES = {
    "SSD's fork": """AnnotatedData DetectionEvaluate DetectionOutput MultiBoxLoss Normalize Permute PriorBox
        VideoData""",
    "Fast and Faster R-CNN's forks": """Proposal ROIAlign ROIPooling RPNProposal SimplerNMS SmoothL1Loss
        FrcnnAnchorTarget FrcnnProposal FrcnnProposalTarget FrcnnRoiData""",
    "R-FCN's fork": """BoxAnnotatorOHEM DeformableConvolution DeformablePSROIPooling PSROIPooling SmoothL1LossOHEM
        SoftmaxWithLossOHEM""",
    "MS-CNN's and Cascade R-CNN's forks": """BBoxAccuracy BoxGroupOutput BoxOutput DecodeBBox DetectionData
        DetectionGroupAccuracy DetectionGroupLoss FrcnnOutput ProposalTarget ScaleRoute""",
    "MNC's fork": "MaskPooling MaskResize ROIMaskPooling ROIWarping ROIWarpingTest",
    _SEGNET: "DenseImageData Upsample",
    _PSPNET: "BN BatchReduction ColorConv SegData SequenceData",
    "DeepLab's fork": """AdaptiveBiasChannel AutoLabel BiasChannel DenseCRF DomainTransform DomainTransformForwardOnly
        ImageSegData Interp MatRead MatWrite SegAccuracy SpatialProduct UniqueLabel""",
    "CRF-RNN's fork": "MultiStageMeanfield",
    "HED's fork": "AutoCrop ImageLabelmapData",
    "FlowNet's fork": """Accum Augmentation BlackAugmentation ChannelNorm Correlation Correlation1D CustomData
        DataAugmentation DisparityData Downsample FLOReader FLOWriter FloatReader FloatWriter FlowAugmentation FlowWarp
        GenerateAugmentationParameters ImgReader ImgWriter LpqLoss Mean NegReLU PFMReader PFMWriter Resample""",
    "the YOLO forks": """BoxData DetectionLoss EvalDetection GaussianYolov3 Region RegionLoss Reorg
        YoloDetectionOutput YoloSeg Yolov3 Yolov3DetectionOutput""",
    "DeconvNet's fork": "UnPooling Unpooling WindowSegData",
    "the hashing forks": "MultiLabelData PairwiseLoss QuantizationLoss",
    "the colorization fork": "SoftmaxCrossEntropyLoss",
    "OpenPose's fork": "CPMData ImResize Nms OPData",
    "Intel's fork": "ContinuationIndicator MnActivation MnParamGradCompress SpatialDropout",
    "NVIDIA's fork": "DetectNetTransformation",
    "FlowNet's and NVIDIA's forks": "L1Loss",
    "CaffeOnSpark's fork": "CoSData",
    "the CTC forks": "CTCDecoder CTCGreedyDecoder CTCLoss CtcLoss Reverse Transpose WarpCTC WarpCtc",
    "the face recognition forks": """Arccos CenterLoss ChannelScale Cosine FeatureIncayLoss GeneralTripletLoss
        InnerDistance LabelSpecificAdd LabelSpecificAffine LabelSpecificHardMargin LabelSpecificMargin
        LabelSpecificRescale LargeMarginInnerProduct MarginInnerProduct Triplet TripletLoss""",
    "MobileNet's forks": "ConvolutionDepthwise DepthwiseConvolution ReLU6",
    "ShuffleNet's fork": "ShuffleChannel",
    "SENet's fork": "Axpy",
    "the spatial transformer's fork": "STLoss SpatialTransformer",
    "Ristretto's fork": "ConvolutionRistretto DeconvolutionRistretto FcRistretto LRNRistretto",
    "C3D's fork": "Convolution3D Deconvolution3D Pooling3D",
    "a fork": """BilateralFilter BilinearInterpolation Flip FocalLoss Gather HardSigmoid HardSwish L2Norm
        L2Normalization L2Normalize LayerNorm LocalWeightedConvolution MatMul Maxout MultiLabelImageData Noise Pad
        PixelShuffle ReSample Resize Warp WeightedEuclideanLoss WeightedHingeLoss WeightedSoftmaxWithLoss XCovLoss""",
}

_FIELDS = {
    "SSD's fork": """annotated_data_param detection_evaluate_param detection_output_param multibox_loss_param norm_param
        permute_param prior_box_param TransformationParameter: crop_h crop_w distort_param emit_constraint expand_param
        noise_param resize_param SolverParameter: ap_version eval_type plateau_winsize show_per_class_result""",
    "Fast and Faster R-CNN's forks": """proposal_param roi_align_param roi_pooling_param smooth_l1_loss_param
        DropoutParameter: scale_train""",
    "R-FCN's fork": """box_annotator_ohem_param deformable_convolution_param deformable_psroi_pooling_param
        psroi_pooling_param LossParameter: pre_fixed_normalizer""",
    "MNC's fork": "mask_pooling_param mask_resize_param roi_warping_param",
    _SEGNET: """dense_image_data_param upsample_param BNParameter: bn_mode scale_filler shift_filler DropoutParameter:
        sample_weights_test LossParameter: class_weighting weight_by_label_freqs""",
    _PSPNET: """batch_reduction_param bn_param seg_data_param NetParameter: mem_param SolverParameter: group_id richness
        TransformationParameter: fix_crop is_flow max_distort more_fix_crop multi_scale original_image scale_ratios
        upper_height upper_size upper_width""",
    "DeepLab's fork": """dense_crf_param domain_transform_param image_seg_data_param interp_param mat_read_param
        mat_write_param padding_param seg_accuracy_param softmaxloss_param ConvolutionParameter: hole
        ImageDataParameter: has_label label_type""",
    "DeconvNet's fork": "unpooling_param window_seg_data_param",
    "CRF-RNN's fork": "multi_stage_meanfield_param",
    "FlowNet's fork": """accum_param augmentation_param black_augmentation_param coeff_schedule_param correlation_param
        downsample_param flow_warp_param l1_loss_param lpq_loss_param mean_param reader_param resample_param
        reshape_every_iter writer_param""",
    "the YOLO forks": """box_data_param detection_loss_param eval_detection_param region_loss_param reorg_param
        yolo_detection_output_param yolov3_detection_output_param yolov3_param DataParameter: side""",
    "OpenPose's fork": """cpm_transform_param cpmdata_param imresize_param nms_param TransformationParameter:
        center_perterb_max crop_size_x crop_size_y do_clahe max_rotate_degree np_in_lmdb num_parts scale_max scale_min
        scale_prob stride target_dist transform_body_joint visualize""",
    "the hashing forks": "multi_label_data_param pairwise_param",
    "Intel's fork": """continuation_indicator_param engine mn_activation_param mn_grad_compress_param
        mn_param_grad_compress_param multinode spatial_dropout_param split_param BatchNormParameter: filler relu
        stats_batch_size use_weight_bias ConcatParameter: engine ConvolutionParameter: conv_algorithm negative_slope
        relu EltwiseParameter: engine InnerProductParameter: engine NetParameter: bn_stats_batch_size compile_net_state
        engine multinode PoolingParameter: avg_include_pad SolverParameter: disabled_update engine multinode warmup_iter
        warmup_start_lr TransformationParameter: random_aspect_ratio_param random_resize_param""",
    "Intel's and NVIDIA's forks": "SolverParameter: local_gw_ratio local_lr_auto",
    "Intel's and the hashing forks": "quantization_param",
    "NVIDIA's fork": """backward_math backward_type detectnet_augmentation_param detectnet_groundtruth_param
        forward_math forward_type BatchNormParameter: bias_filler engine scale_bias scale_filler ConvolutionParameter:
        cudnn_convolution_algo_seeker NetParameter: default_backward_math default_backward_type
        default_cudnn_math_override default_forward_math default_forward_type global_grad_scale
        global_grad_scale_adaptive global_grad_scale_param reduce_buckets SolverParameter: larc larc_policy larc_turbo
        min_lr momentum_policy rampup_interval rampup_lr store_blobs_in_old_format weight_decay_policy
        TransformationParameter: img_rand_resize_lower img_rand_resize_upper rand_resize_ratio_lower
        rand_resize_ratio_upper use_gpu_transform var_sz_img_enabled""",
    "the face recognition forks": """center_loss_param largemargin_inner_product_param margin_inner_product_param
        triplet_loss_param""",
    "the CTC forks": "ctc_decoder_param ctc_loss_param reverse_param transpose_param warp_ctc_param",
    "ShuffleNet's fork": "shuffle_channel_param",
    "the spatial transformer's fork": "st_loss_param st_param",
    "DenseNet's forks": "PoolingParameter: ceil_mode",
    "a fork": "focal_loss_param local_weighted_convolution_param pixel_shuffle_param",
}
"""By fork its fields: those of a layer, then those of the messages that are named before them."""

_VALUES = {
    "Intel's fork": "MKL2017 MKLDNN",
    "R-FCN's fork": "PRE_FIXED",
    "TSN's fork": "STOCHASTIC_SUM",
    _SEGNET: "BN DENSE_IMAGE_DATA UPSAMPLE",
    "DeepLab's fork": "DENSE_CRF IMAGE_SEG_DATA INTERP MAT_READ MAT_WRITE PADDING SEG_ACCURACY",
    "DeconvNet's fork": "UNPOOLING WINDOW_SEG_DATA",
    "C3D's fork": "CONVOLUTION3D POOLING3D VIDEO_DATA",
    "a fork": "LOCAL_WEIGHTED_CONVOLUTION",
}


def _by_name(table: dict[str, str]) -> dict[str, str]:
    return {name: fork for fork, names in table.items() for name in names.split()}


def _by_field(table: dict[str, str]) -> dict[tuple[str, str], str]:
    found = {}
    for fork, words in table.items():
        message = "LayerParameter"
        for word in words.split():
            if word.endswith(":"):
                message = word[:-1]
            else:
                found[message, word] = fork
    return found


TYPES = _by_name(_TYPES)
"""By layer type the fork that it comes from, in words: those that netspec has are in it, too."""

FIELDS = _by_field(_FIELDS)
"""By message and field the fork that it comes from."""

VALUES = _by_name(_VALUES)
"""By enum value the fork that it comes from."""


def of_field(message: str, name: str) -> str:
    """The fork that a field of a message comes from; nothing where none is known."""
    return FIELDS.get((message.removeprefix("V1"), name), "")


def of_bn(message: Message) -> str:
    """The fork whose BN a bn_param means: SegNet's where it has a field of SegNet's."""
    owners = [of_field(message.DESCRIPTOR.name, field.name) for field, _ in message.ListFields()]
    return _SEGNET if _SEGNET in owners else _PSPNET


def origin(fork: str) -> str:
    """What a message adds about something unknown: the fork that has it, if one is known."""
    return f": it comes from {fork} of Caffe" if fork else ""
