"""Make the page about the columns of rows and tables, from the committed results and the report's headings."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from smoothmorph.experiments.report import headings
from smoothmorph.experiments.study.json_schema import leaves
from smoothmorph.networks import PENALTIES

from . import registry

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"
STUDY = "regularizers"
INTRO = """\
# Rows and tables

A run is a folder. The rows are the results; tables, figures and report are made from them.

| in `runs/STUDY/` | content |
|---|---|
| `study.yaml` | the study with every setting written out |
| `TRIAL/trial.yaml` | one trial's settings |
| `TRIAL/model.safetensors` | its trained network |
| `TRIAL/history.parquet` | one row per epoch: loss, similarity, penalty, seconds |
| `TRIAL/pairs.parquet` | a row for each test pair; it exists when the trial is complete |
| `TRIAL/examples.npz` | images and fields of three test pairs, for the figures |
| `TRIAL/checkpoint.pt` | the state from which a stopped training continues |
| `TRIAL/environment.json` | versions, device, threads |
| `tables/*.csv` | the tables below, and `rows.parquet`: all trials' rows together |
| `figures/` | every figure as PNG and SVG |
| `report.html` | the report on one page |

Read them with pandas:

```python
import pandas as pd

rows = pd.read_parquet("runs/demo/tables/rows.parquet")
rows.groupby(["penalty", "lambda"])["dice"].mean()
```
"""
OF_ROWS = {f"objective.{name}" for name in ("penalty", "lambda", "similarity", "acts_on", "multiplier")} | {"seed"}
MEANINGS = {
    **{name: meaning for name, (_, meaning) in getattr(headings, "MEASURES", {}).items()},
    "trial": "identifier: a readable part, and a hash of the settings and the data",
    "model": "`diffeomorphic`, `displacement`, or the name of a method that trains nothing",
    "moving": "id of the moving subject",
    "fixed": "id of the fixed subject",
    "moving_group": "group of the moving subject: intervals are over groups",
    "fixed_group": "group of the fixed subject",
}
BEFORE, PER_LABEL = "_before", "/"


def pages() -> dict[str, str]:
    """Make the page: the columns of the rows, then those of each table."""
    columns = pq.read_schema(RESULTS / STUDY / "archive" / "rows.parquet").names
    plain = [name for name in columns if BEFORE not in name and PER_LABEL not in name]
    lines = [INTRO, "## Columns of the rows", ""]
    lines += ["`X_before` is the same measure before registration. `dice/STRUCTURE` is the Dice of one structure.", ""]
    lines += ["| column | heading in reports | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {headings.heading(name)} | {_meaning(name)} |" for name in plain]
    lines += ["", "## Columns of the tables", ""]
    for file in sorted((RESULTS / STUDY / "tables").glob("*.csv")):
        names = ", ".join(f"`{name}`" for name in pd.read_csv(file, nrows=0).columns)
        lines += [f"### {file.name}", "", names, ""]
    return {"reference/rows.md": "\n".join(lines)}


def _meaning(column: str) -> str:
    """From the registry that has the column's name, or from the settings."""
    settings = {key.rpartition(".")[2]: leaf.get("description", "") for key, leaf in leaves() if key in OF_ROWS}
    if column in MEANINGS or column in settings:
        return MEANINGS.get(column, settings.get(column, ""))
    known = [entries[column] for entries in registry.registries() if column in entries]
    return str(known[0].definition) if known else _of_field(*column.split("_", 1))


def _of_field(field: str, measure: str = "") -> str:
    """A penalty or a percentile of a field."""
    if measure in PENALTIES:
        return f"{PENALTIES[measure].meaning}, of the {field}; without λ"
    ends = {"det_max": "largest", **{f"det_p{p:02d}": f"{p} % percentile of the" for p in (1, 5, 50, 95, 99)}}
    return f"{ends[measure]} Jacobian determinant of the {field}" if measure in ends else ""
