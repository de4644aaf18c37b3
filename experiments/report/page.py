"""The page of a run: question, answer, protocol, results, statistics, and how to reproduce them."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...pipeline.evaluation import DICE, METRICS
from ...transforms.basics.errors import printable_lines
from ..figures.kinds import ANSWER
from ..figures.style import penalties_of
from ..outputs.study_result import StudyResult
from ..outputs.tables import published
from ..rows.summaries import counts, main_metrics, per_label
from ..store.archive import environments
from ..store.run_folder import short_names
from .blocks import Block, Figure, Page, Section, Table, Terms, Words
from .explorer import one_pair
from .headings import definitions
from .pictures import pictures
from .protocol import data, groups, protocol
from .provenance import environment, reproduce, trials_table, version_of
from .tables import by_configuration, from_frame, structures


def build_page(result: StudyResult) -> Page:
    """The whole page of a rebuilt run. A section without content says so in a sentence."""
    run, noted = result.run, environments(result.run.path, result.run.trials)
    version, (words, versions) = version_of(noted), environment(noted)
    tables = result.analysis.tables if result.analysis else {}
    words_on_them = result.analysis.words if result.analysis else []
    statistics: list[Block] = [Words(words_on_them, points=True)] if words_on_them else []
    statistics += [from_frame(f"statistics-{name}", table) for name, table in tables.items()]
    answer = (result.analysis.answer if result.analysis else []) or ["This run has nothing that could be compared."]
    metrics = [name for name in METRICS if name in set(result.summary["metric"])]
    methods = {trial.model.method for trial in run.trials.values()}
    meanings = definitions(metrics, penalties_of(result.rows), methods)
    explorer = one_pair(run, result.rows)
    sections = [
        Section(ANSWER, "The answer in short", [Words(answer, points=len(answer) > 1)]),
        Section("protocol", "Protocol", [Terms(protocol(run)), groups(run)]),
        Section("data", "Data", [Terms(data(run, noted))]),
        *([Section("pair", explorer.title, [explorer])] if explorer else []),
        Section("results", "Results", list(_results(result))),
        Section("statistics", "Statistics", statistics or [Words(["This run has no statistics."])]),
        Section("trials", "Trials", [trials_table(run, result.rows, result.history)]),
        Section("environment", "Environment", [Words([words]), *([versions] if versions else [])]),
        Section("reproduce", "How to reproduce", reproduce(run, noted)),
        Section("definitions", "Definitions", [Terms(meanings)]),
    ]
    trials = f"{len(result.complete)} of {len(run.trials)} trials complete"
    facts = [trials, counts(result.summary), *([f"smoothmorph {version}"] if version else [])]
    sections = _illustrated(sections, pictures(result.figures, result.summary))
    return Page(run.study.title, run.study.question, " · ".join(facts), sections, _warnings(result))


def render(page: Page) -> str:
    """The page as HTML."""
    return _templates().get_template("report.html.j2").render(page=page)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_plain,
    )  # fmt: skip


def _plain(value: object) -> object:
    """Remove control characters from text of users and files; leave the HTML of the templates unchanged."""
    return printable_lines(value) if type(value) is str else value


def _warnings(result: StudyResult) -> list[str]:
    names = short_names(result.run)
    words = [f"{names[trial]} is not included: {reason}" for trial, reason in result.failed.items()]
    missing = len(result.run.trials) - len(result.complete) - len(result.failed)
    if missing:
        words.append(f"{missing} trial{'s are' if missing > 1 else ' is'} not complete and therefore not included.")
    return [*words, *_fewer_pairs(result)]


def _fewer_pairs(result: StudyResult) -> list[str]:
    """Where the test subjects make fewer pairs than the study asks for."""
    pairs = result.rows.drop_duplicates(["trial", "moving", "fixed"])["trial"].value_counts()
    counts = {(result.run.trials[str(trial)].pairs.test, int(count)) for trial, count in pairs.items()}
    return [
        f"The test subjects make {count} pair{'s' if count > 1 else ''}, fewer than the {asked} of pairs.test."
        for asked, count in sorted(counts)
        if count < asked
    ]


def _results(result: StudyResult) -> Iterator[Block]:
    whole = result.summary
    yield by_configuration("summary", whole, main_metrics(result.rows), "All configurations")
    beside = published(result.run, result.rows, result.history)
    if not beside.empty:
        start = "published_"
        ours = {"loss", *map(str, result.rows)}
        alone = [n for n in map(str, beside) if n.startswith(start) and n.removeprefix(start) not in ours]
        yield from_frame("published", beside.drop(columns=alone))
    labels = per_label(result.rows)
    yield structures(labels) if not labels.empty else Words([f"Without label maps there is no {METRICS.title(DICE)}."])
    yield from_frame("measures", whole, "All metrics", "Before and after registration, with standard deviations (SD).")


def _illustrated(sections: list[Section], figures: dict[str, list[Figure]]) -> list[Section]:
    """Put each figure before its table, and that of the answer first; the others follow the first table of results."""
    tables = {block.name for section in sections for block in section.blocks if isinstance(block, Table)} | {ANSWER}
    loose = [figure for name, own in figures.items() if name not in tables for figure in own]
    illustrated = []
    for section in sections:
        blocks: list[Block] = [*figures.get(ANSWER, [])] if section.name == ANSWER else []
        for place, block in enumerate(section.blocks):
            own = figures.get(block.name, []) if isinstance(block, Table) else []
            blocks += [*own, block]
            if section.name == "results" and place == 0:
                blocks += loose or ([] if figures else [Words(["This run has no figures."])])
        illustrated.append(Section(section.name, section.title, blocks))
    return illustrated
