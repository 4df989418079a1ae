"""Training that goes on where it was interrupted: its whole state on disk after each epoch, whole or not at all.

Keras' `BackupAndRestore` keeps the weights and the optimizer, but not the history, not what early stopping and the best
epoch go by, and not where the order of images stands; it writes over its files in place, deletes them when training is
done, and takes up a training of any other settings.
"""

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from effnet_helpers import outputs
from effnet_helpers.data import ImageDataset
from effnet_helpers.models import trainable_table
from effnet_helpers.records import expect
from effnet_helpers.runtime import keras
from effnet_helpers.training.callbacks import KeepBest
from effnet_helpers.training.features import network_fingerprint
from effnet_helpers.training.processes import Processes

import numpy as np
import pandas as pd

FORMAT = 1
"""Of checkpoints: raise it when the same settings begin to train differently."""
NO_SETTINGS = ("model", "dataset", "checkpoint_dir", "processes", "verbose")
"""Arguments of a training that say what it is about or what it prints, not how it trains."""
RECORD = "effnet_checkpoint"
"""What a checkpoint's file begins with, behind the 30 bytes that every zip file has there."""
KEPT_OF_THE_BEST = ("best_epoch", "best_loss", "best_accuracy", "by_accuracy", "history")
HISTORY = outputs.Kind("a history of training", lambda path: outputs.csv_header(path)[:1] == ["epoch"])


