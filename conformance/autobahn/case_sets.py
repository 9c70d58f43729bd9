"""Which cases are run."""

from argparse import ArgumentTypeError
from fnmatch import fnmatchcase

# Sections 1 to 10 have 301 cases, one after the other; 12 and 13 have groups of 18, which differ in the sizes of their
# messages, and a group is most of its time busy with its largest.
_SECTIONS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
_GROUPS = [f"12.{group}" for group in range(1, 6)] + [f"13.{group}" for group in range(1, 8)]
_LIGHT_GROUPS = [f"{group}.{case}" for group in _GROUPS for case in (1, 2, 3, 4, 5, 6, 11)]

# Name, patterns, and how many cases they must select: a server that leaves some out must not go unnoticed.
_NAMED = {
    "quick": ([section for section in _SECTIONS if section != "9.*"], 247),
    "light": (_SECTIONS + _LIGHT_GROUPS, 385),
    "all": (["*"], 517),
}


def select(words):
    """The patterns that the words of `--set` stand for, and the number of their cases where it is known."""
    if words in _NAMED:
        return _NAMED[words]
    patterns = [word.strip() for word in words.split(",")]
    for pattern in patterns:
        if not all(part.isdecimal() or part == "*" for part in pattern.split(".")):
            raise ArgumentTypeError(f"`{pattern}` is neither quick, light, all, a case such as 7.1.5 nor a pattern such as 7.*")
    return patterns, None


def matches(pattern, case):
    """Whether the pattern selects the case; `7.*` is all of section 7."""
    return fnmatchcase(case, pattern)


def order(case):
    """Sorts 9.10 behind 9.9."""
    return [int(part) for part in case.split(".")]
