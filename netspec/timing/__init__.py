"""Where the time of a net goes: forward and backward layer by layer, beside what the machine could do."""

from netspec.noise import made_inputs
from netspec.timing.limits import Rates, measure_rates
from netspec.timing.measure import LayerTime, Timing, time_net
from netspec.timing.opening import open_net
from netspec.timing.report import as_data, log_as_caffe, report
from netspec.timing.trace import write_trace

__all__ = [
    "LayerTime",
    "Rates",
    "Timing",
    "as_data",
    "log_as_caffe",
    "made_inputs",
    "measure_rates",
    "open_net",
    "report",
    "time_net",
    "write_trace",
]
