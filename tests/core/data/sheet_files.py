"""Excel files, written by hand as the format says (ECMA-376), to be read by the code under test."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def write_sheets(path: Path, sheets: dict[str, Sequence[Sequence[object]]]) -> Path:
    """Write sheets of texts and numbers; None is an empty cell."""
    names = list(sheets)
    numbers = range(1, len(names) + 1)
    listed = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in zip(numbers, names, strict=True)
    )
    related = "".join(f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="s{n}.xml"/>' for n in numbers)
    parts = "".join(f'<Override PartName="/xl/s{n}.xml" ContentType="{_SHEET_TYPE}.worksheet+xml"/>' for n in numbers)
    files = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}"><Default Extension="rels" ContentType="application/vnd.'
        f'openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" '
        f'ContentType="{_SHEET_TYPE}.sheet.main+xml"/>{parts}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="r1" Type="{_OFFICE}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_RELATIONS}">{related}</Relationships>',
    }
    files |= {f"xl/s{n}.xml": _sheet(sheets[name]) for n, name in zip(numbers, names, strict=True)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _sheet(rows: Sequence[Sequence[object]]) -> str:
    lines = ""
    for number, row in enumerate(rows, start=1):
        cells = "".join(_cell(value, f"{chr(65 + index)}{number}") for index, value in enumerate(row))
        lines += f'<row r="{number}">{cells}</row>'
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{lines}</sheetData></worksheet>'


def _cell(value: object, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'
