"""The pages of the fault site that misbehave by script, once a good server has delivered them.

Each is one script in the same small page. `param(name, usual, most)` reads a number from the address. What could harm
the machine is capped: memory at 1 GiB (`hog`, `bomb`: at 8 GiB, if the address asks for more), popups, downloads and
workers at 200.
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
        "hang-unload",
        "while(1) in unload, the oldest of the handlers of leaving.",
        "addEventListener('unload', () => { for (;;); });",
    ),
    FaultPage(
        "hang-click",
        "while(1) when its button is clicked.",
        body='<button id="hang" onclick="for (;;);">Hang</button>',
    ),
    FaultPage(
        "beforeunload",
        "Asks whoever wants to leave it whether that is meant.",
        "addEventListener('beforeunload', (event) => { event.preventDefault(); event.returnValue = 'stay'; });",
        body='<button id="next" onclick="location.href = \'/faults/page\'">Leave</button>',
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
        "prompts",
        "confirm() and prompt() in turn without end, from load on.",
        "addEventListener('load', () => { for (;;) { confirm('Really?'); prompt('Why?'); } });",
    ),
    FaultPage(
        "popups",
        "window.open() in a loop.",
        "for (let at = 0; at < param('n', 20, 200); at++) window.open('/faults/page?popup=' + at);",
        query="n=20",
    ),
    FaultPage(
        "popup-storm",
        "Opens a window 50 times a second.",
        """let opened = 0;
setInterval(() => { if (opened < param('n', 200, 200)) window.open('/faults/page?popup=' + opened++); }, 20);""",
        query="n=200",
    ),
    FaultPage(
        "popup-chain",
        "Opens a window that opens a window, and so on.",
        "if (param('turn', 0) < param('n', 50, 200)) window.open(`?n=${param('n', 50)}&turn=${param('turn', 0) + 1}`);",
        query="n=50",
    ),
    FaultPage(
        "download-inline",
        "Goes to an attachment before load.",
        "location.href = '/faults/download';",
    ),
    FaultPage(
        "download-click",
        "Clicks its own link to a download after load, 50 times a second.",
        """let clicked = 0;
const click = () => { if (clicked++ < param('n', 20, 200)) document.getElementById('file').click(); };
addEventListener('load', () => setInterval(click, 20));""",
        body='<a id="file" href="/faults/download" download="table.csv">a table</a>',
        query="n=20",
    ),
    FaultPage(
        "download-refresh",
        "Goes to an attachment by meta refresh.",
        body='<meta http-equiv="refresh" content="0; url=/faults/download">',
    ),
    FaultPage("download-frame", "A frame that is an attachment.", body='<iframe src="/faults/download"></iframe>'),
    FaultPage(
        "client-redirect",
        "location.replace() before load, so many times, then a good page.",
        "location.replace(param('n', 1, 100) > 1 ? '?n=' + (param('n', 1) - 1) : '/faults/page');",
        query="n=3",
    ),
    FaultPage(
        "client-redirect-later",
        "location.replace() to a good page some time after load.",
        "addEventListener('load', () => setTimeout(() => location.replace('/faults/page'), param('ms', 0)));",
        query="ms=0",
    ),
    FaultPage(
        "client-redirect-404",
        "location.replace() to a page that is not there, before load.",
        "location.replace('/faults/status?is=404');",
    ),
    FaultPage(
        "client-redirect-silent",
        "location.replace() to an address that never answers, before load.",
        "location.replace('/faults/silent');",
    ),
    FaultPage(
        "client-redirect-reset",
        "location.replace() to an address that resets the connection, before load.",
        "location.replace('/faults/reset');",
    ),
    FaultPage(
        "history-loop",
        "Goes on to its second address and back again, without end.",
        """addEventListener('pageshow', () => setTimeout(() => {
  if (param('turn', 0)) history.back(); else location.href = '?turn=1';
}));""",
    ),
    FaultPage(
        "history-back",
        "Goes back in the history of its tab after load.",
        "addEventListener('load', () => setTimeout(() => history.back(), param('ms', 0)));",
        query="ms=0",
    ),
    FaultPage(
        "write-loop",
        "document.write() without end, from load on, up to so many megabytes.",
        """let written = 0;
