"""The reader of nginx's settings takes each word as nginx does, and says so where it cannot."""

from __future__ import annotations

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.entry import nginx
from clawkeep.subjects.entry.nginx import Block, tree

MAIN = "/etc/nginx/nginx.conf"


def read(*files: tuple[str, str] | str) -> Block:
    """The tree of files as `nginx -T` prints them; a plain text is the main one's."""
    named = [(MAIN, one) if isinstance(one, str) else one for one in files]
    return tree("".join(f"# configuration file {name}:\n{text}\n" for name, text in named).split("\n"))


# What nginx 1.22.1 takes each for, by `nginx -t` and its messages; 4000 random texts were compared in the same way.
@pytest.mark.parametrize(
    "text",
    [
        'proxy_hide_header ${; satisfy any; add_header X "}";',
        "proxy_hide_header $${{; satisfy any;",
        "proxy_hide_header a\x0b#b; satisfy any;",
        "proxy_hide_header a\u00a0#b; satisfy any;",
        "proxy_hide_header a#b; satisfy any;",
        "add_header X a}; satisfy any;",
        'add_header X a"b; satisfy any; add_header Y c"d;',
        "add_header X a\\;b; satisfy any;",
        'add_header X "a\\"; b"; satisfy any;',
        'add_header X "\\\\"; satisfy any;',
        "# the end of this comment is not escaped \\\nsatisfy any;",
        '"satisfy" \'any\'; add_header X "";',
        "\r\nsatisfy\tany\r\n;",
    ],
)
def test_no_setting_hides_in_a_word_or_a_comment(text: str) -> None:
    assert read(text).all("satisfy") == [("any",)]


@pytest.mark.parametrize("text", ['add_header X "satisfy any;";', "add_header X 'a;\nsatisfy any;';", "#satisfy any;"])
def test_what_is_quoted_or_a_comment_is_no_setting(text: str) -> None:
    assert read(text).all("satisfy") == []


def test_escapes_are_resolved() -> None:
    assert read(r'a "x\"y\\z\t\q" \;b;').all("a") == [('x"y\\z\t\\q', "\\;b")]


@pytest.mark.parametrize(
    "text",
    [
        "http {",
        "}",
        "http { } }",
        "worker_processes 1",
        "worker_processes 1 }",
        ";",
        "{ }",
        'add_header X "a;',
        "add_header X 'a\\';",
        'add_header X "a"b;',
        "worker_processes \\",
    ],
)
def test_text_that_nginx_refuses_is_not_measured(text: str) -> None:
    with pytest.raises(Unmeasured, match=r"nginx's file /etc/nginx/nginx\.conf cannot be read: "):
        read(text)


@pytest.mark.parametrize(("text", "times"), [("a {", 3000), (f"include {MAIN};", 1), ("a;", nginx.STATEMENTS_MOST + 1)])
def test_what_is_too_deep_or_too_much_is_not_measured(text: str, times: int) -> None:
    with pytest.raises(Unmeasured, match="too many or too deep"):
        read(text * times)


def test_files_that_double_each_other_are_not_measured() -> None:
    levels = [(f"/etc/nginx/{level}", f"include {level + 1}; include {level + 1};") for level in range(60)]
    with pytest.raises(Unmeasured, match="too many or too deep"):
        read("include 0;", *levels, ("/etc/nginx/60", "a;"))


def test_too_many_files_are_not_measured() -> None:
    with pytest.raises(Unmeasured, match="printed 1001 files"):
        read("include /etc/*;", *((f"/etc/{number}", "") for number in range(1000)))


def test_lua_is_not_judged() -> None:
    lua = 'location / { access_by_lua_block { if x then ngx.say("}") -- }\n end } satisfy any; }'
    with pytest.raises(Unmeasured, match="nginx runs Lua"):
        read(lua)


def test_an_include_takes_names_as_glob_does() -> None:
    """No asterisk stands for a slash or a leading dot."""
    block = read(
        "http { include conf.d/*.conf; }include conf.d/sub/c.conf; include conf.d/.d.conf; include '/srv/my web.conf';",
        ("/etc/nginx/conf.d/b.conf", "b;"),
        ("/etc/nginx/conf.d/a.conf", "a;"),
        ("/etc/nginx/conf.d/sub/c.conf", "c;"),
        ("/etc/nginx/conf.d/.d.conf", "d;"),
        ("/srv/my web.conf", "e;"),
    )
    assert block.children[0].directives == [("a",), ("b",)]
    assert block.directives == [("c",), ("d",), ("e",)]


def test_relative_names_start_from_the_main_files_folder() -> None:
    block = read(("/opt/nginx/main.conf", "include more.conf;"), ("/opt/nginx/more.conf", "a;"))
    assert block.directives == [("a",)]


def test_a_comment_that_looks_like_the_beginning_of_a_file_hides_nothing() -> None:
    forged = "a;\n# configuration file /etc/nginx/elsewhere:\nserver { listen 0.0.0.0:8443; }"
    with pytest.raises(Unmeasured, match="/etc/nginx/elsewhere, which nothing includes"):
        read("include conf.d/*;", ("/etc/nginx/conf.d/x", forged))


def test_a_comment_about_a_configuration_file_is_a_comment() -> None:
    assert read("# configuration file of the office:\na;").directives == [("a",)]
