"""What is wrong, odd or doubtful about a collection of pictures, before anything is trained on it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from effnet_helpers import machine, outputs
from effnet_helpers.data.listing import Entry, Listing, nfc
from effnet_helpers.data.load import FEWEST_IMAGES, alike_names, copies_in_other_splits
from effnet_helpers.data.scan import Scanned, printable, scan
from effnet_helpers.data.similar import similar_pairs
from effnet_helpers.data.sources import list_files, spec_of_path

import pandas as pd

COLUMNS = ["severity", "finding", "file", "class", "split", "detail", "cure"]
TABLE_OF_FINDINGS = outputs.Kind(
    "a table of an audit",
    lambda path: outputs.csv_header(path) == COLUMNS and machine.is_as_written(path),
    machine.note_written,
)
SEVERITIES = ("error", "warning", "note")
FEW_IMAGES = 20  # of a class, below which neither training nor its recall means much
IMBALANCE = 3  # largest to smallest class, from which accuracy alone misleads


@dataclass(frozen=True)
class Kind:
    """A kind of finding: `severity` is "error" (left out, or results will be wrong), "warning" (look at it) or "note"
    (dealt with); `cure` says what to do.
    """

    severity: str
    meaning: str
    cure: str


KINDS = {
    # files that cannot be used
    "unreadable": Kind("error", "cannot be opened", "check the link, the permission or the disk"),
    "zero_bytes": Kind("error", "empty file", "copy it again, or delete it"),
    "truncated": Kind("error", "truncated or damaged", "copy it again from its source, or delete it"),
    "not_an_image": Kind("error", "no picture inside", "delete it; often a web page saved in place of a picture"),
    "unsupported": Kind("error", "a kind of picture that is not read", "convert it to PNG or JPEG"),
    "unsafe": Kind("error", "refused when the archive was unpacked", "unpack by hand what you trust"),
    # files whose place or name is the matter
    "no_class": Kind("warning", "not in the folder of a class", "move it into one, if it is a picture to learn from"),
    "other_file": Kind("note", "no picture by name or content", "nothing to do"),
    "own_output": Kind("note", "written by this package", "left out; keep it elsewhere"),
    "hidden": Kind("note", "hidden or written by a file manager", "nothing to do"),
    "code_page": Kind("warning", "an archive whose names are not in UTF-8", "spelled wrong? pack it again, in UTF-8"),
    "unnamed_picture": Kind("note", "a picture whose name does not say so", "used; rename it, to .jpg or what it is"),
    "link_loop": Kind("warning", "a link that leads back to itself", "delete it"),
    "bad_name": Kind("warning", "a name with bytes or characters that cannot be shown", "rename it"),
    "wrong_extension": Kind("note", "another kind of picture than its name says", "rename it"),
    # what is repaired while reading
    "exif_rotated": Kind("note", "stored turned or mirrored", "turned upright while reading"),
    "cmyk": Kind("note", "colours for print", "converted to RGB without a colour profile; compare one by eye"),
    "bits16": Kind("note", "16 bits a channel", "scaled to 8 bits by the depth that the whole set uses"),
    "palette": Kind("note", "palette of colours", "converted to RGB"),
    "alpha": Kind("note", "transparent", "laid on white"),
    "animated": Kind("note", "several frames", "the first frame is used"),
    # doubtful pictures
    "tiny": Kind("warning", "shorter side below 32 pixels", "is there a larger original?"),
    "gigantic": Kind("warning", "so many pixels that it may be an attack", "shrink it, if you trust it"),
    "dim16": Kind("warning", "uses an eighth of the depth of all, or less", "does one picture reach too high?"),
    "extreme_shape": Kind("warning", "more than 8 times as long as wide", 'crop it, or use resize_mode="pad"'),
    "suspected_label": Kind("warning", "may be of another class", "look at it; move it if its label is wrong"),
    # copies
    "duplicate": Kind("note", "the same picture twice in its class", "kept in one split; delete one"),
    "duplicate_across_classes": Kind("error", "the same picture in another class", "decide which class is right"),
    "duplicate_across_splits": Kind("error", "the same picture in another split", "left out of train or val"),
    "near_duplicate": Kind("warning", "looks like another picture", "if it shows the same thing, use group_by"),
    # classes
    "empty_class": Kind("error", "a class without readable pictures", "fill it, or delete its folder"),
    "too_few": Kind("error", "a class with fewer pictures than splits", "add pictures, or delete its folder"),
    "few": Kind("warning", f"a class with fewer than {FEW_IMAGES} pictures", "add pictures; its recall is a guess"),
    "alike_classes": Kind("warning", "classes that differ only in capitals or blanks", "is it one? use one folder"),
    "imbalance": Kind("warning", "far fewer pictures than the largest class", 'balance="class_weights" in training'),
}


@dataclass(frozen=True, eq=False)
class Audit:
    """The findings on a collection.

    Attributes:
        name: What the collection is called.
        pictures: How many files were taken for pictures.
        usable: How many of them can be used: neither damaged nor a copy of one in another split.
        findings: One row a finding: severity, finding, file, class, split, detail, cure. Most severe first. What
            cannot be printed in a name is escaped.
    """

    name: str
    pictures: int
    usable: int
    findings: pd.DataFrame

    @property
    def summary(self) -> pd.DataFrame:
        """One row a kind of finding: severity, finding, meaning, how many, an example, cure."""
        rows = [
            {
                "severity": KINDS[kind].severity,
                "finding": kind,
                "meaning": KINDS[kind].meaning,
                "files": len(rows),
                "example": rows["file"].iloc[0],
                "cure": KINDS[kind].cure,
            }
            for kind, rows in self.findings.groupby("finding", sort=False)
        ]
        return pd.DataFrame(rows, columns=["severity", "finding", "meaning", "files", "example", "cure"])

    def with_suspects(self, suspects: Iterable[tuple[str, str, str]]) -> Audit:
        """Returns the same with labels that may be wrong, the surest first.

        Args:
            suspects: File, class and detail of each.
        """
        rows = [_finding("suspected_label", file, detail, class_name) for file, class_name, detail in suspects]
        every = pd.concat([self.findings, pd.DataFrame(rows, columns=COLUMNS)], ignore_index=True)
        order = every["severity"].map(SEVERITIES.index).argsort(kind="stable")
        return replace(self, findings=every.iloc[order].reset_index(drop=True))

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes all findings as a table in UTF-8. It replaces such a table that nobody changed, and no other file.

        Raises:
            ValueError: If there is another file of this name.
        """
        path = Path(path).expanduser().absolute()
        with outputs.replacing(TABLE_OF_FINDINGS, path) as folder:
            self.findings.to_csv(folder / path.name, index=False, encoding="utf-8-sig")  # the mark that Excel wants

    @property
    def headline(self) -> str:
        """The counts in one line."""
        counts = Counter(self.findings["severity"])
        told = ", ".join(f"{counts[severity]} {severity}{'s' * (counts[severity] != 1)}" for severity in SEVERITIES)
        return f"{self.name}: {self.usable} of {self.pictures} pictures can be used; {told}"

    def __str__(self) -> str:
        lines = []
        for row in self.summary.itertuples():
            example = f", such as {row.example}" if row.example else ""
            lines.append(f"{row.severity:>9}  {row.files} × {row.meaning}{example}; {row.cure}")
        return "\n".join([self.headline, *lines])


