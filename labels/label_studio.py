"""Label Studio's JSON and JSON-MIN: tasks with choices, and predictions as pre-annotations.

The formats: https://labelstud.io/guide/task_format and https://labelstud.io/guide/export, compared
with files that Label Studio 1.23 wrote (tests/labels/files).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from pocketlens.errors import DataError, UsageError
from pocketlens.labels.items import (
    Item,
    LabelFile,
    classes_of,
    fail,
    read_json,
    refuse_unwritable,
    split_of,
    to_json,
    utc_time,
)
from pocketlens.names import shown
from pocketlens.runtime.photos import SUFFIXES

LOCAL_FILES = "/data/local-files/?d="
"""What stands before the path of a photo that Label Studio reads from its own disk."""

_CONTROL, _PICTURE = "label", "image"
# What was known of a photo when it was exported. Label Studio keeps a task's data as they are.
_AS, _BY, _AT, _SPLIT = "labelled_as", "labelled_by", "labelled_at", "split"
# JSON-MIN has the task's data, its number, the choices and these, in this order.
_ABOUT = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")


# What is said in place of the names of results that are no choices.
_RESULTS = {
    "rectanglelabels": "boxes",
    "rectangle": "boxes",
    "polygonlabels": "polygons",
    "ellipselabels": "ellipses",
    "keypointlabels": "points",
    "brushlabels": "masks",
    "textarea": "texts",
}


@dataclass(frozen=True)
class _Annotation:
    """What one person chose, by the name of the choices."""

    choices: Mapping[str, tuple[str, ...]]
    who: str
    at: str
    is_truth: bool


@dataclass(frozen=True)
class _Task:
    key: Any
    data: Mapping[str, Any]
    annotations: tuple[_Annotation, ...]
    predictions: tuple[Mapping[str, Any], ...]


def recognizes(path: Path) -> bool:
    """Tell whether a file may be one of Label Studio's: JSON that is a list."""
    if path.is_dir() or path.suffix.lower() not in ("", ".json", ".json_min"):
        return False
    with path.open("rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["


def read(path: Path, *, field: str | None = None, newest: bool = False) -> LabelFile:
    """Read tasks with their choices.

    Args:
        path: the file, JSON or JSON-MIN.
        field: the name of the choices, where the project has several.
        newest: take the newest of annotations that disagree.

    Raises:
        DataError: it is no such file, or annotations of a photo disagree.
        UsageError: the project has several choices and none is named.
    """
    values = read_json(path)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        fail(path, "a list of tasks", type(values).__name__)
    left_out: Counter[str] = Counter()
    tasks = _together(
        (_task if isinstance(value.get("data"), dict) else _row)(
            path, value, index, left_out, field
        )
        for index, value in enumerate(values)
    )
    field = _field(path, tasks, field)
    items = [_item(path, task, field, newest=newest) for task in tasks]
    several = any(len(item.labels) > 1 for item in items if item.labels is not None)
    return LabelFile(tuple(items), classes_of(items), several, dict(left_out))


def write(labels: LabelFile, prefix: str = LOCAL_FILES) -> dict[str, bytes]:
    """Return the tasks and the labelling interface, by the suffix of their files.

    Args:
        labels: the photos; those without labels become tasks to be labelled.
        prefix: what stands before the path of each photo.
    """
    choices = list(labels.classes)
    tasks = []
    for item in labels.items:
        data: dict[str, Any] = {_PICTURE: prefix + quote(os.fsencode(item.name))}
        task: dict[str, Any] = {"data": data}
        if item.split:
            data[_SPLIT] = item.split
        if item.labels is not None:
            data |= {_AS: list(item.labels)} if item.who or item.at else {}
            data |= {_BY: item.who} if item.who else {}
            data |= {_AT: item.at} if item.at else {}
            # Without it Label Studio takes what is imported for the ground truth.
            task["annotations"] = [{"result": _result(item.labels), "ground_truth": False}]
        if item.scores:
            best = max(item.scores, key=lambda label: item.scores[label])
            choices += [best] if best not in choices else []
            score = round(item.scores[best], 6)
            task["predictions"] = [
                {"model_version": item.model, "score": score, "result": _result([best])}
            ]
        tasks.append(task)
    return {".json": to_json(tasks), ".xml": _interface(choices, several=labels.several)}


def _result(labels: Iterable[str]) -> list[dict[str, Any]]:
    labels = list(labels)
    if not labels:
        return []
    value = {"choices": labels}
    return [{"from_name": _CONTROL, "to_name": _PICTURE, "type": "choices", "value": value}]


def _interface(choices: Iterable[str], *, several: bool) -> bytes:
    choices = list(choices)
    refuse_unwritable(choices, "Label Studio", xml=True)
    lines = [f"    <Choice value={quoteattr(choice)}/>" for choice in choices]
    kind = "multiple" if several else "single"
    head = f'  <Choices name="{_CONTROL}" toName="{_PICTURE}" choice="{kind}">'
    picture = f'  <Image name="{_PICTURE}" value="${_PICTURE}"/>'
    return "\n".join(["<View>", picture, head, *lines, "  </Choices>", "</View>", ""]).encode()


def _task(
    path: Path, value: Mapping[str, Any], index: int, left_out: Counter[str], field: str | None
) -> _Task:
    del field
    annotations = []
    for entry in _dicts(path, value.get("annotations", value.get("completions"))):
        if entry.get("was_cancelled") or entry.get("skipped"):
            left_out["skipped annotations"] += 1
            continue
        choices: dict[str, list[str]] = {}
        for region in _dicts(path, entry.get("result")):
            found = _choices(region)
            if found is None:
                kind = str(region.get("type"))
                left_out[_RESULTS.get(kind, kind)] += 1
            else:
                choices.setdefault(str(region.get("from_name")), []).extend(found)
        # A person may have changed what another began.
        at = utc_time(entry.get("updated_at")) or utc_time(entry.get("created_at"))
        annotations.append(
            _Annotation(
                {name: tuple(found) for name, found in choices.items()},
                _person(entry.get("completed_by")),
                at,
                entry.get("ground_truth") is True,
            )
        )
    # Tasks have the numbers of predictions only, unless the export is told to expand them.
    entries = value.get("predictions") or ()
    predictions = tuple(entry for entry in entries if isinstance(entry, dict))
    return _Task(index, value["data"], tuple(annotations), predictions)


def _row(
    path: Path, value: Mapping[str, Any], index: int, left_out: Counter[str], field: str | None
) -> _Task:
    """Read an annotation of JSON-MIN, where choices stand between the number and the annotator."""
    names = list(value)
    if "annotator" not in names and "annotation_id" not in names:
        fail(path, "tasks with data and annotations", ", ".join(names) or "an empty object")
    end = min(names.index(name) for name in _ABOUT if name in names)
    start = names.index("id") + 1 if "id" in names[:end] else 0
    choices: dict[str, tuple[str, ...]] = {}
    for name in names[start:end]:
        found = _short(value[name])
        if found is not None:
            choices[name] = found
        elif value[name]:
            entries = value[name] if isinstance(value[name], list) else [value[name]]
            left_out[_kind(entries)] += len(entries)
    if field is not None and field not in choices and field in value:
        # The task's data have the same name, which is written in their place.
        choices[field] = _short(value[field]) or ()
    at = utc_time(value.get("updated_at")) or utc_time(value.get("created_at"))
    annotation = _Annotation(choices, _person(value.get("annotator")), at, is_truth=False)
    number = value.get("id")
    key = ("id", number) if isinstance(number, int | str) else index
    data = {name: value[name] for name in names[:start] if name != "id"} if start else dict(value)
    # The picture, too, if the choices were found by their name alone.
    return _Task(key, data, (annotation,), ())


def _kind(entries: list[Any]) -> str:
    names = (name for entry in entries if isinstance(entry, dict) for name in entry)
    kind = next((name for name in names if name.endswith("labels")), "other results")
    return _RESULTS.get(kind, kind)


def _together(tasks: Iterable[_Task]) -> list[_Task]:
    """Put the annotations of a task into one, which JSON-MIN has in a row each."""
    found: dict[Any, _Task] = {}
    for task in tasks:
        before = found.get(task.key)
        annotations = task.annotations if before is None else before.annotations + task.annotations
        first = before or task
        found[task.key] = _Task(task.key, first.data, annotations, first.predictions)
    return list(found.values())


def _field(path: Path, tasks: list[_Task], field: str | None) -> str | None:
    """Return the name of the choices that are the label."""
    names = sorted({name for t in tasks for found in t.annotations for name in found.choices})
    if field is not None:
        if field not in names:
            raise UsageError(
                f"Expected --field as one of {', '.join(map(shown, names)) or 'none'}, the choices "
                f"in {shown(path)}. Received: {shown(field)}."
            )
        return field
    if len(names) > 1:
        raise UsageError(
            f"Expected one group of choices in {shown(path)}. Received: "
            f"{', '.join(map(shown, names))}. Name one with --field."
        )
    return names[0] if names else None


def _item(path: Path, task: _Task, field: str | None, *, newest: bool) -> Item:
    name = _picture_name(path, task.data)
    split = split_of(task.data.get(_SPLIT))
    scores, model = _scores(task.predictions, field)
    labels: tuple[str, ...] | None = None
    who = at = ""
    if task.annotations and field is not None:
        chosen = _chosen(path, name, task.annotations, field, newest=newest)
        labels, who, at = chosen.choices.get(field, ()), chosen.who, chosen.at
        before = task.data.get(_AS)
        if isinstance(before, list) and set(map(str, before)) == set(labels):
            # Unchanged since pocketlens wrote it: what was known then still holds.
            who, at = str(task.data.get(_BY) or ""), utc_time(task.data.get(_AT))
    return Item(name, labels, split, who, at, scores=scores, model=model)


def _chosen(
    path: Path, name: str, annotations: tuple[_Annotation, ...], field: str, *, newest: bool
) -> _Annotation:
    """Return the annotation that counts: the ground truth, else the newest if all agree."""
    candidates = [found for found in annotations if found.is_truth] or list(annotations)
    candidates.sort(key=lambda found: found.at)
    answers = {frozenset(found.choices.get(field, ())) for found in candidates}
    if len(answers) > 1 and not newest:
        said = " and ".join(
            f"{', '.join(map(shown, found.choices.get(field, ()))) or 'none'} "
            f"by {shown(found.who) or 'somebody'}"
            for found in candidates[-2:]
        )
        raise DataError(
            f"Annotations of {shown(name)} in {shown(path)} disagree: {said}. Decide it in Label "
            "Studio, or add --newest to take the newest of each photo."
        )
    return candidates[-1]


def _scores(
    predictions: Iterable[Mapping[str, Any]], field: str | None
) -> tuple[dict[str, float], str]:
    for entry in predictions:
        for region in entry.get("result") or ():
            found = _choices(region) if isinstance(region, dict) else None
            score = entry.get("score")
            if (
                found
                and field in (None, region.get("from_name"))
                and isinstance(score, int | float)
            ):
                return {label: float(score) for label in found}, str(entry.get("model_version"))
    return {}, ""


def _choices(region: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the choices of a result, None where it is something else, such as a box."""
    value = region.get("value")
    # With a place in the picture they are said of a part of it.
    if region.get("type") != "choices" or not isinstance(value, dict) or "x" in value:
        return None
    found = value.get("choices")
    if not isinstance(found, list):
        return None
    return tuple(found) if all(isinstance(choice, str) for choice in found) else None


def _short(value: Any) -> tuple[str, ...] | None:
    """Return choices as JSON-MIN has them: one as text, several in an object."""
    if isinstance(value, str):
        return (value,)
    found = value.get("choices") if isinstance(value, dict) else value
    if not isinstance(found, list) or not all(isinstance(choice, str) for choice in found):
        return None
    return tuple(found) or None


def _person(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    # People are numbers in an export unless it is told to expand them.
    return f"Label Studio user {value}" if isinstance(value, int) else str(value or "")


def _picture_name(path: Path, data: Mapping[str, Any]) -> str:
    """Return the value of a task's data that names its picture."""
    named = data.get(_PICTURE)
    if isinstance(named, str):
        return named
    names = [value for value in data.values() if isinstance(value, str) and _is_picture(value)]
    if len(names) != 1:
        fail(path, "a task with one picture", f"{len(names)} in {', '.join(data) or 'nothing'}")
    return names[0]


def _is_picture(text: str) -> bool:
    place = text.partition("?d=")[2] or urlsplit_path(text)
    return PurePosixPath(unquote(place)).suffix.lower() in SUFFIXES


def urlsplit_path(text: str) -> str:
    """Return the path of an address, and the whole text where it is none."""
    try:
        return urlsplit(text).path
    except ValueError:
        return text


def _dicts(path: Path, value: Any) -> Iterator[Mapping[str, Any]]:
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        fail(path, "annotations and results as lists of objects", type(value).__name__)
    yield from value
