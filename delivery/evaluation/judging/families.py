"""Which makers' models a judge and the judged belong to: a judge tends to prefer its own kind."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FAMILIES = {
    "openai": r"gpt|chatgpt|davinci|o[134](?=-|$)",
    "anthropic": r"claude",
    "google": r"gemini|gemma|palm|t5|flan",
    "meta": r"llama|opt(?=-)",
    "alibaba": r"qwen|qwq|tongyi",
    "mistral": r"mistral|mixtral|ministral|codestral|magistral|pixtral",
    "deepseek": r"deepseek",
    "microsoft": r"phi(?=-|\d|$)|orca|wizardlm",
    "hugging face": r"smollm|zephyr",
    "cohere": r"command|aya",
    "xai": r"grok",
    "01.ai": r"yi(?=-|$)",
    "zhipu": r"glm|chatglm",
    "allen ai": r"olmo|tulu",
    "ibm": r"granite",
    "nvidia": r"nemotron",
    "amazon": r"nova|titan",
    "tii": r"falcon",
    "moonshot": r"kimi",
    "eleuther ai": r"pythia|gpt-?(?:neo|j)",
    "lmsys": r"vicuna",
}
_PATTERNS = {family: re.compile(rf"(?<![a-z0-9])(?:{names})") for family, names in _FAMILIES.items()}


def family_of(model: str) -> frozenset[str]:
    """The families that a model's name tells; a model distilled or tuned from another has both. Empty where it tells none."""
    name = re.sub(r"[\s_/:.]+", "-", model.casefold()).replace("tinyllama", "llama").replace("codellama", "llama")
    found = {family for family, pattern in _PATTERNS.items() if pattern.search(name)}
    if "eleuther ai" in found and re.search(r"gpt-?(?:neo|j)", name):
        found.discard("openai")
    if "vicuna" in name:
        found.add("meta")
    return frozenset(found)


def family_limitations(judge: str, judged: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences for the report's limitations: where the judge is, or may be, of one family with what it judges.

    ``judged``: name of a system -> its model.
    """
    own = family_of(judge)
    if not own:
        return (f"The judge's family is not known ({judge}): it may be that of a side, and judges prefer their own kind.",)
    kin = {system: model for system, model in judged.items() if own & family_of(model)}
    strangers = {system: model for system, model in judged.items() if not family_of(model)}
    sentences = []
    if kin:
        shared = ", ".join(sorted(own & frozenset().union(*map(family_of, kin.values()))))
        names = "it" if len(kin) == 1 else "them"
        sentences.append(f"The judge ({judge}) is of one family ({shared}) with {_named(kin)}: it may prefer {names}.")
    if strangers:
        sentences.append(f"The family of {_named(strangers)} is not known: the judge ({judge}) may be of the same.")
    return tuple(sentences)


def _named(judged: Mapping[str, str]) -> str:
    """``the candidate and the base (smollm2)``: systems by their models."""
    by_model: dict[str, list[str]] = {}
    for system, model in judged.items():
        by_model.setdefault(model, []).append(f"the {system.replace('_', ' ')}")
    return ", ".join(f"{' and '.join(systems)} ({model})" for model, systems in by_model.items())
