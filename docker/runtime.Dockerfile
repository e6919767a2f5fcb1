# What runs a .tflite file on cameras, streams, videos and photos; without TensorFlow.
#
#   docker build -f docker/runtime.Dockerfile -t pocketlens-runtime .
#   docker run --rm --init --read-only --tmpfs /tmp --device /dev/video0 -p 8080:8080 \
#       -e POCKETLENS_WEB_TOKEN=a-token-of-yours -v "$PWD/models:/models:ro" \
#       pocketlens-runtime live /models/flowers_int8.tflite --web 0.0.0.0:8080
#
# A tag moves. To build on what you have tried, give its digest, which
# `docker buildx imagetools inspect debian:trixie-slim` prints:
#   --build-arg BASE=docker.io/library/debian:trixie-slim@sha256:...
# Python packages are those of runtime.txt, by hash (`make image-lock`). For an index of your own:
#   --secret id=pip.conf,src=pip.conf
ARG BASE=docker.io/library/debian:trixie-slim

FROM ${BASE} AS python
# LAPACK takes the place of OpenCV's own OpenBLAS, below.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates liblapack3 python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM python AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        binutils python3-venv
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/pocketlens
COPY docker/build.txt docker/runtime.txt /tmp/docker/
# --no-deps, since runtime.txt leaves out what no command of the device imports.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/tools/bin/pip install --require-hashes --only-binary :all: -r /tmp/docker/build.txt \
    && /opt/tools/bin/pip --python /opt/pocketlens/bin/python install --require-hashes \
        --only-binary :all: --no-deps -r /tmp/docker/runtime.txt
COPY . /tmp/pocketlens
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheels /tmp/pocketlens \
    && /opt/tools/bin/pip --python /opt/pocketlens/bin/python install --no-deps --no-index \
        /tmp/wheels/*.whl \
    && sh /tmp/pocketlens/docker/slim.sh /opt/pocketlens

FROM python
# What others know as the first user, so that files in mounted folders have an owner on most hosts.
RUN useradd --uid 1000 --groups video --no-create-home pocketlens \
    && install --directory --mode 1777 /cache /data
COPY --from=build /opt/pocketlens /opt/pocketlens
COPY docker/healthz.py /opt/pocketlens/healthz.py
ENV PATH=/opt/pocketlens/bin:$PATH PYTHONDONTWRITEBYTECODE=1 POCKETLENS_CACHE=/cache
USER pocketlens
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "/opt/pocketlens/healthz.py"]
ENTRYPOINT ["pocketlens"]
CMD ["--help"]
