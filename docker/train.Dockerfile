# Everything: photos -> a trained network -> .tflite files and their reports. On the CPU.
#
#   docker build -f docker/train.Dockerfile -t pocketlens-train .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" -v pocketlens-cache:/cache \
#       pocketlens-train train photos/ --out runs/flowers
#
# What is pinned how, and an index of your own: see runtime.Dockerfile.
ARG BASE=docker.io/library/debian:trixie-slim

FROM ${BASE} AS python
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM python AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/pocketlens
COPY docker/build.txt docker/train.txt /tmp/docker/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/tools/bin/pip install --require-hashes --only-binary :all: -r /tmp/docker/build.txt \
    && /opt/tools/bin/pip --python /opt/pocketlens/bin/python install --require-hashes \
        --only-binary :all: -r /tmp/docker/train.txt
COPY . /tmp/pocketlens
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels /tmp/pocketlens \
    && /opt/tools/bin/pip --python /opt/pocketlens/bin/python install --no-deps --no-index \
        /tmp/wheels/*.whl

FROM python
# Weights and data sets are downloaded once where /cache is a volume. Anyone may write there, since
# --user may name a user whom the image does not know.
RUN useradd --uid 1000 --no-create-home pocketlens \
    && install --directory --mode 1777 /cache /work
COPY --from=build /opt/pocketlens /opt/pocketlens
ENV PATH=/opt/pocketlens/bin:$PATH PYTHONDONTWRITEBYTECODE=1 POCKETLENS_CACHE=/cache/pocketlens \
    KERAS_HOME=/cache/keras MPLCONFIGDIR=/tmp/matplotlib
USER pocketlens
WORKDIR /work
STOPSIGNAL SIGTERM
ENTRYPOINT ["pocketlens"]
CMD ["--help"]
