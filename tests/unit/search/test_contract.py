"""What every backend of the search promises, the same tests for all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from identity.errors import KithkinError
from sync.search.port import Mark, Query, Result, Search, Sort
from tests.unit.search.backends import BACKENDS, document, name, params, texts


# DuckDB as it ships, in its process; the property tests have it in theirs.
@pytest.fixture(params=params("memory", "fts5", "worker"))
def search(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Search]:
    backend = BACKENDS[request.param](tmp_path)
    yield backend
    backend.close()


def test_backend_implements_the_search_protocol(search: Search) -> None:
    assert isinstance(search, Search)


def test_a_new_index_is_empty(search: Search) -> None:
    assert (search.cursor(), search.count(), search.query(Query("word"))) == (b"", 0, Result((), 0))


def test_hit_has_the_document_its_snippet_and_its_score(search: Search) -> None:
    search.add([document("1", "The RED fox", chat="den", author="bob", source="Eve", at=77, order=5)], cursor=b"c1")

    (hit,) = search.query(Query("red")).hits
    assert (hit.id, hit.chat, hit.author) == (name("1"), name("den"), name("bob"))
    assert (hit.source, hit.at_ms, hit.order, hit.text) == ("Eve", 77, (5).to_bytes(8, "big"), "The RED fox")
    assert (hit.snippet, hit.marks) == ("The RED fox", (Mark(4, 7),))
    assert hit.score > 0
    assert (search.cursor(), search.count()) == (b"c1", 1)


def test_words_are_whole_and_all_must_occur(search: Search) -> None:
    search.add([document("1", "red fox"), document("2", "Red DOG", order=1), document("3", "redder fox", order=2)])

    assert texts(search, "red") == ["Red DOG", "red fox"]
    assert texts(search, "fox red") == ["red fox"]
    assert texts(search, "red*") == ["redder fox", "Red DOG", "red fox"]
    assert texts(search, "fo") == []
    assert texts(search, "fo* redd*") == ["redder fox"]
    assert texts(search, "red cat") == []


def test_no_stop_words_and_no_stemming(search: Search) -> None:
    search.add([document("1", "the and of running")])

    assert texts(search, "the and of") == ["the and of running"]
    assert texts(search, "run") == []
    assert texts(search, "AND OR NOT NEAR") == []


def test_scripts_without_spaces_are_found_by_any_part(search: Search) -> None:
    search.add(
        [
            document("1", "東京都へ行く", order=3),
            document("2", "京都と東京", order=2),
            document("3", "ﾄｳｷｮｳ タワー", order=1),
            document("4", "부산에서 서울까지"),
        ]
    )

    assert texts(search, "東京") == ["東京都へ行く", "京都と東京"]
    assert texts(search, "東京都") == ["東京都へ行く"]
    assert texts(search, "都") == ["東京都へ行く", "京都と東京"]
    assert texts(search, "京") == ["東京都へ行く", "京都と東京"]
    assert texts(search, "トウキョウ") == ["ﾄｳｷｮｳ タワー"]
    assert texts(search, "タワー*") == ["ﾄｳｷｮｳ タワー"]
    assert texts(search, "서울") == ["부산에서 서울까지"]
    assert texts(search, "行東") == []


def test_filters_by_chat_author_source_and_time(search: Search) -> None:
    search.add(
        [
            document("1", "word one", chat="a", author="ada", at=10, order=1),
            document("2", "word two", chat="b", author="ada", at=20, order=2),
            document("3", "word three", chat="b", author="bob", source="Zoë|x", at=30, order=3),
            document("4", "word four", chat="c", author="ada", source="ada", at=40, order=4),
        ]
    )

    def found(**filters: object) -> list[str]:
        result = search.query(Query("word", **filters))  # type: ignore[arg-type]
        assert result.total == len(result.hits)
        return [hit.text.removeprefix("word ") for hit in result.hits]

    assert found() == ["four", "three", "two", "one"]
    assert found(chats=(name("b"),)) == ["three", "two"]
    assert found(chats=(name("b"), name("c"), name("none"))) == ["four", "three", "two"]
    assert found(authors=(name("bob"),)) == ["three"]
    assert found(sources=("ZOË|X",)) == ["three"]
    assert found(authors=(name("bob"),), sources=("ada",)) == ["four", "three"]
    assert found(authors=(name("nobody"),)) == []
    assert found(since_ms=20) == ["four", "three", "two"]
    assert found(until_ms=20) == ["one"]
    assert found(since_ms=20, until_ms=40, chats=(name("b"),), authors=(name("ada"),)) == ["two"]


def test_quoted_source_is_not_searched_as_text(search: Search) -> None:
    search.add([document("1", "hello", source="word")])
    assert texts(search, "word") == []


def test_total_counts_all_hits_for_any_limit(search: Search) -> None:
    search.add([document(str(n), f"word {n}", order=n) for n in range(30)])

    assert search.query(Query("word")).total == 30
    assert texts(search, "word") == [f"word {n}" for n in range(29, 9, -1)]
    assert texts(search, Query("word", limit=3)) == ["word 29", "word 28", "word 27"]
    for nothing in (0, -1):
        assert search.query(Query("word", limit=nothing)) == Result((), 30)
    assert len(texts(search, Query("word", limit=10**9))) == 30


def test_sort_by_score_puts_the_best_first(search: Search) -> None:
    filler = " ".join(f"w{n}" for n in range(60))
    search.add([document("1", "fox fox fox"), document("2", f"fox {filler}", order=1), document("3", "dog", order=2)])

    assert texts(search, Query("fox", sort=Sort.SCORE)) == ["fox fox fox", f"fox {filler}"]
    assert texts(search, Query("fox", sort=Sort.TIME)) == [f"fox {filler}", "fox fox fox"]


def test_documents_of_one_place_are_ordered_by_id(search: Search) -> None:
    search.add([document(str(n), f"word {n}") for n in range(5)])
    by_id = sorted(((name(str(n)), f"word {n}") for n in range(5)), reverse=True)
    assert texts(search, "word") == [text for _, text in by_id]


def test_edited_document_is_replaced_and_removed_one_not_found(search: Search) -> None:
    search.add([document("1", "first draft"), document("2", "other", order=1)])
    search.add([document("1", "second draft", order=2)])

    assert (texts(search, "first"), texts(search, "draft"), search.count()) == ([], ["second draft"], 2)
    search.remove([name("1"), name("never there")], cursor=b"c2")
    assert (texts(search, "draft"), texts(search, "other"), search.count()) == ([], ["other"], 1)
    assert search.cursor() == b"c2"
    search.add([document("1", "third draft")], removed=[name("2")])
    assert (texts(search, "draft"), texts(search, "other")) == (["third draft"], [])


def test_adding_a_batch_twice_changes_nothing(search: Search) -> None:
    batch = [document(str(n), f"word {n}", order=n) for n in range(10)]
    for _ in range(3):
        search.add([*batch, batch[3]], cursor=b"c")

    result = search.query(Query("word"))
    assert (search.count(), result.total, len({hit.id for hit in result.hits})) == (10, 10, 10)
    assert result.hits[0].score == pytest.approx(result.hits[1].score)


def test_last_of_equal_ids_in_one_batch_counts(search: Search) -> None:
    search.add([document("1", "early"), document("1", "late")])
    assert (texts(search, "early"), texts(search, "late"), search.count()) == ([], ["late"], 1)


def test_empty_batch_moves_only_the_cursor(search: Search) -> None:
    search.add([document("1", "word")], cursor=b"\x00\xff")
    search.add([], cursor=b"next")
    search.add([])
    search.remove([])
    assert (search.cursor(), search.count()) == (b"next", 1)


def test_many_small_batches_are_merged_and_all_found(search: Search) -> None:
    """Enough for segments to be merged, and merged again."""
    for n in range(100):
        search.add([document(str(n), f"common w{n} w{n % 7}", order=n)], cursor=b"%d" % n)
    for n in range(0, 100, 3):
        search.remove([name(str(n))])

    assert search.query(Query("common")).total == 66
    assert texts(search, "w80") == ["common w80 w3"]
    assert texts(search, "w99") == []
    assert search.query(Query("common w3")).total == len([n for n in range(100) if n % 3 and n % 7 == 3])


def test_texts_of_any_characters_are_indexed(search: Search) -> None:
    odd = ["", " ", "\x00word", "word\ud800", '"word" \\ \' ; --', "word\x1eword\n\r\t", "{}[]word", "🎉", "w" * 60_000]
    search.add([document(str(n), text, source=text[:99], order=n) for n, text in enumerate(odd)])

    assert search.count() == len(odd)
    assert search.query(Query("word")).total == 5
    assert texts(search, "word")[1] == "word\x1eword\n\r\t"
    assert search.query(Query("w*")).total == 6


@pytest.mark.parametrize("text", ["", '"', "%", "* ( ) - +", "x" * 1_000_000])
def test_bad_query_is_refused_with_one_code_and_the_index_still_works(search: Search, text: str) -> None:
    search.add([document("1", "word")])
    with pytest.raises(KithkinError) as refusal:
        search.query(Query(text))
    assert refusal.value.code == "bad_query"
    assert texts(search, "word") == ["word"]


def test_flush_release_and_scrub_lose_no_document(search: Search) -> None:
    search.add([document("1", "one word"), document("2", "two word", order=1)], cursor=b"c")
    for pause in (search.flush, search.release, search.scrub, search.release):
        pause()
        assert (texts(search, "word"), search.cursor()) == (["two word", "one word"], b"c")
    search.add([document("3", "three word", order=2)])
    assert texts(search, "word") == ["three word", "two word", "one word"]


def test_reset_index_is_empty(search: Search) -> None:
    search.add([document("1", "word")], cursor=b"c")
    search.reset()
    assert (search.cursor(), search.count(), texts(search, "word")) == (b"", 0, [])
    search.add([document("1", "word")])
    assert texts(search, "word") == ["word"]


def test_calls_from_several_threads_are_served_one_by_one(search: Search) -> None:
    failed: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for n in range(5):
                search.add([document(f"{thread}/{n}", "word", order=n)])
                assert search.query(Query("word")).total > 0
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, search.count()) == ([], 15)
