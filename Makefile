# `make demo` and `make test` need Python 3.10 or newer and nothing else: they make their own
# virtual environment in .venv with the versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo-out
# Test models that the light environment's tests read, since it cannot train any.
export POCKETLENS_TEST_MODELS = $(CURDIR)/build/test-models

.PHONY: demo test coverage test-matrix test-networks test-wheel test-old-runtime test-oldest dist test-arm64 \
	check format lock flowers unknown head-cache input-pipeline fuzz power-cuts memory quantizers conversion-time imagenet \
	peers peers-labels peers-table soak viewers keep-rate loop shift classify-speed bare-invoke accuracy-speed slowdowns resize-accuracy startup \
	video-rate web-app litertjs images image-lock docs docs-serve clean

demo: $(VENV)/installed
	$(BIN)/pocketlens demo --out $(DEMO) --overwrite

# Two processes at once, but not for what measures time.
PYTEST = $(BIN)/python -m pytest
test: $(VENV)/installed
	rm -rf build/test-models
	$(PYTEST) -n 2 --dist loadfile -m 'not networks and not real_time'
	$(PYTEST) -m real_time

# The same tests, and which lines and branches of the product they run, in child processes too. A
# test that is held against the clock may fail while it is traced, which is not looked at here.
coverage: $(VENV)/installed
	$(BIN)/python -m coverage erase
	$(MAKE) --ignore-errors test PYTEST='$(BIN)/python -m coverage run -m pytest'
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# Every architecture, and the network in full size; and the device's tests in other environments,
# with the models of an earlier `make test`.
test-matrix: test-networks test-wheel test-old-runtime test-oldest

# Whole trainings on real photos, all five formats of each, and the demo on a small scale.
test-networks: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m networks

# The wheel alone, in an environment without any extra and outside the repository, with the newest
# Python and the newest packages.
test-wheel: $(VENV)/installed
	sh tests/wheel/run.sh $(BIN)/python newest 3.13

# The wheel with tflite-runtime: the device's tests, and the same answers from all five files as here.
test-old-runtime: $(VENV)/installed
	sh tests/old_runtime/run.sh $(BIN)/python

# The wheel with the oldest Python and the oldest packages that pyproject.toml allows.
test-oldest: $(VENV)/installed
	sh tests/wheel/run.sh $(BIN)/python oldest 3.10

# Wheel and sdist in dist/, as they would be published: what is in them, what an index would say of
# them, and the device's tests with each.
dist: $(VENV)/installed
	sh tests/dist/run.sh $(BIN)/python

# The wheel on an emulated Raspberry Pi 4 with both interpreters; needs qemu-user-static. The models
# are those of an earlier `make test`, or MODELS='models/*.tflite' PHOTOS=folder.
test-arm64: $(VENV)/installed
	sh tests/arm64/run.sh $(BIN)/python

# Both container images, built of Debian's packages and tried, and their sizes; needs root, buildah,
# debootstrap and iproute2. The photos are those of an earlier `make test`.
images: $(VENV)/installed
	sh tests/images/run.sh $(BIN)/python

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	sh tests/types/run.sh $(BIN)/python

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation: strictly built into build/site, or shown at http://127.0.0.1:8000/ while it is
# written.
docs docs-serve: export NO_MKDOCS_2_WARNING = 1

docs: $(VENV)/installed
	$(BIN)/mkdocs build --strict

docs-serve: $(VENV)/installed
	$(BIN)/mkdocs serve

lock: $(VENV)/installed
	$(BIN)/uv pip compile --universal --upgrade --no-emit-index-url --no-emit-find-links \
		--no-header --no-annotate --python-version 3.10 --extra dev \
		--output-file constraints.txt pyproject.toml
	$(MAKE) image-lock

# The images' packages, by hash, in the versions of constraints.txt: for Debian's Python. The device's
# image leaves out what other packages ask for and no command of the device imports.
IMAGE_LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --no-annotate --no-python-downloads --python-version 3.13
UNUSED := backports-strenum flatbuffers markdown-it-py mdurl ml-dtypes protobuf pygments tqdm
image-lock: $(VENV)/installed
	$(IMAGE_LOCK) --constraint constraints.txt --extra train --extra heic \
		--output-file docker/train.txt pyproject.toml
	$(IMAGE_LOCK) --constraint constraints.txt --extra web --extra mqtt \
		$(UNUSED:%=--no-emit-package %) --output-file docker/runtime.txt pyproject.toml
	echo 'setuptools>=77' | $(IMAGE_LOCK) --output-file docker/build.txt -

