"""Directories as large as those of large companies, and the commands that plan and apply them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field


@dataclass
class Directory:
    """A directory as a program holds it."""

    people: list[dict] = field(default_factory=list)
    groups: list[dict] = field(default_factory=list)
    accounts: list[dict] = field(default_factory=list)
    permission_sets: list[dict] = field(default_factory=list)
    assignments: list[dict] = field(default_factory=list)

    def toml(self) -> str:
        """JSON's strings, numbers and lists are TOML's too."""
        lines = []
        for name, entries in vars(self).items():
            for entry in entries:
                lines.append(f"[[{name}]]")
                lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
                lines.append("")
        return "\n".join(lines)

    def yaml(self) -> str:
        """In the style that people write; each value by itself is JSON, which is YAML."""
        lines = []
        for name, entries in vars(self).items():
            lines.append(f"{name}:" if entries else f"{name}: []")
            for entry in entries:
                dash = "- "
                for key, value in entry.items():
                    lines.append(f"{dash}{key}: {json.dumps(value, ensure_ascii=False)}")
                    dash = "  "
        return "\n".join(lines) + "\n"


def account(n: int) -> str:
    return f"{100_000_000_000 + n}"


def large(
    people: int = 5_000, groups: int = 300, accounts: int = 1_000, permission_sets: int = 50, assignments: int = 20_000
) -> Directory:
    """A directory of so many of each: assignments are single ones, of a group or now and then of a person."""
    draw = random.Random(4)
    names = [f"person{n}" for n in range(people)]
    sets = [f"Role{n}" for n in range(permission_sets)]
    teams = [f"team{n}" for n in range(groups)]
    single: set[tuple[str, str, str, str]] = set()
    while len(single) < assignments:
        who = ("people", draw.choice(names)) if draw.random() < 0.2 else ("groups", draw.choice(teams))
        single.add((*who, account(draw.randrange(accounts)), draw.choice(sets)))
    return Directory(
        people=[{"user_name": name, "display_name": f"{name.title()} Ünal", "email": f"{name}@example.org"} for name in names],
        groups=[{"name": team, "members": sorted(draw.sample(names, min(people, 50)))} for team in teams],
        accounts=[{"id": account(n), "name": f"Account {n}"} for n in range(accounts)],
        permission_sets=[{"name": name, "description": f"What {name} may do"} for name in sets],
        assignments=[
            {kind: [who], "accounts": [number], "permission_sets": [name]} for kind, who, number, name in sorted(single)
        ],
    )