def audit(spec: str | os.PathLike, *, progress: Callable[[int, int], None] | None = None) -> Audit:
    """Reads every file of a collection once and says what is wrong, odd or doubtful.

    Args:
        spec: A specification as for `data.load`, or the path of a folder, an archive or a table.
        progress: Called now and then with the number of files read and the number there are.

    Returns:
        An `Audit`. Nothing is changed on disk.

    Raises:
        ValueError: If there is nothing there that could be listed.
    """
    listing = list_files(spec_of_path(spec))
    entries = sorted(listing.entries, key=lambda entry: nfc(entry.name))
    told = (lambda done: progress(done, len(entries))) if progress else None
    scanned = list(scan(listing.root, [entry.name for entry in entries], told))
    readable = [(entry, file) for entry, file in zip(entries, scanned, strict=True) if not file.problem]
    splits, digests = [entry.split for entry, _ in readable], [file.digest for _, file in readable]
    left_out = copies_in_other_splits(splits, digests) if any(splits) else {}
    usable = [entry for i, (entry, _) in enumerate(readable) if i not in left_out]
    found = [
        *_passed_over(listing),
        *_single_files(entries, scanned),
        *_copies(readable, {readable[i][0].name for i in left_out}),
        *_similar(readable),
        *_classes(listing, usable),
    ]
    kinds = list(KINDS)
    found.sort(key=lambda row: (SEVERITIES.index(row["severity"]), kinds.index(row["finding"]), row["file"]))
    return Audit(listing.name, len(entries), len(usable), pd.DataFrame(found, columns=COLUMNS))


