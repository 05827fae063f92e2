"""A real PACS on loopback: Orthanc with its DICOMweb plug-in."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

PLUG_INS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
PROGRAM = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
PLUG_IN = next((path for folder in PLUG_INS for path in Path(folder).glob("libOrthancDicomWeb.so*")), None)
LACKING = "Orthanc is not installed. Debian: apt-get install orthanc orthanc-dicomweb"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def orthanc(folder: Path) -> Iterator[str]:
    """Start Orthanc with an empty archive; yields the address of its DICOMweb service."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = {
        "Name": "test",
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "StorageDirectory": str(folder / "archive"),
        "IndexDirectory": str(folder / "archive"),
        "Plugins": [str(PLUG_IN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([str(PROGRAM), str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        for _ in range(150):
            try:
                urlopen(f"http://127.0.0.1:{port}/system").close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError((folder / "orthanc.log").read_text()[-2000:])
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        process.terminate()
        process.wait(timeout=30)
