"""What an LLM says of itself, and what is left of it when it is written down."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from llama_index.core.llms import LLM, LLMMetadata
from llama_index.core.llms.function_calling import FunctionCallingLLM

from tests.llamaindex_suite.capabilities import Capabilities
from tests.llamaindex_suite.doors import ANSWER, ASK


class Identity(Capabilities):
    """Metadata, names, dumps, pickles and copies."""

    def test_base_class(self) -> None:
        """An LLM is an `LLM`, one with tools a `FunctionCallingLLM`: programs look at that."""
        assert issubclass(self.llm_class, LLM)
        if self.supports_tools:
            assert issubclass(self.llm_class, FunctionCallingLLM)

    def test_class_name(self) -> None:
        """Dumps are told apart by `class_name`: give it one of its own."""
        name = self.llm_class.class_name()
        assert name not in {
            base.class_name() for base in LLM.__mro__ if hasattr(base, "class_name")
        }
        assert self.llm().to_dict()["class_name"] == name

    def test_metadata(self) -> None:
        """Prompt helpers, agents and programs go by `metadata`: fill every field."""
        metadata = self.llm().metadata
        assert isinstance(metadata, LLMMetadata)
        assert metadata.context_window > 0
        assert metadata.num_output == -1 or 0 < metadata.num_output < metadata.context_window
        assert metadata.is_chat_model
        assert metadata.is_function_calling_model == self.supports_tools
        assert metadata.model_name not in ("", "unknown")

    def test_metadata_asks_nobody(self) -> None:
        """`metadata` is read often: answer from what is known here."""
        llm = self.llm()
        assert llm.metadata == llm.metadata
        assert self.server.requests == []

    @pytest.mark.parametrize(
        ("field", "value"),
        [("context_window", 54321), ("is_function_calling_model", False)],
    )
    def test_metadata_of_an_unknown_model(self, field: str, value: object) -> None:
        """No list knows every model: let the user say what one can do."""
        if field not in self.metadata_params:
            pytest.skip(f"{self.llm_class.__name__} has no parameter for {field}")
        llm = self.llm(**{self.metadata_params[field]: value})
        assert getattr(llm.metadata, field) == value

    @pytest.mark.usefixtures("revived")
    def test_dict_round_trip(self) -> None:
        """`to_dict` goes through JSON and back: dump plain data that `__init__` takes."""
        llm = self.llm(temperature=0.25, max_tokens=50)
        plain = json.loads(json.dumps(llm.to_dict()))
        again = self.llm_class.from_dict(plain)
        assert again.metadata == llm.metadata
        assert again.complete(ASK).text == ANSWER
        assert self.provider.last["temperature"] == 0.25

    @pytest.mark.usefixtures("revived")
    def test_json_round_trip(self) -> None:
        """`to_json` likewise."""
        llm = self.llm()
        again = self.llm_class.from_json(llm.to_json())
        assert again.to_dict() == llm.to_dict()
        assert again.complete(ASK).text == ANSWER

    @pytest.mark.usefixtures("revived")
    def test_pickle_round_trip(self) -> None:
        """Pipelines with several workers pickle the LLM: leave clients out, make them anew."""
        self.needs("picklable")
        llm = self.llm(temperature=0.25)
        llm.complete(ASK)  # now it may hold clients
        again = pickle.loads(pickle.dumps(llm))
        assert again.metadata == llm.metadata
        assert again.complete(ASK).text == ANSWER
        assert self.provider.last["temperature"] == 0.25

    @pytest.mark.usefixtures("revived")
    def test_deepcopy(self) -> None:
        """Agents and programs copy the LLM: after a call too."""
        llm = self.llm(temperature=0.25)
        llm.complete(ASK)
        assert copy.deepcopy(llm).complete(ASK).text == ANSWER

    @pytest.mark.usefixtures("revived")
    def test_model_copy(self) -> None:
        """A copy with another field asks accordingly: read fields when asked."""
        llm = self.llm(temperature=0.25)
        llm.model_copy(update={"temperature": 0.75}).complete(ASK)
        assert self.provider.last["temperature"] == 0.75
        llm.complete(ASK)
        assert self.provider.last["temperature"] == 0.25

    def test_fields_may_be_set(self) -> None:
        """So does one whose field was set later."""
        llm = self.llm(temperature=0.25)
        llm.temperature = 0.75
        llm.complete(ASK)
        assert self.provider.last["temperature"] == 0.75
