"""Experiments survive a round trip through TOML; all problems of one are reported at once, each with its path."""

from __future__ import annotations

import tomllib
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nfkd.config import (
    ConfigError,
    ConfigProblem,
    DistillationConfig,
    ExperimentConfig,
    Glow1DConfig,
    GlowConfig,
    preset_names,
    preset_path,
)
from nfkd.config.flow_file import read_flow_file
from nfkd.config.flows import TarFlowConfig

NAMES = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters='/\\:*?"<>|'), min_size=1, max_size=31
).filter(lambda name: name.strip() and not name.startswith("."))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


# --- experiments generated within the models' bounds ------------------------------------------------------------------


def bounds(info: FieldInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for constraint in info.metadata:
        for key in ("ge", "gt", "le", "lt", "min_length", "max_length"):
            if hasattr(constraint, key):
                found[key] = getattr(constraint, key)
    return found


def integers(limits: dict[str, Any]) -> st.SearchStrategy[int]:
    low = limits.get("ge", limits.get("gt", -1) + 1)
    high = limits.get("le", limits.get("lt", 2**31) - 1)
    return st.integers(low, high)


def floats(limits: dict[str, Any]) -> st.SearchStrategy[float]:
    return st.floats(
        limits.get("ge", limits.get("gt")),
        limits.get("le", limits.get("lt")),
        exclude_min="gt" in limits,
        exclude_max="lt" in limits,
    )


def values(name: str, info: FieldInfo, annotation: Any) -> st.SearchStrategy[Any]:
    extra: Any = info.json_schema_extra
    if choices := get_args(annotation) if get_origin(annotation) is Literal else extra and extra["choices"]:
        return st.sampled_from(choices)
    if get_origin(annotation) in (Union, types.UnionType):
        return st.one_of(*(documents(member) for member in get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return documents(annotation)
    if get_origin(annotation) is tuple:
        return lists(annotation, info)
    if isinstance(info.json_schema_extra, dict) and info.json_schema_extra["format"] not in {"", "share"}:
        return st.just("") | NAMES.map(lambda name: f"/data/{name}")  # a relative path would become absolute
    simple = {bool: st.booleans(), int: integers(bounds(info)), float: floats(bounds(info))}
    return simple.get(annotation, NAMES if name == "name" else texts(bounds(info)))


def lists(annotation: Any, info: FieldInfo) -> st.SearchStrategy[Any]:
    item = get_args(annotation)[0]
    models = get_args(get_args(item)[0]) if get_origin(item) is Annotated else ()
    if models and all(issubclass(model, BaseModel) for model in models):  # a discriminated union
        return st.lists(st.one_of(*map(documents, models)), max_size=bounds(info)["max_length"])
    if isinstance(item, type) and issubclass(item, BaseModel):
        return st.lists(documents(item), max_size=4)
    points = annotation != tuple[str, ...]
    items = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2) if points else TEXTS
    return st.lists(items, min_size=bounds(info).get("min_length", 0), max_size=4)


def texts(limits: dict[str, Any]) -> st.SearchStrategy[str]:
    most = min(60, limits.get("max_length", 60))
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=limits.get("min_length", 0), max_size=most)


def documents(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Every field of a model, each within its bounds."""
    drawn = st.fixed_dictionaries({key: values(key, info, info.annotation) for key, info in model.model_fields.items()})
    return drawn.filter(weighted) if model is DistillationConfig else drawn


def weighted(distillation: dict[str, Any]) -> bool:
    terms = [term for term in distillation.values() if isinstance(term, dict) and term.get("weight")]
    return any(term["schedule"] in ("constant", "warmup") or term["schedule_end"] for term in terms)


EXPERIMENTS = documents(ExperimentConfig)


# --- round trips ------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(EXPERIMENTS)
def test_an_experiment_survives_a_round_trip_through_toml(document):
    config = ExperimentConfig.from_dict(document)
    assert ExperimentConfig.from_toml(config.to_toml()) == config
    assert tomllib.loads(config.to_toml()) == document  # read by another TOML reader


def test_a_saved_experiment_is_loaded_again(tmp_path):
    config = ExperimentConfig.load("digits", ["description=für später", "seeds.count=3"])
    config.save(tmp_path / "mine.toml")
    assert ExperimentConfig.load(tmp_path / "mine.toml") == config
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_a_saved_file_has_every_field_and_the_kind_first():
    text = ExperimentConfig.load("two_moons").to_toml()
    assert text.index('kind = "glow1d"') < text.index("depth = 2")
    assert set(tomllib.loads(text)) == set(ExperimentConfig.model_fields)


def test_a_file_takes_precedence_over_a_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text(ExperimentConfig.load("digits", ["name=my own"]).to_toml(), "utf-8")
    assert ExperimentConfig.load("digits").name == "my own"


# --- problems --------------------------------------------------------------------------------------------------------


def leaves(table: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, value in table.items():
        if isinstance(value, dict):
            found += leaves(value, (*path, name))
        elif name != "kind":
            found.append((*path, name))
    return found


@settings(max_examples=30)
@given(EXPERIMENTS, st.data())
def test_all_problems_are_reported_at_once_with_their_paths(document, data):
    chosen = data.draw(st.lists(st.sampled_from(leaves(document)), unique=True, min_size=1, max_size=8))
    for path in chosen:
        table = document
        for key in path[:-1]:
            table = table[key]
        if data.draw(st.booleans()):
            table[path[-1]] = {"no": "field takes a table"}
        else:
            table["no_" + path[-1]] = table.pop(path[-1])  # an unknown key
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.from_dict(document)
    expected = {".".join(path) for path in chosen}
    found = {problem.path.replace("no_", "") for problem in caught.value.problems}
    assert found == expected
    assert all(problem.message for problem in caught.value.problems)
    assert all(problem.path in str(caught.value) for problem in caught.value.problems)


@settings(max_examples=40)
@given(st.text(max_size=40))
def test_invalid_text_raises_a_config_error(garbage):
    text = ExperimentConfig.load("digits").to_toml()
    for broken in (garbage, text + garbage, garbage + text, text[: len(text) // 2] + garbage + text[len(text) // 2 :]):
        try:
            ExperimentConfig.from_toml(broken)
        except ConfigError as error:
            assert error.problems  # noqa: PT017 - some of these texts are valid


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("student.hidden=0", "student.hidden", "must be at least 1 (given: 0)"),
        ("student.hidden=many", "student.hidden", "must be a whole number (given: 'many')"),
        ("student.hiden=8", "student.hiden", "no such field"),
        ("student.kind=nice", "student.kind", "'nice' is not known; choose one of 'glow', 'glow1d'"),
        ("training.learning_rate=inf", "training.learning_rate", "must be a finite number"),
        ("name=a/b", "name", "may not contain any of"),
        ("compute.device=tpu", "compute.device", "'auto', 'cpu', 'cuda' or 'mps'"),
        ("compute.device=cuda:01", "compute.device", "or a numbered GPU such as 'cuda:1' (given: 'cuda:01')"),
        ("compute.device=cpu:0", "compute.device", "(given: 'cpu:0')"),
        ("seeds.retrain_teacher=1", "seeds.retrain_teacher", "must be true or false"),
        ("teacher=3", "teacher", "must be a table"),
        ("data.kind.x=3", "data.kind.x", "kind is a value, not a section"),
        ("assistants.1.hidden=3", "assistants.1.hidden", "1 is not an index of a list of 0; indices start at 0"),
        ("assistants.first.hidden=3", "assistants", "must be a list"),
    ],
)
def test_a_problem_says_what_is_allowed(override, path, expected):
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.load("digits", [override])
    (problem,) = caught.value.problems
    assert problem.path == path
    assert expected in problem.message


def test_list_items_are_set_by_their_index():
    glow = ["kind='glow'", "levels=2", "steps=4"]
    overrides = [f"assistants.0.{text}" for text in glow] + [
        "assistants.1={kind='glow', steps=3}",
        "assistants.0.steps=5",
    ]
    config = ExperimentConfig.load("digits", overrides)
    assert [(flow.kind, flow.steps) for flow in config.assistants] == [("glow", 5), ("glow", 3)]
    pairs = ["distillation.matching.pairs.0.student=level1.step1", "distillation.matching.pairs.0.teacher=level1.step2"]
    [pair] = ExperimentConfig.load("digits", pairs).distillation.matching.pairs
    assert (pair.student, pair.teacher) == ("level1.step1", "level1.step2")


def test_a_missing_section_and_a_missing_kind_are_reported():
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.from_toml('name = "x"\n[data]\nkind = "digits"\n[teacher]\nsteps = 3\n')
    assert {(problem.path, problem.message) for problem in caught.value.problems} == {
        ("teacher.kind", "needs a field 'kind'"),
        ("student", "is required"),
    }


def test_a_loss_without_weights_is_refused():
    none = [f"distillation.{term}.weight=0" for term in ("nll", "lkd", "ilkd", "skd")]
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.load("digits", none)
    assert [str(problem) for problem in caught.value.problems] == [
        "distillation: all weights are zero: give at least one term a positive weight"
    ]


@pytest.mark.parametrize("source", ["no such thing", "", "."])
def test_an_unknown_source_lists_the_presets(source):
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.load(source)
    assert all(name in str(caught.value) for name in preset_names())


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "run.h5").write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        ExperimentConfig.load(tmp_path / "run.h5")


def test_one_problem_is_shown_in_one_line_and_several_as_a_list():
    one = ConfigError([ConfigProblem("seeds.count", "is too large")], "mine.toml")
    two = ConfigError([ConfigProblem("seeds.count", "is too large"), ConfigProblem("", "is odd")])
    assert str(one) == "mine.toml: seeds.count: is too large"
    assert str(two) == "2 problems\n  seeds.count: is too large\n  is odd"


# --- overrides --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("student.hidden=16", lambda config: config.student.hidden == 16),
        ("student.hidden = 0x10", lambda config: config.student.hidden == 16),
        ("training.learning_rate=1e-4", lambda config: config.training.learning_rate == 1e-4),
        ("training.learning_rate=1", lambda config: config.training.learning_rate == 1.0),
        ("compute.device=cpu", lambda config: config.compute.device == "cpu"),
        ('compute.device="cpu"', lambda config: config.compute.device == "cpu"),
        ("seeds.retrain_teacher=true", lambda config: config.seeds.retrain_teacher is True),
        ("name=two words = one name", lambda config: config.name == "two words = one name"),
        ("description=", lambda config: config.description == ""),
        ('student={kind="glow1d", steps=2}', lambda config: config.student == Glow1DConfig(steps=2)),
    ],
)
def test_an_override_is_toml_or_else_a_string(override, read):
    assert read(ExperimentConfig.load("digits", [override]))


def test_the_last_override_wins():
    config = ExperimentConfig.load("digits", ["student.hidden=8", "student.hidden=16"])
    assert isinstance(config.student, GlowConfig)
    assert config.student.hidden == 16


@pytest.mark.parametrize("before", [[], ["teacher.depth=3"]])
def test_another_kind_of_flow_drops_the_fields_that_it_does_not_have(before):
    config = ExperimentConfig.load("digits", [*before, "teacher.kind=tarflow"])
    assert config.teacher == TarFlowConfig(steps=8, depth=3 if before else 2)  # digits: steps = 8, levels = 2
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.load("digits", ["teacher.levels=2", "teacher.kind=tarflow", "student.kind=nothing"])
    assert [problem.path for problem in caught.value.problems] == ["teacher.levels", "student.kind"]


def test_every_malformed_override_is_reported():
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.load("digits", ["student.hidden", "=3", "student.hidden=8"])
    assert [problem.path for problem in caught.value.problems] == ["--set", "--set"]


# --- copies and derived values ----------------------------------------------------------------------------------------


def test_replace_merges_sections_and_validates():
    config = ExperimentConfig.load("digits")
    changed = config.replace(student={"hidden": 16}, name="other")
    assert changed.student == GlowConfig(levels=2, steps=2, hidden=16)
    assert changed.teacher == config.teacher
    with pytest.raises(ConfigError, match=r"student\.hidden"):
        config.replace(student={"hidden": -1})


def test_replacing_the_kind_keeps_no_other_field():
    changed = ExperimentConfig.load("digits").replace(student={"kind": "glow1d", "steps": 2})
    assert changed.student == Glow1DConfig(steps=2)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"name": "other", "description": "other"}, True),
        ({"seeds": {"count": 5}, "compute": {"threads": 1}, "monitor": {"pictures_every": 7}}, True),
        ({"student": {"hidden": 63}}, False),
        ({"distillation": {"lkd": {"weight": 0.06}}}, False),
        ({"training": {"student_steps": 999}}, False),
        ({"data": {"split_seed": 1}}, False),
    ],
)
def test_the_digest_follows_what_decides_the_results(change, same):
    config = ExperimentConfig.load("digits")
    assert (config.replace(**change).digest() == config.digest()) == same
    assert ExperimentConfig.from_toml(config.to_toml()).digest() == config.digest()


def test_an_experiment_is_frozen():
    config = ExperimentConfig.load("digits")
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("overrides", "path", "expected"),
    [
        (["nll.weight=-0.1"], "distillation.nll.weight", "must be at least 0"),
        (["score.weight=-1"], "distillation.score.weight", "must be at least 0"),
        ([f"{name}.weight=0" for name in ("nll", "lkd", "ilkd", "skd")], "distillation", "all weights are zero"),
        (
            ["nll.schedule=linear", "lkd.schedule=cosine", "ilkd.weight=0", "skd.weight=0"],
            "distillation",
            "the schedules take all weights to zero",
        ),
        (["lkd.schedule=exponential"], "distillation.lkd.schedule", "'constant', 'linear', 'cosine' or 'warmup'"),
        (["lkd.schedule_span=0"], "distillation.lkd.schedule_span", "greater than 0"),
        (["lkd.schedule_end=-1"], "distillation.lkd.schedule_end", "must be at least 0"),
        (["balance_every=0"], "distillation.balance_every", "must be at least 1"),
    ],
)
def test_invalid_weights_and_schedules_are_refused(overrides, path, expected):
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.load("two_moons", [f"distillation.{override}" for override in overrides])
    [problem] = caught.value.problems
    assert problem.path == path
    assert expected in problem.message


def test_seeds_count_up():
    assert ExperimentConfig.load("digits", ["seeds.first=5", "seeds.count=3"]).seeds.values() == [5, 6, 7]


# --- presets and field descriptions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_valid_and_has_a_description(name):
    config = ExperimentConfig.load(name)
    assert config.description
    assert config.student != config.teacher
    assert ExperimentConfig.from_toml(config.to_toml()) == config


def test_only_presets_have_a_preset_path():
    assert {"digits", "two_moons"} <= set(preset_names())
    assert preset_path("digits").is_file()
    with pytest.raises(KeyError):
        preset_path("../digits")


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for info in model.model_fields.values():
        for member in (info.annotation, *get_args(info.annotation)):
            if isinstance(member, type) and issubclass(member, BaseModel):
                found |= models(member)
    return found


@pytest.mark.parametrize("model", sorted(models(ExperimentConfig), key=str))
def test_every_field_has_a_title_and_a_sentence(model):
    for info in model.model_fields.values():
        assert info.title
        assert info.description
        assert info.description.endswith(".")
        keys = {
            "unit",
            "advanced",
            "multiline",
            "format",
            "label",
            "group",
            "each",
            "between",
            "needs",
            "zero",
            "choices",
        }
        assert set(info.json_schema_extra) == keys


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'name = "x"\n[data]\nkind = "dig\0\0\0\0', "zero bytes from line 3 on"),
        (b'name = "x"\n[data]\nkind = "dig', "not a TOML file: wrong syntax (end of document)"),
        (b'name = "\xff"', "no UTF-8 text from byte 9 on"),
    ],
)
def test_a_damaged_file_is_named_with_the_damage(tmp_path, content, expected):
    path = tmp_path / "cut.toml"
    path.write_bytes(content)
    for read in (ExperimentConfig.load, read_flow_file):
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "not a TOML file" in str(caught.value)
        assert expected in str(caught.value)