class Checkpoint(keras.callbacks.Callback):
    """Finds the last checkpoint of a training, brings its state back, and writes the next ones.

    A checkpoint is one NumPy archive, `PHASE-NUMBER.npz`: a record in JSON and all variables of the part in training
    (weights, statistics, states of random generators), of its optimizer, and its best weights. Each has a new name, and
    the one before is deleted by the next but one. `PHASE-history.csv` is for reading only.

    Args:
        folder: Where they are kept, or None to keep nothing.
        phase: What their names begin with: trainings one after the other share a folder.
        model: The whole model, as training finds it.
        dataset: What it is trained on.
        arguments: All arguments of the training by name, so that one of others is told from it.
        processes: Those that train together, None for one alone. All read the folder, the chief writes.

    Attributes:
        epoch: How many epochs are done.
        finished: Whether that is all of them.
        seconds: How long they took.
        record: What a checkpoint says in JSON, for the training to add to.

    Raises:
        ValueError: If the last checkpoint is of other settings, the folder is none, or another file is in the place of
            the history.
    """

    def __init__(
        self,
        folder: str | Path | None,
        phase: str,
        model: keras.Model,
        dataset: ImageDataset,
        arguments: Mapping[str, Any],
        processes: Processes | None = None,
    ) -> None:
        super().__init__()
        self.folder = None if folder is None else Path(folder).expanduser()
        self.phase, self.whole, self.newest, self.arrays, self.before = phase, model, None, [], None
        self.record: dict[str, Any] = {"epoch": 0, "finished": False, "seconds": 0.0}
        self.writes = self.folder is not None and (processes is None or processes.is_chief)
        if self.folder is None:
            if processes is not None:
                _agree(processes, 0, _settings(model, dataset, arguments))
            return
        is_usable = self.folder.is_dir() or not self.folder.exists()
        expect(is_usable, "checkpoint_dir", str(folder), "a folder, or the path of a new one")
        self.folder.mkdir(parents=True, exist_ok=True)
        outputs.check_free(HISTORY, self.folder / f"{phase}-history.csv")
        self.settings = _settings(model, dataset, arguments)
        damaged = []
        for path in reversed(self._paths()):
            try:
                self.record, self.arrays = _read(path)
            except Exception as error:  # whatever zipfile, NumPy and JSON raise on damage
                damaged.append(f"{path.name} is damaged ({error})")
                continue
            self._check_settings(path)
            self.newest = path
            break
        if damaged:
            then = f"goes on after {self.newest.name}" if self.newest else "begins anew"
            warnings.warn(f"{'; '.join(damaged)}: training {then}.", stacklevel=3)
        if processes is not None:  # none writes before all have read
            _agree(processes, self.epoch, self.settings)

    @property
    def epoch(self) -> int:
        return self.record["epoch"]

    @property
    def finished(self) -> bool:
        return self.record["finished"]

    @property
    def seconds(self) -> float:
        return self.record["seconds"]

    def restore(self, part: keras.Model, keeper: KeepBest) -> None:
        """Brings back the state of a compiled part of the model and of what keeps its best weights."""
        if self.folder is None:
            return
        self.set_model(part)
        self.keeper, self.started = keeper, time.perf_counter() - self.seconds
        self.before = [variable.numpy() for variable in part.variables]
        if self.newest is None:
            return
        if not part.optimizer.built:
            part.optimizer.build(part.trainable_variables)
        variables, best = self._variables(), self._positions_of_best()
        for variable, value in zip(variables, self.arrays[: len(variables)], strict=True):
            variable.assign(value)
        for position, value in zip(best, self.arrays[len(variables) :], strict=True):
            keeper.best_weights[position] = value
        for name in KEPT_OF_THE_BEST:
            setattr(keeper, name, self.record[name])
        self.arrays = []
        if self.finished:
            self.whole.set_weights(keeper.best_weights)

    def undo(self) -> None:
        """Leaves the model as training found it, so that the same call goes on from the last checkpoint."""
        if self.before is not None:
            for variable, value in zip(self.model.variables, self.before, strict=True):
                variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes a checkpoint; comes after all callbacks that have a part in it."""
        if not self.writes:
            return
        keeper, finished = self.keeper, self.model.stop_training or epoch + 1 == self.params["epochs"]
        arrays = [variable.numpy() for variable in self._variables()]
        arrays += [keeper.best_weights[position] for position in self._positions_of_best()]
        self.record |= {name: getattr(keeper, name) for name in KEPT_OF_THE_BEST} | {"settings": self.settings}
        self.record |= {"epoch": epoch + 1, "finished": finished, "seconds": time.perf_counter() - self.started}
        if finished:  # a model that has the result already is told from a foreign one
            self.whole.set_weights(keeper.best_weights)
            self.record["weights_at_end"] = network_fingerprint(self.whole)
        named = {RECORD: np.frombuffer(json.dumps(self.record).encode(), np.uint8)}
        named |= {str(position): array for position, array in enumerate(arrays)}
        paths = self._paths()
        path = self.folder / f"{self.phase}-{_number(paths[-1]) + 1 if paths else 1:04}.npz"
        self._write(path, lambda file: np.savez(file, **named))
        for old in paths:
            if old != self.newest and _is_own(old):
                old.unlink(missing_ok=True)
        self.newest = path
        table = pd.DataFrame({"epoch": range(1, epoch + 2), **keeper.history}).to_csv(index=False)
        self._write(self.folder / f"{self.phase}-history.csv", lambda file: file.write(table.encode()))

    def _write(self, path: Path, write: Callable[[BinaryIO], Any]) -> None:
        part = self.folder / f".effnet-{self.phase}.part"  # always the same, so that many interruptions leave only one
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    def _paths(self) -> list[Path]:
        """Files that have a checkpoint's name, the newest last."""
        name = re.compile(rf"{self.phase}-\d+\.npz")
        return sorted((each for each in self.folder.iterdir() if name.fullmatch(each.name)), key=_number)

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _positions_of_best(self) -> list[int]:
        """Where the weights of the part in training stand among those of the whole model."""
        trained = {id(weight) for weight in self.model.weights}
        return [position for position, weight in enumerate(self.whole.weights) if id(weight) in trained]

    def _check_settings(self, path: Path) -> None:
        there, now = self.record["settings"], self.settings
        differing = {name for name in there | now if there.get(name) != now.get(name)}
        if now["weights_at_start"] == self.record.get("weights_at_end"):
            differing.discard("weights_at_start")
        if differing:
            listed = "; ".join(f"{name} {there.get(name)!r} there, {now.get(name)!r} now" for name in sorted(differing))
            raise ValueError(
                f"{path.name} in `checkpoint_dir` is of a training with other settings: {listed}. Give the earlier "
                "ones (random weights come again from the same `runtime.set_seed`) or another folder. "
                f"Received: checkpoint_dir={str(self.folder)!r}"
            )


def _settings(model: keras.Model, dataset: ImageDataset, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides how a training goes, as JSON gives it back."""
    table = trainable_table(model)
    settings = {name: value for name, value in arguments.items() if name not in NO_SETTINGS} | {
        "format": FORMAT,
        "keras": keras.__version__,
        "train_images": dataset.fingerprint("train"),
        "val_images": dataset.fingerprint("val"),
        "trained": list(table.index[table["trains"]]),
        "dropout": [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)],
        "weights_at_start": network_fingerprint(model),
    }
    return json.loads(json.dumps(settings, default=str))


def _agree(processes: Processes, epoch: int, settings: Mapping[str, Any]) -> None:
    """Makes sure that all processes train the same, from the same checkpoint; weights at the start are the chief's."""
    common = {name: value for name, value in settings.items() if name != "weights_at_start"}
    processes.agree("The training, its pictures and what `checkpoint_dir` holds", json.dumps([epoch, common]))


def _read(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    with np.load(path, allow_pickle=False) as archive:  # each array has a checksum in a zip file
        record = json.loads(archive[RECORD].tobytes())
        return record, [archive[str(position)] for position in range(len(archive.files) - 1)]


def _is_own(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(30 + len(RECORD))[30:] == RECORD.encode()


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
