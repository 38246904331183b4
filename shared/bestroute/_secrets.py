"""What in a pool's parameters must reach the call and nothing else: keys, headers, addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import Secret, SecretStr

ENV_PREFIX = "os.environ/"

# Anywhere in a name; and as a word of its own, for they are short.
_PARTS = (
    *("key", "secret", "passw", "passphrase", "token", "credential", "auth", "cookie", "bearer"),
    *("signature", "headers", "_query"),
)
_WORDS = {"pass", "pwd", "sig", "sas", "jwt"}
_ADDRESSES = ("api_base", "base_url")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)?(?:([^/?#]*)@)?([^?#]*)[?#]?(.*)", re.I | re.S)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.I)
_SHORTEST = 6  # characters of a secret that is looked for in texts
_KEY = re.compile(  # as the larger providers make them; a client's own is not known otherwise
    r"\b(?:sk|pk|rk|gsk|xai|hf|r8|pplx|csk|nvapi)[-_][\w-]{16,}|\bAIza[\w-]{30,}|(?<=Bearer )\S{8,}"
)
_OF_ENVIRONMENT = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$", re.I)
_DEEPEST = 8
_WRAPPED = (Secret, SecretStr)


class Address(Secret[str]):
    """A URL that holds a secret: user and password, or a signed query; shown without them."""

    def _display(self) -> str:
        return _public(self.get_secret_value())


def hide(name: str, value: Any, *, secret: bool = False) -> Any:
    """Wrap what must not be printed or dumped, at any depth; a variable's name may be."""
    secret = secret or _names_secret(name.lower(), value)
    if isinstance(value, Mapping):
        return {key: hide(str(key), each, secret=secret) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [hide(name, each, secret=secret) for each in value]
    if isinstance(value, str) and value.startswith(ENV_PREFIX):
        return value
    if not secret and _is_address(name, url := unwrapped(value)):
        return value if _public(url) == value else Address(url)
    return Secret(value) if secret and not isinstance(value, _WRAPPED) else value


def unwrapped(value: Any) -> Any:
    """The value itself, if it is wrapped."""
    return value.get_secret_value() if isinstance(value, _WRAPPED) else value


def shown(value: Any) -> Any:
    """What a dump may hold: no secrets, and addresses without theirs.

    An address is kept: left out, a call would go to the provider's usual one, with another's key.
    """
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, Mapping):
        return {key: shown(each) for key, each in value.items() if not _vanishes(each)}
    if isinstance(value, list):
        return [shown(each) for each in value if not _vanishes(each)]
    return value


def hidden(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Where the secrets are, and what: all that `shown` leaves out."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from hidden(each, f"{path}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from hidden(each, f"{path}.{index}")
    elif isinstance(value, _WRAPPED):
        yield path, value.get_secret_value()


def masked(text: str, params: Mapping[str, Any]) -> str:
    """The text without the secrets: errors of providers quote keys and URLs."""
    return _masked(text, _quotable(params))


def silence(error: BaseException, params: Mapping[str, Any]) -> None:
    """Mask, in place, what an exception and those behind it quote of a call's secrets.

    Args:
        error: What a provider's package raised; its class stays what it is.
        params: The parameters of the call; keys in the environment are masked as well.
    """
    secrets = _quotable({name: hide(name, value) for name, value in params.items()})
    seen: set[int] = set()
    behind: list[BaseException | None] = [error]
    while behind:
        each = behind.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.args = _silenced(each.args, secrets)
        vars(each).update(_silenced(vars(each), secrets))
        behind += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            behind += each.exceptions


def _silenced(value: Any, secrets: Collection[str], depth: int = 0) -> Any:
    """Texts masked, in lists and mappings too; an object of another kind is left as it is."""
    if type(value) is str:
        return _masked(value, secrets)
    if depth < _DEEPEST and type(value) in (list, tuple):
        return type(value)(_silenced(each, secrets, depth + 1) for each in value)
    if depth < _DEEPEST and type(value) is dict:
        return {key: _silenced(each, secrets, depth + 1) for key, each in value.items()}
    return value


def _masked(text: str, secrets: Collection[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _KEY.sub("***", text)


def _quotable(params: Mapping[str, Any]) -> set[str]:
    """What must not be quoted: the secrets in wrapped parameters, and in the environment."""
    found = [value for _, value in hidden(params)]
    found += [value for name, value in os.environ.items() if _OF_ENVIRONMENT.search(name)]
    return {each for value in found for each in _telling(value)}


def _telling(value: Any) -> Iterator[str]:
    """What of a secret may be quoted: all of it, or of a URL the parts that are not shown."""
    parts = [value] if isinstance(value, str) else []
    if parts and _URL.fullmatch(value):
        _, user, _, query = _split(value)
        parts = [user, *re.split("[:]", user), query, *re.split("[&=]", query)]
    yield from (part for part in parts if len(part) >= _SHORTEST)


def _vanishes(value: Any) -> bool:
    return isinstance(value, _WRAPPED) and not isinstance(value, Address)


def _names_secret(name: str, value: Any) -> bool:
    if "tokens" in name and isinstance(value, int | float):
        return False  # a number of tokens, not what they are
    return any(part in name for part in _PARTS) or bool(_WORDS & set(re.split("[^a-z]+", name)))


def _is_address(name: str, value: Any) -> bool:
    return isinstance(value, str) and (name in _ADDRESSES or bool(_URL.fullmatch(value)))


def _public(text: str) -> str:
    scheme, _, rest, _ = _split(text)
    return scheme + rest


def _split(url: str) -> tuple[str, str, str, str]:
    """Scheme, user and password, the address, query and fragment."""
    found = _ADDRESS.fullmatch(url)
    assert found is not None  # every part of the pattern may be empty
    scheme, user, rest, query = found.groups(default="")
    return scheme, user, rest, query
