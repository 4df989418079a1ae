"""A safe reader for weight files that PyTorch saved before release 1.6, without PyTorch.

Such a file is a row of pickles (magic number, protocol, sizes of types, the dictionary of parameters with its storages
as persistent ids, the list of storage keys), followed, for each storage, by an 8-byte little-endian count and the raw
values. A pickle may name any function and have it called, so the unpickler here admits the four names that weights
need and refuses everything else before anything runs.
"""

import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np


class WeightsError(ValueError):
    """A weights file cannot be used: missing, damaged, of another variant, or holding what it should not."""


_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_TORCH_PROTOCOL = 1001


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_STORAGE_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


def _admitted() -> dict[tuple[str, str], object]:
    """The names a file may ask for. New objects for each file: a pickle may set attributes of what it is given."""

    def rebuild_tensor(storage, offset, shape, strides, *_):  # noqa: ANN001 - called by the pickle only
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    class Dictionary(OrderedDict):
        """An ordered dictionary of this file's own."""

    return {
        ("collections", "OrderedDict"): Dictionary,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
    }


class _RestrictedUnpickler(pickle.Unpickler):
    """Admits what a file of weights needs and nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._names = _admitted()

    def find_class(self, module: str, name: str) -> object:
        try:
            return self._names[module, name]
        except KeyError:
            raise WeightsError(f"its pickle asks for {module}.{name}, which no weights need; nothing was run") from None

    def persistent_load(self, pid: tuple) -> _Storage:
        kind, dtype, key, _location, count, *_ = pid
        if kind != "storage" or dtype not in _STORAGE_DTYPES.values():
            raise WeightsError(f"its pickle refers to something that is not a storage: {kind!r}")
        return _Storage(key, np.dtype(dtype), count)


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dictionary that PyTorch before 1.6 saved.

    Args:
        path: The file.

    Returns:
        A dictionary from parameter names to arrays in PyTorch's layout, float32 or int64.

    Raises:
        WeightsError: If the file is missing, truncated, of another format, or holds anything but tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read_torch_stream(file, path.stat().st_size)
    except OSError as error:
        raise WeightsError(f"Cannot read the weights file {path}: {error.strerror}.") from error
    except WeightsError as error:
        raise WeightsError(f"The weights file {path.name} was refused: {error}.") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise WeightsError(
            f"The weights file {path.name} is truncated or not a state dictionary in PyTorch's format from before 1.6 "
            f"({type(error).__name__}: {error})."
        ) from error


def _read_torch_stream(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    def load() -> object:
        return _RestrictedUnpickler(file).load()

    if (load(), load()) != (_TORCH_MAGIC, _TORCH_PROTOCOL):
        raise ValueError("wrong magic number or protocol")
    load()  # byte order and sizes of the machine that wrote it; the values are little-endian in every such file
    tensors, keys = load(), load()
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise WeightsError("it holds something other than a dictionary of tensors")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    values = {}
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        num_bytes = count * storage.dtype.itemsize
        if count != storage.count or num_bytes > size - file.tell():
            raise EOFError(f"storage {key} should hold {storage.count} values")
        values[key] = np.frombuffer(file.read(num_bytes), storage.dtype)
    return {name: _view(values[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _view(values: np.ndarray, tensor: _Tensor) -> np.ndarray:
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or last >= values.size:
        raise ValueError("a tensor reaches outside its storage")
    strides = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)
