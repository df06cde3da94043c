"""Settings of the documentation site: `make docs` builds it with Sphinx, without network access.

The source folder is the root of the checkout, so that pages can link to the README, the change log and
the logs of experiments as on GitHub.
"""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the examples run on one thread, so they are repeatable
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE / "_ext"))

import tabemb  # noqa: E402

project = "tabemb"
author = "The tabemb authors"
copyright = "The tabemb authors, BSD 3-Clause"
version = release = tabemb.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "sphinx_design",
    "inline_svg",
]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/**.md",
    "docs/**.rst",
    "experiments/**.md",
]
exclude_patterns = [
    ".*",
    "conf",
    "dist",
    "docs/_build",
    "docs/_templates",
    "docs/gallery",
    "multirun",
    "outputs",
    "tabemb",
    "tests",
]
templates_path = [str(HERE / "_templates")]
highlight_language = "none"
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
# A name in single backticks is a link if the reference has it, and code otherwise.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*")]

# Headings of Markdown get the anchors that GitHub gives them.
myst_heading_anchors = 4
suppress_warnings = [
    "myst.header",  # a page of results may begin at heading level two
    "misc.highlighting_failure",  # commands of psql inside SQL
]

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_use_plots = False

html_title = f"tabemb {version}"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_extra_path = ["_root"]  # the first page of the site, which leads to docs/index.html
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}  # light or dark, as set in the system
html_theme_options: dict[str, Any] = {
    "logo": {"text": "tabemb"},
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
    "back_to_top_button": False,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


sphinx_gallery_conf = {
    "examples_dirs": "docs/gallery",
    "gallery_dirs": "docs/auto_gallery",
    "filename_pattern": r"plot_.*\.py",
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("gallery.reset",),
    "image_scrapers": ("matplotlib", "gallery.figures"),
    "reset_modules_order": "both",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 60,
    "plot_gallery": "True",
    "capture_repr": ("_repr_html_", "__repr__"),
    "show_api_usage": False,
    "write_computation_times": False,
}


def skip(_app: Any, _what: str, _name: str, obj: Any, skip_it: bool, _options: Any) -> bool | None:
    """Skip members of a class that come from scikit-learn or Python: they are documented there."""
    function = getattr(obj, "fget", None) or getattr(obj, "func", None) or obj
    module = getattr(getattr(function, "__wrapped__", function), "__module__", None)
    if module is not None and not str(module).startswith("tabemb"):
        return True
    return skip_it or None


def signature(_app: Any, what: str, _name: str, obj: Any, *_: Any) -> tuple[str, str] | None:
    """Return the parameters of the constructor; autodoc would show those of ``__new__``."""
    if what != "class" or issubclass(obj, Warning):
        return None
    found = inspect.signature(obj)
    plain = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=plain, return_annotation=found.empty)), ""


def setup(app: Any) -> None:
    """Connect the two functions above to Sphinx."""
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
