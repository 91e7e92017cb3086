"""Reports of runs as files: HTML, or PDF where a browser or WeasyPrint is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nfkd.evaluation.pdf import UNWRITABLE, write_pdf
from nfkd.evaluation.report import report_html
from nfkd.evaluation.report_runs import runs_report_html
from nfkd.evaluation.run_group import find_run_paths, read_group
from nfkd.files import replace_file
from nfkd.runs.errors import RunError
from nfkd.runs.export import writing_into
from nfkd.runs.layout import is_run
from nfkd.runs.reader import open_run

_SUFFIXES = (".html", ".htm", ".pdf")


def write_report(paths: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of runs as one file that needs no other one, and return its path.

    Parameters
    ----------
    paths
        Directories of runs, and folders that contain runs. A single run has a report of its own; several runs are
        compared, also those of a folder with a single run.
    out
        A file that ends in ``.html``, ``.htm`` or ``.pdf``; by default ``report.html`` in the run or folder, or beside
        the first of several.

    Raises
    ------
    RunError
        When there is no run, a single run cannot be read, or the file cannot be written.
    """
    first = paths[0]
    default = first if len(paths) == 1 else first.absolute().parent
    path = out if out is not None else default / "report.html"
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        cause = f"{path} does not end in .html or .pdf."
        raise RunError(UNWRITABLE, cause, "Give the file one of these endings.")
    for_print = suffix == ".pdf"
    if len(find_run_paths(paths)) == 1 and is_run(first):
        html = report_html(open_run(first), for_print=for_print)
    else:
        html = runs_report_html(read_group(paths), for_print=for_print)
    if for_print:
        return write_pdf(html, path)
    with writing_into(path.parent, UNWRITABLE):
        replace_file(path, html.encode())
    return path
