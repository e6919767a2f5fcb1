"""Labels there and back through the programs themselves: Label Studio, datumaro for CVAT, FiftyOne.

`make peers-labels` installs each program in an environment of its own and calls this there:

    python tests/peers/labels.py PROGRAM POCKETLENS OUT

PROGRAM is label-studio, cvat or fiftyone; POCKETLENS is the command; OUT is a folder for what the
programs write, of which tests/labels/files has copies. For each program: photos with labels are
exported, the program reads the file and writes one of its own, which is imported; then the labels
and the bytes of the photos must be the same. In a second way the program itself makes the labels.

Label Studio is started on a port of its own with a new database. FiftyOne needs MongoDB: its
package brings it where it can be downloaded, else FIFTYONE_DATABASE_URI names one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# Invented: names that break programs, and labels in several scripts.
PHOTOS = {
    "daisy/1.jpg": "daisy",
    "daisy/été 2.2024.jpg": "daisy",
    "rose/7.jpg": "rose",
    "rose/ñandú #3 & co.png": "rose",
    "Röße, ✿|x/一.jpg": "Röße, ✿|x",
    '<wet> & "dry"/o\'x.png': '<wet> & "dry"',
}
EXTRA = "wet"


def main() -> None:
    program, command, out = sys.argv[1], sys.argv[2], Path(sys.argv[3]).absolute()
    shutil.rmtree(out, ignore_errors=True)
    photos = out / "photos"
    for index, name in enumerate(PHOTOS):
        draw(photos / name, index)
    table = out / "table.jsonl"
    lines = [
        {"path": f"photos/{name}", "labels": [label, EXTRA] if index % 2 else [label]}
        for index, (name, label) in enumerate(PHOTOS.items())
    ]
    for line, split in zip(lines, ("train", "val", "test", "train", "train", "train"), strict=True):
        line["split"] = split
    table.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    PROGRAMS[program](Pocketlens(command, out), out)
    print(f"{program}: the same labels of the same photos.")


def draw(path: Path, index: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8 + index, 6), (30 * index, 90, 120)).save(path)


class Pocketlens:
    """The command, and what must come back."""

    def __init__(self, command: str, out: Path) -> None:
        self.command, self.out = command, out

    def __call__(self, *words: Any) -> None:
        done = subprocess.run(
            [self.command, "labels", *map(str, words)], cwd=self.out, capture_output=True, text=True
        )
        print("$ pocketlens labels", *words, "\n ", (done.stdout + done.stderr).strip())
        if done.returncode:
            sys.exit("pocketlens failed")

    def folders_match(self, folder: Path) -> None:
        expected = by_content(self.out / "photos")
        compare(by_content(folder), expected)

    def tables_match(self, table: Path, *, splits: bool = True) -> None:
        compare(rows(table, splits=splits), rows(self.out / "table.jsonl", splits=splits))


def by_content(folder: Path) -> dict[str, str]:
    """Return the label of each photo by its content."""
    return {
        digest(path): path.relative_to(folder).parts[0]
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows(table: Path, *, splits: bool) -> dict[str, Any]:
    found = {}
    for line in table.read_text("utf-8").splitlines():
        row = json.loads(line)
        about = row.get("split") if splits else None
        found[digest(table.parent / row["path"])] = (sorted(row["labels"]), about)
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def compare(found: Any, expected: Any) -> None:
    if found != expected:
        sys.exit(f"Not the same:\n{found}\n{expected}")


# Label Studio: the server itself, called as its page calls it.


def label_studio(pocketlens: Pocketlens, out: Path) -> None:
    with_server(out, lambda api: label_studio_there_and_back(pocketlens, out, api))


def with_server(out: Path, use: Any) -> None:
    import requests

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(out / "server"),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(out),
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
    }
    user = {"email": "labels@example.com", "password": "a-test-of-labels"}
    program = Path(sys.executable).with_name("label-studio")
    words = ["start", "--no-browser", "--port", str(port), "--init", "first"]
    words += ["--username", user["email"], "--password", user["password"]]
    with (out / "server.log").open("w") as log:
        server = subprocess.Popen(
            [program, *words], env=os.environ | settings, stdout=log, stderr=log
        )
        try:
            session = requests.Session()
            for _ in range(300):
                time.sleep(1)
                try:
                    session.get(f"{url}/user/login/", timeout=10)
                    break
                except requests.ConnectionError:
                    continue
            token = {"csrfmiddlewaretoken": session.cookies["csrftoken"]}
            session.post(f"{url}/user/login/", data=user | token, headers={"Referer": url})

            def api(method: str, path: str, **more: Any) -> Any:
                headers = {"X-CSRFToken": session.cookies["csrftoken"], "Referer": url}
                answer = session.request(method, url + path, headers=headers, **more)
                if answer.status_code >= 300:
                    sys.exit(f"{method} {path}: {answer.status_code} {answer.text[:400]}")
                return answer

            use(api)
        finally:
            server.terminate()
            server.wait()


def label_studio_there_and_back(pocketlens: Pocketlens, out: Path, api: Any) -> None:
    # Ours into the server and out of it.
    for name, photos in (("one", "photos"), ("several", "table.jsonl")):
        pocketlens("export", photos, "--format", "label-studio", "--out", f"{name}.json")
        interface = (out / f"{name}.xml").read_text("utf-8")
        project = api(
            "POST", "/api/projects", json={"title": name, "label_config": interface}
        ).json()["id"]
        tasks = json.loads((out / f"{name}.json").read_text("utf-8"))
        api("POST", f"/api/projects/{project}/import", json=tasks)
        save_exports(api, project, out / f"{name}-back")
    for suffix in ("json", "min.json"):
        pocketlens("import", f"one-back.{suffix}", "--photos", "photos", "--into", f"one-{suffix}")
        pocketlens.folders_match(out / f"one-{suffix}")
        target = f"several-{suffix}.jsonl"
        pocketlens("import", f"several-back.{suffix}", "--photos", "photos", "--out", target)
        pocketlens.tables_match(out / target)
    # Uploaded photos, labelled in the server; with a box, a photo that is skipped, a prediction.
    choices = "".join(
        f'<Choice value="{label}"/>'
        for label in ("daisy", "rose", "Röße, ✿|x", "&lt;wet&gt; &amp; &quot;dry&quot;", EXTRA)
    )
    interface = (
        '<View><Image name="image" value="$image"/>'
        f'<Choices name="kind" toName="image" choice="multiple">{choices}</Choices>'
        '<RectangleLabels name="box" toName="image"><Label value="bee"/></RectangleLabels></View>'
    )
    project = api("POST", "/api/projects", json={"title": "uploads", "label_config": interface})
    number = project.json()["id"]
    for name in PHOTOS:
        path = out / "photos" / name
        with path.open("rb") as stream:
            api("POST", f"/api/projects/{number}/import", files={"file": (path.name, stream)})
    tasks = api("GET", f"/api/tasks?project={number}&fields=all&page_size=100").json()["tasks"]
    tasks.sort(key=lambda task: task["id"])
    for index, (task, label) in enumerate(zip(tasks, PHOTOS.values(), strict=True)):
        chosen = [label, EXTRA] if index % 2 else [label]
        result = [choice("kind", chosen)]
        if index == 2:
            result.append(BOX)
        api("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": result})
        if index == 3:
            skipped = {"result": [], "was_cancelled": True}
            api("POST", f"/api/tasks/{task['id']}/annotations/", json=skipped)
    save_exports(api, number, out / "uploads")
    for suffix in ("json", "min.json"):
        target = f"uploads-{suffix}.jsonl"
        pocketlens("import", f"uploads.{suffix}", "--photos", "photos", "--out", target)
        pocketlens.tables_match(out / target, splits=False)


def choice(name: str, labels: list[str]) -> dict[str, Any]:
    value = {"choices": labels}
    return {"from_name": name, "to_name": "image", "type": "choices", "value": value}


BOX = {
    "from_name": "box",
    "to_name": "image",
    "type": "rectanglelabels",
    "original_width": 10,
    "original_height": 6,
    "value": {
        "x": 0,
        "y": 0,
        "width": 50,
        "height": 50,
        "rotation": 0,
        "rectanglelabels": ["bee"],
    },
}


def save_exports(api: Any, project: int, stem: Path) -> None:
    for kind, suffix in (("JSON", ".json"), ("JSON_MIN", ".min.json")):
        path = f"/api/projects/{project}/export?exportType={kind}"
        stem.with_name(stem.name + suffix).write_bytes(api("GET", path).content)


# CVAT: datumaro, with which CVAT reads and writes datasets.


def cvat(pocketlens: Pocketlens, out: Path) -> None:
    from datumaro.components.annotation import AnnotationType, Bbox, Label
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    # Ours through datumaro: without and with subsets.
    for name, photos in (("one", "photos"), ("several", "table.jsonl")):
        pocketlens("export", photos, "--format", "cvat", "--copy", "--out", f"{name}.zip")
        shutil.unpack_archive(out / f"{name}.zip", out / name)
        dataset = Dataset.import_from(str(out / name), "cvat")
        labels = dataset.categories()[AnnotationType.label]
        seen = {item.id: [labels[a.label].name for a in item.annotations] for item in dataset}
        print(f"  datumaro read {seen}")
        dataset.export(str(out / f"{name}-back"), "cvat", save_media=True)
    pocketlens("import", "one-back", "--photos", "photos", "--into", "one-again")
    pocketlens.folders_match(out / "one-again")
    pocketlens("import", "one.zip", "--photos", "one-back", "--into", "one-zip")
    pocketlens.folders_match(out / "one-zip")
    pocketlens("import", "several-back", "--photos", "photos", "--out", "several-again.jsonl")
    pocketlens.tables_match(out / "several-again.jsonl")
    # Datumaro's own, with a box and an image without a tag.
    names = [*dict.fromkeys(PHOTOS.values()), EXTRA]
    items = []
    for index, (name, label) in enumerate(PHOTOS.items()):
        annotations: list[Any] = [Label(names.index(label))]
        annotations += [Label(names.index(EXTRA))] if index % 2 else []
        annotations += [Bbox(0, 0, 3, 3, label=0)] if index == 2 else []
        subset = ("train", "val", "test", "train", "train", "train")[index]
        media = Image.from_file(str(out / "photos" / name))
        attributes = {"frame": index}
        items.append(
            DatasetItem(
                id=os.path.splitext(name)[0],
                subset=subset,
                media=media,
                annotations=annotations,
                attributes=attributes,
            )
        )
    Dataset.from_iterable(items, categories=names).export(str(out / "datumaro"), "cvat")
    pocketlens("import", "datumaro", "--photos", "photos", "--out", "datumaro.jsonl")
    pocketlens.tables_match(out / "datumaro.jsonl")


# FiftyOne: datasets in its database.


def fiftyone(pocketlens: Pocketlens, out: Path) -> None:
    import fiftyone as fo

    images = fo.types.FiftyOneImageClassificationDataset
    whole = fo.types.FiftyOneDataset
    # Ours into its database and out of it, with and without copies of the photos.
    for name, more, data in (("one", (), "data.json"), ("copied", ("--copy",), None)):
        pocketlens("export", "photos", "--format", "fiftyone", "--out", name, *more)
        dataset = fo.Dataset.from_dir(str(out / name), dataset_type=images, data_path=data)
        print(f"  FiftyOne read {dataset.count_values('ground_truth.label')}")
        for kind, suffix in ((images, "images"), (whole, "whole")):
            back = f"{name}-{suffix}"
            dataset.export(str(out / back), dataset_type=kind, label_field="ground_truth")
            pocketlens("import", back, "--into", f"{back}-again")
            pocketlens.folders_match(out / f"{back}-again")
        dataset.delete()
    pocketlens("export", "table.jsonl", "--format", "fiftyone", "--out", "several")
    dataset = fo.Dataset()
    for split in ("train", "val", "test"):
        folder = str(out / "several" / split)
        dataset.add_dir(folder, dataset_type=images, data_path="data.json", tags=split)
    dataset.export(str(out / "several-back"), dataset_type=whole)
    dataset.delete()
    pocketlens("import", "several-back", "--out", "several-again.jsonl")
    pocketlens.tables_match(out / "several-again.jsonl")
    # FiftyOne's own: several fields, tags, a box, a sample without a label.
    dataset = fo.Dataset()
    splits = ("train", "val", "test", "train", "train", "train")
    for index, (name, label) in enumerate(PHOTOS.items()):
        sample = fo.Sample(str(out / "photos" / name), tags=[splits[index], "checked"])
        labels = [label, EXTRA] if index % 2 else [label]
        several = [fo.Classification(label=entry) for entry in labels]
        sample["truth"] = fo.Classification(label=label)
        sample["kinds"] = fo.Classifications(classifications=several)
        sample["guess"] = fo.Classification(label="rose", confidence=0.75)
        box = fo.Detection(label="bee", bounding_box=[0, 0, 0.5, 0.5])
        sample["boxes"] = fo.Detections(detections=[box])
        dataset.add_sample(sample)
    root = str(out / "photos")
    dataset.export(str(out / "own"), dataset_type=whole, rel_dir=root)
    dataset.export(str(out / "own-images"), dataset_type=images, label_field="truth", rel_dir=root)
    pocketlens("import", "own", "--field", "truth", "--into", "own-truth")
    pocketlens.folders_match(out / "own-truth")
    pocketlens("import", "own", "--field", "kinds", "--out", "own-kinds.jsonl")
    pocketlens.tables_match(out / "own-kinds.jsonl")
    pocketlens("import", "own-images", "--photos", "photos", "--into", "own-again")
    pocketlens.folders_match(out / "own-again")
    dataset.delete()


PROGRAMS = {"label-studio": label_studio, "cvat": cvat, "fiftyone": fiftyone}

if __name__ == "__main__":
    main()