const write = () => { if (written++ < param('mb', 50, 200) * 100) document.write('<p hidden>' + 'x'.repeat(1e4)); };
addEventListener('load', () => setInterval(write, 0));""",
        query="mb=50",
    ),
    FaultPage(
        "open-later",
        "document.open() after load, and no close.",
        "addEventListener('load', () => { document.open(); document.write('<title>written</title><p>written</p>'); });",
    ),
    FaultPage("frame-silent", "A frame that never commits.", body='<iframe src="/faults/silent"></iframe>'),
    FaultPage(
        "frames-silent",
        "So many frames that never commit: they hold every connection to the host.",
        """for (let at = 0; at < param('n', 20, 200); at++) {
  document.body.append(Object.assign(document.createElement('iframe'), { src: '/faults/silent?frame=' + at }));
}""",
        query="n=20",
    ),
    FaultPage("frame-refresh", "A frame in a refresh loop.", body='<iframe src="/faults/refresh-loop"></iframe>'),
    FaultPage(
        "frame-hang",
        "A frame of another site that hangs.",
        """const other = location.hostname === 'localhost' ? '127.0.0.1' : 'localhost';
const src = `http://${other}:${location.port}/faults/hang-inline`;
document.body.append(Object.assign(document.createElement('iframe'), { src }));""",
    ),
    FaultPage(
        "socket-flood",
        "A WebSocket that floods it with messages.",
        """window.got = 0;
new WebSocket(`ws://${location.host}/faults/socket?ms=${param('ms', 1)}`).onmessage = () => { got++; };""",
        query="ms=1",
    ),
    FaultPage(
        "fetch-flood",
        "Requests without end, so many at once.",
        """let asked = 0, open = 0;
const ask = () => fetch('/faults/empty?flood=' + asked++).catch(() => {}).finally(() => open--);
setInterval(() => { while (open < param('n', 100, 1000)) { open++; ask(); } }, 0);""",
        query="n=100",
    ),
    FaultPage(
        "worker-hang",
        "A worker in while(1): the page itself is well.",
        "new Worker(URL.createObjectURL(new Blob(['for (;;);'])));",
    ),
    FaultPage(
        "workers",
        "So many workers, each of which sends messages.",
        """const source = URL.createObjectURL(new Blob(['setInterval(() => postMessage(1), 10);']));
for (let at = 0; at < param('n', 30, 200); at++) new Worker(source);""",
        query="n=30",
    ),
    FaultPage(
        "builtins",
        "Replaces what scripts rely on: JSON, methods of arrays, querySelector.",
        """const refuse = () => { throw new Error('not here'); };
JSON.stringify = JSON.parse = Object.keys = refuse;
Array.prototype.map = Array.prototype.join = Array.prototype.toJSON = String.prototype.indexOf = refuse;
Document.prototype.querySelector = Document.prototype.querySelectorAll = refuse;""",
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
  for (let at = 0; at < 10 && kept.length < param('mb', 512, 8192); at++) kept.push(new Uint8Array(1e6).fill(at + 1));
}, 50));""",
        query="mb=512",
    ),
    FaultPage(
        "bomb",
        "Grows to this many megabytes in one loop after load, and stays in it.",
        """window.kept = [];
addEventListener('load', () => setTimeout(() => {
  for (const most = param('mb', 1024, 8192);;) if (kept.length < most) kept.push(new Uint8Array(1e6).fill(1));
}, 0));""",
        query="mb=1024",
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

_REGISTER = """navigator.serviceWorker.register(location.pathname + '?worker', { scope: location.pathname });
navigator.serviceWorker.ready.then(() => { if (!navigator.serviceWorker.controller) location.reload(); });"""

_WORKER = Template("""const html = { headers: { 'Content-Type': 'text/html' } };
addEventListener('install', () => skipWaiting());
addEventListener('fetch', (event) => {
  if (event.request.mode === 'navigate') event.respondWith(new Response($body, html));
});
""")

SERVICED_PAGES = (
    (
        FaultPage("service-worker", "A service worker that answers for the server.", _REGISTER),
        _WORKER.substitute(body="'<title>fault: service-worker</title><p>From the worker.</p>'"),
    ),
    (
        FaultPage("endless-worker", "A service worker whose answer never ends.", _REGISTER),
        _WORKER.substitute(
            body="""new ReadableStream({
    start(stream) { stream.enqueue(new TextEncoder().encode('<title>fault: endless-worker</title><p>Half.</p>')); },
  })"""
        ),
    ),
)
"""Pages that a service worker takes over, each with the worker's script."""
