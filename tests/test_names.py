"""Names of any system come in as one, and what a data set writes of them comes back."""

import os
import unicodedata
import zipfile

from effnet_helpers import data
from effnet_helpers.data.audit import audit
from effnet_helpers.data.splits import groups_by_pattern, hash_key

import pandas as pd
import pytest
from hostile_pictures import encoded, picture

NFC, NFD = (lambda text, form=form: unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
ODD = (
    *(" leading.png", "trailing .png", "semi;colon.png", "com,ma.png", 'quo"te.png', "back\\slash.png", "=1+2.png"),
    *("two\nlines.png", "car\rriage.png", "tab\t.png", "NA", "nan.png", "ünïcode.png", NFD("é.png"), "日本.png"),
    *("-rf.png", "#hash.png", "100%.png", "it's.png", "~.png", os.fsdecode(b"caf\xe9.png")),
)


def write(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture(number, (24, 20)), "PNG"))


def load(spec):
    return data.load(spec, image_size=16)


def split_of(dataset):
    return {name: split for split, files in dataset.splits.items() for name in files.names}


def contents(dataset):
    """Split and class of each picture, by its content."""
    return {
        digest: (split, dataset.class_names[label])
        for split, files in dataset.splits.items()
        for digest, label in zip(files.digests, files.labels, strict=True)
    }


# accents


def test_a_class_in_two_forms_of_an_accent_is_one(tmp_path):
    for number, (split, form) in enumerate((("train", NFC), ("val", NFD), ("test", NFD))):
        for i in range(3):
            write(tmp_path / split / form("Äpfel") / f"{i}.png", 10 * number + i)
            write(tmp_path / split / "Birnen" / f"{i}.png", 100 + 10 * number + i)
    dataset = load(f"folder:{tmp_path}")
    assert dataset.class_names == ("Birnen", NFC("Äpfel"))
    assert dataset.sizes == {"train": 6, "val": 6, "test": 6}


def test_a_table_finds_files_whatever_form_it_writes_them_in(tmp_path):
    rows = []
    for i in range(8):
        write(tmp_path / NFD("Bär") / f"ö{i}.png", i)
        rows.append(
            (
                f"{(NFC, NFD)[i % 2]('Bär')}/{(NFD, NFC)[i // 2 % 2](f'ö{i}')}.png",
                (NFD, NFC)[i % 2]("süß") if i < 4 else "b",
            )
        )
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(tmp_path / "t.csv", index=False)
    dataset = load(f"csv:{tmp_path / 't.csv'}")
    assert dataset.class_names == ("b", NFC("süß"))
    assert sum(dataset.sizes.values()) == 8
    assert dataset.left_out == ()


def test_a_split_does_not_depend_on_the_form_of_accents():
    assert hash_key(NFC("é/ü.png"), 3) == hash_key(NFD("é/ü.png"), 3)
    assert groups_by_pattern([NFC("é1/a"), NFD("é1/b")], NFD("é[0-9]")) == (NFC("é1"),) * 2


# archives without the flag for UTF-8


class WithoutFlag(zipfile.ZipInfo):
    def _encodeFilenameFlags(self):  # noqa: N802  zipfile's own
        return self.filename.encode(self.encoding), self.flag_bits & ~0x800


@pytest.mark.parametrize(
    ("encoding", "read_as"), [("utf-8", "Müll"), ("cp437", "Müll"), ("cp850", "Müll"), ("cp1252", "Mⁿll")]
)
def test_names_of_a_zip_are_utf8_or_else_in_the_code_page_of_dos_which_is_said(tmp_path, encoding, read_as):
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        for number in range(8):
            member = WithoutFlag(f"{('Müll', 'Glas')[number % 2]}/{number}.png")
            member.encoding = encoding
            archive.writestr(member, encoded(picture(number), "PNG"))
    dataset = load(f"folder:{tmp_path / 'old.zip'}")
    assert dataset.class_names == ("Glas", read_as)
    said = [(other.name, other.trait) for other in dataset.passed_over]
    assert said == ([] if encoding == "utf-8" else [("old.zip", "code_page")])


# classes that are hardly told apart


@pytest.mark.parametrize(("one", "other"), [("Cat", "cat"), ("cat", "cat "), ("grey  cat", "Grey cat")])
def test_classes_that_differ_in_capitals_or_blanks_are_said(tmp_path, one, other):
    for label in (one, other, "dog"):
        for i in range(3):
            write(tmp_path / label / f"{i}.png", sum(map(ord, label)) * 10 + i)
    with pytest.warns(UserWarning, match="differ only in capitals or blanks: ") as caught:
        assert load(f"folder:{tmp_path}").num_classes == 3
    assert caught[0].filename == __file__
    assert "alike_classes" in set(audit(tmp_path).findings["finding"])


# tables


def test_what_a_data_set_writes_comes_back_whatever_is_in_its_names(tmp_path):
    for number, name in enumerate(ODD):
        for label in ("a ", "b;é"):
            write(tmp_path / "pets" / label / name, 2 * number + (label == "a "))
    dataset = load(f"folder:{tmp_path / 'pets'}")
    for table in (tmp_path / "splits.csv", tmp_path / "pets" / "a " / "splits.csv"):
        dataset.to_csv(table)
        again = load(f"csv:{table}")
        assert again.class_names == dataset.class_names
        assert contents(again) == contents(dataset)
        assert again.left_out == ()


