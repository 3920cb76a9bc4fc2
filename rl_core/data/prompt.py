"""How a problem becomes the prompt, and how a problem that already is one becomes a problem again."""

from rl_core.config.data import PROBLEM, PromptConfig
from rl_core.types import Message


def prompt_messages(problem: str, data: PromptConfig) -> list[Message]:
    """The chat that asks `problem`: the system's turn where the recipe has one, then the user's.

    Only `{problem}` is replaced, once; every other brace, in the template and in the problem, is literal.
    """
    user = {"role": "user", "content": data.prompt_template.replace(PROBLEM, problem)}
    return [{"role": "system", "content": data.system_prompt}, user] if data.system_prompt else [user]


def without_template_text(problem: str, template: str) -> str:
    """`problem` without the template's own text before and after it, so that no prompt says it twice.

    Published data sets carry the instruction inside the problem; with the same instruction as template their prompts
    come out as published, to the character. Where only the white space at the seam differs, it goes as well. A
    problem without that text is returned unchanged.
    """
    before, after = template.split(PROBLEM)
    return _without_start(_without_end(problem, after), before)


def _without_end(text: str, end: str) -> str:
    core, bare = end.strip(), text.rstrip()
    if not core or not bare.endswith(core):
        return text
    return text.removesuffix(end) if text.endswith(end) else bare.removesuffix(core).rstrip()


def _without_start(text: str, start: str) -> str:
    core, bare = start.strip(), text.lstrip()
    if not core or not bare.startswith(core):
        return text
    return text.removeprefix(start) if text.startswith(start) else bare.removeprefix(core).lstrip()
