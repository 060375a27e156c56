"""User code by label: what `@crawler.handler`, `@crawler.on_failed` and `@crawler.scope` register."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from browsercrawl.dispatcher import ScopeFunction
from browsercrawl.errors import ConfigError, UnknownLabel
from browsercrawl.result import Result
from browsercrawl.visit import Handler

OnFailed = Callable[[Result], Awaitable[None]]
"""User code that sees the results of requests that ended failed."""


class HandlerTable:
    """Handlers by label; None is the default one."""

    def __init__(self) -> None:
        self.on_failed: OnFailed | None = None
        self.scope: ScopeFunction | None = None
        self._by_label: dict[str | None, Handler] = {}

    def register_for_sessions(
        self, functions: dict[str | None, Any], *, names: Sequence[str], function: Callable[..., Any]
    ) -> None:
        """Add user code for sessions; no name: for all that have none of their own.

        Raises:
            ConfigError: it is no coroutine function, or a session has one already.
        """
        if any(callable(name) for name in names):
            raise ConfigError(f"write parentheses in the decorator above {_name(function)}")
        self._check(function)
        for name in names or (None,):
            if name in functions:
                whose = "all sessions" if name is None else f"session {name!r}"
                raise ConfigError(f"two functions for {whose}: {_name(functions[name])} and {_name(function)}")
            functions[name] = function

    def register(self, label: str | None, handler: Handler) -> None:
        """Add a handler.

        Raises:
            ConfigError: it is no coroutine function, or its label has a handler already.
        """
        if callable(label):
            raise ConfigError(f"write @crawler.handler() with parentheses above {_name(label)}")
        self._check(handler)
        if label in self._by_label:
            raise ConfigError(f"two handlers for {_named(label)}: {_name(self._by_label[label])} and {_name(handler)}")
        self._by_label[label] = handler

    def register_on_failed(self, handler: OnFailed) -> None:
        """Set what sees failed results.

        Raises:
            ConfigError: it is no coroutine function, or one is set already.
        """
        self._check(handler)
        if self.on_failed is not None:
            raise ConfigError(f"two on_failed handlers: {_name(self.on_failed)} and {_name(handler)}")
        self.on_failed = handler

    def register_scope(self, function: ScopeFunction) -> None:
        """Set what decides where links may lead.

        Raises:
            ConfigError: it is a coroutine function, or one is set already.
        """
        if inspect.iscoroutinefunction(function):
            raise ConfigError(f"scope {_name(function)} must be a plain `def` function: it is asked for each link")
        if self.scope is not None:
            raise ConfigError(f"two functions for the scope: {_name(self.scope)} and {_name(function)}")
        self.scope = function

    def of(self, label: str | None) -> Handler | None:
        """Return the handler of a label; None when there are none at all and pages are only captured.

        Raises:
            UnknownLabel: there are handlers, but none for this label.
        """
        if not self._by_label:
            return None
        try:
            return self._by_label[label]
        except KeyError:
            known = ", ".join(sorted(_named(known) for known in self._by_label))
            raise UnknownLabel(
                f"no handler for {_named(label)}; there are handlers for: {known}. "
                "Register one with @crawler.handler(label)"
            ) from None

    @staticmethod
    def _check(handler: Callable[..., object]) -> None:
        if not inspect.iscoroutinefunction(handler):
            raise ConfigError(f"handler {_name(handler)} must be an `async def` function")


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _named(label: str | None) -> str:
    return "requests without a label" if label is None else f"label {label!r}"
