"""A DICOMweb server: studies found, series fetched and objects stored, each as a whole or not at all."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pydicom

TOKEN = "DICOMWEB_TOKEN"  # environment variable; a secret on a command line would be seen by all users of a computer
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ATTEMPTS = 4
BACK_OFF = 1000  # milliseconds before the second attempt, doubled for each further one
PASSING = tuple(HTTPStatus(code) for code in (429, 502, 503, 504))  # answers after which the same request may succeed
TIMEOUT = 60.0  # seconds


class ServerError(ValueError):
    """A server did not answer, or not as DICOMweb requires."""


class Unreachable(ServerError):
    """A server did not answer, or was busy: the same request may succeed later."""


@contextmanager
def answering(url: str, asked: str) -> Iterator[None]:
    """Turn whatever an answer that cannot be used raises into one message.

    Args:
        url: of the server.
        asked: what it was asked for.

    Raises:
        ServerError: naming both.
    """
    import requests
    from retrying import RetryError

    try:
        yield
    except ServerError:
        raise
    except requests.HTTPError as error:
        status = getattr(error.response, "status_code", 0)
        remedy = {
            401: f"Set {TOKEN} in the environment, or name the server in ~/.netrc.",
            403: f"The account may not do this: see {TOKEN} and ~/.netrc.",
            404: "Is the address that of its DICOMweb service, such as http://host:8042/dicom-web, and the UID right?",
        }.get(status, "Its log tells why.")
        raise ServerError(f"{url} refused to {asked}: HTTP {status}. {remedy}") from error
    except RetryError as error:
        status = getattr(error.last_attempt.value, "status_code", "no answer")
        raise Unreachable(
            f"{url} was busy: asked {ATTEMPTS} times to {asked}, HTTP {status}. Try again later."
        ) from error
    except requests.exceptions.SSLError as error:
        raise ServerError(f"{url}: its certificate cannot be verified. Give your hospital's with --ca FILE.") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Unreachable(f"{url} does not answer. Is it running, and is the address right?") from error
    except Exception as error:  # the client raises several types for answers that are not DICOM
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ServerError(f"{url} was asked to {asked}, and its answer cannot be read: {reason}") from error


class Server:
    """A DICOMweb server, by dicomweb-client.

    The token comes from the environment variable ``DICOMWEB_TOKEN``, user and password from ``~/.netrc``. Certificates
    are verified. Answers that say that a server is busy are waited for, four attempts in all.

    Args:
        url: of its DICOMweb service, such as ``http://127.0.0.1:8042/dicom-web``.
        ca: file of the certificates to trust, if not those of the system.
        timeout: seconds to wait for an answer.

    Raises:
        ValueError: for another address, a token that would go unencrypted over the network, or without the library.

    Example:
        >>> server = Server("http://127.0.0.1:8042/dicom-web")
        >>> [each["study"] for each in server.studies({"ModalitiesInStudy": "CT"})]
    """

    def __init__(self, url: str, ca: str = "", timeout: float = TIMEOUT) -> None:
        try:
            import requests
            from dicomweb_client import DICOMwebClient
        except ImportError as error:
            raise ValueError(
                "A PACS needs dicomweb-client. Install it: pip install 'covid-lung-bundles[pacs]'."
            ) from error
        parts = urlparse(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--server must be an address such as http://127.0.0.1:8042/dicom-web, got {url!r}.")
        if parts.username or parts.password:
            raise ValueError(f"--server must hold no password. Put it into ~/.netrc, or a token into {TOKEN}.")
        token = os.environ.get(TOKEN, "")
        if token and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError(f"{TOKEN} would go unencrypted to {parts.hostname}. Use https.")
        if ca and not Path(ca).is_file():
            raise ValueError(f"--ca must be a file of certificates, got {ca}.")
        self.url, session = url.rstrip("/"), requests.Session()
        session.verify = ca or True
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = DICOMwebClient(self.url, session=session, headers=headers, timeout=timeout)
        self.client.set_http_retry_params(True, ATTEMPTS, BACK_OFF, PASSING)
        logging.getLogger("dicomweb_client").setLevel(logging.WARNING)  # it logs each request
        logging.getLogger("retrying").setLevel(logging.ERROR)  # it logs each attempt; the last one's answer is told

    def studies(self, query: Mapping[str, str], description: str = "*") -> list[dict[str, Any]]:
        """Studies that match a query, the newest last; nothing of it but its description can name the patient.

        Args:
            query: values by DICOM keyword, dates as ``20200101-20200131``.
            description: pattern of the study's description, with ``*`` and ``?``, in capital or small letters. It is
                matched here, because servers differ in what they do with such a pattern.
        """
        fields = ["StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedInstances"]
        with answering(self.url, "list studies"):
            search = partial(self.client.search_for_studies, search_filters=dict(query), fields=fields)
            studies = _all_pages(search, "StudyInstanceUID")
            rows = [
                {
                    "study": str(each.StudyInstanceUID),
                    "date": str(each.get("StudyDate") or ""),
                    "modalities": "\\".join(_several(each.get("ModalitiesInStudy"))),
                    "description": str(each.get("StudyDescription") or ""),
                    "instances": int(each.get("NumberOfStudyRelatedInstances") or 0),
                }
                for each in studies
            ]
        wanted = [row for row in rows if fnmatchcase(str(row["description"]).lower(), description.lower())]
        return sorted(wanted, key=lambda row: (row["date"], row["study"]))

    def series(self, study: str) -> list[dict[str, Any]]:
        """Series of a study.

        Raises:
            ServerError: if there is no such study.
        """
        with answering(self.url, "list the series of a study"):
            fields = ["NumberOfSeriesRelatedInstances", "SeriesDescription"]
            series = _all_pages(partial(self.client.search_for_series, study, fields=fields), "SeriesInstanceUID")
            rows = [
                {
                    "series": str(each.SeriesInstanceUID),
                    "modality": str(each.get("Modality") or ""),
                    "description": str(each.get("SeriesDescription") or ""),
                    "instances": int(each.get("NumberOfSeriesRelatedInstances") or 0),
                }
                for each in series
            ]
        if not rows:
            raise ServerError(
                f"{self.url} has no study {study}. python -m common.dicomweb list shows those that it has."
            )
        return rows

    def instances(self, study: str) -> set[str]:
        """SOPInstanceUIDs of all objects of a study."""
        with answering(self.url, "list the objects of a study"):
            found = _all_pages(partial(self.client.search_for_instances, study), "SOPInstanceUID")
            return {str(each.SOPInstanceUID) for each in found}

    def fetch(self, study: str, series: str, folder: Path, expected: int = 0) -> list[Path]:
        """Fetch a series into a folder, completely or not at all.

        Args:
            study: its UID.
            series: its UID.
            folder: receives a folder of the series' name.
            expected: how many objects the server says that it has; 0 if it does not say.

        Raises:
            ServerError: if an object is missing or cannot be read.
        """
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
        try:
            with answering(self.url, f"send series {series}"):
                for dataset in self.client.iter_series(study, series):
                    if dataset.SeriesInstanceUID != series:
                        raise ValueError(f"it holds series {dataset.SeriesInstanceUID}")
                    if not is_uid(dataset.SOPInstanceUID):  # it becomes the name of a file
                        raise ValueError(f"it holds an object whose UID is {str(dataset.SOPInstanceUID)!r}")
                    dataset.save_as(part / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
            held = len(list(part.iterdir()))
            if held < max(expected, 1):
                raise ServerError(
                    f"{self.url} sent {held} of {expected or 'the'} objects of series {series}. Nothing is kept: fetch "
                    "it again, or ask for the series to be sent to the PACS again."
                )
            target = folder / series
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return sorted(target.iterdir())

    def fetch_study(self, study: str, folder: Path, modality: str) -> list[Path]:
        """Fetch all series of a modality into one folder, so that series can be chosen from all of the study.

        Args:
            study: its UID.
            folder: receives the objects; it is made.
            modality: such as ``CT``.

        Raises:
            ServerError: see ``fetch``.
            ValueError: if the study has no such series.
        """
        series = self.series(study)
        wanted = [each for each in series if each["modality"] == modality]
        if not wanted:
            found = ", ".join(sorted({each["modality"] or "unknown" for each in series}))
            raise ValueError(f"Study {study} has no {modality} series, but {found}.")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as part:
            files = [
                path.rename(folder / path.name)
                for each in wanted
                for path in self.fetch(study, each["series"], Path(part), each["instances"])
            ]
        return sorted(files)

    def send(self, paths: Sequence[Path]) -> list[str]:
        """Store objects that the server does not have yet, all in one request.

        Returns:
            UIDs of those that were stored.

        Raises:
            ServerError: if the server does not have all of them afterwards; a second run stores only what is missing.
        """
        objects = [pydicom.dcmread(path) for path in paths]
        studies = {str(each.StudyInstanceUID) for each in objects}
        known = set().union(*map(self.instances, studies))
        new = [each for each in objects if str(each.SOPInstanceUID) not in known]
        if new:
            with answering(self.url, "store objects"):
                self.client.store_instances(new)
            stored = set().union(*map(self.instances, studies))
            lost = [str(each.SOPInstanceUID) for each in new if str(each.SOPInstanceUID) not in stored]
            if lost:
                raise ServerError(
                    f"{self.url} has not stored {len(lost)} of {len(new)} objects: {', '.join(lost)}. Run again: those "
                    "that it has are not stored twice."
                )
        return [str(each.SOPInstanceUID) for each in new]


def is_uid(text: str) -> bool:
    """Whether a text has the form of a UID, and so holds nothing that a path could follow."""
    return re.fullmatch(r"[0-9.]{1,64}", text) is not None


def _all_pages(search: Callable[..., list[dict[str, Any]]], uid: str) -> list[pydicom.Dataset]:
    """All results of a search, page by page; a server that ignores the offset gives the first page again."""
    found: dict[str, pydicom.Dataset] = {}
    while True:
        page = [pydicom.Dataset.from_json(each) for each in search(**({"offset": len(found)} if found else {}))]
        new = {str(each[uid].value): each for each in page if str(each[uid].value) not in found}
        if not new:
            return list(found.values())
        found |= new


def _several(value: Any) -> list[str]:
    """The values of an element that may hold one, several or none."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else [str(each) for each in value]
