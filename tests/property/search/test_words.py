"""The tokenizer and the frames on anything."""

from __future__ import annotations

import json

import hypothesis.strategies as st
from hypothesis import given

from identity.errors import DecodeError, KithkinError
from sync.search.frame import Add, Ask, Call, Done, Found, Message, Refused, Start, decode, encode
from sync.search.port import Document, Hit, Mark, Query, Result, Sort
from sync.search.snippet import WIDTH, snippet
from sync.search.words import MAX_QUERY, MAX_WORD, clean, fold, parse, words

anything = st.text(st.characters())  # lone surrogates and NUL too
clean_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(anything)
def test_cleaned_text_encodes_and_its_tokens_are_bounded(text: str) -> None:
    usable = clean(text)
    usable.encode()
    split = words(usable)
    assert "\x00" not in usable
    for token in split.tokens:
        assert 0 < len(token) <= MAX_WORD + 1
        assert " " not in token
        assert '"' not in token


@given(clean_text)
def test_a_text_is_found_by_itself(text: str) -> None:
    """As long as it is a query at all: every term it asks for is among its own words."""
    try:
        asked = parse(text)
    except KithkinError as refusal:
        assert refusal.code == "bad_query"
        return
    tokens = words(text).tokens
    for term in asked.terms:
        assert any(term.low <= token <= term.high for token in tokens)
    for stretch in asked.inside:
        assert stretch in (words(text).folded or "")


@given(clean_text)
def test_case_and_width_do_not_matter(text: str) -> None:
    assert words(text).tokens == words(fold(text)).tokens


@given(anything, st.text(st.characters(), min_size=1, max_size=MAX_QUERY // 20))
def test_snippets_are_short_and_their_marks_lie_inside(text: str, query: str) -> None:
    try:
        asked = parse(query)
    except KithkinError:
        return
    found = snippet(clean(text), asked)
    assert len(found.text) <= WIDTH + 2
    at = 0
    for start, end in found.marks:
        assert at <= start < end <= len(found.text)
        at = end


some_bytes = st.binary(max_size=40)
numbers = st.integers(-(2**63), 2**63 - 1)
documents = st.builds(Document, some_bytes, some_bytes, some_bytes, clean_text, numbers, some_bytes, clean_text)
queries = st.builds(
    Query,
    clean_text,
    st.lists(some_bytes).map(tuple),
    st.lists(some_bytes).map(tuple),
    st.lists(clean_text).map(tuple),
    st.none() | numbers,
    st.none() | numbers,
    st.sampled_from(Sort),
    numbers,
)
marks = st.lists(st.builds(Mark, numbers, numbers)).map(tuple)
hits = st.builds(
    Hit,
    some_bytes,
    some_bytes,
    some_bytes,
    clean_text,
    numbers,
    some_bytes,
    clean_text,
    st.floats(allow_nan=False),
    clean_text,
    marks,
)
messages = st.one_of(
    st.builds(Start, st.binary(max_size=99), some_bytes, st.floats(0, 1e6)),
    st.builds(Add, st.lists(documents).map(tuple), st.lists(some_bytes).map(tuple), st.none() | some_bytes),
    st.builds(Ask, queries),
    st.builds(Call, clean_text),
    st.builds(Done, st.none() | numbers | some_bytes),
    st.builds(Found, st.builds(Result, st.lists(hits, max_size=3).map(tuple), numbers)),
    st.builds(Refused, clean_text, clean_text),
)


@given(messages)
def test_decoded_frame_equals_the_encoded_one(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary() | st.text().map(str.encode) | messages.map(encode).map(lambda data: data[:-1]))
def test_other_bytes_are_refused_as_a_frame(data: bytes) -> None:
    try:
        decode(data)
    except DecodeError:
        return


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["add", "ask", "found", "start", "bytes"]),
        lambda inner: st.lists(inner, max_size=9),
        max_leaves=20,
    )
)
def test_other_json_is_refused_as_a_frame(value: object) -> None:
    try:
        decode(json.dumps(value).encode())
    except DecodeError:
        return
