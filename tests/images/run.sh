#!/bin/sh
# Builds both images and does inside them what is done outside: no engine and no registry of images
# is needed, only buildah and Debian's packages, of which it makes the image that the Dockerfiles
# build on. It checks that `live` gives the same labels and scores, as a user without rights on a
# root that nobody can write, ends on SIGTERM, tells its health; what is in the images, and sizes.
#
# It needs root: apt-get install buildah debootstrap iproute2
# Usage: run.sh PYTHON, with the photos of POCKETLENS_TEST_MODELS made by an earlier `pytest`.
# FOLDER keeps the images from one run for the next; MIRROR is where debootstrap gets packages.
# pip's certificates and index and apt's proxy are those of this machine.
set -eu
python=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${FOLDER:-$root/build/images}
release=trixie
base=docker.io/library/debian:trixie-slim
mkdir -p "$folder"
work=$(mktemp -d)
# One word each: no image that was made here takes the place of one that was pulled.
buildah="buildah --root $folder/storage --runroot $work/runroot"
trap '$buildah rm --all > "$work/removed" 2>&1 || true; rm -rf "$work"' EXIT

fail() {
    echo "$1" >&2
    exit 1
}

# The base: what Debian's own slim image is, less than a megabyte apart.
if ! $buildah inspect --type image "$base" > "$work/base.json" 2>&1; then
    echo "making $base with debootstrap"
    system=$work/system
    debootstrap --variant=minbase "$release" "$system" ${MIRROR:+"$MIRROR"} > "$work/debootstrap.log" ||
        { tail "$work/debootstrap.log"; exit 1; }
    rm -rf "$system"/var/cache/apt/archives/*.deb "$system"/var/lib/apt/lists/*
    for part in doc info locale man; do
        rm -rf "$system/usr/share/$part"/*
        echo "path-exclude /usr/share/$part/*" >> "$system/etc/dpkg/dpkg.cfg.d/slim"
    done
    container=$($buildah from scratch)
    $buildah copy --quiet "$container" "$system" / > "$work/copied"
    $buildah config --cmd bash "$container"
    $buildah commit --quiet --rm "$container" "$base" > "$work/committed"
    rm -rf "$system"
fi

# How this machine reaches packages. Nothing of it stays in the images.
set --
pip_setting() {
    python3 -m pip config get "global.$1" 2> "$work/no_setting" || true
}
certificates=${PIP_CERT:-$(pip_setting cert)}
index=${PIP_INDEX_URL:-$(pip_setting index-url)}
{
    echo "[global]"
    if [ -n "$certificates" ]; then echo "cert = /run/certificates.pem"; fi
    if [ -n "$index" ]; then echo "index-url = $index"; fi
} > "$work/pip.conf"
set -- --secret "id=pip.conf,src=$work/pip.conf"
if [ -n "$certificates" ]; then
    set -- "$@" --volume "$certificates:/run/certificates.pem:ro"
fi
apt-config dump | grep -E '^Acquire::https?::Proxy' > "$work/apt.conf" || true
if [ -s "$work/apt.conf" ]; then
    set -- "$@" --volume "$work/apt.conf:/etc/apt/apt.conf.d/99proxy:ro"
fi

build() {
    name=$1
    shift
    echo "building pocketlens-$name"
    $buildah bud --isolation chroot --format docker --pull-never --layers "$@" \
        -f "$root/docker/$name.Dockerfile" -t "pocketlens-$name" "$root" \
        > "$work/$name.log" 2>&1 || { tail -n 40 "$work/$name.log"; exit 1; }
}
build runtime "$@"
build train "$@"

# Runs a command in an image as its user, without rights, on a root that nobody can write. /tmp
# is the folder $work/IMAGE; for training /cache is a volume. No network but the container's own.
contained() {
    image=$1
    status=0
    shift
    mkdir -p "$work/$image" "$work/cache"
    chmod 1777 "$work/$image" "$work/cache"
    volumes="--volume $work/$image:/tmp"
    case $image in train) volumes="$volumes --volume $work/cache:/cache" ;; esac
    container=$($buildah from --pull-never "localhost/pocketlens-$image")
    # shellcheck disable=SC2016,SC2086 # The inner shells expand these; one word an option.
    unshare --net sh -c 'ip link set lo up && exec "$@"' sh \
        $buildah run --isolation chroot --user root --cap-add CAP_SYS_ADMIN \
        $volumes --volume "$work/media:/media:ro" \
        --volume "$here/inside.py:/mnt/inside.py:ro" "$container" -- sh -c '
            mount -o remount,bind,ro / && exec setpriv --reuid=pocketlens --regid=pocketlens \
                --init-groups --bounding-set=-all --no-new-privs env HOME=/nonexistent "$@"' sh "$@" ||
        status=$?
    $buildah rm "$container" > "$work/removed"
    return $status
}

mkdir "$work/media"

for image in runtime train; do
    # Where anybody may write but for the root.
    case $image in runtime) places="/cache /data" ;; train) places=/work ;; esac
    # shellcheck disable=SC2016,SC2086
    contained "$image" sh -c '
        test "$(id -u)" = 1000 || exit 1
        for place; do
            (: > "$place/written") 2>&1 | grep -q "Read-only" || exit 1
        done
        for tool in cc c++ gcc g++ as ld make strip pip pip3; do
            if command -v "$tool"; then echo "$tool is in the image"; exit 1; fi
        done' sh $places || fail "pocketlens-$image has what it should not have, or its user has rights."
    $buildah inspect --type image --format \
        '{{.Docker.Config.User}} {{.Docker.Config.StopSignal}} {{.Docker.Config.Entrypoint}}' \
        "localhost/pocketlens-$image" | grep -x 'pocketlens SIGTERM \[pocketlens\]'
done
missing=$(contained runtime sh -c "
    find /opt/pocketlens -name '*.so*' -type f -exec ldd {} + 2>&1 | grep 'not found' || true")
test -z "$missing" || fail "The runtime's image lacks libraries: $missing"
if contained runtime python -c 'import tensorflow' 2> "$work/refused"; then
    fail "TensorFlow is in the runtime's image."
fi
$buildah inspect --type image --format '{{.Docker.Config.Healthcheck.Test}}' \
    localhost/pocketlens-runtime | grep -x '\[CMD python /opt/pocketlens/healthz.py\]'

# From photos to files in one image. The photos are those of the tests.
cp -R "$POCKETLENS_TEST_MODELS/photos" "$work/media"
contained train pocketlens train /media/photos --arch cnn_small --image-size 32 \
    --fine-tune-epochs 20 --grid-epochs 1 --out /tmp/run > "$work/train.log" 2>&1 ||
    { tail "$work/train.log"; exit 1; }
contained train pocketlens convert /tmp/run --format float32 --format int8 --out /tmp/models \
    > "$work/convert.log" 2>&1 || { tail "$work/convert.log"; exit 1; }
cp "$work"/train/models/*.tflite "$work/media"

# With them the same work in the other image and outside.
"$python" "$root/tests/old_runtime/same_answers.py" video "$work/media/clip.mp4" "$work/media/photos"
mkdir "$work/here" "$work/runtime/there"
chmod 1777 "$work/runtime/there"
# shellcheck disable=SC2016
unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$python" "$here/inside.py" run \
    "$python" "$root/docker/healthz.py" "$work/media" "$work/here"
contained runtime python /mnt/inside.py run \
    python /opt/pocketlens/healthz.py /media /tmp/there
"$python" "$here/inside.py" compare "$work/here" "$work/runtime/there"

# Sizes, of the files uncompressed, in megabytes.
megabytes() {
    container=$($buildah from --pull-never "$1")
    du --summarize --bytes --one-file-system "$($buildah mount "$container")$2" |
        awk '{printf "%.0f\n", $1 / 1e6}'
    $buildah rm "$container" > "$work/removed"
}
debian=$(megabytes "$base" /)
for image in runtime train; do
    all=$(megabytes "localhost/pocketlens-$image" /)
    ours=$(megabytes "localhost/pocketlens-$image" /opt/pocketlens)
    echo "pocketlens-$image: $all MB: Debian $debian, its Python and libraries" \
        "$((all - debian - ours)), ours $ours"
    if [ "$image" = runtime ] && { [ "$all" -gt 350 ] || [ "$ours" -gt 250 ]; }; then
        fail "Expected at most 350 MB, 250 of them ours."
    fi
done
