"""Whether a chat template shows what the recipe asks: known before anything starts. Imports no transformers."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rl_core.config.data import PromptConfig
from rl_core.data.prompt import prompt_messages
from rl_core.errors import MistakeError

EXAMPLE = "What is 17 + 25?"
FIELD = "data.chat_template"


def check_chat_template(text: str, data: PromptConfig) -> None:
    """Refuse a chat template of the recipe's own that is not Jinja, fails, or leaves out what was asked.

    Raises:
        MistakeError: the message says which.
    """
    try:
        template = _environment().from_string(text)
    except TemplateSyntaxError as error:
        raise MistakeError(f"{FIELD}: not Jinja, in line {error.lineno}: {error.message}") from None
    check_turns(lambda turns: template.render(messages=turns, add_generation_prompt=True), data, FIELD)


def check_turns(render: Callable[[Sequence[dict[str, str]]], str], data: PromptConfig, template: str) -> None:
    """Refuse a template that fails on the recipe's turns, or renders nothing of one of them.

    Args:
        render: from turns to the prompt's text.
        template: what to call it.

    Raises:
        MistakeError: the message says why.
    """
    turns = prompt_messages(EXAMPLE, data)
    try:
        text = render(turns)
    except Exception as error:  # whatever the template's own expressions raise
        raise MistakeError(
            f"{template}: cannot render {' and '.join(turn['role'] for turn in turns)} turns: "
            f"{' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    if EXAMPLE not in text:
        raise MistakeError(
            f"{template}: renders nothing of the problem: it must show `message.content` of every turn in `messages`"
        )
    if data.system_prompt and data.system_prompt.strip() not in text:
        raise MistakeError(
            f"{template}: renders nothing of data.system_prompt: put that text into data.prompt_template, or take "
            "another template"
        )


class _Generation(Extension):
    """`{% generation %}`, by which transformers marks what the assistant says: rendered as it stands."""

    tags = {"generation"}  # noqa: RUF012 - as the base class has it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as transformers sets it up for chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, **{"ensure_ascii": False, **options})
    environment.globals |= {"raise_exception": _raise, "strftime_now": lambda _: ""}
    return environment


def _raise(message: Any) -> NoReturn:
    raise TemplateError(str(message))
