"""What every notebook of the course keeps to. Each function returns its complaints as a list of sentences."""

from __future__ import annotations

import ast
import base64
import re
import statistics

from effnet_helpers.course import ROOT
from effnet_helpers.course.opening import is_opening
from effnet_helpers.records import RECORD_MIME

import nbformat
from nbformat import NotebookNode

MAX_BYTES = 1_000_000
MAX_PARAMETERS = 12
MAX_CELLS = 44  # about forty, prose included
TAUGHT_TAG = "shows:"  # a cell tagged `shows:effnet_helpers.models.add_head` holds that function as the package has it
ANNOTATION = re.compile(r"(int|float|str|bool|Optional\[(int|float|str|bool)\]|list\[(int|float|str|bool)\])")
KINDS_OF_EXERCISE = ("predict first", "complete", "find the bug", "write", "judge a claim")
# Folders in which people and CI machines keep their work; a web address or a relative path does not match.
MACHINE_PATH = re.compile(r"(?<![\w.:/])(?:/(?:home|root|tmp|Users|private|work|workspace|mnt)/|[A-Z]:\\)[^\s'\"<>]*")


def lesson_problems(notebook: NotebookNode) -> list[str]:
    """Checks what a lesson is made of: its opening, its prose, the size of its cells, its parameters, its imports."""
    notebook = without_opening(notebook)
    return [
        *_structure_problems(notebook),
        *_code_problems(notebook),
        *parameter_problems(notebook),
        *taught_problems(notebook),
    ]


def exercise_problems(notebook: NotebookNode, stem: str) -> list[str]:
    """Checks what exercises are made of, in what a learner starts from: title, tasks, checks, quiz, size of cells."""
    notebook = without_opening(notebook)
    number, cells, problems = stem.partition("_")[0], notebook.cells, []
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    title = next((text for text in prose if text.startswith("# ")), "")  # not what stands above it in every notebook
    if not title.startswith(f"# Exercises {number} · ") or f"](../{stem}.ipynb)" not in title:
        problems.append(f"the first text is not a title '# Exercises {number} · …' with a link to the lesson")
    minutes = re.search(r"(\d+) (?:to \d+ )?minutes", title)
    if not minutes or not 10 <= int(minutes[1]) <= 40:
        problems.append("the title does not say how many minutes it takes")
    if f"](../{stem}.ipynb)" not in prose[-1]:
        problems.append("the last text does not lead back to the lesson")
    tasks = [text for text in prose if re.match(rf"## {number}\.\d · ", text)]
    if not 4 <= len(tasks) <= 6 or [int(task[len(number) + 4]) for task in tasks] != [*range(1, len(tasks) + 1)]:
        problems.append(
            f"four to six headings '## {number}.1 · …' in order, not {[task.split(' ·')[0] for task in tasks]}"
        )
    kinds = [{kind for kind in KINDS_OF_EXERCISE if kind in task.lower()} for task in tasks]
    if not all(kinds) or len(set().union(*kinds)) < 3:
        problems.append(f"each exercise says its kind, and there are three or more of {KINDS_OF_EXERCISE}, not {kinds}")
    code = "\n".join(cell.source for cell in _code_cells(notebook))
    checked = re.findall(r'^exercises\.check\("([^"]+)", ', code, re.MULTILINE)
    if checked != [f"{number}.{place}" for place in range(1, len(tasks) + 1)]:
        problems.append(f"each exercise is checked once, not {checked}")
    if code.count("# your code here") < len(tasks):
        problems.append("each exercise has a place for its answer")
    quizzes = [cell.source for cell in cells if "quiz" in cell.metadata.get("tags", [])]
    if [text.partition("**Quiz ")[2].partition("**")[0] for text in quizzes] != [f"{number}.1", f"{number}.2"]:
        problems.append(f"two questions begin '**Quiz {number}.1** …' and '**Quiz {number}.2** …'")
    if "cccc" in "".join("c" if cell.cell_type == "code" else "-" for cell in cells):
        problems.append("four code cells in a row without prose")
    return problems + _code_problems(notebook)


def without_opening(notebook: NotebookNode) -> NotebookNode:
    """Returns a notebook as its source has it, without badges and the set-up cell, which the build adds to all."""
    return NotebookNode(notebook, cells=[cell for cell in notebook.cells if not is_opening(cell)])


