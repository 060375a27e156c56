"""The section `sessions` of a job file: what it means, what is refused, and that no secret gets out of it."""

from pathlib import Path

import pytest

from browsercrawl.config import CrawlerConfig, SessionsConfig
from browsercrawl.config.job import JobFile
from browsercrawl.errors import ConfigError

BASE = Path("/jobs")
SEEDS = "seeds: {urls: [http://a.test/]}\n"
STEPS = '[{fields: {"#u": "{username}", "#p": "{password}"}}]'
FORM = f'form: {{url: "http://a.test/login", steps: {STEPS}, success: {{selector: "#me"}}}}'


EVERYTHING = """
sessions:
  profiles:
    alice:
      login:
        form:
          url: http://a.test/login
          steps: [{fields: {"#u": "{username}"}, submit: b}, {fields: {"#p": "{password}", "#t": "{totp}"}}]
          success: {url: "*/in*", selector: "#me", cookie: sid}
          failure: .error
        username: alice
        password: ${PW}
        totp_file: a.totp
        logged_out: {url: "*/login*", status: "401, 419", present: form, missing: "#me", cookie: sid}
        timeout: 30s
        tries: 5
        backoff: 0
      user_agent: me
      locale: de-DE
      timezone: Europe/Berlin
      geolocation: {latitude: 52.5, longitude: "${LONG}", accuracy: 10}
      viewport: {width: 1280, height: 800}
      headers: {X-Shop: one}
      http_credentials: {origin: "http://a.test", username: basic, password: "${PW}"}
      proxy: "http://me:${PW}@p.test:1"
      domains: [a.test, b.test]
      max_pages: 2
      context_visits_max: 50
      indexed_db: yes
    bob: {login: {http: {url: "http://a.test/l", json: {u: "{username}"}, cookie: c}, username: bob,
          password_file: b.txt}, account: robert}
    carol: {login: {state: c.json}, domains: [a.test]}
    dave: {login: {function: "m:f", totp: "${PW}", password_file: /abs/d}, account: dave}
    eve: {}
  rules: [{session: alice, url: "*x*"}, {session: eve, key: "k*"}]
  pool: 10
  blocked: {status: [418], present: .captcha}
  proxies: ["http://q.test:1", "${PROXY}"]
  proxy: m:p
  proxy_cooldown: 2m
  state: states
  key: ${PW}
  save_every_pages: 5
  share_accounts: true
"""


def _file(text: str) -> JobFile:
    return JobFile.read(SEEDS + text, name="shop.yaml", base=BASE)


def _config(text: str, **environment: str) -> SessionsConfig:
    return _file(text).resolve(environment).config(Path("runs/x")).sessions


def _login(text: str) -> str:
    return f"sessions: {{profiles: {{alice: {{login: {{{FORM}, {text}}}}}}}}}"


