"""What scores are worth: figures of one score file with labels, the report of them, and a baseline to hold them
against."""

from netspec.evaluation.calibration import Calibration, calibration
from netspec.evaluation.confusion import Confusion, confusion
from netspec.evaluation.hits import Share, accuracy, top_accuracy
from netspec.evaluation.names import named
from netspec.evaluation.pictures import image_layer, pictures_of
from netspec.evaluation.report import refuse_unwritable_report, summary, write_report
from netspec.evaluation.wrong import Wrong, most_wrong

__all__ = [
    "Calibration",
    "Confusion",
    "Share",
    "Wrong",
    "accuracy",
    "calibration",
    "confusion",
    "image_layer",
    "most_wrong",
    "named",
    "pictures_of",
    "refuse_unwritable_report",
    "summary",
    "top_accuracy",
    "write_report",
]
