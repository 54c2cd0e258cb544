#!/bin/sh
# Writes locks/*.lock anew: exact versions with hashes for every platform, from pyproject.toml.
#
# Versions already locked stay (pip-compile reads the old output); `scripts/lock.sh --upgrade`
# takes the newest that pyproject.toml allows. torch and llama-cpp-python are pinned in
# pyproject.toml itself: one comes from different indexes with different hashes, the other is
# built on the user's machine.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/pip install -q --target "$work/tools" pip-tools

requirements() { # of the build, the core and the extras named
    .venv/bin/python - "$@" <<'PY'
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    data = tomllib.load(file)
lines = [*data["build-system"]["requires"], *data["project"]["dependencies"]]
for extra in sys.argv[1:]:
    lines += data["project"]["optional-dependencies"][extra]
print("\n".join(lines))
PY
}

compile() { # OUTPUT INPUT [options]
    output=$1
    shift
    PYTHONPATH=$work/tools CUSTOM_COMPILE_COMMAND=scripts/lock.sh .venv/bin/python -m piptools \
        compile --quiet --generate-hashes --strip-extras --no-annotate \
        --no-emit-index-url --no-emit-find-links \
        --unsafe-package torch --unsafe-package llama-cpp-python --output-file "$output" "$@"
    # The closing warning names the two packages that scripts/setup.sh installs itself.
    sed -i '/^# WARNING: The following packages were not pinned/,$d' "$output"
}

requirements cpu export train dev >"$work/all.in"
requirements cpu >"$work/engine.in"
compile locks/all.lock "$work/all.in" "$@"
compile locks/engine.lock "$work/engine.in" --constraint locks/all.lock "$@"
