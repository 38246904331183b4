"""The pool: what is read, what is refused and how it is said, and what is never shown."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from bestroute import Arm, ModelPool, PooledModel, Price
from bestroute.errors import ConfigError, UnknownModelError

YAML = """\
models:
  - model: groq/llama-3.1-8b-instant
    name: small
    max_samples: 3
    price: {input: 0.05, output: 0.08}
    params:
      temperature: 0.7
      api_key: os.environ/GROQ_KEY
  - model: openai/gpt-4o
    reference: true
"""
BIG = {"model": "openai/gpt-4o", "reference": True}


def one(**fields: Any) -> PooledModel:
    return ModelPool.from_dict({"models": [{**BIG, **fields}]}).reference


def test_yaml_gives_the_pool_it_describes() -> None:
    pool = ModelPool.from_yaml(YAML)
    assert [str(arm) for arm in pool.arms] == ["small:1", "small:2", "small:3", "openai/gpt-4o:1"]
    assert pool.reference.name == "openai/gpt-4o"
    assert pool.reference_arm == Arm("openai/gpt-4o", 1)
    assert pool["small"].price == Price(input=0.05, output=0.08)


def test_a_file_is_read_like_its_text(tmp_path: Any) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(YAML, encoding="utf-8")
    pool = ModelPool.from_yaml(YAML)
    assert ModelPool.from_yaml(path) == pool
    for form in (pool, pool.model_dump(), YAML, path, str(path)):
        assert ModelPool.read(form) == pool


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("max_samples: 3", "max_sampels: 3", ["<text>:4", "max_sampels", "'max_samples'"]),
        ("output: 0.08", "outptu: 0.08", ["<text>:5", "models.0.price.outptu", "'output'"]),
        ("max_samples: 3", "max_samples: 0", ["<text>:4", "models.0.max_samples"]),
        ("max_samples: 3", "max_samples: lots", ["<text>:4", "models.0.max_samples"]),
        ("input: 0.05", "input: -1", ["<text>:5", "models.0.price.input"]),
        ("input: 0.05", "input: .nan", ["<text>:5", "models.0.price.input"]),
        ("max_samples: 3", "temperature: 1", ["<text>:4", "belong under params"]),
        ("temperature: 0.7", "n: 3", ["<text>:6", "params.n is set by bestroute"]),
        ("temperature: 0.7", "caching: true", ["<text>:6", "params.caching is set by bestroute"]),
        ("reference: true", "reference: false", ["exactly one model", "none"]),
        ("max_samples: 3", "reference: true", ["exactly one model", "small, openai/gpt-4o"]),
        ("name: small", "name: openai/gpt-4o", ["'openai/gpt-4o' is used twice"]),
        ("  - model: openai/gpt-4o\n    ref", "  - ref", ["<text>:9", "models.1.model"]),
        ("max_samples: 3", "max_samples: 3\n    max_samples: 5", ["<text>:5", "stands here twice"]),
        ("models:", "model:", ["<text>:1", "did you mean 'models'"]),
        ("name: small", "name: [small", ["<text>", "not valid YAML"]),
    ],
)
def test_a_mistake_is_named_with_its_line_and_field(
    before: str, after: str, said: list[str]
) -> None:
    assert before in YAML
    with pytest.raises(ConfigError) as caught:
        ModelPool.from_yaml(YAML.replace(before, after, 1))
    for words in said:
        assert words in str(caught.value)


def test_a_missing_model_is_one_mistake_not_two() -> None:
    with pytest.raises(ConfigError) as caught:
        ModelPool.from_dict({"models": [{"reference": True}]})
    assert str(caught.value) == "models.0.model: Field required"


@pytest.mark.parametrize("data", [{}, {"models": []}, {"models": 3}, {"models": ["gpt-4o"]}])
def test_no_models_is_a_config_error(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="models|reference"):
        ModelPool.from_dict(data)


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Any) -> None:
    binary = tmp_path / "pool.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, said in [
        (tmp_path / "none.yaml", "cannot be read"),
        (tmp_path, "is a directory.*from_pretrained"),
        (binary, "UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=said):
            ModelPool.from_yaml(path)
    with pytest.raises(ConfigError, match="models:"):
        ModelPool.from_yaml("- a\n- b\n")


def test_an_unknown_model_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UnknownModelError, match=r"'huge'.*small, openai/gpt-4o"):
        ModelPool.from_yaml(YAML)["huge"]


SECRETS = {
    "api_key": "sk-1",
    "aws_secret_access_key": "sk-2",
    "extra_headers": {"Authorization": "Bearer sk-3"},
    "extra_body": {"nested": [{"auth_token": "sk-4"}]},
    "vertex_credentials": {"private_key": "sk-5"},
    "azure_password": SecretStr("sk-6"),
    "secret_list": ["sk-9"],
}


def test_secrets_reach_the_call_and_nothing_else() -> None:
    member = one(params={**SECRETS, "temperature": 0.5, "max_tokens": 9})
    expected = {**SECRETS, "azure_password": "sk-6", "temperature": 0.5, "max_tokens": 9}
    assert member.call_params() == expected
    pool = ModelPool(models=(member,))
    pickled = [pickle.dumps(each).decode("latin-1") for each in (member, pool)]
    shown = [repr(member), str(pool), repr(pool.model_dump()), pool.model_dump_json(), *pickled]
    assert not [text for text in shown if "sk-" in text]
    kept = {
        "temperature": 0.5,
        "max_tokens": 9,
        "extra_headers": {},
        "vertex_credentials": {},
        "secret_list": [],
    }
    assert pool.model_dump()["models"][0]["params"] == {
        **kept,
        "extra_body": {"nested": [{}]},
    }
    assert member.call_params() == copy.deepcopy(member).call_params() == expected


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"api_base": "http://u:sk-1@host:8/v1?sig=sk-2#sk-3"}, {"api_base": "http://host:8/v1"}),
        ({"base_url": SecretStr("https://host/v1")}, {"base_url": "https://host/v1"}),
        ({"api_base": "u:sk-1@host/v1"}, {"api_base": "host/v1"}),
        ({"extra_body": {"to": ["redis://:sk-1@h/0"]}}, {"extra_body": {"to": ["redis://h/0"]}}),
        ({"extra_query": {"version": "sk-1"}}, {"extra_query": {}}),
        ({"default_query": {"version": "sk-1"}}, {"default_query": {}}),
        ({"access_tokens": ["sk-1"]}, {"access_tokens": []}),
        ({"id_tokens": {"a": "sk-1"}}, {"id_tokens": {}}),
        ({"bearer": "sk-1", "oci_passphrase": "sk-2", "jwt": "sk-3", "db_pass": "sk-4"}, {}),
        ({"sas": "sk-1", "x-sig": "sk-2", "signature": "sk-3"}, {}),
        ({"max_tokens": 9, "thinking": {"budget_tokens": 1024}}, ...),
        ({"api_base": "http://host/v1", "design": "plain"}, ...),
        ({"extra_body": {"note": "see https://x.org/?a=b for more"}}, ...),
    ],
)
def test_what_is_used_and_not_written_down(given: dict[str, Any], kept: Any) -> None:
    member = one(params=given)
    plain = {
        name: getattr(each, "get_secret_value", lambda e=each: e)() for name, each in given.items()
    }
    assert member.call_params() == plain
    assert member.model_dump()["params"] == (given if kept is ... else kept)
    assert "sk-" not in f"{member!r} {member.model_dump_json()} {pickle.dumps(member)!r}"
    again = PooledModel.model_validate(member.model_dump())
    assert again.model_dump() == member.model_dump()


def test_the_digest_of_what_is_hidden() -> None:
    def digest(**params: Any) -> str:
        return ModelPool(models=(one(params=params),)).hidden_digest

    assert digest() == digest(api_key="sk-1") == digest(temperature=1) == ""
    header = digest(extra_headers={"X": "a"})
    assert header == digest(extra_headers={"X": "a"}, api_key="sk-1")
    others = [
        digest(extra_headers={"X": "b"}),
        digest(extra_headers={"Y": "a"}),
        digest(api_base="http://a:b@host"),
        digest(api_base="http://a:c@host"),
    ]
    assert len({"", header, *others}) == 6


def test_secrets_are_cut_out_of_texts() -> None:
    member = one(
        params={"api_key": "sk-secret", "base_url": "http://user:pw-secret@h/v1?sig=sig-secret"}
    )
    text = "key sk-secret, http://h/v1, user, pw-secret, sig-secret, sig"
    assert member.masked(text) == "key ***, http://h/v1, user, ***, ***, sig"
    assert one(params={"api_key": "test"}).masked("a test") == "a test"  # too short to tell


def test_a_pickle_keeps_all_but_the_keys() -> None:
    pool = ModelPool.from_yaml(YAML.replace("temperature: 0.7", "aws_token: sk-1"))
    assert pool.reference.name == "openai/gpt-4o"  # cached, and pickled with the rest
    again = pickle.loads(pickle.dumps(pool))
    assert again.model_dump() == pool.model_dump()
    assert again["small"].params == {"api_key": "os.environ/GROQ_KEY"}
    assert pool["small"].params["aws_token"].get_secret_value() == "sk-1"


def test_a_callable_credential_passes_through() -> None:
    def provider() -> str:
        return "sk-7"

    member = one(params={"azure_ad_token_provider": provider})
    assert member.call_params()["azure_ad_token_provider"] is provider
    assert "provider at" not in repr(member)


def test_a_secret_is_taken_as_it_is_whatever_it_looks_like() -> None:
    assert one(params={"api_key": 'json:{"a"'}).call_params() == {"api_key": 'json:{"a"'}


def test_a_misplaced_key_is_not_quoted_by_the_error_or_its_causes() -> None:
    broken = YAML.replace("max_samples: 3", "apikey: sk-secret")
    unclosed = YAML.replace("max_samples: 3", "api_key: 'sk-secret\n")
    for text in (broken, unclosed):
        with pytest.raises(ConfigError) as caught:
            ModelPool.from_yaml(text)
        error: BaseException | None = caught.value
        while error is not None:
            assert "sk-secret" not in str(error)
            error = error.__cause__
    with pytest.raises(ValidationError) as direct:
        PooledModel(model="a", apikey="sk-secret")  # type: ignore[call-arg]
    assert "sk-secret" not in str(direct.value)


def test_environment_values_are_read_at_call_time(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"api_key": "os.environ/SOME_KEY", "extra_headers": {"X": "os.environ/SOME_KEY"}}
    member = one(params=params)
    with pytest.raises(ConfigError, match=r"params\.api_key.*SOME_KEY"):
        member.call_params()
    monkeypatch.setenv("SOME_KEY", "sk-8")
    assert member.call_params() == {"api_key": "sk-8", "extra_headers": {"X": "sk-8"}}
    assert member.model_dump()["params"] == params  # a variable's name is no secret


@pytest.mark.parametrize("text", ["small", "small:", ":3", "small:0", "small:-1", "small:²", ""])
def test_what_is_no_arm_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="name:n"):
        Arm.parse(text)


@given(st.text(min_size=1), st.integers(1, 10**6))
def test_an_arm_is_read_back_as_written(model: str, n: int) -> None:
    assert Arm.parse(str(Arm(model, n))) == Arm(model, n)


def test_the_fingerprint_follows_what_a_router_depends_on_and_nothing_else() -> None:
    pool = ModelPool.from_yaml(YAML)
    same = YAML.replace("0.05", "0.06").replace("0.7", "0.8")
    other = YAML.replace("max_samples: 3", "max_samples: 4")
    assert ModelPool.from_yaml(same).fingerprint == pool.fingerprint
    assert ModelPool.from_yaml(other).fingerprint != pool.fingerprint


def test_price_is_dollars_for_a_million_tokens() -> None:
    assert Price(input=3, output=6).cost(1_000_000, 500_000) == pytest.approx(6.0)
    cheap = Price(input=3, output=6, cached_input=0.5)
    assert cheap.cost(1_000_000, 500_000, 400_000) == pytest.approx(5.0)
    assert Price(input=3, output=6).cost(1_000_000, 0, 400_000) == pytest.approx(3.0)


class Client:
    """Answers nothing, and would show its key."""

    def __init__(self) -> None:
        self.key = "sk-client"

    async def acompletion(self, *, messages: Any, stream: bool = False, **params: Any) -> Any:
        """Never called."""

    def __repr__(self) -> str:
        return f"Client({self.key})"


def test_a_client_is_kept_by_copies_and_pickles_and_is_in_no_dump() -> None:
    pool = ModelPool.from_dict({"models": [{**BIG, "client": Client()}]})
    client = pool.reference.client
    assert isinstance(client, Client)
    assert "client" not in pool.model_dump()["models"][0]
    assert not [text for text in (repr(pool), pool.model_dump_json()) if "sk-client" in text]
    assert pool.reference.model_copy(update={"name": "x"}).client is client
    assert isinstance(pickle.loads(pickle.dumps(pool)).reference.client, Client)
    assert pool.fingerprint == ModelPool.from_dict({"models": [BIG]}).fingerprint
    assert pool != ModelPool.from_dict({"models": [BIG]})


def test_what_cannot_answer_is_no_client() -> None:
    with pytest.raises(ConfigError, match=r"models\.0\.client: .*ModelClient"):
        ModelPool.from_dict({"models": [{**BIG, "client": "gpt-4o"}]})
