# Sourced by scripts/demo and scripts/test: a virtual environment of the checkout's own, made once and kept.
#
#   make_venv NAME WHAT
#
# puts an environment in $root/NAME with the package installed as `pip install -e WHAT` does (WHAT is "." or
# ".[dev]") and sets $venv. It is used again as long as pyproject.toml, the Python and the checkout's place are
# the same; a stamp that is written last says so, hence an interrupted run is started over.
# $PYTHON names the interpreter to use; otherwise the first fitting one on PATH. POSIX sh; needs nothing but Python.

# What the caller's shell has set up for another Python must not leak into ours.
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP VIRTUAL_ENV __PYVENV_LAUNCHER__ PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON
export PYTHONNOUSERSITE=1 PIP_USER=0 PIP_NO_INPUT=1 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1

fail() {
    echo "Error: $*" >&2
    exit 1
}

# Prints one word: ok, or what is wrong with the Python "$1". Quietly "absent" for pyenv's shims of what is not active.
check_python() {
    "$1" -I -c '
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    print("version-%d.%d" % sys.version_info[:2]); sys.exit()
try:
    import ensurepip, ssl, venv
except ImportError as error:
    print("without-" + error.name); sys.exit()
print("ok")
' 2>/dev/null </dev/null || echo absent
}

# Sets $python to an interpreter that fits, or ends with one line that says what is missing.
find_python() {
    seen=
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.13 python3.12 python3.11 python3.10 python
    fi
    for candidate; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        verdict=$(check_python "$candidate")
        case $verdict in
            ok) python=$candidate; return ;;
            absent) ;;
            *) seen="$seen $candidate ($verdict)" ;;
        esac
    done
    case $seen in
        *without-*) fail "Python is here but can't make virtual environments:$seen; install its venv package (Debian, Ubuntu: apt-get install python3-venv)" ;;
        ?*) fail "Python 3.10 to 3.13 is needed; found only:$seen" ;;
        *) fail "Python 3.10 to 3.13 is needed; ${PYTHON:+$PYTHON does not start; }PYTHON=/path/to/python names one that is not on PATH" ;;
    esac
}

# What the environment depends on, in one line.
describe() {
    "$python" -I -c '
import hashlib, sys
digest = hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()
print(digest, sys.version.split()[0], sys.argv[2], sys.argv[3])
' "$root/pyproject.toml" "$root" "$1"
}

make_venv() {
    find_python
    venv=$root/$1
    wanted=$(describe "$2") || fail "$root/pyproject.toml can't be read"
    if [ -f "$venv/ovxai-stamp" ] && [ "$(cat "$venv/ovxai-stamp")" = "$wanted" ] && "$venv/bin/python" -c 'import ovxai' 2>/dev/null; then
        return
    fi
    echo "Installing into $1 (once; a few hundred MB) ..." >&2
    rm -rf "$venv"
    "$python" -m venv "$venv" || fail "$python could not make a virtual environment in $venv"
    (cd "$root" && "$venv/bin/python" -m pip install --quiet -e "$2") || fail "pip could not install the package; its lines above say why"
    echo "$wanted" >"$venv/ovxai-stamp"
}