def output_problems(notebook: NotebookNode) -> list[str]:
    """Checks what is published: complete, in order, quiet, free of machine paths, described, under 1 MB."""
    problems = []
    code = _code_cells(notebook)
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        problems.append(f"execution counts are not 1 to {len(code)}: {counts}")
    for number, cell in enumerate(code, start=1):
        if "nbval-check-output" in cell.metadata.get("tags", []) and "<img" in str(cell.outputs):
            problems.append(f"cell {number}: nbval would compare the pixels of its figure: draw it in another cell")
        for output in cell.outputs:
            problems += [f"cell {number}: {problem}" for problem in _one_output_problems(output)]
    size = len(nbformat.writes(notebook).encode())
    if size >= MAX_BYTES:
        problems.append(f"{size / 1e6:.2f} MB are {MAX_BYTES / 1e6:.0f} MB or more")
    return problems


def machine_paths(text: str) -> list[str]:
    """Finds absolute paths that name somebody's machine."""
    return MACHINE_PATH.findall(text)


def parameter_problems(notebook: NotebookNode) -> list[str]:
    """Checks the one cell tagged `parameters`: a literal a line, annotated, with a comment papermill can read."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1 or cells[0].cell_type != "code":
        return [f"{len(cells)} cells are tagged 'parameters', one code cell must be"]
    lines = [line for line in cells[0].source.splitlines() if line.strip() and not line.startswith("#")]
    return [f"parameter line {line!r}: {problem}" for line in lines if (problem := _parameter_line_problem(line))]


def first_screen_problems(notebook: NotebookNode) -> list[str]:
    """Checks that the lesson, not its machinery, comes first: few parameters, one call that validates, few cells."""
    code = _code_cells(notebook)
    at = next((number for number, cell in enumerate(code) if "parameters" in cell.metadata.get("tags", [])), None)
    if at is None or at + 1 == len(code):
        return ["no code cell follows the parameters"]
    problems = []
    count = len([line for line in code[at].source.splitlines() if line.strip() and not line.startswith("#")])
    if count > MAX_PARAMETERS:
        problems.append(f"{count} parameters, {MAX_PARAMETERS} at most: the others become arguments of helpers")
    called = re.findall(r"\brecords\.(check|expect)\(", code[at + 1].source)
    if called != ["check"]:
        problems.append(f"the cell after the parameters validates by one records.check(…), not {called or 'at all'}")
    if (count := len(without_opening(notebook).cells)) > MAX_CELLS:
        problems.append(f"{count} cells, {MAX_CELLS} at most")
    return problems


def taught_problems(notebook: NotebookNode) -> list[str]:
    """Checks that each function taught in a lesson is the package's own, docstring aside."""
    problems = []
    for cell in notebook.cells:
        for name in taught_functions(cell):
            problems += [f"{name}: {problem}" for problem in _taught_function_problems(cell.source, name)]
    return problems


def taught_functions(cell: NotebookNode) -> list[str]:
    """Returns the full names of the functions that a cell is tagged as teaching."""
    return [tag.removeprefix(TAUGHT_TAG) for tag in cell.metadata.get("tags", []) if tag.startswith(TAUGHT_TAG)]


def pictures(notebook: NotebookNode) -> list[bytes]:
    """Returns the PNG files of all figures of a notebook, in order."""
    outputs = [output for cell in _code_cells(notebook) for output in cell.outputs]
    pages = [output.get("data", {}).get("text/html", "") for output in outputs]
    found = [encoded for page in pages for encoded in re.findall(r"data:image/png;base64,([\w+/=]+)", page)]
    return [base64.b64decode(encoded) for encoded in found]


