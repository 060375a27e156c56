"""The pages of the fault site that misbehave by script, once a good server has delivered them.

Each is one script in the same small page. `param(name, usual)` reads a number from the address. What could harm the
machine is capped: memory at 1 GiB, popups at 200.
"""

from dataclasses import dataclass
from string import Template

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>fault: $name</title>
<style>body { margin: 3rem; font: 16px/1.5 system-ui, sans-serif; }</style>
<script>
const param = (name, usual, most = 1e9) =>
  Math.min(most, Number(new URLSearchParams(location.search).get(name) ?? usual));
</script>
</head>
<body>
<h1>$name</h1>
<p id="line">$line</p>
<p><a href="/faults/page">a good page</a></p>
$body
</body>
</html>
""")


@dataclass(frozen=True, slots=True)
class FaultPage:
    """A page that misbehaves by script.

    Attributes:
        name: last part of its path.
        line: what it does, in one line.
        script: its JavaScript.
        body: markup before the script.
        query: an example of its parameters, for the index.
    """

    name: str
    line: str
    script: str = ""
    body: str = ""
    query: str = ""

    def html(self) -> str:
        """Return the whole page."""
        script = f"<script>\n{self.script}\n</script>" if self.script else ""
        return page_html(self.name, self.line, body=self.body + script)


def page_html(name: str, line: str, *, body: str = "") -> str:
    """Return a page of the fault site; `body` is markup."""
    return _PAGE.substitute(name=name, line=line, body=body)


FAULT_PAGES = (
    FaultPage("page", "A good page: nothing happens here."),
    FaultPage("hang-inline", "while(1) in an inline script: the document never gets past it.", "for (;;);"),
    FaultPage("hang-load", "while(1) in the load handler.", "addEventListener('load', () => { for (;;); });"),
    FaultPage(
        "hang-later",
        "while(1) some time after load.",
        "addEventListener('load', () => setTimeout(() => { for (;;); }, param('ms', 500)));",
        query="ms=500",
    ),
    FaultPage(
        "hang-beforeunload",
        "while(1) in beforeunload: the page works, but leaving it hangs.",
        "addEventListener('beforeunload', () => { for (;;); });",
    ),
    FaultPage(
        "hang-pagehide",
        "while(1) in pagehide: the page works, but the next one in its tab waits.",
        "addEventListener('pagehide', () => { for (;;); });",
    ),
    FaultPage(
        # Layout recurses once per level and overflows the renderer's stack: no memory is needed, and the process is
        # gone at once. What V8 refuses (huge arrays, buffers, WebAssembly memory) is only an exception.
        "crash",
        "The renderer crashes some time after load: 200,000 nested elements overflow its stack.",
        """addEventListener('load', () => setTimeout(() => {
  let last = document.body;
  for (let level = 0; level < 200000; level++) last = last.appendChild(document.createElement('div'));
  document.body.offsetHeight;
}, param('ms', 0)));""",
        query="ms=0",
    ),
    FaultPage(
        "dialogs", "alert() without end, from load on.", "addEventListener('load', () => { for (;;) alert('again'); });"
    ),
    FaultPage(
        "popups",
        "window.open() in a loop.",
        "for (let at = 0; at < param('n', 20, 200); at++) window.open('/faults/page?popup=' + at);",
        query="n=20",
    ),
    FaultPage(
        "big",
        "Fills the renderer with this many megabytes before load.",
        """window.kept = [];
for (let at = 0; at < param('mb', 100, 1024); at++) kept.push(new Uint8Array(1e6).fill(at + 1));""",
        query="mb=100",
    ),
    FaultPage(
        "hog",
        "Grows by 10 MB twenty times a second after load, up to a cap.",
        """window.kept = [];
addEventListener('load', () => setInterval(() => {
  for (let at = 0; at < 10 && kept.length < param('mb', 512, 1024); at++) kept.push(new Uint8Array(1e6).fill(at + 1));
}, 50));""",
        query="mb=512",
    ),
    FaultPage(
        "missing-image",
        "A good page with an image that never arrives: no load event.",
        body='<img src="/faults/silent" alt="">',
    ),
    FaultPage(
        "pushstate-storm",
        "history.pushState without end, in small pieces.",
        """let state = 0;
setInterval(() => { for (let at = 0; at < 200; at++) history.pushState(null, '', '?state=' + state++); }, 0);""",
    ),
    FaultPage("refresh-loop", "A meta refresh to itself every time.", body='<meta http-equiv="refresh" content="0">'),
    FaultPage(
        "navigate-loop",
        "Navigates to itself again as soon as it has loaded.",
        "addEventListener('load', () => { location.href = '?turn=' + (param('turn', 0) + 1); });",
    ),
    FaultPage(
        "console-storm",
        "Writes to the console without end, in small pieces.",
        "setInterval(() => { for (let at = 0; at < 50; at++) console.log('storm', at, 'x'.repeat(200)); }, 0);",
    ),
    FaultPage(
        "pagehide-write",
        "Writes sessionStorage and window.name at once, and again when it is left.",
        """const write = (when) => { sessionStorage.setItem('mark', when); window.name = 'mark ' + when; };
write('visit');
addEventListener('pagehide', () => write('pagehide'));""",
    ),
    FaultPage(
        "leave-marks",
        "Writes sessionStorage, localStorage, a cookie and window.name, and adds entries to the history.",
        """sessionStorage.setItem('mark', 'session');
localStorage.setItem('mark', 'local');
document.cookie = 'mark=cookie; path=/';
window.name = 'mark';
for (let at = 0; at < 3; at++) history.pushState(null, '', '?state=' + at);""",
    ),
    FaultPage(
        "residue",
        "Shows, as JSON, what it finds of earlier visits.",
        """document.getElementById('found').textContent = JSON.stringify({
  name: window.name,
  session: { ...sessionStorage },
  local: { ...localStorage },
  cookies: document.cookie,
  history: history.length,
});""",
        body='<pre id="found"></pre>',
    ),
)
