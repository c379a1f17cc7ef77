"""The older dialects of net and solver files, brought into today's form. Whoever reads a text reads it through here."""

from netspec.upgrade.files import is_solver, upgraded_text, upgraded_weights
from netspec.upgrade.net import net_document, older_net_forms, parse_net, read_net, upgrade_net
from netspec.upgrade.solver import older_solver_forms, parse_solver, read_solver, solver_document

__all__ = [
    "is_solver",
    "net_document",
    "older_net_forms",
    "older_solver_forms",
    "parse_net",
    "parse_solver",
    "read_net",
    "read_solver",
    "solver_document",
    "upgrade_net",
    "upgraded_text",
    "upgraded_weights",
]