# The full pipeline on real photos, some seeds, with and without the grid: about an hour.
# make flowers PHOTOS=folder-per-class WEIGHTS=imagenet|FILE [OPTIONS='--seeds 0 1 --arch NAME']
flowers: $(VENV)/installed
	$(BIN)/python tests/measure/flowers.py $(PHOTOS) --weights $(or $(WEIGHTS),imagenet) \
		--out build/flowers $(OPTIONS)

# What models say of photos of something else: five seeds, without and with counter-examples, a class
# left out, few photos; and the coverage of label sets. Some hours.
# make unknown PHOTOS=folder-per-class STRANGERS=folder WEIGHTS=imagenet|FILE [OPTIONS='--seeds 0']
unknown: $(VENV)/installed
	$(BIN)/python tests/measure/unknown.py $(PHOTOS) $(STRANGERS) --weights $(or $(WEIGHTS),imagenet) \
		$(OPTIONS)

# How many labels the studio's order saves, beside other orders and random order; with frames of a
# burst, too. Some minutes.
# make labels-order PHOTOS=folder-per-class WEIGHTS=imagenet|FILE [OPTIONS='--burst 4 --seeds 0']
labels-order: $(VENV)/installed
	$(BIN)/python tests/measure/labels_order.py $(PHOTOS) --weights $(or $(WEIGHTS),imagenet) \
		$(OPTIONS)

# Whether cached features make the head's training as fast, and as good, as they should.
# make head-cache PHOTOS=folder-per-class WEIGHTS=imagenet|FILE
head-cache: $(VENV)/installed
	$(BIN)/python tests/measure/head_cache.py $(PHOTOS) --weights $(or $(WEIGHTS),imagenet)

# Whether a training step ever waits for its pictures.
# make input-pipeline PHOTOS=folder-per-class WEIGHTS=imagenet|FILE
input-pipeline: $(VENV)/installed
	$(BIN)/python tests/measure/input_pipeline.py $(PHOTOS) --weights $(or $(WEIGHTS),imagenet)

# Whether damaged photos, models, videos and camera pictures end in an answer or in a sentence.
# make fuzz MODEL=models/flowers_int8.tflite PHOTOS=folder [OPTIONS='--photos 10000 --models 5000']
fuzz: $(VENV)/installed
	$(BIN)/python tests/measure/fuzz.py $(MODEL) $(PHOTOS) $(OPTIONS)

# Thirty SIGKILLs at random moments of a training, each followed by --resume.
power-cuts: $(VENV)/installed
	$(BIN)/python tests/measure/power_cuts.py

# Whether memory grows with the number of photos, and whether check keeps the cores busy.
memory: $(VENV)/installed
	$(BIN)/python tests/measure/memory.py

# What each format of trained runs loses on their test photos, beside TFLiteConverter's plain files.
# make quantizers RUNS='build/flowers/seed0_grid0 build/flowers/seed1_grid0'
quantizers: $(VENV)/installed
	$(BIN)/python tests/measure/quantizers.py $(RUNS)

# Five formats of a run against five plain conversions. make conversion-time RUN=runs/flowers
conversion-time: $(VENV)/installed
	$(BIN)/python tests/measure/conversion_time.py $(RUN)

# The ImageNet MobileNetV2 on POCKETLENS_SHARED's sample photos, with weights from KERAS_HOME.
imagenet: $(VENV)/installed
	$(BIN)/python tests/measure/imagenet.py

# Whether MediaPipe Tasks reads converted files as pocketlens does, in an environment of its own,
# whether it gives the scores that an exported folder for a phone expects, and how long its Python
# classifier takes for the same frames.
# make peers PHOTOS=folder-per-class MODELS='models/*.tflite'
peers: build/peers/installed
	build/peers/bin/python tests/peers/mediapipe_scores.py $(PHOTOS) $(MODELS)
	build/peers/bin/python tests/peers/exported_folder.py $(PHOTOS) $(MODELS)
	build/peers/bin/python tests/measure/classify_speed.py $(MODELS) --photos $(PHOTOS) --mediapipe

# The table of docs/reference/peers.md: the same network and frames with what people would use instead.
# make peers-table RUN=runs/flowers NAME=models/flowers PHOTOS=folder-per-class
peers-table: build/peers/installed
	build/peers/bin/python tests/peers/frame_times.py $(RUN) $(NAME) $(PHOTOS)

