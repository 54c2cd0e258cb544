#!/bin/sh
# Sets up .venv for the project; what is already done is not done again.
#
#   scripts/setup.sh engine   what `make demo` and users need
#   scripts/setup.sh all      also what export, training and the tests need (torch)
#
# Each step leaves a stamp with the hash of what it depends on: a second call takes a moment.
set -eu
cd "$(dirname "$0")/.."
scope=${1:-engine}
case $scope in engine | all) ;; *) echo "usage: scripts/setup.sh engine|all" >&2; exit 2 ;; esac

venv=${VENV:-.venv}
stamps=$venv/.otter-stamps
llama=$(sed -n 's/^ *"\(llama-cpp-python==[^"]*\)".*/\1/p' pyproject.toml | head -n 1)
torch=$(sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml | head -n 1)
llama_key=$(printf '%s %s %s' "$llama" "$(uname -m)" "${CMAKE_ARGS:-}" | sha256sum | cut -c1-16)
# A build with options of its own (a GPU's, say) has the same file name: it gets another folder.
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/otter-desktop/wheels${CMAKE_ARGS:+/$llama_key}

say() { printf 'setup: %s\n' "$*" >&2; }
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }
done_already() { [ -f "$stamps/$1" ] && [ "$(cat "$stamps/$1")" = "$2" ]; }
mark_done() { mkdir -p "$stamps"; printf '%s' "$2" >"$stamps/$1"; }

# Debian packages: installed when root, otherwise the exact line to run is shown.
system_packages() {
    [ $# -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing system packages: $*"
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
    else
        say "these system packages are missing. Run this line, then try again:"
        say "    sudo apt-get install -y $*"
        exit 1
    fi
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return 0
        fi
    done
    say "Python 3.11 or newer is needed; name one with PYTHON=…"
    exit 1
}

make_venv() {
    find_python
    missing=
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
    "$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null ||
        missing="$missing libgomp1"
    # shellcheck disable=SC2086 # a list of words
    system_packages $missing
    say "creating $venv"
    "$python" -m venv "$venv"
}

# The decoder's native libraries: there is no binary wheel, so it is built once per user.
have_llama_wheel() {
    for wheel in "$wheels"/llama_cpp_python-"${llama#*==}"-*.whl; do [ -f "$wheel" ] && return 0; done
    return 1
}
build_llama() {
    ! have_llama_wheel || return 0
    command -v c++ >/dev/null || command -v g++ >/dev/null || system_packages g++
    say "building $llama (once; about 10 minutes on two cores)"
    mkdir -p "$wheels"
    partial=$(mktemp -d "$wheels/.partial-XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    # pip's isolated build brings its own cmake and ninja where the system has none.
    "$venv/bin/pip" wheel -q --no-deps --no-binary llama-cpp-python -w "$partial" "$llama" >&2 || {
        say "building $llama failed: see the compiler's words above"
        exit 1
    }
    mv -f "$partial"/*.whl "$wheels/"
}

install_lock() {
    build_llama
    say "installing locks/$scope.lock"
    "$venv/bin/pip" install -q --require-hashes --no-deps -r "locks/$scope.lock" >&2
    # By force: a build with other options has the same version.
    "$venv/bin/pip" install -q --no-deps --force-reinstall --only-binary llama-cpp-python \
        --no-index --find-links "$wheels" "$llama" >&2
    # torch has another hash for each index it may come from; its own needs are in the lock.
    [ "$scope" = engine ] || "$venv/bin/pip" install -q "$torch" >&2
}

[ -x "$venv/bin/pip" ] || make_venv
lock_key=$(digest "locks/$scope.lock")-$llama_key-$torch
if ! done_already "lock-$scope" "$lock_key"; then
    # The larger set holds the smaller one: `make demo` after `make test` has nothing to do.
    if [ "$scope" = all ] || ! done_already lock-all "$(digest locks/all.lock)-$llama_key-$torch"; then
        install_lock
        mark_done "lock-$scope" "$lock_key"
    fi
fi
project_key=$(digest pyproject.toml)
if ! done_already project "$project_key"; then
    say "installing the project (editable)"
    "$venv/bin/pip" install -q --no-deps --no-build-isolation -e . >&2
    mark_done project "$project_key"
fi
