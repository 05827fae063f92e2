"""Run a step of a bundle's configs from Python, once or with its network kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigWorkflow

from .config_content import config_content
from .monai_command import arguments_given

# Parts of an inference that know nothing of the folder; the preprocessing has the process that reads files
KEPT = ("model", "evaluator::network", "monitor", "inferer", "preprocessing")


def run_step(step: str, files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Run a step as ``python -m monai.bundle run <step> --config_file ...`` does, and record that command.

    Args:
        step: such as ``training``.
        files: paths of the configs.
        overrides: options by name; those that no config has are left out.
    """
    with _workflow(step, files, overrides) as workflow:
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    del workflow
    gc.collect()  # engines and handlers reference each other; the next step may need the memory


class LoadedInference:
    """Inference on one folder after another, whose network is built and loaded once.

    All else is built again for each folder, and recorded as ``run_step`` does, so outputs equal those of the command.

    Args:
        config: path of a bundle's ``inference.yaml``.
        overrides: options by name, the same for all folders.

    Raises:
        ValueError: for settings that do not fit the weights.
        FileNotFoundError: if there are no weights.

    Example:
        >>> inference = LoadedInference("bundles/ct_drsegunet/configs/inference.yaml", {"device": "cpu"})
        >>> inference("/data/patient_7", "out/patient_7")
    """

    def __init__(self, config: str | Path, overrides: Mapping[str, Any]) -> None:
        self.files, self.overrides = [str(config)], dict(overrides)
        with TemporaryDirectory() as scratch, self._workflow({"output_dir": scratch}) as workflow:
            workflow.initialize()
            self.parts = {name: workflow.parser.get_parsed_content(name) for name in KEPT if name in workflow.parser}

    def __call__(self, dataset_dir: str | Path, output_dir: str | Path) -> None:
        """Infer the scans of a folder, or one file.

        Raises:
            CasesFailed: when a case failed; all others are done.
            NothingToDo: if there is no scan.
        """
        with self._workflow({"dataset_dir": str(dataset_dir), "output_dir": str(output_dir)}) as workflow:
            workflow.parser.parse(reset=True)
            workflow.parser.get_parsed_content("initialize::0")  # start_run; the rest loads the weights
            workflow.parser.ref_resolver.resolved_content.update(self.parts)
            workflow.run()
        del workflow
        gc.collect()

    def _workflow(self, more: Mapping[str, Any]) -> AbstractContextManager[ConfigWorkflow]:
        return _workflow("run", self.files, {**self.overrides, **more})


@contextmanager
def _workflow(step: str, files: Sequence[str], overrides: Mapping[str, Any]) -> Iterator[ConfigWorkflow]:
    """A step with its options, as if the command line had started it."""
    known = {str(name).split("::")[0] for name in config_content(*files)}
    overrides = {name: value for name, value in overrides.items() if name.split("::")[0] in known}
    arguments = ["run", step, "--config_file", files[0] if len(files) == 1 else str(list(files))]
    for name, value in overrides.items():
        arguments += [f"--{name}", _argument(value)]
    with arguments_given(arguments):
        yield ConfigWorkflow(config_file=list(files), run_id=step, **overrides)


def _argument(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if value is None:
        return "$None"  # MONAI's command line ignores None itself
    return value if isinstance(value, str) and DefaultParseValue(value) == value else repr(value)