def _finding(kind: str, file: str, detail: str = "", class_name: str = "", split: str | None = None) -> dict[str, str]:
    severity, cure = KINDS[kind].severity, KINDS[kind].cure
    columns = {
        "file": printable(file),
        "class": printable(class_name),
        "split": split or "",
        "detail": printable(detail),
    }
    return {"severity": severity, "finding": kind, **columns, "cure": cure}


def _on(entry: Entry, kind: str, detail: str) -> dict[str, str]:
    return _finding(kind, entry.name, detail, entry.class_name, entry.split)


def _passed_over(listing: Listing) -> Iterator[dict[str, str]]:
    for other in listing.passed_over:
        yield _finding(other.trait, other.name, f"passed over: {other.reason}")


def _single_files(entries: list[Entry], scanned: list[Scanned]) -> Iterator[dict[str, str]]:
    depth = max((file.bits for file in scanned), default=0)
    for entry, file in zip(entries, scanned, strict=True):
        problem = file.traits[-1] if file.problem else None  # the last trait of a file with a problem is that problem
        for trait in file.traits:
            detail = f"left out: {file.problem}" if trait == problem else ""
            if trait in ("tiny", "gigantic", "extreme_shape") and trait != problem:
                detail = f"{file.size[0]} × {file.size[1]} pixels"
            if trait == "bits16":
                detail = f"scaled from the {depth} bits that the whole set uses"
            yield _on(entry, trait, detail)
        if 0 < file.bits <= depth - 3:
            yield _on(entry, "dim16", f"uses {file.bits} of the {depth} bits of the brightest picture: it becomes dark")


def _copies(readable: list[tuple[Entry, Scanned]], left_out: set[str]) -> Iterator[dict[str, str]]:
    by_digest: dict[str, list[Entry]] = defaultdict(list)
    for entry, file in readable:
        by_digest[file.digest].append(entry)
    for copies in by_digest.values():
        by_class, by_split = _grouped(copies, "class_name"), _grouped(copies, "split")
        for entry in copies:
            fate = "left out: " if entry.name in left_out else ""
            if len(by_class) > 1:
                yield _on(entry, "duplicate_across_classes", _same_as(by_class, entry.class_name, len(copies)))
            if len(by_split) > 1:
                yield _on(entry, "duplicate_across_splits", fate + _same_as(by_split, entry.split, len(copies)))
            if len(beside := by_class[entry.class_name]) > 1:
                other = beside[beside[0] is entry]
                yield _on(entry, "duplicate", _same_as({None: [other]}, entry.class_name, len(beside)))


def _grouped(entries: list[Entry], attribute: str) -> dict[str | None, list[Entry]]:
    groups: dict[str | None, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[getattr(entry, attribute)].append(entry)
    return groups


def _same_as(groups: dict[str | None, list[Entry]], own: str | None, total: int) -> str:
    """Names the first copy in another group, and says how many of the total are in others."""
    first = next(members[0] for group, members in groups.items() if group != own)
    more = total - len(groups.get(own, [first])) - 1
    return f"the same as {first.name}" + (f" and {more} more" if more else "")


def _similar(readable: list[tuple[Entry, Scanned]]) -> Iterator[dict[str, str]]:
    once: dict[str, tuple[Entry, Scanned]] = {}  # exact copies are told apart from these
    for entry, file in readable:
        once.setdefault(file.digest, (entry, file))
    different = [(entry, file) for entry, file in once.values() if file.look is not None]
    for position, nearest, bits in similar_pairs([file.look for _, file in different]):
        entry, other = different[position][0], different[nearest][0]
        yield _on(entry, "near_duplicate", f"looks like {other.name} ({bits} of 64 bits differ)")


def _classes(listing: Listing, usable: list[Entry]) -> Iterator[dict[str, str]]:
    # Where there are splits, the one to train on counts.
    has_splits = any(entry.split for entry in listing.entries)
    counts = Counter(entry.class_name for entry in usable if not has_splits or entry.split == "train")
    largest = max(counts.values(), default=0)
    for names in alike_names(listing.class_names):
        yield _finding("alike_classes", "", f"{names}", names[0])
    listed = {entry.class_name for entry in listing.entries}
    for name in listing.class_names:
        if listing.may_lack_classes and name not in listed:
            continue
        count, split = counts[name], "train" if has_splits else None
        detail = f"{count} readable pictures; the largest class has {largest}"
        if count == 0:
            yield _finding("empty_class", "", detail, name, split)
        elif count < (1 if has_splits else FEWEST_IMAGES):
            yield _finding("too_few", "", detail, name, split)
        elif count < FEW_IMAGES:
            yield _finding("few", "", detail, name, split)
        if 0 < count * IMBALANCE < largest:
            yield _finding("imbalance", "", detail, name, split)