def _refused(text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        _file(text).resolve(environment)
    return raised.value.message.split("\n")


def test_sessions_every_field_reaches_the_configuration() -> None:
    """Each field sets exactly what it says, in units as people write them; paths start from the job's folder."""
    config = _config(
        EVERYTHING,
        PW="hunter2",
        LONG="13.4",
        PROXY="http://u:hunter2@r.test:1",
    )
    steps = [{"fields": {"#u": "{username}"}, "submit": "b"}, {"fields": {"#p": "{password}", "#t": "{totp}"}}]
    alice = {
        "name": "alice",
        "login": {
            "recipe": {
                "kind": "form", "url": "http://a.test/login", "steps": steps, "failure": ".error",
                "success": {"url": "*/in*", "selector": "#me", "cookie": "sid"},
            },
            "credentials": {"username": "alice", "password": "hunter2", "totp_file": BASE / "a.totp"},
            "logged_out": {
                "url": "*/login*", "status": [401, 419], "present": "form", "missing": "#me", "cookie": "sid",
            },
            "timeout_s": 30, "tries": 5, "backoff_s": 0,
        },
        "identity": {
            "user_agent": "me", "locale": "de-DE", "timezone": "Europe/Berlin", "headers": {"X-Shop": "one"},
            "geolocation": {"latitude": 52.5, "longitude": 13.4, "accuracy": 10},
            "viewport": {"width": 1280, "height": 800},
        },
        "http_credentials": {"origin": "http://a.test", "username": "basic", "password": "hunter2"},
        "proxy": "http://me:hunter2@p.test:1", "domains": ["a.test", "b.test"], "max_pages": 2,
        "context_visits_max": 50, "indexed_db": True,
    }  # fmt: skip
    bob = {"kind": "http", "url": "http://a.test/l", "json_body": {"u": "{username}"}, "cookie": "c"}
    assert config == SessionsConfig.model_validate(
        {
            "profiles": [
                alice,
                {
                    "name": "bob", "account": "robert",
                    "login": {"recipe": bob, "credentials": {"username": "bob", "password_file": BASE / "b.txt"}},
                },
                {
                    "name": "carol", "domains": ["a.test"],
                    "login": {"recipe": {"kind": "state", "file": BASE / "c.json"}},
                },
                {
                    "name": "dave", "account": "dave",
                    "login": {"credentials": {"totp": "hunter2", "password_file": Path("/abs/d")}},
                },
                {"name": "eve"},
            ],
            "rules": [{"session": "alice", "url": "*x*"}, {"session": "eve", "key": "k*"}],
            "pool": 10, "blocked": {"status": [418], "present": ".captcha"}, "proxy_cooldown_s": 120,
            "proxies": ["http://q.test:1", "http://u:hunter2@r.test:1"], "state_dir": BASE / "states",
            "key": "hunter2", "save_every_pages": 5, "share_accounts": True,
        }
    )  # fmt: skip


def test_sessions_left_out_change_nothing() -> None:
    """A job without the section is a crawl without sessions."""
    assert _config("") == _config("sessions:\n") == SessionsConfig()


def test_sessions_states_are_kept_beside_the_job_as_soon_as_there_is_a_login() -> None:
    """All runs of the job and the command `login` share them; without a login the run directory has them."""
    assert _config("sessions: {profiles: {eve: {}}}").state_dir is None
    assert _config(_login("username: a")).state_dir == BASE / "sessions"
    assert _config(f"base: below\n{_login('username: a')}").state_dir == BASE / "below" / "sessions"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sessions: {profile: {}}", "sessions.profile: there is no such key; did you mean profiles?"),
        ("sessions: {profiles: {alice: {logn: {}}}}", "sessions.profiles.alice.logn: there is no such key; did you"),
        (_login("usrname: x"), "sessions.profiles.alice.login.usrname: there is no such key; did you mean username?"),
        (_login("logged_out: {stats: 1}"), "login.logged_out.stats: there is no such key; did you mean status?"),
        (_login("timeout: 30"), "sessions.profiles.alice.login.timeout: '30': write a number and one of ms, s, m, h"),
        (_login("tries: 0"), "sessions.profiles.alice.login.tries: must be at least 1, not 0"),
        (_login("state: x"), "sessions.profiles.alice.login: say how it logs in: give one of form, http, state and"),
        (_login("username: "), "sessions.profiles.alice.login.username: has no value; write one, or"),
        ("sessions: {profiles: {a: }}", "sessions.profiles.a: has no value"),
        ("sessions: {profiles: {a: {login: {state: x}}}}", "sessions.profiles.a: a login from a saved state must name"),
        ("sessions: {profiles: {'host:x': {}}}", "sessions.profiles.host:x: must not begin with host: or pool:"),
        (_login("username: x").replace(STEPS, "[]"), "login.form.steps: must name at least one page"),
        (_login("username: x").replace(STEPS, "[{fields: {}}]"), "steps[1].fields: must name at least one field"),
        ("sessions: {profiles: {a: {viewport: {width: 0, height: 1}}}}", "viewport.width: must be at least 1, not 0"),
        ("sessions: {profiles: {a: {viewport: {width: 9}}}}", "sessions.profiles.a.viewport.height: is missing"),
        ("sessions: {profiles: {a: {geolocation: {latitude: 99, longitude: 1}}}}", "latitude: must be at most 90, not"),
        ("sessions: {profiles: {a: {headers: {Cookie: x}}}}", "sessions.profiles.a.headers: Cookie would be sent to"),
        ("sessions: {profiles: {a: {login: {function: x}}}}", "login.function: 'x': write module:function"),
        (_login("username: x").replace('"{password}"', '"{pass}"'), "login.form.steps[1].fields: {pass} is unknown;"),
        (_login("username: x").replace('success: {selector: "#me"}', "success: {}"), "login.form.success: say how it"),
        (_login("username: x").replace("http://a.test/login", "login"), "login.form.url: not a URL: 'login'"),
        ("sessions: {rules: [{session: a}]}", "sessions.rules[1]: a rule needs url or key"),
        ("sessions: {per_host: true, pool: 3}", "sessions: per_host and pool exclude each other"),
        ("sessions: {proxies: [nonsense]}", "sessions.proxies: must be the URL of an http, https or socks5 proxy"),
        ("sessions: {proxy_cooldown: 60}", "sessions.proxy_cooldown: '60': write a number and one of"),
        ("sessions: {profiles: {a: {account: x}, b: {account: x}}}", "sessions: sessions 'a' and 'b' share the acc"),
        ("sessions: 3", "sessions: must be a mapping"),
        ("sessions: {profiles: 3}", "sessions.profiles: must be a mapping"),
        ("sessions: {profiles: {a: 3}}", "sessions.profiles.a: must be a mapping"),
    ],
)  # fmt: skip
def test_sessions_mistake_is_told_with_file_line_and_field(text: str, told: str) -> None:
    """What the configuration refuses is told in the job's words and places, too."""
    (only,) = _refused(text)
    assert only.startswith("shop.yaml, line 2, ")
    assert told in only


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (_login("password: hunter2"), "sessions.profiles.alice.login.password"),
        (_login("password: 'hunter2 ${PW}'"), "sessions.profiles.alice.login.password"),
        (_login("totp: hunter2"), "sessions.profiles.alice.login.totp"),
        (_login("totp: '$${hunter2}'"), "sessions.profiles.alice.login.totp"),
        (
            "sessions: {profiles: {a: {http_credentials: {origin: 'http://a.test', username: u, password: hunter2}}}}",
            "sessions.profiles.a.http_credentials.password",
        ),
        ("sessions: {profiles: {a: {proxy: 'http://u:hunter2@p:1'}}}", "sessions.profiles.a.proxy"),
        ("sessions: {profiles: {a: {proxy: 'http://hunter2@p:1'}}}", "sessions.profiles.a.proxy"),
        ("sessions: {profiles: {a: {proxy: 'http://u:hunter2${PW}@p:1'}}}", "sessions.profiles.a.proxy"),
        ("sessions: {proxies: ['http://q:1', 'http://u:hunter2@p:1']}", "sessions.proxies[2]"),
        ("sessions: {key: hunter2}", "sessions.key"),
    ],
)
def test_sessions_secret_in_the_file_is_refused_without_repeating_it(text: str, place: str) -> None:
    """A job file is copied, shared and put under version control: no secret belongs there."""
    (told,) = _refused(text, PW="x")
    assert told.startswith(f"shop.yaml, line 2, {place}: ")
    assert "must not stand in the file: write ${NAME}" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "text",
    [
        _login("username: x").replace("http://a.test/login", "${S}"),
        _login("timeout: '${S}'"),
        _login("tries: '${S}'"),
        "sessions: {proxies: ['${S}']}",
        "sessions: {profiles: {a: {proxy: '${S}'}}}",
        "sessions: {profiles: {a: {domains: ['${S} x']}}}",
        "sessions: {profiles: {a: {viewport: {width: '${S}', height: 3}}}}",
        "sessions: {profiles: {a: {geolocation: {latitude: '${S}', longitude: 3}}}}",
        "sessions: {profiles: {a: {account: '${S}'}, b: {account: '${S}'}}}",
        "sessions: {profiles: {a: {http_credentials: {origin: '${S}', username: u, password: '${S}'}}}}",
        'sessions: {profiles: {a: {headers: {X-A: "${S}\\r\\n"}}}}',
    ],
)
def test_sessions_value_from_the_environment_that_is_wrong_is_never_shown(text: str) -> None:
    """What comes from there may be a secret that stands in the wrong place."""
    told = "\n".join(_refused(text, S="Hunter2"))
    assert told.startswith("shop.yaml, line 2, ")
    assert "hunter2" not in told.lower()


