#!/bin/sh
# Takes a third out of an environment: what no command of the device reads.
# Usage: slim.sh ENVIRONMENT
set -eu
python=$1/bin/python
cd "$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"

# Accelerators, their compilers, tools, schemas; the interpreter reads none of them.
rm -rf ai_edge_litert/libLiteRtWebGpuAccelerator.so ai_edge_litert/aot ai_edge_litert/tools \
    ai_edge_litert/vendors ai_edge_litert/schema_py_generated.py ai_edge_litert/*_pb2.py
# Tests, and what compilers read.
find numpy -type d -name tests -prune -exec rm -rf {} +
rm -rf numpy/_core/_simd.* numpy/_core/include numpy/f2py
find . \( -name '*.a' -o -name '*.pxd' -o -name '*.pyi' \) -delete

# 40 MB of matrix code for each processor, which OpenCV needs for equations with more than a hundred
# unknowns. Debian's has the same functions, slower, in 8.
lapack=$(ldconfig -p | sed -n 's/.*liblapack\.so\.3 .*=> //p' | head -n 1)
find opencv_python_headless.libs -name 'libopenblas*' -exec ln -sf "$lapack" {} \;
rm -f opencv_python_headless.libs/libgfortran* opencv_python_headless.libs/libquadmath*

find . -name '*.so*' -type f -exec strip --strip-unneeded {} +
# What was taken out or stripped too much has to fail here, not on a device.
"$python" - << 'END'
import ai_edge_litert.interpreter
import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

matrix = np.eye(200) + 1
for inverse in (np.linalg.inv(matrix), cv2.invert(matrix)[1]):
    np.testing.assert_allclose(matrix @ inverse, np.eye(200), atol=1e-9)
Image.init()
for format in ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"):
    assert format in Image.SAVE, format
assert features.check("freetype2")
assert "FFMPEG:                      YES" in cv2.getBuildInformation()
END

# Where the root is read-only nobody else can write them.
"$python" -m compileall -q -j 0 .
