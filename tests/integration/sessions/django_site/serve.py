"""Django's admin on a loopback port, with superusers whose sessions may end at random: a real application to log in to.

    python serve.py FOLDER [--accounts 3] [--groups 2] [--expire LEAST-MOST] [--seed 0]

The users are `user-0` ... with the passwords `pw-user-0` ...; `/counts/` tells, as JSON, logins, ended sessions and
pages of each. It prints its URL when it is ready, keeps its database in FOLDER, and ends with its standard input.
"""

import argparse
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django  # type: ignore[import-untyped]  # it comes without types
from django.conf import settings  # type: ignore[import-untyped]  # as above
from django.http import HttpRequest, HttpResponse, JsonResponse  # type: ignore[import-untyped]  # as above


class Books:
    """What happened to whom, and how many pages a session shows before it ends.

    Args:
        expire: the least and the most; None: sessions last.
        seed: decides, with the user and the number of his login, between them.
    """

    def __init__(self, expire: tuple[int, int] | None, *, seed: int) -> None:
        self._expire = expire
        self._seed = seed
        self._lock = threading.Lock()  # guards the counters: each connection has a thread
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in ("logins", "expired", "pages")}

    def count(self, what: str, user: str) -> None:
        """Count something of a user."""
        with self._lock:
            self._counts[what][user] += 1

    def pages_of_session(self, user: str) -> int | None:
        """Return how many pages the user's present session shows; None: any number."""
        if self._expire is None:
            return None
        with self._lock:
            return random.Random(f"{self._seed} {user} {self._counts['logins'][user]}").randint(*self._expire)

    def answer(self, _request: HttpRequest) -> HttpResponse:
        """Tell the counts."""
        with self._lock:
            return JsonResponse(self._counts)


def ending_sessions(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Make the middleware that counts the admin's pages and ends sessions when they have shown theirs."""
    books: Books = settings.BOOKS

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_page = response.status_code == 200 and response.headers.get("Content-Type", "").startswith("text/html")
        if not (is_page and request.user.is_authenticated):
            return response
        user = request.user.get_username()
        books.count("pages", user)
        left = request.session.get("left", books.pages_of_session(user))
        if left is not None:
            request.session["left"] = left - 1
            if left <= 1:
                request.session.flush()
                books.count("expired", user)
        return response

    return respond


def configure(folder: Path, books: Books) -> None:
    """Make the project: the admin and what it needs."""
    settings.configure(
        BOOKS=books,
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        STATIC_URL="static/",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # a login shall not cost half a second
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db.sqlite3"}},
        INSTALLED_APPS=[
            f"django.contrib.{name}"
            for name in ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            f"{__name__}.ending_sessions",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
    )
    django.setup()


def fill(books: Books, *, accounts: int, groups: int) -> None:
    """Make the tables, the users, and something to look at."""
    from django.contrib.auth.models import Group, User  # type: ignore[import-untyped]  # noqa: PLC0415 - after setup
    from django.contrib.auth.signals import user_logged_in  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    from django.core.management import call_command  # type: ignore[import-untyped]  # noqa: PLC0415 - as above

    call_command("migrate", verbosity=0)
    for number in range(accounts):
        User.objects.create_superuser(f"user-{number}", password=f"pw-user-{number}")
    Group.objects.bulk_create(Group(name=f"group {number}") for number in range(1, groups + 1))

    def logged_in(user: Any, **_: object) -> None:
        books.count("logins", user.get_username())

    user_logged_in.connect(logged_in, weak=False)


def serve() -> None:
    """Serve until standard input ends."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler  # type: ignore[import-untyped]  # noqa: PLC0415 - after setup
    from django.core.servers.basehttp import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        ThreadedWSGIServer,
        WSGIRequestHandler,
    )
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]  # noqa: PLC0415 - as above

    server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
    server.daemon_threads = True
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.shutdown()


def __getattr__(name: str) -> Any:
    """Give Django the addresses, which can be made only after it is set up."""
    if name != "urlpatterns":
        raise AttributeError(name)
    from django.contrib import admin  # type: ignore[import-untyped]  # noqa: PLC0415 - after setup
    from django.urls import path  # type: ignore[import-untyped]  # noqa: PLC0415 - as above

    return [path("admin/", admin.site.urls), path("counts/", settings.BOOKS.answer)]


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--accounts", type=int, default=3)
    parser.add_argument("--groups", type=int, default=2, help="pages are made of them")
    parser.add_argument("--expire", help="pages that a session shows, such as 5-30; sessions last if it is not given")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    least, _, most = (arguments.expire or "").partition("-")
    books = Books((int(least), int(most)) if least else None, seed=arguments.seed)
    configure(arguments.folder, books)
    fill(books, accounts=arguments.accounts, groups=arguments.groups)
    serve()


if __name__ == "__main__":
    main()
