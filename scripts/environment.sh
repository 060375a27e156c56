# Set-up shared by ./scripts/crawl and ./scripts/test, which source it: Python environment, locked packages, browser.
# Bash 3.2 will do. Packages come from wherever pip is configured to look; their hashes stand in the lock files.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
browser_download_limit_s=600
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$venv/node-cache}" # Playwright's driver starts in four fifths of the time

say() { printf '%s\n' "$@" >&2; }
give_up() { say "$@"; exit 3; }

# prepare runtime|dev: return when everything is there; when it was before, after nothing but a look at two stamps.
# A stamp is written last, so what was interrupted is done again. `dev` holds all of `runtime`, and stamps it too.
prepare() {
  if has_packages "$1" && has_browser; then return; fi
  exec 9>"$root/.venv.lock"
  find_python
  # one at a time; the lock belongs to descriptor 9, so it stays when this child ends and goes when we do
  "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
  if ! has_packages "$1"; then install_packages "$1"; fi
  if ! has_browser && ! find_browser; then install_browser; fi
  exec 9>&-
}

lock_of() { if [ "$1" = dev ]; then echo "$root/requirements-dev.lock"; else echo "$root/requirements.lock"; fi; }
stamp_text() { echo "$root" && cksum <"$root/pyproject.toml" && cksum <"$(lock_of "$1")"; }
has_packages() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/ready-$1" 2>/dev/null)" = "$(stamp_text "$1")" ]; }
has_browser() { [ -x "$(cat "$venv/browser" 2>/dev/null)" ]; }
is_debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" </dev/null >/dev/null; }
python_of_venv() { "$venv/bin/python" -I "$@"; } # -I: what lies in the working directory is not imported

find_python() { # sets `python`
  for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    # 3.14.0 to 3.14.6 leak one asyncio task per call into the browser
    if "$python" -c 'import sys; v = sys.version_info[:3]; sys.exit(v < (3, 11) or (3, 14) <= v < (3, 14, 7))' 2>/dev/null
    then return; fi
  done
  give_up "Python 3.11 or newer is needed (not 3.14.0 to 3.14.6, which leak memory); python3 is: $(python3 --version 2>&1)" \
    "Install one, or name it: PYTHON=/path/to/python3.11 $0"
}

install_packages() {
  if [ -e "$venv" ] && [ ! -e "$venv/made-by-scripts" ]; then
    give_up "$venv is not ours, so it is left alone. Move it away, then type $0 again."
  fi
  if ! has_packages runtime; then
    say "Python environment in .venv ..."
    rm -rf "$venv"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      if ! is_debian_root; then give_up "Python has no venv module. On Debian and Ubuntu, type: sudo apt-get install python3-venv"; fi
      apt-get update -qq >/dev/null
      apt_install python3-venv
    fi
    mkdir "$venv" && touch "$venv/made-by-scripts"
    "$python" -m venv "$venv"
  fi
  rm -f "$venv"/ready-*
  say "Packages, pinned with hashes ($1) ..."
  python_of_venv -m pip install -qq --require-hashes --only-binary :all: --requirement "$(lock_of "$1")"
  python_of_venv -m pip install -qq --no-deps --no-build-isolation --editable "$root"
  stamp_text runtime >"$venv/ready-runtime"
  if [ "$1" = dev ]; then stamp_text dev >"$venv/ready-dev"; fi
}

find_browser() { # by the package's own search, remembered in .venv/browser
  python_of_venv -c '
from browsercrawl.browser.discovery import find_browser
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import BrowserNotFound
try:
    print(find_browser(BrowserConfig()).path)
except BrowserNotFound:
    pass' >"$venv/browser" || exit 1
  has_browser
}

install_browser() {
  local log="$venv/browser-install.log"
  say "No browser found. Downloading Playwright's build of Chromium (about 100 MB, $browser_download_limit_s s at most) ..."
  if limited "$browser_download_limit_s" "$venv/bin/python" -I -m playwright install chromium-headless-shell >"$log" 2>&1 && find_browser; then
    if is_debian_root; then python_of_venv -m playwright install-deps chromium-headless-shell >>"$log" 2>&1 || true; fi
  elif is_debian_root; then
    say "It cannot be had. Installing Chromium by apt ..."
    { apt-get update && { apt_install chromium-headless-shell || apt_install chromium; }; } >>"$log" 2>&1 || true
  fi
  if find_browser; then say "Browser: $(cat "$venv/browser")"; return; fi
  tail -n 5 "$log" >&2
  give_up "No browser, and none could be installed (the end of $log is above). Do one of these, then type $0 again:" \
    "  $venv/bin/python -m playwright install chromium-headless-shell" \
    "  sudo apt-get install chromium-headless-shell      (Debian)" \
    "  install Google Chrome or Chromium                 (any system)" \
    "A browser elsewhere can be named in playwright.config.json; then use $venv/bin/browsercrawl."
}

limited() { # limited SECONDS COMMAND...: macOS has no `timeout`
  python_of_venv -c '
import os, signal, subprocess, sys
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, start_new_session=True)
try:
    sys.exit(process.wait(float(sys.argv[1])))
except (subprocess.TimeoutExpired, KeyboardInterrupt):
    os.killpg(process.pid, signal.SIGKILL)
    sys.exit(124)' "$@"
}
