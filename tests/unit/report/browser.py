"""A headless Chromium that opens a page, plays with it, and says what happened."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Runs before and after the page's own script. What is asked for by name would need the network.
_BEFORE = """<script>
window.faults = [];
window.addEventListener("error", event => faults.push(String(event.message)));
window.addEventListener("securitypolicyviolation", event => faults.push(`refused ${event.blockedURI}`));
for (const kind of ["error", "warn"]) console[kind] = (...words) => faults.push(words.join(" "));
</script>"""
_AFTER = """<script>
const seen = {};
try { %s } catch (error) { faults.push(String(error)); }
const entries = performance.getEntriesByType("resource").map(entry => entry.name);
seen.requests = entries.filter(name => !name.startsWith("data:"));
seen.faults = faults;
if (parent !== window) parent.postMessage(JSON.stringify(seen), "*");
const out = document.createElement("pre");
out.id = "seen";
out.textContent = JSON.stringify(seen);
document.body.append(out);
</script>"""
# No window is narrower than 500 pixels, but a frame is.
_FRAME = """<iframe src="%s" style="width: %dpx; height: 2000px; border: 0"></iframe><pre id="seen"></pre><script>
window.addEventListener("message", event => { document.getElementById("seen").textContent = event.data; });
</script>"""


def play(page: Path, script: str, folder: Path, width: int = 1280, dark: bool = False) -> dict[str, Any]:
    """Opens a page, runs a script that writes into ``seen``, and returns that with ``faults`` and ``requests``."""
    text = page.read_text(encoding="utf-8")
    # The page forbids scripts from elsewhere, not those inside.
    text = text.replace("<style>", f"{_BEFORE}<style>", 1).replace("</body>", f"{_AFTER % script}</body>", 1)
    played = folder / f"played-{page.name}"
    played.write_text(text, encoding="utf-8")
    assert CHROMIUM is not None
    if width < 500:
        frame = folder / f"framed-{page.name}"
        frame.write_text(_FRAME % (played.name, width), encoding="utf-8")
        played = frame
    preferred = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *preferred,
            *("--no-first-run", "--disable-extensions", f"--user-data-dir={folder / 'profile'}"),
            *(f"--window-size={width},2000", "--virtual-time-budget=2000", "--dump-dom", played.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout[-2000:] + done.stderr[-2000:]
    result: dict[str, Any] = json.loads(unescape(found[1]))
    return result
