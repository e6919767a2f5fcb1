"""What a 720p frame takes here, and with what people would use instead, on the same network.

`make peers-table RUN=runs/flowers NAME=models/flowers PHOTOS=folder-per-class` prints the table of
docs/reference/peers.md. RUN has the Keras model, NAME_float32.tflite and NAME_int8.tflite are its
files. Each function below is one way, as its own tutorial has it: it gets ready and returns what
turns a frame into a label. All ways are timed in turn in one process, once with one thread and once
with as many as there are cores; MediaPipe's Python classifier leaves no choice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pocketlens.benchmarks.latency import Settings, time_interleaved
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import decode

Way = Callable[[Any], str]

FRAME_WH = (1280, 720)
CALIBRATION_PHOTOS = 100


def pocketlens(file: Path, threads: int) -> Way:
    """This project."""
    from pocketlens.runtime import Classifier

    classifier = Classifier(file, threads=threads)
    return lambda frame_bgr: classifier.classify(frame_bgr).top.label


def usual_loop(file: Path, labels: list[str], threads: int) -> Way:
    """The interpreter as in TensorFlow's label_image.py and its guide to integer quantization."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=threads)
    interpreter.allocate_tensors()
    (input_details,), (output_details,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    _, height, width, _ = input_details["shape"]
    scale, zero_point = input_details["quantization"]
    # The float file normalises pixels itself; the arithmetic is what the loop has anyway.
    mean, std = (127.5, 127.5) if scale else (0.0, 1.0)

    def classify(frame_bgr: Any) -> str:
        frame_rgb = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
        batch = np.expand_dims(cv2.resize(frame_rgb, (width, height)), 0)
        batch = (np.float32(batch) - mean) / std
        if scale:
            batch = batch / scale + zero_point
        interpreter.set_tensor(input_details["index"], batch.astype(input_details["dtype"]))
        interpreter.invoke()
        return labels[np.argmax(interpreter.get_tensor(output_details["index"])[0])]

    return classify


def mediapipe_tasks(file: Path, stack: ExitStack) -> Way:
    """MediaPipe's guide to its image classifier."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    options = ImageClassifierOptions(BaseOptions(model_asset_path=str(file)), max_results=5)
    classifier = stack.enter_context(ImageClassifier.create_from_options(options))

    def classify(frame_bgr: Any) -> str:
        frame_rgb = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame_rgb)
        return classifier.classify(image).classifications[0].categories[0].category_name

    return classify


def onnx_runtime(file: Path, labels: list[str], size_wh: tuple[int, int], threads: int) -> Way:
    """ONNX Runtime's Python example."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options)
    name = session.get_inputs()[0].name

    def classify(frame_bgr: Any) -> str:
        (scores,) = session.run(None, {name: float_batch(frame_bgr, size_wh)})
        return labels[np.argmax(scores[0])]

    return classify


def opencv_dnn(file: Path, labels: list[str], size_wh: tuple[int, int]) -> Way:
    """OpenCV's tutorial of its DNN module."""
    network = cv2.dnn.readNetFromTFLite(str(file))

    def classify(frame_bgr: Any) -> str:
        network.setInput(cv2.dnn.blobFromImage(frame_bgr, 1.0, size_wh, swapRB=True))
        return labels[np.argmax(network.forward()[0])]

    return classify


def keras_predict(model: Any, labels: list[str], size_wh: tuple[int, int]) -> Way:
    """The loop of Keras's tutorials."""
    return lambda frame_bgr: labels[
        np.argmax(model.predict(float_batch(frame_bgr, size_wh), verbose=0)[0])
    ]


def float_batch(frame_bgr: Any, size_wh: tuple[int, int]) -> Any:
    """Return what the float network takes: it normalises pixels itself."""
    frame_rgb = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
    return np.expand_dims(cv2.resize(frame_rgb, size_wh), 0).astype(np.float32)


def write_onnx(model: Any, photos: list[Path], size_wh: tuple[int, int], home: Path) -> list[Path]:
    """Write the network as float32 and, by ONNX Runtime's own quantizer, as int8."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    float32, prepared, int8 = (home / f"{name}.onnx" for name in ("float32", "prepared", "int8"))
    # Keras exports only what has been called.
    model(np.zeros((1, *size_wh[::-1], 3), np.float32))
    model.export(str(float32), format="onnx", verbose=False)

    class Reader(CalibrationDataReader):
        """Gives the photos one by one."""

        def __init__(self) -> None:
            self.frames = frames(photos)

        def get_next(self) -> dict[str, Any] | None:
            """Return the next photo, None after the last."""
            frame_bgr = next(self.frames, None)
            return None if frame_bgr is None else {"pixels": float_batch(frame_bgr, size_wh)}

    quant_pre_process(str(float32), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(int8), Reader(), per_channel=True)
    return [float32, int8]


def frames(photos: list[Path]) -> Iterator[Any]:
    """Give photos as a 720p camera would."""
    for photo in photos:
        yield cv2.resize(cv2.cvtColor(decode(photo), cv2.COLOR_RGB2BGR), FRAME_WH)


def measure(chosen: argparse.Namespace, threads: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each way and how often it says what pocketlens says."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    cv2.setNumThreads(threads)
    model = keras.models.load_model(chosen.run / "model.keras")
    float32, int8 = (Path(f"{chosen.name}_{name}.tflite") for name in ("float32", "int8"))
    labels = (chosen.run / "labels.txt").read_text("utf-8").splitlines()
    height, width = model.input_shape[1:3]
    size_wh = (width, height)
    found = sorted(find_pictures(chosen.photos))
    calibration = found[:: max(1, len(found) // CALIBRATION_PHOTOS)][:CALIBRATION_PHOTOS]
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        onnx_float32, onnx_int8 = write_onnx(model, calibration, size_wh, Path(home))
        ways = {
            "pocketlens, int8": pocketlens(int8, threads),
            "pocketlens, float32": pocketlens(float32, threads),
            "the usual loop, int8": usual_loop(int8, labels, threads),
            "the usual loop, float32": usual_loop(float32, labels, threads),
            "MediaPipe Tasks, int8": mediapipe_tasks(int8, stack),
            "MediaPipe Tasks, float32": mediapipe_tasks(float32, stack),
            "ONNX Runtime, int8": onnx_runtime(onnx_int8, labels, size_wh, threads),
            "ONNX Runtime, float32": onnx_runtime(onnx_float32, labels, size_wh, threads),
            "OpenCV DNN, float32": opencv_dnn(float32, labels, size_wh),
            "Keras predict, float32": keras_predict(model, labels, size_wh),
        }
        test = found[:: max(1, len(found) // chosen.frames)][: chosen.frames]
        answers = {name: [way(frame) for frame in frames(test)] for name, way in ways.items()}
        few = cycle(list(frames(test[:5])))
        calls = {name: lambda way=way: way(next(few)) for name, way in ways.items()}
        times = time_interleaved(calls, Settings(num_runs=chosen.runs, max_secs=600))
    return {
        name: {
            "ms": float(np.median(times[name])) / 1e6,
            "agrees": float(np.mean(np.array(own) == np.array(answers["pocketlens, float32"]))),
        }
        for name, own in answers.items()
    }


def main() -> int:
    """Print the table; 0 if pocketlens is the fastest of each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("name", type=Path, help="its files, without _float32.tflite")
    parser.add_argument("photos", type=Path, help="a folder with photos")
    parser.add_argument("--runs", type=int, default=200, help="of each way")
    parser.add_argument("--frames", type=int, default=100, help="to compare answers on")
    parser.add_argument("--threads", type=int, help="measure with these and print JSON")
    chosen = parser.parse_args()
    if chosen.threads:
        print(json.dumps(measure(chosen, chosen.threads)))
        return 0
    cores = os.cpu_count() or 1
    found = {}
    for threads in dict.fromkeys((1, cores)):
        # Threads of TensorFlow are set once in a process.
        command = [sys.executable, *sys.argv, "--threads", str(threads)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[threads] = json.loads(done.stdout.splitlines()[-1])
    print(table(found))
    return int(any(beaten(entries) for entries in found.values()))


def table(found: dict[int, dict[str, dict[str, float]]]) -> str:
    """Return Markdown, times as they are and as multiples of pocketlens' with the same format."""
    heads = [f"{count} thread{'s' if count > 1 else ''}, ms | × pocketlens" for count in found]
    lines = [f"| 720p frame to label | {' | '.join(heads)} | same label |"]
    lines.append("|---|" + "---|" * (2 * len(found) + 1))
    for name in next(iter(found.values())):
        ours = f"pocketlens, {name.split(', ')[1]}"
        cells = [
            f"{entries[name]['ms']:.2f} | {entries[name]['ms'] / entries[ours]['ms']:.2f}"
            for entries in found.values()
        ]
        agrees = next(iter(found.values()))[name]["agrees"]
        lines.append(f"| {name} | {' | '.join(cells)} | {agrees:.0%} |")
    return "\n".join(lines)


def beaten(entries: dict[str, dict[str, float]]) -> bool:
    """Tell whether another way is faster than pocketlens with the same format."""
    return any(
        entry["ms"] < entries[f"pocketlens, {name.split(', ')[1]}"]["ms"]
        for name, entry in entries.items()
    )


if __name__ == "__main__":
    sys.exit(main())
