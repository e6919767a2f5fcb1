#!/bin/sh
# Builds the wheel, puts it beside a 64-bit Arm Debian's Python and interpreters, and there, on the
# emulated processor of a Raspberry Pi, asks for the same answers as here (five formats, photos and a
# video; ai-edge-litert and tflite-runtime) and runs the runtime's tests.
#
# It needs a Debian or its kin with qemu-user-static, and neither root nor binfmt: the packages of
# the same release for arm64 are taken from the system's own sources and unpacked, not installed.
# Usage: run.sh PYTHON, with the models of POCKETLENS_TEST_MODELS made by an earlier `pytest`.
# BOARD is the Raspberry Pi's number: 3, 4 or 5. FOLDER keeps the unpacked system from one run for
# the next; LITERT and TFLITE name other versions; MODELS other files, PHOTOS and MOST_PICTURES the
# photos; TESTS other tests, "" none.
set -eu
python=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${FOLDER:-$root/build/arm64}
litert=${LITERT:-ai-edge-litert}
tflite=${TFLITE:-tflite-runtime==2.14.0}
features="fp asimd evtstrm crc32 cpuid"
case ${BOARD:-4} in
3) export QEMU_CPU=cortex-a53; part=0xd03 ;;
4) export QEMU_CPU=cortex-a72; part=0xd08 ;;
5)
    export QEMU_CPU=cortex-a76
    part=0xd0b
    features="$features aes pmull sha1 sha2 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
    ;;
*)
    echo "expected BOARD to be 3, 4 or 5. Received: $BOARD" >&2
    exit 1
    ;;
esac

for tool in qemu-aarch64-static dpkg-deb apt-get; do
    if ! command -v "$tool" > /dev/null; then
        echo "expected $tool: apt-get install qemu-user-static, on a Debian" >&2
        exit 1
    fi
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
system=$folder/system

# A Debian for arm64, by an apt that knows the system's sources and keeps everything to itself.
if [ ! -e "$system/unpacked" ]; then
    rm -rf "$system" "$folder/apt"
    mkdir -p "$system" "$folder/apt/state/lists/partial" "$folder/apt/cache/archives/partial"
    : > "$folder/apt/status"
    foreign() {
        apt-get --quiet --quiet -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
            -o Dir::State="$folder/apt/state" -o Dir::State::status="$folder/apt/status" \
            -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User=root \
            -o APT::Install-Recommends=false "$@"
    }
    foreign update
    foreign --yes --download-only install python3 libc6 libstdc++6 libgcc-s1 libatomic1 tzdata
    for package in "$folder"/apt/cache/archives/*.deb; do
        dpkg-deb --extract "$package" "$system"
    done
    touch "$system/unpacked"
fi

# qemu shows the processor of this machine here, and ai-edge-litert 2.2 and newer, which look into it,
# crash on one that is no Arm's. So it says what the board's own kernel says.
mkdir -p "$system/proc"
: > "$system/proc/cpuinfo"
for core in 0 1 2 3; do
    printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\n' \
        "$core" "$features"
    printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: %s\nCPU revision\t: 3\n\n' "$part"
done >> "$system/proc/cpuinfo"
printf 'Model\t\t: Raspberry Pi %s, emulated\n' "${BOARD:-4}" >> "$system/proc/cpuinfo"

# What starts it is a script, so that Python's own children are emulated like itself.
version=$(basename "$(readlink "$system/usr/bin/python3")")
version=${version#python}
mkdir -p "$folder/bin" "$folder/start"
cat > "$folder/bin/python" << END
#!/bin/sh
exec qemu-aarch64-static -L "$system" "$system/usr/bin/python$version" "\$@"
END
chmod +x "$folder/bin/python"
cat > "$folder/start/sitecustomize.py" << END
import sys

sys.executable = "$folder/bin/python"
END

rm -rf "$folder/dist"
"$python" -m build --wheel --outdir "$folder/dist" "$root" > "$folder/build.log" 2>&1 ||
    { cat "$folder/build.log"; exit 1; }

# Wheels for glibc as old as manylinux2014's and as new as Debian 12's.
platforms=--platform=manylinux2014_aarch64
for minor in $(seq 17 36); do
    platforms="$platforms --platform=manylinux_2_${minor}_aarch64"
done
install() {
    packages=$folder/$1
    shift
    rm -rf "$packages"
    # shellcheck disable=SC2086
    "$python" -m pip install --quiet --target "$packages" --only-binary=:all: \
        --implementation cp --python-version "$version" $platforms "$@"
}
emulated() {
    packages=$folder/$1
    shift
    PYTHONPATH=$folder/start:$packages "$folder/bin/python" "$@"
}

rm -rf "$folder/work"
mkdir -p "$folder/work"
cp "$here/../old_runtime/same_answers.py" "$folder/work"
cp -R "$root/tests" "$folder/work/tests"
tiny=$(cd "$POCKETLENS_TEST_MODELS" && pwd)
photos=${PHOTOS:-$tiny/photos}
if [ -z "${MODELS:-}" ]; then
    MODELS=$(ls "$tiny"/tiny_*.tflite)
fi
export POCKETLENS_TEST_MODELS="$tiny" MOST_PICTURES="${MOST_PICTURES:-20}"
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$folder/work"
# shellcheck disable=SC2086
{
    "$python" same_answers.py video clip.mp4 "$photos"
    "$python" same_answers.py write here.npz "$photos" clip.mp4 $MODELS
}

# Another version than that of the constraints may be asked for.
constraints=$root/constraints.txt
if [ "$litert" != ai-edge-litert ]; then
    grep -v '^ai-edge-litert=' "$constraints" > "$folder/constraints.txt"
    constraints=$folder/constraints.txt
fi
install litert -c "$constraints" "$folder"/dist/*.whl "$litert" pytest pytest-timeout hypothesis
emulated litert -m pocketlens doctor
# shellcheck disable=SC2086
emulated litert same_answers.py write litert.npz "$photos" clip.mp4 $MODELS
"$python" same_answers.py compare here.npz litert.npz

case $version in
3.9 | 3.10 | 3.11)
    install tflite -c "$here/../old_runtime/constraints.txt" "$folder"/dist/*.whl "$tflite" \
        'numpy<2'
    # It comes with every install that has a wheel of it, and goes first.
    rm -rf "$folder"/tflite/ai_edge_litert*
    # shellcheck disable=SC2086
    emulated tflite same_answers.py write tflite.npz "$photos" clip.mp4 $MODELS
    "$python" same_answers.py compare here.npz tflite.npz
    ;;
*) echo "tflite-runtime left out: it has no wheel for Python $version" ;;
esac

# Left out: what needs the time of a real machine (captures in a process of their own, HTTP and RTSP
# streams, how fast a signal ends it).
TESTS=${TESTS-tests/runtime}
if [ -n "$TESTS" ]; then
    # shellcheck disable=SC2086
    emulated litert -m pytest --import-mode=importlib -q -rs -p no:cacheprovider --timeout=1800 \
        --hypothesis-profile=ci --durations=5 --ignore=tests/runtime/live/capture/test_process.py \
        --ignore=tests/runtime/live/sources/test_mjpeg.py --ignore=tests/runtime/live/sources/test_rtsp.py \
        -m 'not real_time' $TESTS
fi
