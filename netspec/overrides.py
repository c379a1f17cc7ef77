"""Settings from the command line (``KEY=VALUE``) put over the texts of the solver and its nets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from netspec.errors import SpecError, nearest
from netspec.graph import PHASES
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter, Phase, SolverParameter
from netspec.spec import Document, set_field
from netspec.upgrade import net_document


class Overrides:
    """Each setting is a field of the solver (``max_iter=100``) or of a layer, by its name
    (``fc8.inner_product_param.num_output=10``), perhaps of one phase (``data@TRAIN.data_param.batch_size=50``)."""

    def __init__(self, settings: Iterable[str], define: Mapping[str, str] | None = None) -> None:
        """`define` holds the values of variables in the texts of nets."""
        self._define = define
        self._for_solver: list[str] = []
        self._for_layers: list[tuple[str, str, str]] = []
        for setting in settings:
            first, dot, rest = setting.partition(".")
            if not dot or "=" in first or first in SolverParameter.DESCRIPTOR.fields_by_name:
                self._for_solver.append(setting)
            else:
                layer, _, phase = first.partition("@")
                if phase and phase not in PHASES:
                    raise SpecError(f'phase "{phase}" is neither TRAIN nor TEST', "--set", setting)
                self._for_layers.append((layer, phase, rest))

    @property
    def of_solver(self) -> dict[str, str]:
        """The settings of the solver, by their fields; of one field the last."""
        return {re.split(r"[.=]", setting)[0].strip(): setting for setting in self._for_solver}

    def applied_to_solver(self, solver: SolverParameter) -> SolverParameter:
        """A copy of a solver with the settings in it; SpecError where one is no field or has a wrong value."""
        changed = SolverParameter()
        changed.CopyFrom(solver)
        for setting in self._for_solver:
            set_field(changed, setting)
        return changed

    def applied_to_net(
        self, net: str | Path | NetParameter | Document[NetParameter], phase: Phase
    ) -> Document[NetParameter]:
        """A copy of a net's document with the settings for this phase in its layers; SpecError where one is not
        there."""
        document = net_document(net, self._define)
        changed = NetParameter()
        changed.CopyFrom(document.message)
        for layer, only, setting in self._for_layers:
            if only and PHASES[only] != phase:
                continue
            matching = [param for param in changed.layer if param.name == layer and _is_of(param, only)]
            if not matching:
                hint = nearest(layer, [param.name for param in changed.layer])
                raise SpecError(f'the net has no layer "{layer}" to set', "--set", setting, hint=hint)
            for param in matching:
                set_field(param, setting)
        return replace(document, message=changed)


def _is_of(param: LayerParameter, phase: str) -> bool:
    """Whether a layer's rules let it into a phase; any layer is of no phase in particular."""
    if not phase:
        return True
    included = [rule.phase for rule in param.include if rule.HasField("phase")]
    excluded = [rule.phase for rule in param.exclude if rule.HasField("phase")]
    return PHASES[phase] not in excluded and (PHASES[phase] in included or not included)