def test_sessions_secrets_are_in_no_repr_dump_or_stored_text() -> None:
    """What is logged and kept of a job has the reference, or a mark; the crawl itself has the value."""
    file = _file(
        _login("username: '${S}', password: '${S}', totp: '${S}', password_file: x").replace(", password_file: x", "")
        + "\n"
    )
    job = file.resolve({"S": "hunter2"})
    config = job.config(Path("x"))
    login = config.sessions.profiles[0].login
    assert login is not None
    assert login.credentials.password is not None
    assert login.credentials.password.get_secret_value() == login.credentials.username == "hunter2"
    shown = [repr(job), str(job), repr(config), config.model_dump_json(), file.stored(), job.model_dump_json()]
    assert [each for each in shown[:-1] if "hunter2" in each] == []
    assert job.shown("the account hunter2") == "the account [redacted]"


def test_sessions_path_from_the_environment_is_not_shown_either() -> None:
    """A file's name becomes a path on its way; what is logged has the mark."""
    config = _file(_login("password_file: '${S}'")).resolve({"S": "hunter2"}).config(Path("x"))
    assert "hunter2" not in config.model_dump_json()


def test_sessions_variable_that_is_not_set_names_its_place() -> None:
    """Nobody finds out at the login that a password was not there."""
    assert _refused(_login("password: '${PW}'")) == [
        "shop.yaml, line 2, sessions.profiles.alice.login.password: the environment has no variable PW"
    ]


