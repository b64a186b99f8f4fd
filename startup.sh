#!/usr/bin/env bash
# Sets Graft up in its own .venv and serves it. `./startup.sh --help` says the rest.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"

help() {
    cat <<'HELP'
Usage: ./startup.sh [OPTION]...

Makes .venv, installs the pinned requirements, builds the example's catalogue and search index, and serves the gateway
on http://127.0.0.1:8000 under Gunicorn. What is done already is not done again: the next start is quick.

  --dev          serve with reload: a change in a file starts it again (Uvicorn)
  --prod         serve with a Gunicorn worker for each core, and with nothing less than Gunicorn
  --setup        set up, don't serve
  --test         install requirements-dev.txt too, and run the tests: ruff, mypy, pytest with branch coverage
  --port N       listen on port N           (or PORT in the environment or .env; 8000)
  --host ADDR    listen on this address     (or HOST; 127.0.0.1, which is this machine only)
  -h, --help     show this

Your own Flask app:   GRAFT_LEGACY=yourpackage:create_app ./startup.sh
On every network:     ./startup.sh --prod --host 0.0.0.0 --port 8080
Another Python:       PYTHON=/usr/bin/python3.13 ./startup.sh
HELP
}

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 2; }

mode=serve
serve=()
dev=no prod=no
called_as=./startup.sh

number() { # the value of option $1, which has to be a port
    case ${2-} in '' | *[!0-9]*) fail "$1 takes a number from 0 to 65535, not '${2-}'." ;; esac
    [ "${#2}" -le 5 ] && [ "$2" -le 65535 ] || fail "$1 takes a number from 0 to 65535, not '$2'."
}

while [ $# -gt 0 ]; do
    case $1 in
        --dev) dev=yes serve+=(--reload) ;;
        --prod) prod=yes serve+=(--prod) ;;
        --setup) mode=setup ;;
        --test) mode=test ;;
        --port) number "$1" "${2-}"; serve+=(--port "$2"); shift ;;
        --port=*) number --port "${1#*=}"; serve+=(--port "${1#*=}") ;;
        --host) [ -n "${2-}" ] || fail "--host takes an address."; serve+=(--host "$2"); called_as+=" --host $2"; shift ;;
        --host=*) [ -n "${1#*=}" ] || fail "--host takes an address."; serve+=(--host "${1#*=}"); called_as+=" $1" ;;
        -h | --help) help; exit 0 ;;
        *) say "error: startup.sh has no option '$1'."; say "./startup.sh --help lists them."; exit 2 ;;
    esac
    case $1 in --dev | --prod) called_as+=" $1" ;; esac
    shift
done
[ "$dev$prod" != yesyes ] || fail "--dev and --prod exclude each other."

# -- Python ------------------------------------------------------------------------------------------------------------

is_supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null; }

find_python() {
    local name
    if [ -n "${PYTHON-}" ]; then
        is_supported "$PYTHON" || fail "PYTHON: '$PYTHON' is not a Python 3.11 or newer. Name another, or unset it."
        echo "$PYTHON"
        return
    fi
    for name in python3.13 python3.12 python3.11 python3.14 python3; do
        # Debian's own comes first where there is one: others on the PATH may be half installed.
        if command -v "$name" >/dev/null && is_supported "$name"; then
            echo "$name"
            return
        fi
    done
    fail "there is no Python 3.11 or newer. On Debian 12 and later: sudo apt-get install python3 python3-venv"
}

is_whole() { # .venv has a supported Python that starts, and pip
    [ -x .venv/bin/python ] && is_supported .venv/bin/python && .venv/bin/python -c 'import pip' 2>/dev/null
}

make_venv() {
    is_whole && return
    local python
    python=$(find_python)
    say "Making .venv with $("$python" --version) ..."
    # --clear repairs one that was cut off half-way, or whose Python is gone.
    if ! "$python" -m venv --clear .venv >.venv.log 2>&1; then
        cat .venv.log >&2
        rm -rf .venv .venv.log
        if ! "$python" -c 'import ensurepip' 2>/dev/null; then
            fail "$python can't make virtual environments. On Debian: sudo apt-get install python3-venv"
        fi
        fail "$python -m venv .venv failed, see above. Is this folder writable, and the disk not full?"
    fi
    rm -f .venv.log
}

# -- Packages ----------------------------------------------------------------------------------------------------------

# What has to be the same for an installation to be as good as new: the list, the Python, and the place of this folder,
# as scripts in .venv/bin name it.
stamp_of() {
    { cat requirements.txt "$1" pyproject.toml; cat requirements.lock 2>/dev/null || true; readlink -f .venv/bin/python; pwd; } | cksum
}

