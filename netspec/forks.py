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
    "SSD's fork": """annotated_data_param ap_version detection_evaluate_param detection_output_param distort_param
        emit_constraint eval_type expand_param multibox_loss_param noise_param norm_param permute_param plateau_winsize
        prior_box_param resize_param show_per_class_result TransformationParameter.crop_h
        TransformationParameter.crop_w""",
    "Fast and Faster R-CNN's forks": """proposal_param roi_align_param roi_pooling_param smooth_l1_loss_param
        DropoutParameter.scale_train""",
    "R-FCN's fork": """box_annotator_ohem_param deformable_convolution_param deformable_psroi_pooling_param
        pre_fixed_normalizer psroi_pooling_param""",
    "MNC's fork": "mask_pooling_param mask_resize_param roi_warping_param",
    _SEGNET: """class_weighting dense_image_data_param sample_weights_test upsample_param weight_by_label_freqs
        BNParameter.bn_mode BNParameter.scale_filler BNParameter.shift_filler""",
    _PSPNET: """batch_reduction_param bn_param fix_crop group_id is_flow max_distort mem_param
        more_fix_crop multi_scale original_image richness scale_ratios seg_data_param upper_height upper_size
        upper_width""",
    "DeepLab's fork": """dense_crf_param domain_transform_param image_seg_data_param interp_param mat_read_param
        mat_write_param padding_param seg_accuracy_param softmaxloss_param strict_dim ConvolutionParameter.hole
        ImageDataParameter.has_label ImageDataParameter.label_type""",
    "DeconvNet's fork": "unpooling_param window_seg_data_param",
    "CRF-RNN's fork": "multi_stage_meanfield_param",
    "FlowNet's fork": """accum_param augmentation_param black_augmentation_param coeff_schedule_param correlation_param
        downsample_param flow_warp_param l1_loss_param lpq_loss_param mean_param reader_param resample_param
        reshape_every_iter writer_param""",
    "the YOLO forks": """box_data_param detection_loss_param eval_detection_param region_loss_param reorg_param
        yolo_detection_output_param yolov3_detection_output_param yolov3_param DataParameter.side""",
    "OpenPose's fork": """center_perterb_max cpm_transform_param cpmdata_param crop_size_x crop_size_y do_clahe
        imresize_param max_rotate_degree nms_param np_in_lmdb num_parts scale_max scale_min scale_prob target_dist
        transform_body_joint visualize TransformationParameter.stride""",
    "the hashing forks": "multi_label_data_param pairwise_param",
    "Intel's fork": """avg_include_pad bn_stats_batch_size compile_net_state continuation_indicator_param conv_algorithm
        disabled_update mn_activation_param mn_grad_compress_param mn_param_grad_compress_param multinode
        random_aspect_ratio_param random_resize_param spatial_dropout_param split_param stats_batch_size warmup_iter
        warmup_start_lr BatchNormParameter.filler BatchNormParameter.relu BatchNormParameter.use_weight_bias
        ConcatParameter.engine ConvolutionParameter.negative_slope ConvolutionParameter.relu EltwiseParameter.engine
        InnerProductParameter.engine LayerParameter.engine NetParameter.engine SolverParameter.engine""",
    "Intel's and NVIDIA's forks": "local_gw_ratio local_lr_auto",
    "Intel's and the hashing forks": "quantization_param",
    "NVIDIA's fork": """backward_math backward_type cudnn_convolution_algo_seeker default_backward_math
        default_backward_type default_cudnn_math_override default_forward_math default_forward_type
        detectnet_augmentation_param detectnet_groundtruth_param forward_math forward_type global_grad_scale
        global_grad_scale_adaptive global_grad_scale_param img_rand_resize_lower img_rand_resize_upper larc larc_policy
        larc_turbo min_lr momentum_policy rampup_interval rampup_lr rand_resize_ratio_lower rand_resize_ratio_upper
        reduce_buckets store_blobs_in_old_format use_gpu_transform var_sz_img_enabled weight_decay_policy
        BatchNormParameter.bias_filler BatchNormParameter.engine BatchNormParameter.scale_bias
        BatchNormParameter.scale_filler""",
    "the face recognition forks": """center_loss_param largemargin_inner_product_param margin_inner_product_param
        triplet_loss_param""",
    "the CTC forks": "ctc_decoder_param ctc_loss_param reverse_param transpose_param warp_ctc_param",
    "ShuffleNet's fork": "shuffle_channel_param",
    "the spatial transformer's fork": "st_loss_param st_param",
    "DenseNet's forks": "PoolingParameter.ceil_mode",
    "a fork": "focal_loss_param local_weighted_convolution_param pixel_shuffle_param",
}

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


TYPES = _by_name(_TYPES)
"""By layer type the fork that it comes from, in words: those that netspec has are in it, too."""

FIELDS = _by_name(_FIELDS)
"""By field the fork that it comes from; ``Message.field`` where Caffe or another fork means something else by it."""

VALUES = _by_name(_VALUES)
"""By enum value the fork that it comes from."""


def of_field(message: str, name: str) -> str:
    """The fork that a field of a message comes from; nothing where none is known."""
    return FIELDS.get(f"{message}.{name}") or FIELDS.get(name, "")


def of_bn(message: Message) -> str:
    """The fork whose BN a bn_param means: SegNet's where it has a field of SegNet's."""
    owners = [of_field(message.DESCRIPTOR.name, field.name) for field, _ in message.ListFields()]
    return _SEGNET if _SEGNET in owners else _PSPNET


def origin(fork: str) -> str:
    """What a message adds about something unknown: the fork that has it, if one is known."""
    return f": it comes from {fork} of Caffe" if fork else ""
