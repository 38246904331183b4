"""Prompt templates on their way to the model: what they call the question is what is read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from inspect import unwrap
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.program.utils import get_program_for_llm
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.types import BasePydanticProgram, Model, PydanticProgramMode

from llamaindex_bestroute._reading import QUERY_VARIABLES, query_in, remembering


class Prompting(FunctionCallingLLM):
    """The doors that take a prompt template and its variables.

    Attributes:
        query_variables: What prompt templates call the question: the value of the first of these
            is what the router reads.
    """

    query_variables: tuple[str, ...] = QUERY_VARIABLES

    def _get_messages(self, prompt: BasePromptTemplate, **prompt_args: Any) -> list[ChatMessage]:
        """The filled template; where it wraps a question, the last message remembers it."""
        messages = super()._get_messages(prompt, **prompt_args)
        return remembering(messages, query_in(prompt, prompt_args, self.query_variables))

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """An object of the class, as the filled template asks for it."""
        read = self._program_options(llm_kwargs, output_cls, prompt, prompt_args)
        predict = unwrap(LLM.structured_predict)  # the span is this method's
        made: Model = predict(self, output_cls, prompt, read, **prompt_args)
        return made

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """An object of the class, as the filled template asks for it."""
        read = self._program_options(llm_kwargs, output_cls, prompt, prompt_args)
        predict = unwrap(LLM.astructured_predict)
        made: Model = await predict(self, output_cls, prompt, read, **prompt_args)
        return made

    def _structured_stream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        read = self._program_options(llm_kwargs, output_cls, prompt, prompt_args)
        return self._program(output_cls, prompt).stream_call(llm_kwargs=read, **prompt_args)

    async def _structured_astream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        read = self._program_options(llm_kwargs, output_cls, prompt, prompt_args)
        return await self._program(output_cls, prompt).astream_call(llm_kwargs=read, **prompt_args)

    def _program(
        self, output_cls: type[Model], prompt: PromptTemplate
    ) -> BasePydanticProgram[Model]:
        """As LlamaIndex's own, which lets a stream go without the tool call."""
        return get_program_for_llm(
            output_cls,
            prompt,
            self,
            pydantic_program_mode=self.pydantic_program_mode,
            tool_choice="required",
        )

    def _program_options(
        self,
        given: dict[str, Any] | None,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        arguments: dict[str, Any],
    ) -> dict[str, Any]:
        """The options of the call, and what it does not say itself.

        That is what the router reads; and where the object comes as text, what texts are usable.
        """
        options: dict[str, Any] = {}
        if query := query_in(prompt, arguments, self.query_variables):
            options["query_text"] = query
        if self._writes_objects:
            options["answer_schema"] = output_cls.model_json_schema()
        return options | (given or {})

    @property
    def _writes_objects(self) -> bool:
        """Whether a structured answer comes as text, and not as a tool call."""
        mode = self.pydantic_program_mode
        calls = self.metadata.is_function_calling_model
        return mode == PydanticProgramMode.LLM or (
            mode == PydanticProgramMode.DEFAULT and not calls
        )
