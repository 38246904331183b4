"""All groups as one class."""

from __future__ import annotations

from tests.llamaindex_suite.blocks import Blocks
from tests.llamaindex_suite.calls import Calls
from tests.llamaindex_suite.errors import Errors
from tests.llamaindex_suite.frameworks import Frameworks
from tests.llamaindex_suite.history import History
from tests.llamaindex_suite.identity import Identity
from tests.llamaindex_suite.messages import Messages
from tests.llamaindex_suite.observability import Observability
from tests.llamaindex_suite.parameters import Parameters
from tests.llamaindex_suite.secrets import Secrets
from tests.llamaindex_suite.structured import Structured
from tests.llamaindex_suite.tools import Tools
from tests.llamaindex_suite.usage import Usage


class LLMSuite(
    Calls,
    Parameters,
    Errors,
    Identity,
    Secrets,
    Observability,
    Usage,
    Messages,
    Blocks,
    Tools,
    History,
    Structured,
    Frameworks,
):
    """What a first-class LlamaIndex LLM does."""

    @classmethod
    def groups(cls) -> dict[str, str]:
        """The group of each test, by the test's name."""
        return {
            name: group.__name__
            for group in LLMSuite.__bases__
            for name in vars(group)
            if name.startswith("test_")
        }
