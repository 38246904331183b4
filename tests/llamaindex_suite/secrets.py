"""Where a key must not be."""

from __future__ import annotations

import pickle

import pytest

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import ASK, DOORS, last
from tests.llamaindex_suite.listening import Callbacks, listening


class Secrets(Capabilities):
    """The key goes to the provider, and nowhere else."""

    def test_the_key_is_used(self) -> None:
        """The provider gets the key; or the other tests of this group would prove nothing."""
        self.llm().complete(ASK)
        assert self.api_key in str(self.server.headers[-1])

    def test_no_key_in_dumps(self) -> None:
        """Dumps are stored and sent: mark the key's field `exclude=True`."""
        llm = self.llm()
        llm.complete(ASK)
        assert self.api_key not in f"{llm.to_dict()}{llm.to_json()}{llm.model_dump()}"

    def test_no_key_in_repr(self) -> None:
        """So are logs: mark the key's field `repr=False`, or make it a `SecretStr`."""
        llm = self.llm()
        assert self.api_key not in f"{llm!r}{llm!s}"

    def test_no_key_in_payload(self) -> None:
        """`to_payload` is for observers: keep to names and numbers."""
        assert self.api_key not in str(self.llm().to_payload())

    def test_no_key_in_pickles(self) -> None:
        """A pickle is a file like any other: leave the key out in `__getstate__`."""
        self.needs("picklable")
        llm = self.llm()
        llm.complete(ASK)
        assert self.api_key.encode() not in pickle.dumps(llm)

    @pytest.mark.parametrize("door", DOORS)
    async def test_no_key_in_events(self, door: str) -> None:
        """Nor in what observers are told: give events the payload, and no key in kwargs."""
        callbacks = Callbacks()
        with listening() as heard:
            await last(self.llm(callback_manager=callbacks.manager), door)
        assert heard.events
        assert callbacks.starts
        told = f"{heard.events}{callbacks.starts}{callbacks.ends}{heard.spans}"
        assert self.api_key not in told

    async def test_no_key_in_responses(self) -> None:
        """Nor in `raw` and `additional_kwargs`, which are stored with answers."""
        response = await last(self.llm(), "achat")
        assert self.api_key not in f"{response!r}{response.raw!r}"
