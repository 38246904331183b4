"""The answer within a response: what two samples must share in order to agree."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from bestroute.rewards.normal import (
    choice_letter,
    last_number,
    lone_number,
    normal_code,
    normal_json,
    normal_text,
)

_SHORT = 8  # words
_LONGEST_PREDICATE = 5  # words

# A regular expression holds the GIL, and with it every event loop, until it is done: so each is
# linear, and none sees more than this many characters. The answer is at the end.
_READ = 16_384
_LONGEST_JSON = 262_144  # characters

_FENCE = "```"
_LANGUAGE = re.compile(r"[\w+#-]*")
_GAP = re.compile(r"\s{2,}")
_PROGRAM = re.compile(r"^(?:import \w|from [\w.]+ import\b|def \w+\(|class \w+[:(])", re.MULTILINE)
_PROSE_TAGS = {"text", "txt", "plaintext", "markdown", "md", "latex", "tex", "math"}
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_HASHES = re.compile(r"^\s*####\s+(\S[^\n]*)", re.MULTILINE)
_CUE = re.compile(
    r"\b(?:answers?|(?:correct|right|best) (?:option|choice))\b[*_\"\s]*"
    r"(?:(?:to|for|of)\b[^\n.:=`]{0,80}?)?"
    r"(?:\b(?:is|are|was|would be|should be|must be)\b|[:=])[*_\s:]*(?=([^\n`]{1,1000}))",
    re.IGNORECASE,
)
_LAST_LINE = re.compile(r"\n\s*A:[ \t]*([^\n]+)\Z")
_LEAD = re.compile(
    r"(yes|no|true|false)\b(?=[*_\s]*(?:[,;:!–—-]|\.(?:[*_]|\s*$|\s+(?-i:[A-Z]))|$))", re.IGNORECASE
)
_SENTENCE_END = re.compile(
    r"(?<!\bSt)(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bMt)(?<!\bMrs)(?<!\b[A-Z])[.!?](?=\s)"
)
_REASON = re.compile(r",?\s+(?:because|since|as|so|which|where)\b|;|\s[–—-]\s", re.IGNORECASE)
_SUBJECT = re.compile(
    r"(?:(?:so|thus|hence|therefore),?\s+)?(?:i (?:think|believe) )?(?:"
    r"(?:it|that)['’]s|(?:the|it|this|that|there|its|their|his|her|your|my)\b[^.?\n]*?"
    r"\b(?:is|are|was|were|equals)\b)\s+(?!not\b)(?=\S)",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*([^*\n]+[^*\n:])\*\*(?!\s*:)")
_MARKER = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+", re.MULTILINE)
_JSON = json.JSONDecoder(strict=False)  # models write line breaks into strings
_ANSWER_KEYS = ("final_answer", "answer")
_ASIDES = {"reasoning", "explanation", "thought", "thoughts", "rationale", "steps", "confidence"}


class _Block(NamedTuple):
    language: str
    source: str


def extract_answer(text: str) -> str | None:
    r"""The normal form of the answer that a response gives; equal forms agree.

    In this order: the whole response as JSON or bare Python; the last `\boxed{}`, `#### x`, or
    "answer is x" / "Answer: x"; the longest code block (Python through its syntax tree) or
    JSON; JSON within prose; a leading yes, no, number or choice; a short answer; the last
    words in bold, or the last number, of longer prose; else its words. Hidden reasoning up to
    `</think>` is not read. Of JSON that holds an "answer", only that counts. Other than JSON,
    only the last 16,384 characters are read.

    Args:
        text: A response.

    Returns:
        The normal form, or `None` when the response holds no answer.
    """
    text = text.rpartition("</think>")[2].partition("<think>")[0].strip()
    whole = _parse(text)
    if whole is not None:
        return _from_json(whole)
    prose, blocks = _split(text[-_READ:])
    if not blocks and _PROGRAM.search(prose):
        return normal_code(prose, "python")
    prose = _GAP.sub(_narrowed, prose)
    for stated in (_boxed(prose), _hashes(prose), _cued(prose)):
        if stated:
            return stated
    return _from_blocks(blocks) or _embedded(prose) or _from_prose(prose) or None


def _split(text: str) -> tuple[str, list[_Block]]:
    """Prose, each code block a lone backtick in it, and the code blocks."""
    prose: list[str] = []
    blocks: list[_Block] = []
    end = 0
    while (fence := text.find(_FENCE, end)) >= 0 and (line := text.find("\n", fence)) >= 0:
        opening = fence + len(_FENCE)
        close = text.find(_FENCE, line + 1)
        source = text[line + 1 : close if close >= 0 else None].strip()
        found = _LANGUAGE.match(text, opening, line)
        language = found[0].lower() if found else ""
        is_line = not language and "\n" not in source
        is_prose = language in _PROSE_TAGS or language == "json" or is_line
        if not source or (is_prose and _parse(source) is None):
            kept = source
        else:
            blocks.append(_Block(language, source))
            kept = "`"
        prose += [text[end:fence], "\n", kept, "\n"]
        end = close + len(_FENCE) if close >= 0 else len(text)
    return "".join([*prose, text[end:]]), blocks


def _narrowed(gap: re.Match[str]) -> str:
    return "\n" if "\n" in gap[0] else " "


def _boxed(prose: str) -> str:
    starts = list(_BOXED.finditer(prose))
    if not starts:
        return ""
    start, depth = starts[-1].end(), 1
    for end in range(start, len(prose)):
        depth += {"{": 1, "}": -1}.get(prose[end], 0)
        if not depth:
            return normal_text(prose[start:end])
    return ""  # cut off: the box was never closed


def _hashes(prose: str) -> str:
    # Elsewhere #### opens a heading; there the last one is no answer unless it is short.
    found = [line for line in _HASHES.findall(prose) if len(line.split()) <= _SHORT]
    ends = bool(found) and prose.rstrip().endswith(found[-1].rstrip())
    return normal_text(found[-1]) if ends else ""


def _cued(prose: str) -> str:
    for value in [*_LAST_LINE.findall(prose), *reversed(_CUE.findall(prose))]:
        if value.startswith('"'):  # JSON too broken to parse
            value = value.strip('"{}, ')
        if answer := _from_prose(_clause(value)):
            return answer
    return ""


def _clause(line: str) -> str:
    """The first sentence of a line, without its reasons."""
    sentence = _SENTENCE_END.split(line.strip(), maxsplit=1)[0]
    return _REASON.split(sentence, maxsplit=1)[0] or sentence


def _from_blocks(blocks: list[_Block]) -> str:
    if not blocks:
        return ""
    longest = max(blocks, key=lambda block: len(block.source))
    data = _parse(longest.source)
    if data is not None:
        return _from_json(data)
    return normal_code(longest.source, longest.language)


def _parse(text: str) -> Any:
    """A JSON object or array, or `None`."""
    if not text.startswith(("{", "[")) or len(text) > _LONGEST_JSON:
        return None
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError):
        return None


def _embedded(prose: str) -> str:
    """JSON within prose; `{}` may be anything there."""
    start = prose.find("{")
    if start < 0:
        return ""
    try:
        data = _JSON.raw_decode(prose, start)[0]
    except (ValueError, RecursionError):
        return ""
    return _from_json(data) if data else ""


def _from_json(data: Any) -> str:
    if isinstance(data, dict):
        keys = {str(key).strip().casefold().replace(" ", "_"): key for key in data}
        for name in _ANSWER_KEYS:
            if name in keys:
                answer = data[keys[name]]
                return normal_json(answer) if isinstance(answer, dict | list) else _leaf(answer)
        data = {key: data[key] for name, key in keys.items() if name not in _ASIDES}
    return normal_json(data)


def _leaf(value: Any) -> str:
    return "" if value is None else normal_text(str(value))


def _from_prose(prose: str) -> str:
    prose = _without_markers(prose.replace("\n`\n", "\n").strip())
    first = prose.partition("\n")[0]
    if lead := _leading(first):
        return lead
    if len(prose.split()) <= _SHORT:
        return normal_text(_predicate(prose))
    if bold := _BOLD.findall(prose[prose.rfind("\n") + 1 :]):
        return normal_text(bold[-1])
    if number := last_number(prose):
        return number
    predicate = _predicate(_clause(first))
    is_short = predicate != _clause(first) and len(predicate.split()) <= _LONGEST_PREDICATE
    return normal_text(predicate if is_short else prose)


def _leading(line: str) -> str:
    """A yes, no, choice or bare number that opens a response."""
    opening = line.strip().strip("*_ ")
    if found := _LEAD.match(opening):
        return found[1].lower()
    head = _clause(opening)
    if len(head.split()) <= 1 and (number := lone_number(head)):
        return number
    return choice_letter(opening) or ""


def _predicate(sentence: str) -> str:
    """`Paris` of "The capital of France is Paris."."""
    found = _SUBJECT.match(sentence.strip())
    return sentence.strip()[found.end() :] if found else sentence


def _without_markers(prose: str) -> str:
    """List markers are not numbers of the answer; a lone `42. ` may be one."""
    return _MARKER.sub("", prose) if len(_MARKER.findall(prose)) > 1 else prose
