"""Every example in a docstring and in the README runs and prints what it says."""

import doctest
import importlib
import pathlib
import pkgutil
import re
import subprocess
import sys

import pytest
import stereotax as sx

MODULES = [name for _, name, _ in pkgutil.iter_modules(sx.__path__) if name not in ("_core", "__main__")]
README = pathlib.Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"stereotax.{name}")
    found = doctest.testmod(module)
    assert found.failed == 0, f"{found.failed} of {found.attempted} examples in {name} fail (printed above)"


def test_every_public_name_has_an_example_or_says_what_it_is():
    for name in sx.__all__:
        item = getattr(sx, name)
        if name.startswith("__") or (isinstance(item, type) and issubclass(item, Exception)):
            continue
        assert item.__doc__ and ">>>" in item.__doc__, f"{name} has no example"


def test_the_example_of_the_readme_runs():
    blocks = re.findall(
        r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    if not blocks:
        pytest.skip("README.md has no Python example")
    for block in blocks:
        ran = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, f"{block}\n{ran.stderr}"
        assert ran.stdout.strip(), "the example prints nothing"


def test_importing_loads_nothing_but_numpy():
    code = (
        "import sys, stereotax; heavy = {'scipy', 'sklearn', 'pandas', 'pyarrow', 'torch'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