# Labels there and back through the programs themselves, each in an environment of its own. FiftyOne
# needs MongoDB: FIFTYONE_DATABASE_URI=mongodb://… where its package cannot download it.
PROGRAMS := label-studio cvat fiftyone
PACKAGE_cvat := datumaro
peers-labels: $(VENV)/installed
	for entry in $(foreach name,$(PROGRAMS),$(name):$(or $(PACKAGE_$(name)),$(name))); do \
		name=$${entry%%:*}; \
		$(BIN)/uv venv --quiet --allow-existing build/peers-labels/$$name && \
		$(BIN)/uv pip install --quiet --python build/peers-labels/$$name/bin/python $${entry##*:} && \
		build/peers-labels/$$name/bin/python tests/peers/labels.py $$name \
			$(CURDIR)/$(BIN)/pocketlens build/peers-labels/out/$$name || exit 1; \
	done

build/peers/installed: pyproject.toml
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet 'mediapipe>=0.10' onnxruntime onnx tf2onnx \
		-e '.[train]'
	touch $@

# A live run with a fault every 20 seconds, then a thousand times open and close.
# make soak MINUTES=30 MODEL=file.tflite
soak: $(VENV)/installed
	$(BIN)/python tests/measure/soak.py --minutes $(or $(MINUTES),30) --cycles $(or $(CYCLES),1000) \
		$(if $(MODEL),--model $(MODEL))

# Whether fifty viewers who do not read slow down classification. make viewers MODEL=file.tflite
viewers: $(VENV)/installed
	$(BIN)/python tests/measure/viewers.py --model $(MODEL) --minutes $(or $(MINUTES),4)

# Whether keeping frames for labelling slows down classification.
# make keep-rate MODEL=file.tflite VIDEO=file.mp4
keep-rate: $(VENV)/installed
	$(BIN)/python tests/measure/keep_rate.py --model $(MODEL) --video $(VIDEO)

# From nothing to a second model that is better, by keys in Chromium: init, collect, train, try, live
# --keep, label, train again, compare. Some ten minutes; with POCKETLENS_SCREENSHOTS=folder pictures
# of all pages. make loop [OPTIONS='--out folder']
loop: $(VENV)/installed
	$(BIN)/python tests/measure/loop.py $(OPTIONS)

# How soon live finds that frames differ from the photos a model was made with, and false alarms.
# make shift MODELS='models/*.tflite' PHOTOS=RUN|folder-per-class
shift: $(VENV)/installed
	$(BIN)/python tests/measure/shift.py $(MODELS) --photos $(PHOTOS)

# What classify costs over the bare invoke(). Half a minute a file, on a machine that is idle.
# make classify-speed MODELS='models/*.tflite' PHOTOS=folder
classify-speed: $(VENV)/installed
	$(BIN)/python tests/measure/classify_speed.py $(MODELS) --photos $(PHOTOS)

# Whether the benchmark's bare invoke() is what a loop written by hand measures.
# make bare-invoke MODELS='models/*.tflite'
bare-invoke: $(VENV)/installed
	$(BIN)/python tests/measure/bare_invoke.py $(MODELS)

# Whether measuring accuracy takes no longer than decoding once and all inferences on all cores.
# make accuracy-speed MODELS='models/*.tflite' PHOTOS=folder-per-class
accuracy-speed: $(VENV)/installed
	$(BIN)/python tests/measure/accuracy_speed.py $(MODELS) --photos $(PHOTOS)

# How much slower a file has to be for benchmark --compare to find it: a quarter of an hour.
slowdowns: $(VENV)/installed
	$(BIN)/python tests/measure/slowdowns.py

# What the way of resizing does to the answers. make resize-accuracy RUN=runs/flowers MODEL=file
resize-accuracy: $(VENV)/installed
	$(BIN)/python tests/measure/resize_accuracy.py $(RUN) $(MODEL)

# Import, load and first answer beside a bare script. make startup MODELS='models/*.tflite'
startup: $(VENV)/installed
	$(BIN)/python tests/measure/startup.py $(MODELS)

# Whether a video file runs as fast as its slowest stage alone.
# make video-rate MODELS='models/*.tflite' PHOTOS=folder, or VIDEO=file for PHOTOS
video-rate: $(VENV)/installed
	$(BIN)/python tests/measure/video_rate.py $(MODELS) \
		$(if $(VIDEO),--video $(VIDEO),--photos $(PHOTOS))

# Whether the exported web app gives the classifier's answers in Chromium, and how fast.
# make web-app MODELS='models/*.tflite' PHOTOS=folder [OPTIONS='--threads 2']
web-app: $(VENV)/installed
	$(BIN)/python tests/measure/web_app.py $(MODELS) --photos $(PHOTOS) $(OPTIONS)

# Packs the web app's engine anew, of the npm package that export/browser.py names; needs npm.
litertjs: $(VENV)/installed
	$(BIN)/python tests/peers/pack_litertjs.py

clean:
	rm -rf build dist .venv demo-out *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
