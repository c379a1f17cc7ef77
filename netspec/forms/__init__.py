"""Other forms of layers, found by their types; any module of this folder is imported."""

from importlib import import_module
from pkgutil import iter_modules

from netspec.forms.base import FORMS, JOINING_FORMS, PLAIN, Form, Site, form, joining_form
from netspec.forms.places import sites

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["FORMS", "JOINING_FORMS", "PLAIN", "Form", "Site", "form", "joining_form", "sites"]
