"""The k-means baseline: how far one gets without learning features by their errors."""

from netspec.evaluation.kmeans.baselines import STUDY, Settings, baselines
from netspec.evaluation.kmeans.clusters import scikit_learn
from netspec.evaluation.kmeans.image_set import ImageSet, open_images

__all__ = ["STUDY", "ImageSet", "Settings", "baselines", "open_images", "scikit_learn"]
