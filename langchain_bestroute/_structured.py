"""Tools and structured output: OpenAI's parameters, bound to the call."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Literal

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import (
    Runnable,
    RunnableLambda,
    RunnableMap,
    RunnablePassthrough,
)
from langchain_core.utils.pydantic import is_basemodel_subclass

from bestroute.errors import ConfigError
from langchain_bestroute._tools import (
    Schema,
    ToolChoice,
    ToolLike,
    json_schema,
    response_format,
    tool_name,
    tool_params,
)

Method = Literal["function_calling", "json_schema", "json_mode"]


class ToolCalling(Runnable[LanguageModelInput, AIMessage]):
    """What a chat model inherits that takes OpenAI's `tools` and `response_format`."""

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: ToolChoice = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools with every call.

        Of several samples those are dropped that call unknown tools, or with arguments that
        break the tool's schema.

        Args:
            tools: Tools in any form that LangChain knows.
            tool_choice: auto, none, required (or any, or True), a tool's name, or OpenAI's or
                Anthropic's form.
            strict: Whether arguments must follow the schema exactly.
            **kwargs: Further parameters to bind, such as `parallel_tool_calls`.

        Raises:
            ConfigError: The choice is not among the tools.
        """
        if not tools:
            kwargs.pop("parallel_tool_calls", None)  # providers refuse it without tools
        return self.bind(**tool_params(tools, tool_choice, strict=strict), **kwargs)

    def with_structured_output(
        self,
        schema: Schema,
        *,
        method: Method = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[ToolLike] = (),
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer with data of a schema instead of text.

        Of several samples those that break the schema are dropped before one is selected; where
        all do, the request goes on to the next arm.

        Args:
            schema: Pydantic class, TypedDict, JSON schema, or function or tool in OpenAI's form.
            method: `function_calling` offers one tool, which must be called: of the chat models
                that LiteLLM lists 74 % can, and 48 % take a schema. `json_schema` sends the
                schema as response_format. `json_mode` demands JSON of the provider, without the
                schema: the prompt must say which.
            include_raw: Whether to give a dict of `raw` (the message), `parsed`, and
                `parsing_error` instead of raising.
            strict: Whether the provider must follow the schema exactly; not with `json_mode`.
            tools: What the model may call instead of answering; then nothing is parsed, and the
                calls are in `raw`. Not with `function_calling`.
            **kwargs: Further parameters to bind.

        Returns:
            A runnable that gives an object of the pydantic class, or else a dict.

        Raises:
            ConfigError: An unknown method, or one that `strict` or `tools` do not go with.
        """
        params = _params(schema, method, strict)
        parser = _parser(schema, method)
        if tools:
            if method == "function_calling":
                raise ConfigError(
                    "give tools with json_schema or json_mode: here the schema is one"
                )
            params |= tool_params(tools, strict=strict)
            parser = _unless_called(parser)
        given = {"method": method} if strict is None else {"method": method, "strict": strict}
        traced = {"kwargs": given, "schema": schema}
        llm = self.bind(**params, **kwargs, ls_structured_output_format=traced)
        if not include_raw:
            return llm | parser
        parsed = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
        )
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def _params(schema: Schema, method: Method, strict: bool | None) -> dict[str, Any]:
    if method == "function_calling":
        return tool_params([schema], "any", strict=strict)
    if method == "json_schema":
        return {"response_format": response_format(schema, strict=strict)}
    if method != "json_mode":
        raise ConfigError(
            f"method is {method!r}; expected function_calling, json_schema or json_mode"
        )
    if strict is not None:
        raise ConfigError("json_mode knows no schema to be strict about; leave strict out")
    return {"response_format": {"type": "json_object"}, "answer_schema": json_schema(schema)}


def _parser(schema: Schema, method: Method) -> Runnable[AIMessage, Any]:
    # Here, because to import langchain-core's chat models does not import all of them.
    from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
    from langchain_core.output_parsers.openai_tools import (
        JsonOutputKeyToolsParser,
        PydanticToolsParser,
    )

    pydantic = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
    if method == "function_calling":
        if pydantic:
            return PydanticToolsParser(tools=[pydantic], first_tool_only=True)
        return JsonOutputKeyToolsParser(key_name=tool_name(schema), first_tool_only=True)
    return PydanticOutputParser(pydantic_object=pydantic) if pydantic else JsonOutputParser()


def _unless_called(parser: Runnable[AIMessage, Any]) -> Runnable[AIMessage, Any]:
    def parse(message: AIMessage) -> Any:
        return None if message.tool_calls else parser.invoke(message)

    return RunnableLambda(parse)
