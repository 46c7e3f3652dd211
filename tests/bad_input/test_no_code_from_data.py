"""Nothing in the package turns data into code: no pickle, no eval, no yaml.load, no import of a name from a config."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "workflow"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
RULES = [*PACKAGE.glob("rules/*.smk"), ROOT / "Snakefile"]
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load",
    "marshal.loads", "shelve.open", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen",
    "pd.read_pickle", "pandas.read_pickle",
}  # fmt: skip
# Calls that are safe with this argument only.
SAFE_WITH = {
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}
# They look a name up in a registry first, so that none of a config is imported as it stands.
REGISTRIES = {
    "heatproof/truths/sources.py", "heatproof/cohorts/sources.py", "heatproof/cohorts/counterfactuals.py",
    "heatproof/stages/certify.py",
}  # fmt: skip


def violations(code: str, module: str) -> Iterator[str]:
    """Yield the calls of a module that could run what data say."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        argument, safe = SAFE_WITH.get(called, ("", None))
        if called in FORBIDDEN or given.get("shell") is True or (argument and given.get(argument) is not safe):
            yield called
        if called.endswith("import_module") and module not in REGISTRIES:
            yield called


@pytest.mark.parametrize("module", MODULES)
def test_no_module_runs_what_data_say(module: str) -> None:
    assert list(violations((PACKAGE / module).read_text(encoding="utf-8"), module)) == []


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_no_rule_runs_what_data_say(path: Path) -> None:
    assert not re.search(
        r"\b(eval|exec|import_module|__import__)\(|pickle|yaml\.load", path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)", "pickle.load(handle)", "yaml.load(text)", "np.load(path)", "np.load(path, allow_pickle=True)",
        "torch.load(path)", "torch.load(path, weights_only=False)", "subprocess.run(text, shell=True)",
        "importlib.import_module(config['source'])",
    ],
)  # fmt: skip
def test_what_would_run_data_is_found(code: str) -> None:
    assert list(violations(code, "heatproof/x.py"))
    assert not list(violations("np.load(path, allow_pickle=False)", "heatproof/x.py"))
