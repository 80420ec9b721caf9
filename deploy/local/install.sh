#!/bin/sh
# Makes the virtual environment in .venv, or does nothing when it is whole. Called by make.
#
# Needs Python 3.11 or newer (PYTHON=... names one) with its venv module, and the package index.
# Written for any POSIX sh, because an old Python has to get a sentence, not a syntax error.
set -u
cd "$(dirname "$0")/../.."

venv=.venv
stamp=$venv/.installed
# What the environment was made from and where it lies: scripts in it hold absolute paths.
wanted="$(cat pyproject.toml constraints.txt | cksum) $(pwd -P)"

say() { printf 'environment: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && is_new_enough $venv/bin/python; then
    exit 0
fi

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" && echo "$PYTHON" && return
        fail "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1); Python 3.11 or newer is needed"
    fi
    for name in python3 python3.13 python3.12 python3.11; do
        is_new_enough $name && echo $name && return
    done
    fail "Python 3.11 or newer is needed, python3 is $(python3 --version 2>&1);" \
        "install one, or name it: make setup PYTHON=/path/to/python3.12"
}

if [ -e $venv ]; then
    if ! is_new_enough $venv/bin/python || ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "$venv is half-made or its Python is gone or too old; making it anew"
        rm -rf $venv
    elif [ -f "$stamp" ] && [ "$(sed 's/^[0-9]* [0-9]* //' "$stamp")" != "$(pwd -P)" ]; then
        say "$venv was made in another folder; making it anew"
        rm -rf $venv
    elif [ ! -f "$stamp" ]; then
        say "$venv is half-made; finishing it"
    else
        say "pyproject.toml or constraints.txt changed; bringing $venv up to date"
    fi
fi
rm -f "$stamp"

if [ ! -e $venv ]; then
    python=$(find_python) || exit 1
    say "making $venv with $($python --version) (about 900 MB, once)"
    "$python" -m venv $venv ||
        fail "$python cannot make a virtual environment; on Debian and Ubuntu:" \
            "apt install python3-venv"
fi

install() { # the arguments: the installer
    "$@" --quiet -c constraints.txt -e '.[dev,bench,tuning]'
}

uv="$(grep '^uv==' constraints.txt)"
if $venv/bin/python -m pip install --quiet --disable-pip-version-check "$uv" >/dev/null 2>&1 &&
    install $venv/bin/uv pip install -p $venv/bin/python; then
    :
else
    # uv does not read pip's configuration, which may name the only index that can be reached.
    say "uv could not install the packages; trying pip, which is slower"
    install $venv/bin/python -m pip install --disable-pip-version-check ||
        fail "the packages could not be installed: is the package index reachable? Run it again to" \
            "go on where it stopped"
fi

printf '%s\n' "$wanted" > "$stamp.draft" && mv "$stamp.draft" "$stamp"
say "ready"