def code_length(source: str) -> int:
    """Counts the lines of a cell that are neither blank nor only a comment."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in source.splitlines())


def _code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _structure_problems(notebook: NotebookNode) -> list[str]:
    problems = []
    cells = notebook.cells
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        problems.append("the first cell is not a title (# …)")
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for heading in ("What you will learn", "Recap"):
        if not re.search(rf"^#+ .*{heading}", prose, re.MULTILINE | re.IGNORECASE):
            problems.append(f"no heading says '{heading}'")
    kinds = "".join("c" if cell.cell_type == "code" else "-" for cell in cells)
    if "ccc" in kinds:
        problems.append(f"three code cells in a row without prose, from cell {kinds.index('ccc') + 1}")
    if any("raises-exception" in cell.metadata.get("tags", []) for cell in cells):
        problems.append("a cell is tagged raises-exception; show an error with try/except")
    return problems


def _code_problems(notebook: NotebookNode) -> list[str]:
    problems = []
    lengths = [code_length(cell.source) for cell in _code_cells(notebook)]
    if not lengths:
        return ["no code cell"]
    if statistics.median(lengths) > 6:
        problems.append(f"the median code cell has {statistics.median(lengths):g} lines, 6 at most")
    if sum(length <= 15 for length in lengths) < 0.9 * len(lengths):
        problems.append(f"fewer than 90 % of the code cells have 15 lines or fewer: {sorted(lengths)}")
    for number, cell in enumerate(_code_cells(notebook), start=1):
        if not 0 < lengths[number - 1] <= 25:
            problems.append(f"code cell {number} has {lengths[number - 1]} lines, 1 to 25 are allowed")
        try:
            modules = _imported_modules(ast.parse(cell.source))
        except SyntaxError as error:
            problems.append(f"code cell {number} is not plain Python: {error.msg}")
            continue
        if any(module.startswith("effnet_helpers.course") for module in modules):
            problems.append(f"code cell {number} imports effnet_helpers.course, the machinery around the lessons")
    return problems


def _imported_modules(tree: ast.AST) -> list[str]:
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return modules


def _parameter_line_problem(line: str) -> str | None:
    code, _, comment = line.partition("#")
    try:
        (statement,) = ast.parse(code.strip()).body
        annotation, value = ast.unparse(statement.annotation), ast.literal_eval(statement.value)
    except (SyntaxError, ValueError, AttributeError):
        return "not of the form `name: type = literal  # comment`"
    if not ANNOTATION.fullmatch(annotation):
        return "the type is not int, float, str, bool, or Optional[…] or list[…] of these"
    if not comment.strip() or "#" in comment:
        return "exactly one comment belongs on the line, without a further #"
    if "=" in comment or "=" in str(value):
        return "papermill trips over = inside a comment or a string"
    return None


def _taught_function_problems(source: str, name: str) -> list[str]:
    module, _, function = name.rpartition(".")
    place = ROOT.joinpath(*module.split("."))  # a room or a loose file; read, not imported: that would load TensorFlow
    files = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    if not all(file.exists() for file in files):
        return [f"the package has no module {module}"]
    package = {}
    for file in files:
        package |= _functions(file.read_text(encoding="utf-8"))
    taught = _functions(source)
    if function not in package:
        return [f"{module} does not define it"]
    if list(taught) != [function] or len(ast.parse(source).body) != 1:
        return [f"the cell must hold this function and nothing else, it holds {list(taught)}"]
    return [] if taught[function] == package[function] else ["the cell and the package differ"]


def _functions(source: str) -> dict[str, str]:
    """Maps the functions at the top level of a module to their syntax, without docstrings."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
            found[node.name] = ast.dump(node)
    return found


def _one_output_problems(output: NotebookNode) -> list[str]:
    if output.output_type == "error":
        return [f"an error was left: {output.ename}: {output.evalue}"]
    if output.output_type == "stream":
        if output.name == "stderr":
            return [f"text on stderr: {output.text.strip().splitlines()[:1]}"]
        if re.search("[\b\r]", output.text):
            return ["the remains of a progress bar (one line an epoch, verbose=2)"]
        return [f"a path of this machine: {path}" for path in machine_paths(output.text)]
    problems = []
    for kind, content in output.data.items():
        if kind.startswith("text/"):
            problems += [f"a path of this machine: {path}" for path in machine_paths(content)]
    if RECORD_MIME in output.data and output.data.get("text/html") != "":
        problems.append("a record is shown to the reader (build again)")
    images = re.findall(r"<img\b[^>]*>", output.data.get("text/html", ""))
    if any(not re.search(r"""\balt=(["'])(?!\1)""", image) for image in images):
        problems.append("an image in HTML has no alternative text")
    if any("src=" in image and not re.search(r"""\bsrc=["']data:image/png""", image) for image in images):
        problems.append("an image is not an embedded PNG")
    if any(kind.startswith("image/") for kind in output.data):
        problems.append("a figure without alternative text that pages keep (show it with plotting.show)")
    return problems