def test_pictures_on_another_drive_of_windows_are_found_again(tmp_path, monkeypatch):
    for i in range(8):
        write(tmp_path / "pets" / "ab"[i % 2] / f"{i}.png", i)
    dataset = load(f"folder:{tmp_path / 'pets'}")

    def relpath(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    with monkeypatch.context() as patch:
        patch.setattr(os.path, "relpath", relpath)
        dataset.to_csv(tmp_path / "splits.csv")
    assert contents(load(f"csv:{tmp_path / 'splits.csv'}")) == contents(dataset)


def test_excel_reads_what_is_written(tmp_path):
    for i in range(8):
        write(tmp_path / "pets" / ("é", "b")[i % 2] / f"{i}.png", i)
    load(f"folder:{tmp_path / 'pets'}").to_csv(tmp_path / "splits.csv")
    audit(tmp_path / "pets").to_csv(tmp_path / "audit.csv")
    assert (tmp_path / "splits.csv").read_bytes().startswith(b"\xef\xbb\xbf")  # without which it takes UTF-8 for cp1252
    assert (tmp_path / "audit.csv").read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("name", ["labels.csv", "audit.csv", "notes.txt", "folder.csv"])
def test_nothing_of_the_user_is_replaced_by_a_table(tmp_path, name):
    for i in range(8):
        write(tmp_path / "pets" / "ab"[i % 2] / f"{i}.png", i)
    path = tmp_path / name
    if name == "folder.csv":
        path.mkdir()
    else:
        path.write_text({"audit.csv": "severity,finding\n"}.get(name, "path,label,split\na.png,a,train\n"))
    before = None if path.is_dir() else path.read_bytes()
    for write_table in (load(f"folder:{tmp_path / 'pets'}").to_csv, audit(tmp_path / "pets").to_csv):
        with pytest.raises(ValueError, match=f"{name} was not written by this package"):
            write_table(path)
    assert before is None or path.read_bytes() == before
    assert sorted(child.name for child in tmp_path.iterdir()) == sorted(["pets", name])


def test_a_table_of_its_own_that_was_edited_since_stays(tmp_path):
    for i in range(8):
        write(tmp_path / "pets" / "ab"[i % 2] / f"{i}.png", i)
    dataset, findings = load(f"folder:{tmp_path / 'pets'}"), audit(tmp_path / "pets")
    for to_csv, path in ((dataset.to_csv, tmp_path / "splits.csv"), (findings.to_csv, tmp_path / "audit.csv")):
        to_csv(path)
        edited = path.read_bytes().replace(b"a", b"A", 1)
        path.write_bytes(edited)
        with pytest.raises(ValueError, match=r"as a table .*, or was changed since, so it stays"):
            to_csv(path)
        assert path.read_bytes() == edited


def test_a_table_of_its_own_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    for i in range(8):
        write(tmp_path / "pets" / "ab"[i % 2] / f"{i}.png", i)
    dataset, findings = load(f"folder:{tmp_path / 'pets'}"), audit(tmp_path / "pets")
    for to_csv, path in ((dataset.to_csv, tmp_path / "splits.csv"), (findings.to_csv, tmp_path / "audit.csv")):
        to_csv(path)
        to_csv(path)
        before = path.read_bytes()

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            with pytest.raises(OSError, match="No space left"):
                to_csv(path)
        assert path.read_bytes() == before
    assert sorted(child.name for child in tmp_path.iterdir()) == ["audit.csv", "pets", "splits.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,split\na.jpg,cat,\nb.jpg,dog,\nc.jpg,dog,train\n", "split in row 2 must be"),
        ("path;label\na.jpg;cat\n", "Received: 'path;label'"),
        ("path,cat,dog\na.jpg,1,0\n", "Received: 'path', 'cat', 'dog'"),
        ("path,label\na.jpg\nb.jpg,dog\n", "Row 2 has no path or no label"),
        ("path,label\nö.jpg,cat\nb.jpg,dog\n".encode("latin-1"), "Row 2 is not in UTF-8"),
        ("path,label\na.jpg,katö\nb.jpg,dog\n".encode("latin-1"), "Row 2 is not in UTF-8"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_by_row(tmp_path, text, message):
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        load(f"csv:{tmp_path / 't.csv'}")


def test_blanks_behind_commas_and_other_separators_are_understood(tmp_path):
    for i in range(6):
        write(tmp_path / "photos" / f"{i}.png", i)
    rows = "\n".join(
        f"photos\\{i}.png, {'cat' if i < 3 else 'dog'}, {('Training', 'valid', 'TEST')[i % 3]} " for i in range(6)
    )
    (tmp_path / "t.csv").write_text(f"path, label, split\n{rows}\n")
    dataset = load(f"csv:{tmp_path / 't.csv'}")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.sizes == {"train": 2, "val": 2, "test": 2}
