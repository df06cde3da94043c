"""A text file is read correctly, or one sentence names the line and the option."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tabemb
from tabemb.compare import compare, load_dataset, text_files
from tabemb.compare.sources import read_file
from tabemb.compare.text_files import TextOptions

NAN = float("nan")


@pytest.fixture
def read(tmp_path):
    """A function that writes bytes or text to a file, reads it, and returns the frame and the notes."""

    def read_text(content, name="t.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frame = read_file(path, TextOptions(**options))
        assert all(issubclass(one.category, tabemb.InputNote) for one in caught)
        return frame, [str(one.message) for one in caught]

    return read_text


def check(read, content, columns, notes=0, **options):
    frame, said = read(content, **options)
    assert list(frame) == list(columns)
    for name, values in columns.items():
        pd.testing.assert_series_equal(
            frame[name].astype(object).where(frame[name].notna(), None),
            pd.Series(values, dtype=object),
            check_names=False,
        )
    assert len(said) == notes, said
    return said


@pytest.mark.parametrize(
    "content",
    ["a,b\n1,x,\n2,y,\n", "a,b,\n1,x,\n2,y,\n", "a;b\n1;x;\n2;y;\n", "a\tb\n1\tx\n2\ty\n",
     "a b\n1 x\n2 y\n", "a|b\n1|x\n2|y\n", "sep=;\na;b\n1;x\n2;y\n",
     '"sep=;"\r\na;b\r\n1;x\r\n2;y\r\n', "a,b\r1,x\r2,y\r",
     "a,b\n\n1,x\n\n2,y", '"a", b\n1,"x"\n2,y\n', "\ufeffa,b\n1,x\n2,y\n"],
)  # fmt: skip
def test_every_separator_and_line_end_gives_the_same_table(read, content):
    check(read, content, {"a": [1, 2], "b": ["x", "y"]})


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_is_recognised(read, encoding):
    content = "stadt;n\nKöln;1\nŁódź;2\n".encode(encoding)
    check(read, content, {"stadt": ["Köln", "Łódź"], "n": [1, 2]})
    check(read, gzip.compress(content), {"stadt": ["Köln", "Łódź"], "n": [1, 2]}, name="t.csv.gz")


def test_other_encodings_are_read_as_windows_wrote_them_and_noted(read):
    content = "stadt;n\nBonn;1\nKöln;2\n".encode("cp1252")
    columns = {"stadt": ["Bonn", "Köln"], "n": [1, 2]}
    (note,) = check(read, content, columns, 1)
    assert "was read as cp1252 (line 3: 'Köln;2'); encoding=" in note
    check(read, content, columns, encoding="latin-1")


@pytest.mark.parametrize(
    ("content", "values", "notes"),
    [("n;x\n1,5;a\n2,25;b\n", [1.5, 2.25], 1),  # decimal commas
     ("n;m\n1,5;1\n1.234,5;2\n", [1.5, 1234.5], 1),
     ('n,x\n"1,234.5",a\n7,b\n', [1234.5, 7], 1),  # thousands
     ('n,x\n"1,234",a\n999,b\n', [1234, 999], 1),
     ("n;x\n1 234,5;a\n7;b\n", [1234.5, 7], 1),
     ("n;x\n1'234.5;a\n7;b\n", [1234.5, 7], 1),
     ('n,x\n"$1,200.50",a\n-$3,b\n', [1200.5, -3], 1),  # currency
     ("n;x\n1,5 €;a\n-2 €;b\n", [1.5, -2], 1),
     ("n,x\n12 %,a\n3.5%,b\n", [12, 3.5], 1),
     ("n,x\n1e5,a\n-2.5E-1,b\n", [1e5, -0.25], 0),
     ("n,x\n.5,a\n+7.,b\n", [0.5, 7], 0),
     ("n,x\n\u22125,a\n7,b\n", [-5, 7], 0),
     ("n,x\n 1, a\n2 , b\n", [1, 2], 0),
     ("n,x\n1,a\nNA,b\n", [1, None], 1),  # a mark among numbers can only be a missing value
     ("n,x\n1,a\n?,b\n", [1, None], 1),
     ("n,x\n1.5,a\n,b\n", [1.5, None], 0),
     ("n,x\n0.1,a\n2.675,b\n", [0.1, 2.675], 0)],
)  # fmt: skip
def test_numbers_are_numbers_in_any_notation(read, content, values, notes):
    frame, said = read(content)
    assert pd.api.types.is_numeric_dtype(frame["n"])
    assert frame["n"].astype(object).where(frame["n"].notna(), None).tolist() == values
    assert len(said) == notes, said


def test_all_columns_decide_on_the_decimal_mark_together(read):
    (note,) = check(read, "n;m\n0,5;1.234\n7;5.678\n", {"n": [0.5, 7], "m": [1234, 5678]}, 1)
    assert "'0,5' in column 'n' is 0.5, '1.234' in column 'm' is 1234; decimal and" in note
    check(read, "n;m\n0.5;1.234\n7;5.678\n", {"n": [0.5, 7], "m": [1.234, 5.678]})
    check(read, "m;x\n1,234;a\n", {"m": [1.234], "x": ["a"]}, decimal=",")
    check(read, "m;x\n1.234;a\n", {"m": [1234], "x": ["a"]}, decimal=",")
    check(read, "m;x\n1.234;a\n", {"m": [1234], "x": ["a"]}, 1, thousands=".")


def test_codes_and_texts_stay_as_they_are(read):
    frame, notes = read("zip,code,version,big\n00123,1e,1.2.3,99999999999999999999\n10115,2f,1.2.4,7\n")
    assert frame["zip"].tolist() == ["00123", "10115"]
    assert frame["version"].tolist() == ["1.2.3", "1.2.4"]
    assert frame["big"].tolist() == ["99999999999999999999", "7"]
    assert all(dtype == "str" for dtype in frame.dtypes)
    assert notes == []


def test_large_integers_beside_missing_ones_stay_exact(read):
    frame, _ = read("id,x\n9007199254740993,a\n,b\n9007199254740992,c\n")
    assert frame["id"].iloc[[0, 2]].tolist() == [9007199254740993, 9007199254740992]
    assert frame["id"].isna().tolist() == [False, True, False]


def test_only_an_empty_field_is_missing_among_texts(read):
    content = 'country,class,x\nNA,None,1\nDE,null,2\n"",nan,3\n'
    columns = {"country": ["NA", "DE", None], "class": ["None", "null", "nan"], "x": [1, 2, 3]}
    (note,) = check(read, content, columns, 1)
    assert (
        "categories, not missing values: 'NA' in column 'country' (1 rows, the first is line 2)" in note
    )
    columns["country"] = [None, "DE", None]
    check(read, content, columns, 1, missing=["NA"])
    columns["class"] = [None, None, "nan"]
    check(read, content, columns, 1, missing=["NA", "None", "null"])


def test_booleans_and_iso_dates_are_what_they_are(read):
    frame, notes = read("b,c,d,e\nTrue,FALSE,2024-01-31,2024-01-31 10:30\nFalse,,2024-02-29,\n")
    assert frame["b"].tolist() == [True, False]
    assert frame["c"].dtype == "boolean"
    assert frame["c"].isna().tolist() == [False, True]
    assert frame["d"].tolist() == [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-29")]
    assert frame["e"][0] == pd.Timestamp("2024-01-31 10:30")
    assert notes == []
    # not a day of the calendar, and no clear order of day and month
    frame, _ = read("d,e\n2024-02-30,01/02/2024\n2024-02-01,03/04/2024\n")
    assert frame["d"].tolist() == ["2024-02-30", "2024-02-01"]
    assert frame["e"].tolist() == ["01/02/2024", "03/04/2024"]


def test_quotes_hold_separators_and_line_ends(read):
    content = 'a,b\n1,"x, ""y""\nz"\n2,"5"" pipe"\n'
    check(read, content, {"a": [1, 2], "b": ['x, "y"\nz', '5" pipe']})
    check(read, 'a,b\n1,"x\n2,y"\n', {"a": [1, 2], "b": ['"x', 'y"']}, quote="")


def test_comments_and_headers(read):
    columns = {"a": [1, 2], "b": ["x", "#y"]}
    check(read, "# made today\na,b\n1,x\n# and more\n2,#y\n", columns, comment="#")
    check(read, 'a,b\n1,"x\n#y"\n', {"a": [1], "b": ["x\n#y"]}, comment="#")
    check(read, "5.1,s\n4.9,v\n", {"x0": [5.1, 4.9], "x1": ["s", "v"]}, header=False)
    check(read, "5.1,s\n4.9,s\n", {"5.1": [4.9], "s": ["s"]}, header=True)
    check(read, "country,1960,1961\nDE,1.5,2\n", {"country": ["DE"], "1960": [1.5], "1961": [2]})
    check(read, "0,1\n5,6\n7,8\n", {"0": [5, 7], "1": [6, 8]})
    check(read, ",a\n0,x\n1,y\n", {"Unnamed: 0": [0, 1], "a": ["x", "y"]})


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [("a,b\n1,x\n2\n", {}, "line 3 has 1 field, but line 1 has 2; mend it, or give sep"),
     ("a,b\n1,x,5\n", {}, "line 2 has 3 fields, but line 1 has 2"),
     ('a,b\n1,"x\ny"\n2,z,9\n', {}, "line 4 has 3 fields"),
     ("# made\na,b\n1,x\n", {}, "line 2 has 2 fields, but line 1 has 1; .* comment"),
     ('a,b\n1,"x\n2,y\n', {}, "line 2 has a quote that is not closed"),
     ('a,b\n1,"x" y\n2,y\n', {}, "line 2 has a quote that is not closed or not doubled"),
     ("a,b\n1,x\na,b\n2,y\n", {}, "line 3 repeats the header"),
     ("a,a\n1,2\n", {}, "several columns 'a'; rename them"),
     ("5.1,s\n4.9,s\n", {}, r"looks like values \(5.1, s\), not like names; header=false"),
     ("a,b;c\n1,2;3\n", {}, r"may be separated by ',' or ';'; give sep\."),
     (b"a,b\n1,\x81\n", {}, r"line 2 of '.*t.csv' is not utf-8; give encoding"),
     (b"a,b\n1,\xff\n", {"encoding": "utf-8"}, "line 2 of .* is not utf-8; give encoding"),
     ("a,b\n", {"encoding": "nope"}, "encoding must be one that Python knows; got 'nope'"),
     (b"a,b\n1,x\0y\n", {}, "line 2 of .* holds a zero byte"),
     ("a,b\n", {"sep": "ab"}, "sep must be one character, 'tab' or 'space'; got 'ab'"),
     ("a,b\n", {"decimal": ";"}, r"decimal must be '.' or ','; got ';'"),
     ("a,b\n", {"decimal": ",", "thousands": ","}, "and not the decimal mark; got ','"),
     (b"\x1f\x8b1", {}, "is a damaged gzip file")],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence_with_line_and_option(read, content, options, message):
    with pytest.raises(ValueError, match=message) as error:
        read(content, **options)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_a_stray_text_among_numbers_is_named_with_its_line(read):
    content = "n,x\n" + "".join(f"{i}.5,a\n" for i in range(60)) + "none yet,b\n"
    frame, (note,) = read(content)
    assert frame["n"].dtype == "str"
    assert "column 'n' is text, for line 62 holds 'none yet', which is no number (1 such values)" in note
    frame, notes = read(content, missing="none yet")
    assert frame["n"].isna().sum() == 1
    assert notes == []


def test_a_target_of_decimal_commas_is_a_number(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x;y\n" + "".join(f"{i % 7};{i},5\n" for i in range(120)))
    with pytest.warns(tabemb.InputNote, match="'100,5' in column 'y' is 100.5"):
        dataset = load_dataset(path=path, target="y")
    assert dataset.task == "regression"
    np.testing.assert_array_equal(dataset.y, np.arange(120) + 0.5)
    dataset = load_dataset(path=path, target="y", decimal=",")
    assert dataset.task == "regression"


def test_a_target_of_numbers_in_text_is_no_class():
    values = [f"{i},5" for i in range(120)]
    frame = pd.DataFrame({"x": [f"c{i % 3}" for i in range(120)], "y": values})
    quick = {"models": "dummy", "n_jobs": 1, "progress": False}
    with pytest.raises(
        ValueError, match=r"'y' holds numbers as text \('0,5'\); give numbers=\['y'\], or"
    ):
        compare(frame, "y", **quick)
    assert compare(frame, "y", numbers="y", **quick).cells["task"].tolist() == ["regression"]
    frame.loc[7, "y"] = "much"
    with pytest.raises(
        ValueError, match=r"\('much' in row 7\); give missing=\['much'\] or mend it, or give"
    ):
        compare(frame, "y", **quick)
    with pytest.raises(
        ValueError, match=r"numbers: column 'y' must hold numbers .*; it holds 'much' in row 7"
    ):
        compare(frame, "y", numbers="y", **quick)


def test_options_of_text_files_are_never_ignored(tmp_path):
    frame = pd.DataFrame({"x": [1, 2], "y": [0, 1]})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(
        ValueError, match=r"decimal is an option of text files; the parquet file .* is none\."
    ):
        load_dataset(path=tmp_path / "t.parquet", target="y", decimal=",")
    with pytest.raises(ValueError, match=r"missing is an option of text files; a frame is none\."):
        compare(frame, "y", missing=["NA"])


def test_a_damaged_parquet_file_is_named_and_a_named_index_is_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 and so on")
    with pytest.raises(ValueError, match=r"path: '.*t.parquet' is no readable parquet file \(.*\)\."):
        read_file(path)
    pd.DataFrame({"city": ["a", "b"], "y": [0, 1]}).set_index("city").to_parquet(path)
    assert list(read_file(path)) == ["city", "y"]


def test_a_column_is_stated_once(tmp_path):
    frame = pd.DataFrame({"x": ["1,5", "2"], "y": [0, 1]})
    with pytest.raises(
        ValueError, match="column 'x' must be in categorical or in numbers; it is in both"
    ):
        compare(frame, "y", categorical="x", numbers="x")


def test_the_command_reads_a_file_with_its_flags():
    from tabemb.compare.command import compose_config, read_arguments

    given = ["t.txt", "--target=y", "--sep", ";", "--decimal=,", "--encoding=cp1252", "--missing", "NA",
             "--missing=?", "--numbers=a,b", "dataset.thousands='.'"]  # fmt: skip
    config, _ = compose_config(*read_arguments(given))
    dataset = config.dataset
    assert [dataset.sep, dataset.decimal, dataset.encoding, dataset.thousands] == [
        ";",
        ",",
        "cp1252",
        ".",
    ]
    assert [list(dataset.missing), list(dataset.numbers)] == [["NA", "?"], ["a", "b"]]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_file_without_quotes_is_split_as_one_that_is_parsed(newline):
    """The fast reader and the general one agree, also on odd characters and blank lines."""
    rng = np.random.default_rng(0)
    cells, n_split = ["a", "b c", "1.5", "", "NA", " x", "é", "1;2", "\u2028", "\x0b", "#k", "\t"], 0
    for n_columns in [1, 2, 3] * 50:
        rows = [",".join(rng.choice(cells, n_columns)) for _ in range(rng.integers(1, 6))]
        rows.insert(rng.integers(len(rows)), rng.choice(["", ",".join("z" * (n_columns + 1))]))
        text = newline.join([",".join("hij"[:n_columns]), *rows])
        file = text_files._TextFile(Path("x.csv"), TextOptions(sep=","), text)
        shape = text_files._Shape(",", list("hij"[:n_columns]))
        split = file._split_columns(shape)
        if split is None:  # a row with an additional field
            continue
        columns, lines = file._parsed_columns(shape)
        assert split[1] == lines
        assert [part.to_pylist() for part in split[0]] == [part.to_pylist() for part in columns]
        n_split += 1
    assert n_split > 50
