import datetime as dt
from decimal import Decimal

import pandas as pd
import pytest

from tabemb.data.frames import to_arrow
from tabemb.data.schema import Table, infer_schema

FRAME = pd.DataFrame(
    {
        "text": ["a", "b"],
        "category": pd.Categorical([1, 2]),
        "flag": [True, False],
        "mixed": [(1, 2), "a"],
        "whole": [1, 2],
        "real": [0.5, 1.5],
        "decimal": [Decimal("1.5"), Decimal("2.5")],
        "wait": pd.to_timedelta([1, 2], unit="h"),
        "at": pd.to_datetime(["2020-01-31 10:00", "2020-02-01 11:00"]),
        "on": [dt.date(2020, 1, 1), dt.date(2020, 1, 1)],
        "empty": [None, None],
    }
)


def schema_of(columns=None, roles=None, tables=None):
    return infer_schema(to_arrow(FRAME[columns] if columns else FRAME), roles, tables)


def test_roles_follow_types_and_nothing_is_dropped():
    assert schema_of().roles == {
        **dict.fromkeys(["text", "category", "flag", "mixed"], "categorical"),
        **dict.fromkeys(["whole", "real", "decimal", "wait"], "number"),
        "at": "datetime",
        "on": "datetime",
        "empty": "categorical",
    }


def test_a_datetime_gives_elapsed_time_and_the_calendar_parts_that_vary():
    schema = schema_of(["at", "on"])
    assert [f.name for f in schema.numbers] == ["at.elapsed", "on.elapsed"]
    assert [f.name for f in schema.categorical] == ["at.month", "at.day", "at.weekday", "at.hour"]


def test_roles_override_by_name_and_by_position():
    schema = schema_of(["text", "whole"], {"whole": "categorical", 0: "ignored"})
    assert schema.roles == {"text": "ignored", "whole": "categorical"}
    assert schema.used == ["whole"]


def test_a_shared_table_and_one_each_for_the_others():
    schema = schema_of(["text", "mixed", "flag"], tables={"both": Table(["text", "flag"])})
    assert list(schema.tables) == ["both", "mixed"]
    assert schema.table_names == ["both", "mixed", "both"]


@pytest.mark.parametrize(
    ("roles", "tables", "message"),
    [
        ({"whole": "category"}, None, "role of column 'whole' must be one of .*; got 'category'"),
        ({"wohle": "number"}, None, "column 'wohle', which X does not have .did you mean 'whole'"),
        ({"text": "ignored", "whole": "ignored"}, None, "Every column of X"),
        (None, {"t": Table(["whole"])}, "column 'whole', which is not a categorical column"),
        (None, {"t": Table(["text"]), "u": Table(["text"])}, "stands in two tables, 't' and 'u'"),
        (None, {"t": Table("text")}, "must list its columns"),
        ({"whole": "categorical"}, {"whole": Table(["text"])}, "rename the table"),
    ],
)
def test_a_wrong_role_or_table_is_one_clear_error(roles, tables, message):
    with pytest.raises(ValueError, match=message):
        schema_of(["text", "whole"], roles, tables)


def test_a_table_that_is_no_table_is_an_error():
    with pytest.raises(TypeError, match=r"tables\['t'\] must be a tabemb.Table; got dict"):
        schema_of(["text"], tables={"t": {"columns": ["text"]}})


def test_a_column_of_structs_is_an_error_that_names_it():
    with pytest.raises(TypeError, match="Column 'where' has the type struct"):
        infer_schema(to_arrow(pd.DataFrame({"where": [{"lat": 1.0}, {"lat": 2.0}]})))
