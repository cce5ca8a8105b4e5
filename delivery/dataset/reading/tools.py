"""Tools as text, so that every base model can be trained on them and a label is always a string.

The tags are those that the Hermes models introduced and that Qwen and others were trained with (NousResearch,
Hermes-Function-Calling, 2024): ``<tools>`` in the system message, ``<tool_call>`` in the assistant's, ``<tool_response>``
in the user's. JSON in them has sorted keys and no spaces, so that equal calls are equal strings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from delivery.dataset.reading.fields import canonical, json_field, visible_text
from delivery.dataset.reading.problems import BadRow, quoted


class Call(NamedTuple):
    """One call of a tool: ``id`` is what its result refers to (empty where it brings none), ``text`` the tagged JSON."""

    id: str
    text: str


def tools_text(value: Any, field: str) -> str:
    """Definitions of tools, as the end of a system message; empty where there are none.

    ``value`` is OpenAI's list of ``{"type": "function", "function": {...}}``, of bare functions, or either as a JSON string.

    Raises:
        BadRow: it is something else, or a tool has no name.
    """
    if isinstance(value, str) and value.strip():
        value = json_field(value, field)
    if value is None or value == "" or value == []:
        return ""
    if not isinstance(value, list):
        raise BadRow(f"is a {type(value).__name__}; write a list of tools", field=field)
    lines = "\n".join(_definition(tool, f"{field}[{index}]") for index, tool in enumerate(value))
    return (
        f"These functions can be called:\n<tools>\n{lines}\n</tools>\n"
        'A call is a JSON object in tags:\n<tool_call>\n{"arguments":{},"name":""}\n</tool_call>'
    )


def calls_of(turn: dict[str, Any], field: str) -> tuple[Call, ...]:
    """The calls that an assistant's message makes: ``tool_calls``, or the ``function_call`` of older files.

    Raises:
        BadRow: a call has no name, or arguments that are no JSON object.
    """
    given = turn.get("tool_calls")
    calls: tuple[Call, ...] = ()
    if given is not None:
        if not isinstance(given, list):
            raise BadRow(f"is a {type(given).__name__}; write a list of calls", field=f"{field}.tool_calls")
        calls = tuple(_call(call, f"{field}.tool_calls[{index}]") for index, call in enumerate(given))
    older = turn.get("function_call")
    if older is not None:
        calls += (_call({"function": older}, f"{field}.function_call"),)
    return calls


def calls_in(text: str, field: str) -> tuple[Call, ...]:
    """Calls that are written as JSON text: one ``{"name", "arguments"}``, or a list of them.

    Raises:
        BadRow: the text is something else.
    """
    value = json_field(text, field)
    calls = value if isinstance(value, list) and value else [value]
    return tuple(_call({"function": call}, field) for call in calls)


def response_text(content: str) -> str:
    """A tool's result, tagged."""
    return f"<tool_response>\n{content}\n</tool_response>"


def _definition(tool: Any, field: str) -> str:
    if not isinstance(tool, dict):
        raise BadRow(f"is a {type(tool).__name__}; write an object with type and function", field=field)
    kind = tool.get("type", "function")
    if kind != "function":
        raise BadRow(f"{quoted(kind)} is no kind of tool that can be trained; only functions are", field=f"{field}.type")
    function = tool.get("function") if "function" in tool else {k: v for k, v in tool.items() if k != "type"}
    if not isinstance(function, dict):
        raise BadRow(f"is a {type(function).__name__}; write an object with a name", field=f"{field}.function")
    visible_text(function.get("name"), f"{field}.function.name")
    return canonical({"type": "function", "function": function}, field)


def _call(call: Any, field: str) -> Call:
    if not isinstance(call, dict):
        raise BadRow(f"is a {type(call).__name__}; write an object with function", field=field)
    function = call.get("function")
    if not isinstance(function, dict):
        raise BadRow(f"is a {type(function).__name__}; write an object with name and arguments", field=f"{field}.function")
    name = visible_text(function.get("name"), f"{field}.function.name")
    place = f"{field}.function.arguments"
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = json_field(arguments, place) if arguments.strip() else None
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise BadRow(f"is a {type(arguments).__name__}; write a JSON object", field=place)
    own = call.get("id")
    text = canonical({"name": name, "arguments": arguments}, place)
    return Call(own if isinstance(own, str) else "", f"<tool_call>\n{text}\n</tool_call>")
