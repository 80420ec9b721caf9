"""What README and docs name is there: files, links, commands with their options, settings."""

import re
from pathlib import Path

import pytest

from trading_assets.cli import COMMANDS, parser
from trading_assets.settings import effective_settings, load_settings
from trading_assets_tests.test_project import ROOT, TEXT_SUFFIXES, makefile_targets, tracked_files

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
FILE = re.compile(r"(?<![\w.>*/-])[\w./-]*\w\.(?:py|md|toml|yaml|sh|txt)\b")
DOCUMENT = re.compile(r"(?<![\w.])[\w/-]+\.md\b")
SETTING = re.compile(r"(?<![\w.\"{])([A-Z][A-Z0-9_]+)=|^([A-Z][A-Z0-9]*_[A-Z0-9_]+)$", re.MULTILINE)
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")
# What no file of the repository is: the programs make it.
MADE = {"report.md"}
# The library of that name, and a word of Upbit's protocol.
NO_FILE = {"backtesting.py"}
NO_SETTING = {"LIST_SUBSCRIPTIONS"}
# Read by the shell scripts and by the soak test themselves.
NOT_OF_THE_PROGRAM = {"ARGS", "PYTHON", "SETTING", "SOAK_SECONDS", "SOAK_SEED"}


def code_of(document: Path) -> list[str]:
    """The code in `document`: lines of blocks, then what stands in backticks, line breaks gone."""
    text = document.read_text(encoding="utf-8")
    blocks = [line for block in FENCE.findall(text) for line in block.splitlines()[1:-1]]
    rest = FENCE.sub("", text)
    spans = [" ".join(span.split()) for _, span in SPAN.findall(rest)]
    return blocks + INDENTED.findall(rest) + spans


def code() -> list[tuple[str, str]]:
    """All of it, each with the name of its document."""
    return [(document.name, line) for document in DOCUMENTS for line in code_of(document)]


def places(document: Path) -> list[Path]:
    """Where a path that `document` names may begin."""
    return [ROOT, document.parent, ROOT / "trading_assets", ROOT / "trading_assets_tests"]


def test_code_is_found_in_blocks_in_backticks_and_indented(tmp_path: Path) -> None:
    document = tmp_path / "some.md"
    document.write_text("a `b\nc` d\n```sh\nmake e\n```\n\n    make f\n", encoding="utf-8")
    assert code_of(document) == ["make e", "make f", "b c"]


def test_every_link_leads_somewhere() -> None:
    links = [
        (document, link)
        for document in DOCUMENTS
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    ]
    assert [(d.name, link) for d, link in links if not (d.parent / link).exists()] == []


def test_every_file_exists() -> None:
    names = {path.name for path in tracked_files()} | NO_FILE
    missing = [
        (document.name, path)
        for document in DOCUMENTS
        for line in code_of(document)
        for path in FILE.findall(line)
        if not any((place / path).exists() for place in places(document))
        if "/" in path or path not in names
    ]
    assert missing == []


def test_no_text_of_the_repository_cites_a_document_that_is_not_in_it() -> None:
    documents = {document.name for document in DOCUMENTS} | MADE
    cited = [
        (str(path.relative_to(ROOT)), found)
        for path in tracked_files()
        if path.suffix in TEXT_SUFFIXES and path != Path(__file__)
        for found in DOCUMENT.findall(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert ("README.md", "docs/architecture.md") in cited
    assert [(path, found) for path, found in cited if Path(found).name not in documents] == []


def test_every_make_target_exists() -> None:
    named = {
        (document, target)
        for document, line in code()
        for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", line)
    }
    assert ("README.md", "run") in named
    assert [one for one in named if one[1] not in makefile_targets()] == []


def test_every_command_is_told_exists_and_has_the_options_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = [
        (document, line, name)
        for document, line in code()
        for name in re.findall(r"trading-assets ([a-z][a-z-]*)", line)
        if not line.startswith("trading-assets: ")
    ]
    commands = {command.name for command in COMMANDS}
    assert [(document, name) for document, _, name in calls if name not in commands] == []
    made = {target for _, line in code() for target in re.findall(r"make ([a-z][a-z-]*)", line)}
    assert commands - {name for _, _, name in calls} - made == set()
    helps = {}
    for name in commands:
        with pytest.raises(SystemExit):
            parser().parse_args([name, "--help"])
        helps[name] = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    options = {(d, n, option) for d, line, n in calls for option in OPTION.findall(line)}
    assert ("trading.md", "guard", "--now-open") in options
    assert [one for one in options if one[2] not in helps[one[1]]] == []


def test_every_program_has_the_options_named() -> None:
    options = {
        (document, program, option)
        for document, line in code()
        for program in re.findall(r"python ([\w/]+\.py)", line)
        for option in OPTION.findall(line)
    }
    assert ("results.md", "benchmarks/results.py", "--write") in options
    texts = {program: (ROOT / program).read_text(encoding="utf-8") for _, program, _ in options}
    assert [one for one in options if one[2] not in texts[one[1]]] == []


def test_every_setting_exists_under_the_name_that_a_person_has_to_write() -> None:
    settings = set(effective_settings(load_settings())) | {"DAGSTER_HOME"} | NOT_OF_THE_PROGRAM
    of_a_profile = {name.partition("__")[2] for name in settings if name.startswith("SCALP__")}
    named = {
        (document, given or alone)
        for document, line in code()
        for given, alone in SETTING.findall(line)
    }
    assert ("trading_rules.md", "TRADING__SMALL_ACCOUNT") in named
    unknown = {one for one in named if one[1] not in settings | of_a_profile | NO_SETTING}
    # A name without a value may also be a constant of the program.
    constants = {
        word
        for path in (ROOT / "trading_assets").rglob("*.py")
        for word in re.findall(
            r"^\s*([A-Z][A-Z0-9_]+) = ", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert [one for one in unknown if one[1] not in constants] == []