pip_install() { # on a terminal pip shows what it does; in a log it says only what fails
    local quiet=--quiet
    [ ! -t 2 ] || quiet=
    .venv/bin/python -m pip install $quiet --disable-pip-version-check "$@" ||
        fail "pip could not install ${!#}, see above. Without a network, point PIP_FIND_LINKS at a folder of wheels."
}

install() { # the requirements file $1, unless just that is installed already
    local stamp=.venv/.installed-${1%.txt}
    [ "$(stamp_of "$1")" != "$(cat "$stamp" 2>/dev/null || true)" ] || return 0
    say "Installing $1 ..."
    # What is locked comes as it was locked, to the byte; what somebody added to the list comes after it.
    if [ "$1" = requirements.txt ] && [ -f requirements.lock ]; then
        pip_install --require-hashes --requirement requirements.lock
    fi
    pip_install --requirement "$1"
    # The graft command itself. It is a comfort: \`python -m graft\` does the same.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable . 2>/dev/null ||
        say "note: the graft command could not be installed; .venv/bin/python -m graft does the same."
    stamp_of "$1" >"$stamp"
}

# -- What the example needs --------------------------------------------------------------------------------------------

# The value of setting $1, as the gateway will read it: from the environment, else from .env.
setting() {
    if [ -n "${!1-}" ]; then
        printf '%s' "${!1}"
    elif [ -f .env ]; then
        sed -n "s/^ *\(export \)\{0,1\}$1 *= *//p" .env | tail -n 1 | tr -d "\"'\r"
    fi
}

prepare_example() {
    local legacy state=.venv/.prepared now
    legacy=$(setting GRAFT_LEGACY)
    case ${legacy:-legacy_flask:create_app} in legacy_flask:*) ;; *) return 0 ;; esac
    [ -d legacy_flask ] || return 0
    # Other packages or another data folder mean another catalogue. An index on a server is filled there once.
    now="$(cat .venv/.installed-requirements) $(setting GRAFT_DATA) ${PORTAL_DATA-} $(setting ELASTICSEARCH_URL)"
    local data=${PORTAL_DATA:-var}
    if [ "$(cat "$state" 2>/dev/null || true)" = "$now" ] && [ -d "$data" ]; then return 0; fi
    .venv/bin/python -m flask --app legacy_flask build-catalogue ||
        fail "the example's catalogue could not be built, see above."
    if .venv/bin/python -m graft --help | grep -q '^ *index '; then
        # Of this folder, also where another gateway runs on this machine.
        local index=(.venv/bin/python -m graft index)
        [ -n "${GRAFT_DATA-}${GRAFT_SWITCHES-}" ] || index=(.venv/bin/python -m graft --gateway . index)
        if ! "${index[@]}"; then
            say "warning: the search index could not be built, see above; all but search works. Later: ${index[*]}"
            return 0
        fi
    fi
    printf '%s\n' "$now" >"$state"
}

# -- Tests -------------------------------------------------------------------------------------------------------------

# What is locked, as a CycloneDX bill of materials, and held against the advisories that the package index knows. Without
# an index that has them it says so, as that is no fault of this project.
audit() {
    mkdir -p build
    .venv/bin/cyclonedx-py requirements --output-reproducible --of JSON -o build/sbom.cdx.json requirements.lock 2>/dev/null ||
        fail "the SBOM of requirements.lock could not be made; cyclonedx-py requirements requirements.lock says why."
    local said code=0
    said=$(.venv/bin/pip-audit --disable-pip --require-hashes --progress-spinner off -r requirements.lock 2>&1) || code=$?
    if [ $code -ne 0 ] && grep -q '^Found ' <<<"$said"; then
        say "$said"
        fail "requirements.lock pins a release with a known vulnerability, see above."
    elif [ $code -ne 0 ] || grep -q 'could not be audited' <<<"$said"; then
        say "note: the package index here has no advisories to audit requirements.lock by ($(grep -c 'could not be audited' <<<"$said") packages)."
    else
        say "requirements.lock: no known vulnerability."
    fi
}

run_tests() {
    install requirements-dev.txt
    local bin=.venv/bin
    "$bin/ruff" check .
    "$bin/ruff" format --check .
    "$bin/mypy"
    audit
    exec "$bin/python" -m pytest -n 3 --dist loadgroup --cov --cov-branch --cov-report=term --cov-fail-under=94
}

# ----------------------------------------------------------------------------------------------------------------------

make_venv
install requirements.txt
case $mode in
    test) run_tests ;;
    setup)
        prepare_example
        say "Ready. ./startup.sh serves, ./startup.sh --test runs the tests."
        ;;
    serve)
        prepare_example
        exec .venv/bin/python gateway.py --called-as "$called_as" ${serve[@]+"${serve[@]}"}
        ;;
esac
