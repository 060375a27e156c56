"""What user code may do to the real Playwright page, and which of it outlasts a visit.

Every public name of the classes below is either *harmless* (over with the visit, or part of the session anyway) or
*lasting* (listeners, routes, init scripts, emulation, keys held down, ...). The object that user code gets is the real
one; only its class is exchanged for a subclass that notes the lasting names. A test fails for a name in no list.
"""

import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any

from playwright.async_api import BrowserContext, Keyboard, Mouse, Page, Touchscreen

Clock: type = typing.get_type_hints(typing.cast("property", vars(Page)["clock"]).fget)["return"]  # not exported

Note = Callable[[str, tuple[Any, ...]], None]
"""Takes the name of a lasting member, such as `Page.route`, and the positional arguments."""

_LISTENERS = "on once"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LASTING: Mapping[type, frozenset[str]] = {
    Page: _names(
        f"""{_LISTENERS} add_init_script add_locator_handler emulate_media expose_binding expose_function pause
        pick_locator route route_from_har route_web_socket screencast set_default_navigation_timeout
        set_default_timeout set_extra_http_headers set_viewport_size webmcp"""
    ),
    BrowserContext: _names(
        f"""{_LISTENERS} add_init_script clear_permissions credentials debugger expose_binding expose_function
        grant_permissions new_cdp_session route route_from_har route_web_socket set_default_navigation_timeout
        set_default_timeout set_extra_http_headers set_geolocation set_offline tracing"""
    ),
    Clock: _names(f"{_LISTENERS} fast_forward install pause_at resume run_for set_fixed_time set_system_time"),
    Keyboard: _names(f"{_LISTENERS} down"),
    Mouse: _names(f"{_LISTENERS} down"),
    Touchscreen: _names(_LISTENERS),
}

HARMLESS: Mapping[type, frozenset[str]] = {
    Page: _names(
        """add_script_tag add_style_tag aria_snapshot bring_to_front cancel_pick_locator check clear_console_messages
        clear_page_errors click clock close console_messages content context dblclick dispatch_event drag_and_drop
        eval_on_selector eval_on_selector_all evaluate evaluate_handle expect_console_message expect_download
        expect_event expect_file_chooser expect_navigation expect_popup expect_request expect_request_finished
        expect_response expect_websocket expect_worker fill focus frame frame_locator frames get_attribute
        get_by_alt_text get_by_label get_by_placeholder get_by_ref get_by_role get_by_test_id get_by_text get_by_title
        go_back go_forward goto hide_highlight hover inner_html inner_text input_value is_checked is_closed is_disabled
        is_editable is_enabled is_hidden is_visible keyboard local_storage locator main_frame mouse opener page_errors
        pdf press query_selector query_selector_all reload remove_listener remove_locator_handler request request_gc
        requests screenshot select_option session_storage set_checked set_content set_input_files tap text_content
        title touchscreen type uncheck unroute unroute_all url video viewport_size wait_for_event wait_for_function
        wait_for_load_state wait_for_selector wait_for_timeout wait_for_url workers"""
    ),
    BrowserContext: _names(
        """add_cookies background_pages browser clear_cookies clock close cookies expect_console_message expect_event
        expect_page is_closed new_page pages remove_listener request service_workers set_storage_state storage_state
        unroute unroute_all wait_for_event"""
    ),
    Clock: frozenset({"remove_listener"}),
    Keyboard: _names("insert_text press remove_listener type up"),
    Mouse: _names("click dblclick move remove_listener up wheel"),
    Touchscreen: _names("remove_listener tap"),
}


def watch(subject: Any, note: Note) -> None:
    """Have the lasting members of a Playwright object noted from now on.

    Args:
        subject: a page, context, clock, keyboard, mouse or touchscreen; it stays the same object.
        note: called before each lasting member does its work.
    """
    base = type(subject)
    subject.__class__ = _watched(typing.cast("Any", base))
    subject.browsercrawl_note = note


@functools.cache
def _watched(base: Any) -> type:
    members: dict[str, Any] = {}
    for name in LASTING[base]:
        original = getattr(base, name)
        label = f"{base.__name__}.{name}"
        members[name] = _noted_property(original, label) if isinstance(original, property) else _noted(original, label)
    # Its name stands in Playwright's messages: that must be the name the user knows.
    return type(base.__name__, (base,), members | {"__qualname__": base.__qualname__, "__module__": base.__module__})


def _noted(original: Callable[..., Any], label: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def member(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.browsercrawl_note(label, (*args, *kwargs.values()))
        return original(self, *args, **kwargs)

    return member


def _noted_property(original: property, label: str) -> property:
    def member(self: Any) -> Any:
        self.browsercrawl_note(label, ())
        return original.__get__(self)

    return property(member, doc=original.__doc__)
