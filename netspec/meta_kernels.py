"""PyTorch's kernels for meta tensors, which a tool may have left out of its start (`tools/quick_import.py`)."""

from importlib import import_module


def load_meta_kernels() -> None:
    """Have them, from here on; 0.25 s where they were left out, else nothing."""
    import_module("torch._meta_registrations")