def test_with_session_leaves_the_others_and_what_they_need_out() -> None:
    """To log one in, the passwords of the others need not be there."""
    text = "sessions: {profiles: {a: {proxy: '${A}'}, b: {proxy: '${B}'}}}"
    file = _file(text)
    assert file.session_names() == ["a", "b"]
    job = file.with_session("b").resolve({"B": "http://b.test:1"})
    assert list(job.sessions.profiles) == ["b"]
    assert _file("sessions: 3").session_names() == _file("").session_names() == []


@pytest.mark.parametrize("name", ["host:a", "pool:1", "x" * 201])
def test_seeds_session_must_be_a_name_that_a_request_may_have(name: str) -> None:
    """It is told before the first request would fail of it."""
    with pytest.raises(ConfigError, match=r"seeds\.session: must not begin with host: or pool:"):
        JobFile.read(f"seeds: {{urls: [x], session: '{name}'}}", name="x", base=BASE).resolve({})


def test_stored_job_with_sessions_is_the_same_job() -> None:
    """A run is resumed with the sessions it began with, and the present values of their secrets."""
    file = _file(_login("username: a, password: '${PW}'"))
    again = JobFile.from_stored(file.stored(), name="runs/x")
    assert again.resolve({"PW": "new"}) == file.resolve({"PW": "new"})
    config: CrawlerConfig = again.resolve({"PW": "new"}).config(Path("x"))
    assert config.sessions.profiles[0].account_name == "a"
